"""Versions over S3 (O1, B1, B3): kept, named, marked as deleted, listed, and as exact as any write on every node."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from integration.s3_cluster import S3Nodes
from integration.s3_fixtures import LARGE, bucket, everywhere, nodes, s3  # noqa: F401


def versioning(s3: Any, bucket: str, status: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    versioning(s3, bucket, "Enabled")
    return bucket


def put(s3: Any, bucket: str, key: str, body: bytes, **more: Any) -> str:
    return str(s3.put_object(Bucket=bucket, Key=key, Body=body, **more)["VersionId"])


def body_of(s3: Any, bucket: str, key: str, version: str | None = None) -> bytes:
    more = {} if version is None else {"VersionId": version}
    return bytes(s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read())


def refusal(call: Any, **arguments: Any) -> ClientError:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value


def code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def listed(s3: Any, bucket: str, **more: Any) -> list[tuple[str, str, bool, bool]]:
    """Key, version id, is it the latest, is it a delete marker; as they are listed."""
    answer = s3.list_object_versions(Bucket=bucket, **more)
    both = [(entry, False) for entry in answer.get("Versions", ())]
    both += [(entry, True) for entry in answer.get("DeleteMarkers", ())]
    # boto3 sorts the two apart: the order between them is checked by pages, below
    return [(entry["Key"], entry["VersionId"], entry["IsLatest"], marker) for entry, marker in both]


def test_each_put_makes_a_version_that_every_node_reads_by_its_id(nodes: S3Nodes, versioned: str) -> None:
    clients = everywhere(nodes)
    ids = [put(client, versioned, "k", b"%d" % number) for number, client in enumerate(clients * 2)]
    assert len(set(ids)) == len(ids)
    for client in clients:
        assert [body_of(client, versioned, "k", version) for version in ids] == [b"%d" % n for n in range(len(ids))]
        assert body_of(client, versioned, "k") == b"%d" % (len(ids) - 1)
        assert client.head_object(Bucket=versioned, Key="k")["VersionId"] == ids[-1]


def test_a_delete_leaves_a_marker_and_everything_beneath_it(s3: Any, versioned: str) -> None:
    first = put(s3, versioned, "k", b"first")
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    assert deleted["DeleteMarker"] is True
    marker = deleted["VersionId"]
    gone = refusal(s3.get_object, Bucket=versioned, Key="k")
    assert code_of(gone) == "NoSuchKey"
    assert gone.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert body_of(s3, versioned, "k", first) == b"first"
    not_an_object = refusal(s3.get_object, Bucket=versioned, Key="k", VersionId=marker)
    assert code_of(not_an_object) == "MethodNotAllowed"
    assert not_an_object.response["ResponseMetadata"]["HTTPHeaders"]["allow"] == "DELETE"
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned)
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)["DeleteMarker"] is True
    assert body_of(s3, versioned, "k") == b"first"


def test_a_delete_of_what_never_was_leaves_a_marker_too(s3: Any, versioned: str) -> None:
    assert s3.delete_object(Bucket=versioned, Key="never")["DeleteMarker"] is True
    assert [(key, latest, marker) for key, _, latest, marker in listed(s3, versioned)] == [("never", True, True)]


def test_deleting_the_newest_version_brings_back_the_one_before(s3: Any, versioned: str) -> None:
    first, second = put(s3, versioned, "k", b"first"), put(s3, versioned, "k", b"second")
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=second)["VersionId"] == second
    assert body_of(s3, versioned, "k") == b"first"
    assert code_of(refusal(s3.get_object, Bucket=versioned, Key="k", VersionId=second)) == "NoSuchVersion"
    s3.delete_object(Bucket=versioned, Key="k", VersionId=second)  # again: no error
    s3.delete_object(Bucket=versioned, Key="k", VersionId=first)
    assert code_of(refusal(s3.get_object, Bucket=versioned, Key="k")) == "NoSuchKey"
    assert listed(s3, versioned) == []


def test_what_was_there_before_versioning_is_the_null_version(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    assert "VersionId" not in s3.head_object(Bucket=bucket, Key="k")
    versioning(s3, bucket, "Enabled")
    new = put(s3, bucket, "k", b"new")
    assert body_of(s3, bucket, "k", "null") == b"old"
    versioning(s3, bucket, "Suspended")
    assert put(s3, bucket, "k", b"newest") == "null"
    assert body_of(s3, bucket, "k") == body_of(s3, bucket, "k", "null") == b"newest"
    assert body_of(s3, bucket, "k", new) == b"new"
    deleted = s3.delete_object(Bucket=bucket, Key="k")
    assert (deleted["DeleteMarker"], deleted["VersionId"]) == (True, "null")
    assert sorted(listed(s3, bucket)) == sorted([("k", new, False, False), ("k", "null", True, True)])


def test_versions_are_listed_newest_first_in_pages_of_any_size(s3: Any, versioned: str) -> None:
    expected: list[tuple[str, str]] = []
    for key in ("a", "b/1", "b/2", "c"):
        ids = [put(s3, versioned, key, b"x") for _ in range(3)]
        ids.append(s3.delete_object(Bucket=versioned, Key=key)["VersionId"])
        expected += [(key, version) for version in reversed(ids)]
    for size in (1, 2, 3, 5, 1000):
        found: list[tuple[str, str]] = []
        more: dict[str, Any] = {}
        for _ in range(len(expected) + 1):
            page = s3.list_object_versions(Bucket=versioned, MaxKeys=size, **more)
            entries = [(entry["Key"], entry["VersionId"]) for entry in page.get("Versions", ())]
            entries += [(entry["Key"], entry["VersionId"]) for entry in page.get("DeleteMarkers", ())]
            found += sorted(entries, key=expected.index)
            if not page["IsTruncated"]:
                break
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        assert found == expected, size
    below = s3.list_object_versions(Bucket=versioned, Delimiter="/")
    assert [entry["Prefix"] for entry in below["CommonPrefixes"]] == ["b/"]
    assert {entry["Key"] for entry in below["Versions"]} == {"a", "c"}


def test_large_versions_copies_and_uploads_keep_their_bytes(s3: Any, versioned: str) -> None:
    first = put(s3, versioned, "k", LARGE)
    second = put(s3, versioned, "k", b"small")
    copied = s3.copy_object(
        Bucket=versioned, Key="copy", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first}
    )
    assert copied["CopySourceVersionId"] == first
    assert body_of(s3, versioned, "copy", copied["VersionId"]) == LARGE
    restored = s3.copy_object(
        Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": first}
    )["VersionId"]
    assert body_of(s3, versioned, "k") == LARGE
    upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=versioned, Key="k", UploadId=upload, PartNumber=1, Body=b"part")
    completed = s3.complete_multipart_upload(
        Bucket=versioned,
        Key="k",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )["VersionId"]
    assert [version for _, version, _, _ in listed(s3, versioned, Prefix="k")] == [completed, restored, second, first]
    assert body_of(s3, versioned, "k") == b"part"
    assert body_of(s3, versioned, "k", second) == b"small"


def test_conditions_ask_the_version_that_they_are_about(s3: Any, versioned: str) -> None:
    etag = s3.put_object(Bucket=versioned, Key="k", Body=b"first")["ETag"]
    first = s3.head_object(Bucket=versioned, Key="k")["VersionId"]
    put(s3, versioned, "k", b"second")
    assert code_of(refusal(s3.put_object, Bucket=versioned, Key="k", Body=b"", IfMatch=etag)) == "PreconditionFailed"
    assert code_of(refusal(s3.put_object, Bucket=versioned, Key="k", Body=b"", IfNoneMatch="*")) == "PreconditionFailed"
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=first, IfMatch=etag)["VersionId"] == first
    refused = refusal(s3.delete_object, Bucket=versioned, Key="k", VersionId=first, IfMatch='"other"')
    assert code_of(refused) == "PreconditionFailed"
    s3.delete_object(Bucket=versioned, Key="k")
    put(s3, versioned, "k", b"third", IfNoneMatch="*")  # a marker is no object
    s3.delete_object(Bucket=versioned, Key="k", VersionId=first, IfMatch=etag)
    assert body_of(s3, versioned, "k") == b"third"


def test_of_many_who_create_one_key_where_versions_are_kept_one_does(nodes: S3Nodes, versioned: str) -> None:
    clients = everywhere(nodes)

    def create(number: int) -> str | None:
        client = clients[number % len(clients)]
        try:
            return put(client, versioned, "raced", b"%d" % number, IfNoneMatch="*")
        except ClientError as error:
            assert code_of(error) == "PreconditionFailed"
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [version for version in pool.map(create, range(24)) if version is not None]
    assert len(made) == 1
    assert [version for _, version, _, _ in listed(clients[0], versioned)] == made


def test_writes_through_all_nodes_at_once_each_keep_their_version(nodes: S3Nodes, versioned: str) -> None:
    """A write that could not tell how it ended is sent again by its client, and makes one version all the same."""
    clients = [nodes.client(node, retries={"total_max_attempts": 5}) for node in nodes.names]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: put(clients[n % len(clients)], versioned, "k", b"%d" % n), range(24)))
    for number, version in enumerate(ids):
        assert body_of(clients[number % len(clients)], versioned, "k", version) == b"%d" % number
    assert {version for _, version, _, _ in listed(clients[0], versioned)} == set(ids)


def test_many_versions_are_deleted_at_once(s3: Any, versioned: str) -> None:
    ids = [put(s3, versioned, "k", b"x") for _ in range(3)]
    asked = [{"Key": "k", "VersionId": ids[0]}, {"Key": "k", "VersionId": ids[2]}, {"Key": "other"}]
    deleted = s3.delete_objects(Bucket=versioned, Delete={"Objects": asked})["Deleted"]
    assert [(entry["Key"], entry.get("VersionId"), entry.get("DeleteMarker", False)) for entry in deleted] == [
        ("k", ids[0], False),
        ("k", ids[2], False),
        ("other", None, True),
    ]
    assert [version for key, version, _, _ in listed(s3, versioned) if key == "k"] == [ids[1]]


def test_a_bucket_is_deleted_when_its_last_version_is(s3: Any, versioned: str) -> None:
    put(s3, versioned, "k", b"x")
    s3.delete_object(Bucket=versioned, Key="k")
    assert code_of(refusal(s3.delete_bucket, Bucket=versioned)) == "BucketNotEmpty"
    for key, version, _, _ in listed(s3, versioned):
        s3.delete_object(Bucket=versioned, Key=key, VersionId=version)
    s3.delete_bucket(Bucket=versioned)


def test_tags_and_acls_change_one_version_and_none_of_its_bytes(s3: Any, versioned: str) -> None:
    first = put(s3, versioned, "k", b"first", Tagging="a=1&b=x%20y")
    second = put(s3, versioned, "k", b"second")
    before = s3.head_object(Bucket=versioned, Key="k", VersionId=first)
    assert before["TagCount"] == 2
    tags = [{"Key": "colour", "Value": "dark blue/=+"}]
    assert (
        s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging={"TagSet": tags})["VersionId"]
        == first
    )
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == tags
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=second)["TagSet"] == []
    after = s3.head_object(Bucket=versioned, Key="k", VersionId=first)
    assert (after["LastModified"], after["ETag"]) == (before["LastModified"], before["ETag"])
    s3.put_object_acl(Bucket=versioned, Key="k", VersionId=second, ACL="public-read")
    public = [
        any(grant["Grantee"].get("URI", "").endswith("AllUsers") for grant in answer["Grants"])
        for answer in (s3.get_object_acl(Bucket=versioned, Key="k", VersionId=version) for version in (first, second))
    ]
    assert public == [False, True]
    s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=first)
    assert "TagCount" not in s3.head_object(Bucket=versioned, Key="k", VersionId=first)
    copied = s3.copy_object(
        Bucket=versioned,
        Key="copy",
        CopySource={"Bucket": versioned, "Key": "k", "VersionId": first},
        TaggingDirective="REPLACE",
        Tagging="t=2",
    )["VersionId"]
    assert s3.get_object_tagging(Bucket=versioned, Key="copy", VersionId=copied)["TagSet"] == [
        {"Key": "t", "Value": "2"}
    ]
    assert body_of(s3, versioned, "k", first) == b"first"


def test_amendments_at_once_through_all_nodes_lose_no_write(nodes: S3Nodes, versioned: str) -> None:
    clients = everywhere(nodes)
    first = put(clients[0], versioned, "k", b"first")

    def do(number: int) -> str | None:
        client = clients[number % len(clients)]
        if number % 2:
            return put(client, versioned, "k", b"%d" % number)
        tags = {"TagSet": [{"Key": "by", "Value": str(number)}]}
        client.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging=tags)
        return None

    with ThreadPoolExecutor(4) as pool:
        made = {version for version in pool.map(do, range(12)) if version is not None}
    assert {version for _, version, _, _ in listed(clients[0], versioned)} == {first, *made}
    assert len(clients[0].get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"]) == 1


def test_tags_and_acl_changed_at_once_are_both_changed(nodes: S3Nodes, bucket: str) -> None:
    clients = everywhere(nodes)
    with ThreadPoolExecutor(2) as pool:
        for number in range(12):
            one, other = clients[number % len(clients)], clients[-1]
            key = f"k{number}"
            one.put_object(Bucket=bucket, Key=key, Body=b"x")
            tags = {"TagSet": [{"Key": "a", "Value": "1"}]}
            both = (
                pool.submit(one.put_object_tagging, Bucket=bucket, Key=key, Tagging=tags),
                pool.submit(other.put_object_acl, Bucket=bucket, Key=key, ACL="public-read"),
            )
            for each in both:
                each.result()
            assert one.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == tags["TagSet"]
            assert len(other.get_object_acl(Bucket=bucket, Key=key)["Grants"]) == 2


@pytest.mark.parametrize("version", ["", "abc", "-1", "01", "9" * 40, "1.5"])
def test_a_version_id_that_nobody_gave_out_is_refused_clearly(s3: Any, versioned: str, version: str) -> None:
    put(s3, versioned, "k", b"x")
    error = refusal(s3.get_object, Bucket=versioned, Key="k", VersionId=version)
    assert (code_of(error), error.response["ResponseMetadata"]["HTTPStatusCode"]) == ("InvalidArgument", 400)
