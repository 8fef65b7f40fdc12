"""What bucket policies let whom do: real nodes, boto3, two access keys and nobody."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from pathlib import Path
from typing import Any

import pytest

from integration.cluster import running
from integration.s3_askers import outcome, policy_of, who
from integration.s3_cluster import S3Nodes, cluster, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401

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


def test_a_node_that_was_away_when_a_policy_changed_obeys_it_when_it_is_back(tmp_path: Path) -> None:
    with running(cluster(tmp_path, 3)) as nodes:
        assert isinstance(nodes, S3Nodes)
        owner = nodes.client("n1")
        owner.create_bucket(Bucket="kept")
        owner.put_object(Bucket="kept", Key="k", Body=b"x")
        owner.put_bucket_policy(Bucket="kept", Policy=policy_of("kept", POLICIES["read for all"]))
        assert nodes.ask("n3", "GET", "/kept/k").status == 200
        nodes.kill("n3")
        owner.delete_bucket_policy(Bucket="kept")
        assert nodes.ask("n2", "GET", "/kept/k").status == 403
        nodes.start("n3")
        assert nodes.ask("n3", "GET", "/kept/k").status == 403
