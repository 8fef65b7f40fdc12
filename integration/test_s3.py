"""S3 as boto3 sees it: real nodes, one and three of them, on both HTTP ways; every operation, and what it refuses."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import base64
import hashlib
import io
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from integration.cluster import running
from integration.s3_cluster import KEYS, S3Nodes, cluster, refused
from integration.s3_fixtures import LARGE, bucket, everywhere, nodes, s3, unique  # noqa: F401

NASTY = (
    "plain", "a b", "a+b", "a%20b", "a//b", "/leading", "//two", "trailing/", ".", "..", "../up", "./here", "a/../b",
    "größe", "日本語/ファイル", "😀", "e\u0301", "\u00e9", "&<>\"'", "q?x=1", "h#sh", "semi;colon", "tab\there",
    "x" * 1024,
    "é" * 512, "[brackets]", "{curly}", "back\\slash", "star*", "~tilde", "per%cent", "=", ":", "@", ",", "$", "!",
    "_x",
)  # fmt: skip


# -- buckets


def test_a_bucket_is_there_on_every_node_from_the_moment_it_is_made_until_it_is_deleted(nodes: S3Nodes) -> None:
    first, *_ = clients = everywhere(nodes)
    first.create_bucket(Bucket="made-here")
    for client in clients:
        assert client.head_bucket(Bucket="made-here")["BucketRegion"] == "us-east-1"
        assert "made-here" in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
        assert client.get_bucket_location(Bucket="made-here")["LocationConstraint"] is None
    clients[-1].delete_bucket(Bucket="made-here")
    for client in clients:
        with refused("404", 404):
            client.head_bucket(Bucket="made-here")
        with refused("NoSuchBucket", 404):
            client.list_objects_v2(Bucket="made-here")
        assert "made-here" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    first.create_bucket(Bucket="made-here")


def test_a_name_is_given_once(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    with refused("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket=bucket)
    with refused("BucketAlreadyExists", 409):
        nodes.client(key="AKIABOB").create_bucket(Bucket=bucket)
    for name in ("internal", "Upper", "a" * 64, "127.0.0.1"):
        assert nodes.ask("n1", "PUT", f"/{name}").status in (400, 403)
    with refused("InvalidBucketName", 400):
        s3.create_bucket(Bucket="internal")


def test_a_bucket_with_objects_cannot_be_deleted(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    with refused("NoSuchBucket", 404):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_list_buckets_pages_by_prefix(s3: Any) -> None:
    names = [f"paged-{number:02}-{next(unique)}" for number in range(5)]
    for name in reversed(names):
        s3.create_bucket(Bucket=name)
    pages = list(s3.get_paginator("list_buckets").paginate(Prefix="paged-", PaginationConfig={"PageSize": 2}))
    assert [bucket["Name"] for page in pages for bucket in page["Buckets"]] == names and len(pages) == 3


# -- objects


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, len(LARGE)])
def test_what_is_put_is_got_from_every_node(nodes: S3Nodes, bucket: str, size: int) -> None:
    first, *_ = clients = everywhere(nodes)
    body = LARGE[:size]
    put = first.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    for client in clients:
        got = client.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == body
        assert (got["ETag"], got["ContentLength"], got["ContentType"]) == (put["ETag"], size, "binary/octet-stream")
        assert client.head_object(Bucket=bucket, Key="k")["ContentLength"] == size


def test_any_key_is_an_object_of_its_own(s3: Any, bucket: str) -> None:
    for number, key in enumerate(NASTY):
        s3.put_object(Bucket=bucket, Key=key, Body=b"%d" % number)
    for number, key in enumerate(NASTY):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"%d" % number, key
    listed = [
        item["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
        for item in page["Contents"]
    ]
    assert listed == sorted(NASTY, key=str.encode)
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in NASTY]})
    assert {item["Key"] for item in done["Deleted"]} == set(NASTY) and "Errors" not in done
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_metadata_comes_back_as_it_was_put(s3: Any, bucket: str) -> None:
    said: dict[str, Any] = {
        "Metadata": {"one": "1", "two-words": "a b"},
        "ContentType": "text/x-test; charset=utf-8",
        "CacheControl": "no-cache",
        "ContentDisposition": "attachment",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "StorageClass": "STANDARD_IA",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **said)
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert {name: got[name] for name in said} == said
    overridden = s3.get_object(
        Bucket=bucket, Key="k", ResponseContentType="text/html", ResponseContentDisposition="inline; filename=é"
    )
    assert overridden["ContentType"] == "text/html" and overridden["ContentDisposition"].startswith("inline")
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"long": "x" * 2100})
    with refused("InvalidStorageClass", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="OUTPOSTS")


def test_what_is_not_there_says_so_and_deleting_it_is_no_error(s3: Any, bucket: str) -> None:
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="never")
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key="never")
    assert s3.delete_object(Bucket=bucket, Key="never")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused("NoSuchBucket", 404):
        s3.get_object(Bucket="no-such-bucket", Key="k")


@pytest.mark.parametrize("size", [1000, len(LARGE)])
def test_ranges_are_what_they_say(s3: Any, bucket: str, size: int) -> None:
    body = LARGE[:size]
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for asked, start, end in (("bytes=0-0", 0, 1), ("bytes=10-", 10, size), ("bytes=-7", size - 7, size)):
        got = s3.get_object(Bucket=bucket, Key="k", Range=asked)
        assert got["Body"].read() == body[start:end] and got["ContentRange"] == f"bytes {start}-{end - 1}/{size}"
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    with refused("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={size}-")


def test_reads_keep_to_their_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    when = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=when)["Body"].read() == b"x"
    with refused("304", 304):
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    with refused("304", 304):
        s3.head_object(Bucket=bucket, Key="k", IfModifiedSince=when)
    with refused("PreconditionFailed", 412):
        s3.get_object(Bucket=bucket, Key="k", IfMatch='"other"')


def test_writes_keep_to_their_conditions(s3: Any, bucket: str) -> None:
    with refused("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", IfMatch='"any"')
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    with refused("NotImplemented", 501):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag)
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)["ETag"]
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)
    with refused("PreconditionFailed", 412):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=second)


def test_of_many_who_make_an_object_at_once_one_wins(nodes: S3Nodes, bucket: str) -> None:
    clients = everywhere(nodes) * 3

    def make(number: int, key: str) -> str:
        try:
            clients[number].put_object(Bucket=bucket, Key=key, Body=b"%d" % number, IfNoneMatch="*")
        except Exception as error:
            return str(error.response["Error"]["Code"])  # type: ignore[attr-defined]
        return "made"

    with ThreadPoolExecutor(len(clients)) as pool:
        for race in range(8):
            outcomes = list(pool.map(make, range(len(clients)), [f"race-{race}"] * len(clients)))
            assert outcomes.count("made") == 1, outcomes
            assert set(outcomes) <= {"made", "PreconditionFailed"}
            winner = clients[0].get_object(Bucket=bucket, Key=f"race-{race}")["Body"].read()
            assert int(winner) == outcomes.index("made")


# -- checksums and encodings


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [5, len(LARGE)])
def test_a_checksum_is_checked_kept_and_returned(s3: Any, bucket: str, algorithm: str, size: int) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(LARGE[:size]), ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    name = f"Checksum{algorithm}"
    assert got["Body"].read() == LARGE[:size] and got[name] == put[name]
    assert name not in s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-1")
    wrong = base64.b64encode(bytes(len(base64.b64decode(put[name])))).decode()
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="other", Body=LARGE[:size], **{name: wrong})
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="other")


def test_a_body_that_is_not_the_one_that_was_announced_is_not_written(s3: Any, bucket: str) -> None:
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=right)
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"y", ContentMD5=right)
    with refused("InvalidDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"y", ContentMD5="nonsense")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


# -- who asks


def test_a_wrong_signature_is_refused(nodes: S3Nodes, bucket: str) -> None:
    with refused("SignatureDoesNotMatch", 403):
        nodes.client(secret="not-the-secret").list_buckets()
    with refused("InvalidAccessKeyId", 403):
        nodes.client(key="AKIANOBODY", secret="nothing-of-note").put_object(Bucket=bucket, Key="k", Body=b"x")
    reply = nodes.ask("n1", "GET", "/")
    assert reply.status == 403 and b"<Code>AccessDenied</Code>" in reply.body
    assert all(secret.encode() not in reply.body for secret in KEYS.values())


def test_a_presigned_url_works_with_plain_http(nodes: S3Nodes, bucket: str) -> None:
    s3 = nodes.client(signature_version="s3v4")
    for key in ("k", "größe/a b+c"):
        put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key})
        request = urllib.request.Request(put, data=b"by URL", method="PUT")
        assert urllib.request.urlopen(request).status == 200
        get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
        assert urllib.request.urlopen(get).read() == b"by URL"
        tampered = nodes.ask("n1", "GET", "/" + get.split("/", 3)[3].replace("Expires=3600", "Expires=3601"))
        assert tampered.status == 403 and b"SignatureDoesNotMatch" in tampered.body


# -- lists


def test_lists_page_with_prefixes_and_delimiters(s3: Any, bucket: str) -> None:
    keys = sorted([f"a/{n:02}" for n in range(12)] + [f"b{n}/x" for n in range(3)] + ["a", "b", "c//d", "c/"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for operation in ("list_objects", "list_objects_v2"):
        for size in (1, 3, 1000):
            pages = list(
                s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size})
            )
            found = [item["Key"] for page in pages for item in page.get("Contents", ())]
            groups = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
            assert (found, groups) == (["a", "b"], ["a/", "b0/", "b1/", "b2/", "c/"])
            assert all(len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ())) <= size for page in pages)
            whole = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
            assert [item["Key"] for page in whole for item in page["Contents"]] == keys
    after = s3.list_objects_v2(Bucket=bucket, Prefix="a/", StartAfter="a/10", FetchOwner=True)["Contents"]
    assert [item["Key"] for item in after] == ["a/11"] and after[0]["Owner"]["DisplayName"] == "AKIAALICE"
    versions = s3.list_object_versions(Bucket=bucket, Prefix="b")["Versions"]
    assert [(item["Key"], item["VersionId"]) for item in versions] == [(key, "null") for key in keys if key[0] == "b"]
    with refused("InvalidArgument", 400):
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="nonsense")


def test_a_list_sees_every_write_that_was_acknowledged_by_any_node(nodes: S3Nodes, bucket: str) -> None:
    clients = everywhere(nodes)
    for number in range(12):
        writer, reader = clients[number % len(clients)], clients[(number + 1) % len(clients)]
        writer.put_object(Bucket=bucket, Key=f"k{number:02}", Body=b"")
        assert reader.list_objects_v2(Bucket=bucket)["KeyCount"] == number + 1


def test_delete_objects_answers_for_each_key(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    s3.put_object(Bucket=bucket, Key="b", Body=b"x")
    asked = [{"Key": "a", "ETag": etag}, {"Key": "b", "ETag": '"other"'}, {"Key": "never"}]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": asked})
    assert sorted(item["Key"] for item in done["Deleted"]) == ["a", "never"]
    assert [(item["Key"], item["Code"]) for item in done["Errors"]] == [("b", "PreconditionFailed")]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


# -- copies


@pytest.mark.parametrize("size", [5, len(LARGE)])
def test_a_copy_has_the_same_bytes_and_the_metadata_that_was_asked_for(s3: Any, bucket: str, size: int) -> None:
    body = LARGE[:size]
    etag = s3.put_object(Bucket=bucket, Key="é +/a", Body=body, Metadata={"m": "1"}, ContentType="text/a")["ETag"]
    source = {"Bucket": bucket, "Key": "é +/a"}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (body, {"m": "1"}, "text/a")
    s3.copy_object(
        Bucket=bucket,
        Key="copy",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"n": "2"},
        ContentType="t/b",
    )
    got = s3.head_object(Bucket=bucket, Key="copy")
    assert (got["Metadata"], got["ContentType"], got["ContentLength"]) == ({"n": "2"}, "t/b", size)
    with refused("InvalidRequest", 400):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "copy"})
    with refused("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, CopySourceIfMatch='"other"')
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "never"})


# -- the rest


def test_what_is_not_offered_says_so_in_xml(s3: Any, nodes: S3Nodes, bucket: str) -> None:
    with refused("NotImplemented", 501):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": []})
    with refused("NotImplemented", 501):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    for method, path in (("OPTIONS", "/"), ("PATCH", f"/{bucket}/k"), ("POST", "/"), ("GET", "/%zz"), ("GET", "//a")):
        reply = nodes.ask("n1", method, path)
        assert 400 <= reply.status < 502 and reply.body.startswith(b"<?xml"), (method, path, reply)


def test_even_the_connection_layer_refuses_in_xml(nodes: S3Nodes) -> None:
    for path, headers in (("/bucket-x/k", {"Transfer-Encoding": "gzip"}), ("/" + "k" * 9000, {})):
        reply = nodes.ask("n1", "PUT", path, headers=headers)
        assert reply.status >= 400 and reply.body.startswith(b"<?xml"), reply
        assert "error" in nodes.ask("n1", "PUT", "/_" + path, headers=headers).json


def test_native_lists_and_reads_never_show_system_paths(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="seen/by both", Body=b"x")
    nodes.put("n1", "!before", b"x")
    cursor: dict[str, str] = {}
    paths: list[str] = []
    while True:
        page = nodes.page("n1", limit="3", **cursor)
        paths += [item["path"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert f"{bucket}/seen/by both" in paths and "!before" in paths
    assert not [path for path in paths if path.startswith("/")]
    assert nodes.get("n1", f"{bucket}/seen/by both").body == b"x"
    for spelling in (f"/b/{bucket}", f"//b/{bucket}"):
        assert nodes.get("n1", spelling).status == 404
        assert nodes.ask("n1", "GET", f"/_/api/v1/blobs?prefix={quote(spelling)}").json["items"] == []


def test_without_keys_everything_is_denied_unless_everybody_is_let_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    closed = cluster(tmp_path_factory.mktemp("closed"), 1, s3={"credentials_file": ""})
    with running(closed):
        with refused("AccessDenied", 403):
            closed.client().list_buckets()
        assert closed.ask("n1", "GET", "/").status == 403
    with running(cluster(tmp_path_factory.mktemp("open"), 1, s3={"credentials_file": "", "anonymous": True})) as opened:
        assert opened.ask("n1", "PUT", "/free-for-all").status == 200
        assert opened.ask("n1", "PUT", "/free-for-all/k", b"x").status == 200
        assert opened.ask("n1", "GET", "/free-for-all/k").body == b"x"
    with running(cluster(tmp_path_factory.mktemp("off"), 1, s3={"enabled": False})) as off:
        assert off.ask("n1", "GET", "/").json["error"]["code"] == "NoSuchRoute"


def test_what_nobody_can_set_reads_as_not_set(s3: Any, bucket: str) -> None:
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    for read in (
        s3.get_bucket_logging,
        s3.get_bucket_notification_configuration,
        s3.get_bucket_accelerate_configuration,
    ):
        assert read(Bucket=bucket).keys() == {"ResponseMetadata"}
    with refused("NotImplemented", 501):
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
