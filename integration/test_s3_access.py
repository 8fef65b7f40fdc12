"""What buckets are configured with, and who may do what to them: real nodes, boto3, two access keys and nobody."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

import botocore
import botocore.exceptions
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from integration.s3_cluster import KEYS, S3Nodes, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401


def who(nodes: S3Nodes, name: str) -> Any:
    """A client of somebody; each at another node, where there are several."""
    node = nodes.names[("owner", "other", "nobody").index(name) % len(nodes.names)]
    match name:
        case "owner":
            return nodes.client(node)
        case "other":
            return nodes.client(node, "AKIABOB")
    return nodes.client(node, signature_version=botocore.UNSIGNED)


def outcome(act: Any, **asked: Any) -> str:
    """The error's code, or ok."""
    try:
        act(**asked)
    except botocore.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


# -- who may do what


def test_a_bucket_is_its_makers_alone(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for stranger in (who(nodes, "other"), who(nodes, "nobody")):
        for operation, asked in (
            ("get_object", {"Key": "k"}),
            ("get_object", {"Key": "missing"}),
            ("put_object", {"Key": "new", "Body": b"y"}),
            ("delete_object", {"Key": "k"}),
            ("list_objects_v2", {}),
            ("create_multipart_upload", {"Key": "k"}),
            ("get_bucket_acl", {}),
            ("put_bucket_acl", {"ACL": "public-read"}),
            ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
            ("delete_bucket", {}),
        ):
            assert outcome(getattr(stranger, operation), Bucket=bucket, **asked) == "AccessDenied", operation
        answer = stranger.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
        assert [item["Code"] for item in answer["Errors"]] == ["AccessDenied"]
        with refused("NoSuchBucket", 404):
            stranger.list_objects_v2(Bucket="never-made")
    assert bucket not in [found["Name"] for found in who(nodes, "other").list_buckets()["Buckets"]]
    with refused("AccessDenied", 403):
        who(nodes, "nobody").list_buckets()
    with refused("AccessDenied", 403):
        who(nodes, "nobody").create_bucket(Bucket="made-by-nobody")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_everybody_sees_pages_of_their_own_buckets(nodes: S3Nodes, bucket: str) -> None:
    names = [f"{bucket}-{number}" for number in range(9)]
    owners = [("owner", "other", "other")[number % 3] for number in range(9)]
    for name, owner in zip(names, owners, strict=True):
        who(nodes, owner).create_bucket(Bucket=name)
    for somebody, size in (("owner", 2), ("other", 2), ("other", 3), ("other", 100)):
        pages = who(nodes, somebody).get_paginator("list_buckets")
        pages = list(pages.paginate(Prefix=f"{bucket}-", PaginationConfig={"PageSize": size}))
        own = [name for name, owner in zip(names, owners, strict=True) if owner == somebody]
        assert [found["Name"] for page in pages for found in page["Buckets"]] == own
        assert len(pages) == -(-len(own) // size)


def test_what_is_public_can_be_read_by_everybody_and_no_more(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="public", Body=b"seen", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="private", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="uploaded", ACL="public-read")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="uploaded", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    s3.complete_multipart_upload(
        Bucket=bucket, Key="uploaded", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )
    for node in nodes.names:
        assert nodes.ask(node, "GET", f"/{bucket}/public").body == b"seen"
        assert nodes.ask(node, "GET", f"/{bucket}/uploaded").body == b"part"
        assert nodes.ask(node, "HEAD", f"/{bucket}/public").status == 200
        assert nodes.ask(node, "GET", f"/{bucket}/public?response-content-type=text/html").status == 400
        for method, key in (
            ("PUT", "public"),
            ("DELETE", "public"),
            ("GET", "private"),
            ("GET", "missing"),
            ("GET", ""),
        ):
            assert nodes.ask(node, method, f"/{bucket}/{key}", b"" if method == "PUT" else None).status == 403
    who(nodes, "other").create_bucket(Bucket=f"{bucket}-others")
    copied = {"Bucket": f"{bucket}-others", "Key": "copy"}
    who(nodes, "other").copy_object(**copied, CopySource={"Bucket": bucket, "Key": "public"})
    assert who(nodes, "other").get_object(**copied)["Body"].read() == b"seen"
    with refused("AccessDenied", 403):
        who(nodes, "other").copy_object(**copied, CopySource={"Bucket": bucket, "Key": "private"})
    with refused("AccessDenied", 403):
        who(nodes, "nobody").get_object(**copied)
    other = who(nodes, "other")
    upload = other.create_multipart_upload(**copied)["UploadId"]
    for key, said in (("public", "ok"), ("private", "AccessDenied"), ("missing", "AccessDenied")):
        source = {"Bucket": bucket, "Key": key}
        asked = {**copied, "UploadId": upload, "PartNumber": 1, "CopySource": source}
        assert outcome(other.upload_part_copy, **asked) == said
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    for name in ("other", "nobody"):
        stranger = who(nodes, name)
        keys = [item["Key"] for item in stranger.list_objects_v2(Bucket=bucket)["Contents"]]
        assert keys == ["private", "public", "uploaded"]
        assert outcome(stranger.get_object, Bucket=bucket, Key="private") == "AccessDenied"
        assert outcome(stranger.get_object, Bucket=bucket, Key="missing") == "NoSuchKey"
        assert outcome(stranger.put_object, Bucket=bucket, Key="new", Body=b"") == "AccessDenied"
    s3.put_object(Bucket=bucket, Key="public", Body=b"no longer")
    assert nodes.ask("n1", "GET", f"/{bucket}/public").status == 403


def test_each_version_is_as_public_as_its_own_acl_says(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    public, private, last = (
        s3.put_object(Bucket=bucket, Key="k", Body=acl.encode(), ACL=acl)["VersionId"]
        for acl in ("public-read", "private", "public-read")
    )

    def read(version: str = "") -> int:
        return nodes.ask(nodes.names[-1], "GET", f"/{bucket}/k" + (f"?versionId={version}" if version else "")).status

    assert [read(), read(public), read(private), read(last), read("99")] == [200, 200, 403, 200, 403]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    assert [read(), read(public), read(private), read(marker)] == [403, 200, 403, 403]
    s3.put_object_acl(Bucket=bucket, Key="k", VersionId=public, ACL="private")
    assert [read(public), read(last)] == [403, 200]
    assert nodes.ask("n1", "DELETE", f"/{bucket}/k?versionId={public}").status == 403


def test_tags_are_for_whom_a_policy_lets_read_them(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=b")
    s3.put_object(Bucket=bucket, Key="untagged", Body=b"x")
    allow = {"Effect": "Allow", "Principal": {"AWS": "AKIABOB"}, "Action": "s3:GetObject", "Resource": "/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [allow]))
    other = who(nodes, "other")
    copies = {"Bucket": f"{bucket}-others", "Key": "copy"}
    other.create_bucket(Bucket=copies["Bucket"])
    assert "TagCount" not in other.get_object(Bucket=bucket, Key="k")
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 1
    assert outcome(other.get_object_tagging, Bucket=bucket, Key="k") == "AccessDenied"
    assert outcome(other.copy_object, **copies, CopySource=f"{bucket}/k") == "AccessDenied"
    assert outcome(other.copy_object, **copies, CopySource=f"{bucket}/k", TaggingDirective="REPLACE") == "ok"
    asked = {"TaggingDirective": "REPLACE", "Tagging": "c=d"}
    assert outcome(other.copy_object, **copies, CopySource=f"{bucket}/k", **asked) == "ok"
    assert outcome(other.copy_object, **copies, CopySource=f"{bucket}/untagged") == "ok"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [allow, allow | {"Action": "s3:GetObjectTagging"}]))
    assert outcome(other.copy_object, **copies, CopySource=f"{bucket}/k") == "ok"
    assert other.get_object_tagging(**copies)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert outcome(other.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": []}) == "AccessDenied"


def test_acls_say_what_is_so_and_refuse_what_cannot_be(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="public", Body=b"", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="private", Body=b"", ACL="bucket-owner-full-control")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "public"})
    s3.copy_object(Bucket=bucket, Key="public-copy", CopySource={"Bucket": bucket, "Key": "private"}, ACL="public-read")
    for key, grants in (("public", 2), ("private", 1), ("copy", 1), ("public-copy", 2)):
        said = s3.get_object_acl(Bucket=bucket, Key=key)
        assert len(said["Grants"]) == grants and said["Grants"][0]["Grantee"]["ID"] == said["Owner"]["ID"]
        assert said["Grants"][1:] == [
            {
                "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
                "Permission": "READ",
            }
        ] * (grants - 1)
    for client in everywhere(nodes):
        for acl, status in (("public-read", 200), ("private", 403)):
            client.put_object_acl(Bucket=bucket, Key="private", ACL=acl)
            assert [nodes.ask(node, "GET", f"/{bucket}/private").status for node in nodes.names] == [status] * len(
                nodes.names
            )
    assert "x-amz-acl" not in s3.head_object(Bucket=bucket, Key="public")["ResponseMetadata"]["HTTPHeaders"]
    for client in everywhere(nodes):
        client.put_bucket_acl(Bucket=bucket, ACL="public-read")
        assert len(s3.get_bucket_acl(Bucket=bucket)["Grants"]) == 2
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": {"ID": "x"}, "Grants": []})
        assert len(client.get_bucket_acl(Bucket=bucket)["Grants"]) == 1
    for acl in ("public-read-write", "authenticated-read"):
        with refused("AccessControlListNotSupported", 400):
            s3.put_bucket_acl(Bucket=bucket, ACL=acl)
        with refused("AccessControlListNotSupported", 400):
            s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL=acl)
    with refused("AccessControlListNotSupported", 400):
        s3.put_bucket_acl(Bucket=bucket, GrantWrite="uri=http://acs.amazonaws.com/groups/global/AllUsers")
    s3.create_bucket(Bucket=f"{bucket}-open", ACL="public-read")
    assert nodes.ask("n1", "GET", f"/{bucket}-open").status == 200


# -- policies

POLICIES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "read for all": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "/*"}],
    "list for other": [{"Effect": "Allow", "Principal": {"AWS": "AKIABOB"}, "Action": "s3:ListBucket", "Resource": ""}],
    "all for other": [
        {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/AKIABOB"]}, "Action": "s3:*",
         "Resource": ["", "/*"]}
    ],
    "but not for owner": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "/*"},
        {"Effect": "Deny", "Principal": {"AWS": "AKIAALICE"}, "Action": "s3:*", "Resource": ["", "/*"]},
    ],
    "only from elsewhere": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "/*",
         "Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}
    ],
    "from here in the clear": [
        {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": "/th*",
         "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}, "Bool": {"aws:SecureTransport": False}}}
    ],
}  # fmt: skip
"""Statements; resources are what follows the bucket's name."""

OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "get": ("get_object", {"Key": "there"}),
    "miss": ("get_object", {"Key": "missing"}),
    "list": ("list_objects_v2", {}),
    "put": ("put_object", {"Key": "new", "Body": b"y"}),
    "copy": ("copy_object", {"Key": "new", "CopySource": "{bucket}/there"}),
    "delete": ("delete_object", {"Key": "there-too"}),
    "policy": ("get_bucket_policy", {}),
    "tags": ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}),
}

MAY = """
    none                    owner   get list put copy delete policy tags  miss=NoSuchKey
    none                    other                                         miss=AccessDenied
    none                    nobody                                        miss=AccessDenied
    read for all            owner   get list put copy delete policy tags  miss=NoSuchKey
    read for all            other   get                                   miss=AccessDenied
    read for all            nobody  get                                   miss=AccessDenied
    list for other          other   list                                  miss=NoSuchKey
    list for other          nobody                                        miss=AccessDenied
    all for other           owner   get list put copy delete policy tags  miss=NoSuchKey
    all for other           other   get list put copy delete policy tags  miss=NoSuchKey
    all for other           nobody                                        miss=AccessDenied
    but not for owner       owner   policy                                miss=AccessDenied
    but not for owner       other   get                                   miss=AccessDenied
    but not for owner       nobody  get                                   miss=AccessDenied
    only from elsewhere     owner   list put delete policy tags           miss=AccessDenied
    only from elsewhere     nobody                                        miss=AccessDenied
    from here in the clear  other   get delete                            miss=AccessDenied
    from here in the clear  nobody  get delete                            miss=AccessDenied
"""
"""A policy, somebody, what they may do with it, and what they are told of a key that is not there."""


def policy_of(bucket: str, statements: list[dict[str, Any]]) -> str:
    def resource(after: str) -> str:
        return f"arn:aws:s3:::{bucket}{after}"

    said = []
    for statement in statements:
        after = statement["Resource"]
        said.append(statement | {"Resource": [resource(one) for one in ([after] if isinstance(after, str) else after)]})
    return json.dumps({"Version": "2012-10-17", "Statement": said})


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_says_who_may_do_what(nodes: S3Nodes, s3: Any, bucket: str, name: str) -> None:
    for key in ("there", "there-too"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    document = policy_of(bucket, POLICIES[name]) if POLICIES[name] else ""
    if document:
        s3.put_bucket_policy(Bucket=bucket, Policy=document)
    for row in (line for line in MAY.splitlines() if line.split("  ")[2:3] == [name]):
        somebody, *words = row.split(name)[1].split()
        client = who(nodes, somebody)
        for operation, (method, asked) in OPERATIONS.items():
            asked = {n: v.format(bucket=bucket) if isinstance(v, str) else v for n, v in asked.items()}
            allowed = "NoSuchBucketPolicy" if operation == "policy" and not document else "ok"
            expected = allowed if operation in words else "AccessDenied"
            if operation == "miss":
                expected = words[-1].partition("=")[2]
            assert outcome(getattr(client, method), Bucket=bucket, **asked) == expected, (row, operation)


def test_a_policy_is_in_force_everywhere_at_once_and_so_is_its_end(nodes: S3Nodes, bucket: str) -> None:
    writers = everywhere(nodes)
    writers[0].put_object(Bucket=bucket, Key="k", Body=b"x")
    document = policy_of(bucket, POLICIES["read for all"])
    for turn in range(6):
        writer = writers[turn % len(writers)]
        writer.put_bucket_policy(Bucket=bucket, Policy=document)
        assert [nodes.ask(node, "GET", f"/{bucket}/k").status for node in nodes.names] == [200] * len(nodes.names)
        assert writers[0].get_bucket_policy(Bucket=bucket)["Policy"] == document
        assert writers[0].get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
        writer.delete_bucket_policy(Bucket=bucket)
        assert [nodes.ask(node, "GET", f"/{bucket}/k").status for node in nodes.names] == [403] * len(nodes.names)
        with refused("NoSuchBucketPolicy", 404):
            writers[0].get_bucket_policy_status(Bucket=bucket)


def test_of_many_keys_each_is_asked_for(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    for key in ("there", "there-too", "other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, POLICIES["from here in the clear"]))
    asked = {"Objects": [{"Key": key} for key in ("there", "other", "there-too", "missing")]}
    done = who(nodes, "nobody").delete_objects(Bucket=bucket, Delete=asked)
    assert sorted(item["Key"] for item in done["Deleted"]) == ["there", "there-too"]
    assert sorted((item["Key"], item["Code"]) for item in done["Errors"]) == [
        ("missing", "AccessDenied"),
        ("other", "AccessDenied"),
    ]
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["other"]


CONDITIONS: tuple[tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]], ...] = (
    ({"StringLike": {"s3:prefix": ["home/*"]}}, "list_objects_v2", {"Prefix": "home/a b"}, {"Prefix": "hom"}),
    ({"NumericLessThanEquals": {"s3:max-keys": 10}}, "list_objects_v2", {"MaxKeys": 10}, {"MaxKeys": 11}),
    ({"StringEquals": {"s3:delimiter": "/"}}, "list_objects_v2", {"Delimiter": "/"}, {}),
    ({"StringEquals": {"s3:x-amz-acl": "public-read"}}, "put_object", {"Key": "k", "ACL": "public-read"}, {"Key": "k"}),
    ({"Null": {"s3:if-none-match": "false"}}, "put_object", {"Key": "new", "IfNoneMatch": "*"}, {"Key": "new"}),
    (
        {"StringLike": {"s3:x-amz-storage-class": "STANDARD*"}},
        "put_object",
        {"Key": "k", "StorageClass": "STANDARD_IA"},
        {"Key": "k", "StorageClass": "ONEZONE_IA"},
    ),
)
"""A condition, an operation, how it is met and how it is not."""


@pytest.mark.parametrize(("condition", "operation", "met", "unmet"), CONDITIONS)
def test_conditions_see_what_a_request_asks(
    nodes: S3Nodes, s3: Any, bucket: str, condition: Any, operation: str, met: Any, unmet: Any
) -> None:
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["", "/*"], "Condition": condition}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [allow]))
    act = getattr(who(nodes, "nobody"), operation)
    assert outcome(act, Bucket=bucket, **met) == "ok"
    assert outcome(act, Bucket=bucket, **unmet) == "AccessDenied"


def test_conditions_see_who_sends_a_request_and_how(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    other = nodes.client(key="AKIABOB", signature_version="s3v4")
    url = other.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}).split("/", 3)[3]

    def ways() -> list[int]:
        """Read by header, by presigned URL, by a form's page, by anybody."""
        signed = 200 if outcome(other.get_object, Bucket=bucket, Key="k") == "ok" else 403
        page = {"Referer": "https://example.org/page"}
        by_url = nodes.ask("n1", "GET", f"/{url}").status
        return [signed, by_url, *(nodes.ask("n1", "GET", f"/{bucket}/k", None, said).status for said in (page, {}))]

    for condition, allowed in (
        ({"StringEquals": {"aws:username": "AKIABOB"}}, [200, 200, 403, 403]),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, [200, 403, 403, 403]),
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, [403, 200, 403, 403]),
        ({"Null": {"s3:authType": True}}, [403, 403, 200, 200]),
        ({"StringLike": {"aws:Referer": "https://example.org/*"}}, [403, 403, 200, 403]),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, [200] * 4),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, [403] * 4),
        ({"Bool": {"aws:SecureTransport": "true"}}, [403] * 4),
    ):
        allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "/*"}
        s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [allow | {"Condition": condition}]))
        assert ways() == allowed, condition


def test_versions_have_permissions_of_their_own(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    other = who(nodes, "other")
    named = {"Bucket": bucket, "Key": "k", "VersionId": version}
    for of_version in (False, True):
        actions = ["GetObject", "GetObjectAcl", "GetObjectTagging", "GetObjectAttributes", "DeleteObject"]
        allow = {
            "Effect": "Allow",
            "Principal": {"AWS": "AKIABOB"},
            "Action": [f"s3:{name.replace('Object', 'ObjectVersion') if of_version else name}" for name in actions],
            "Resource": "/*",
        }
        s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [allow]))
        for method in ("get_object", "get_object_acl", "get_object_tagging", "delete_object"):
            operation = getattr(other, method)
            assert (outcome(operation, Bucket=bucket, Key="k") == "AccessDenied") == of_version, method
            assert (outcome(operation, **named) == "AccessDenied") != of_version, method
        attributes = {"ObjectAttributes": ["ETag"]}
        s3.put_object(Bucket=bucket, Key="k", Body=b"y")
        assert (outcome(other.get_object_attributes, Bucket=bucket, Key="k", **attributes) == "ok") != of_version
        done = other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
        assert ("Errors" in done) != of_version
    alone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObjectAttributes", "Resource": "/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [alone]))
    assert outcome(other.get_object_attributes, Bucket=bucket, Key="k", **attributes) == "AccessDenied"


def test_who_may_only_write_learns_nothing_of_what_is_there(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    drop = {"Effect": "Allow", "Principal": {"AWS": "AKIABOB"}, "Action": "s3:PutObject", "Resource": "/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(bucket, [drop]))
    writer = who(nodes, "other")
    for key in ("k", "missing"):
        assert outcome(writer.put_object, Bucket=bucket, Key=key, Body=b"y", IfMatch=etag) == "AccessDenied"
        assert outcome(writer.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/{key}") == "AccessDenied"
    for key in ("acl", "tags"):
        asked = {"acl": {"ACL": "public-read"}, "tags": {"Tagging": "a=b"}}[key]
        assert outcome(writer.put_object, Bucket=bucket, Key=key, Body=b"y", **asked) == "AccessDenied"
    assert outcome(writer.put_object, Bucket=bucket, Key="k", Body=b"y") == "ok"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"y"


def test_a_policy_that_is_none_is_refused(s3: Any, bucket: str) -> None:
    other = policy_of(f"{bucket}-other", POLICIES["read for all"])
    misspelt = policy_of(bucket, POLICIES["read for all"]).replace("GetObject", "GetObjet")
    for document in ("{}", "nonsense", other, misspelt, "x" * 21_000):
        with refused("MalformedPolicy", 400):
            s3.put_bucket_policy(Bucket=bucket, Policy=document)
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)


def test_changes_of_one_bucket_at_once_never_undo_each_other(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    document = policy_of(bucket, POLICIES["read for all"])
    clients = [nodes.client(nodes.names[number % len(nodes.names)]) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for turn in range(8):
            rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": [f"https://{turn}.example"]}]
            tags = [{"Key": "turn", "Value": str(turn)}]
            status = ("Enabled", "Suspended")[turn % 2]
            changes: tuple[tuple[str, dict[str, Any]], ...] = (
                ("put_bucket_policy", {"Policy": document + " " * turn}),
                ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": rules}}),
                ("put_bucket_tagging", {"Tagging": {"TagSet": tags}}),
                ("put_bucket_versioning", {"VersioningConfiguration": {"Status": status}}),
            )
            outcomes = [
                pool.submit(outcome, getattr(client, operation), Bucket=bucket, **asked)
                for client, (operation, asked) in zip(clients, changes, strict=True)
            ]
            assert [done.result() for done in outcomes] == ["ok"] * 4
            assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == document + " " * turn
            assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
            assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
            assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


# -- tags


def test_a_buckets_tags_are_kept_and_deleted(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    tags = [{"Key": "größe", "Value": "a b+c"}, {"Key": "x", "Value": ""}]
    for client in everywhere(nodes):
        client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
        assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
        client.delete_bucket_tagging(Bucket=bucket)
        with refused("NoSuchTagSet", 404):
            s3.get_bucket_tagging(Bucket=bucket)
    with refused("InvalidTag", 400):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "aws:x", "Value": ""}]})
    with refused("BadRequest", 400):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": f"k{n}", "Value": ""} for n in range(51)]})
    s3.create_bucket(Bucket=f"{bucket}-tagged", CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket=f"{bucket}-tagged")["TagSet"] == tags


# -- pages of other origins

RULES = [
    {
        "AllowedOrigins": ["https://*.example"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*", "content-type"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
        "ID": "one",
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]


def test_pages_of_other_origins_are_told_what_the_rules_let_them(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    ours, theirs = {"Origin": "https://a.example"}, {"Origin": "https://a.example.net"}
    wish = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "Content-Type, x-amz-date"}
    path = f"/{bucket}/any key".replace(" ", "%20")
    assert nodes.ask("n1", "OPTIONS", path, headers=ours | wish).status == 403
    assert "vary" not in nodes.ask("n1", "GET", f"/{bucket}/k", headers=ours).headers
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    for node in nodes.names:
        assert nodes.client(node).get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
        reply = nodes.ask(node, "OPTIONS", path, headers=ours | wish)
        assert reply.status == 200 and reply.body == b""
        assert reply.headers["access-control-allow-origin"] == "https://a.example"
        assert reply.headers["access-control-allow-methods"] == "GET, PUT"
        assert reply.headers["access-control-allow-headers"] == "content-type, x-amz-date"
        assert reply.headers["access-control-max-age"] == "60"
        refusal = nodes.ask(node, "OPTIONS", path, headers=theirs | wish)
        assert refusal.status == 403 and b"<Code>AccessForbidden</Code>" in refusal.body
        assert "access-control-allow-origin" not in refusal.headers
        for key, status in (("k", 200), ("hidden", 403)):
            reply = nodes.ask(node, "GET", f"/{bucket}/{key}", headers=ours)
            assert reply.status == status
            assert reply.headers["access-control-allow-origin"] == "https://a.example"
            assert reply.headers["access-control-expose-headers"] == "ETag" and "Origin" in reply.headers["vary"]
        reply = nodes.ask(node, "GET", f"/{bucket}/k", headers=theirs)
        assert "access-control-allow-origin" not in reply.headers and "Origin" in reply.headers["vary"]
        reply = nodes.ask(node, "HEAD", f"/{bucket}/k", headers=theirs)
        assert reply.headers["access-control-allow-origin"] == "*"
        assert nodes.ask(node, "OPTIONS", path, headers=ours).status == 400
        assert nodes.ask(node, "OPTIONS", "/never-made/k", headers=ours | wish).status == 403
        assert nodes.ask(node, "OPTIONS", "/", headers=ours | wish).status == 403
    s3.delete_bucket_cors(Bucket=bucket)
    with refused("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)
    with refused("InvalidRequest", 400):
        s3.put_bucket_cors(
            Bucket=bucket, CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}]}
        )


# -- versioning


def test_versioning_that_is_set_through_one_node_is_set_on_all(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    for client in everywhere(nodes):
        assert "Status" not in client.get_bucket_versioning(Bucket=bucket)
    for writer, status in zip(everywhere(nodes) * 2, ("Enabled", "Suspended"), strict=False):
        writer.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        for client in everywhere(nodes):
            assert client.get_bucket_versioning(Bucket=bucket)["Status"] == status
    with refused("NotImplemented", 501):
        s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"}, MFA="serial 123456"
        )
    with refused("IllegalVersioningConfigurationException", 400):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={})
    with refused("NoSuchBucket", 404):
        s3.put_bucket_versioning(Bucket="never-made", VersioningConfiguration={"Status": "Enabled"})
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


# -- what is not offered

UNSET = {
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "website": "NoSuchWebsiteConfiguration",
}
EMPTY = ("accelerate", "logging", "notification", "requestPayment")
NOT_OFFERED = (*UNSET, *EMPTY, "analytics", "inventory", "metrics")


def test_configurations_that_are_not_offered_say_so_and_never_fail(nodes: S3Nodes, bucket: str) -> None:
    def ask(method: str, name: str) -> tuple[int, str]:
        request = AWSRequest(method, f"http://127.0.0.1:{nodes.ports['n1']}/{bucket}?{name}")
        S3SigV4QueryAuth(Credentials("AKIAALICE", KEYS["AKIAALICE"]), "s3", "us-east-1").add_auth(request)
        reply = nodes.ask("n1", method, "/" + request.url.split("/", 3)[3], b"<x/>" if method == "PUT" else None)
        return reply.status, str(ET.fromstring(reply.body).findtext("Code"))

    for name in NOT_OFFERED:
        for method in ("PUT", "DELETE"):
            assert ask(method, name) == (501, "NotImplemented"), (method, name)
        expected = (404, UNSET[name]) if name in UNSET else (501, "NotImplemented")
        assert ask("GET", name) == ((200, "None") if name in EMPTY else expected), name
