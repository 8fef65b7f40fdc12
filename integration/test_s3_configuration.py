"""What buckets are configured with: CORS rules, tags, versioning, and what is not offered. Real nodes and boto3."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from integration.s3_askers import outcome, policy_of
from integration.s3_cluster import KEYS, S3Nodes, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401

READ_FOR_ALL = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "/*"}


def test_changes_of_one_bucket_at_once_never_undo_each_other(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    document = policy_of(bucket, [READ_FOR_ALL])
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
