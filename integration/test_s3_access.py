"""What buckets are configured with, and who may do what to them: real nodes, boto3, two access keys and nobody."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from typing import Any

import botocore
import botocore.exceptions

from integration.s3_cluster import S3Nodes, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401


def who(nodes: S3Nodes, name: str) -> Any:
    """A client of somebody, at some node that is not always the same."""
    node = nodes.names[hash(name) % len(nodes.names)]
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
        s3.put_object_acl(Bucket=bucket, Key=key, ACL="public-read" if grants == 2 else "private")
    with refused("NotImplemented", 501):
        s3.put_object_acl(Bucket=bucket, Key="private", ACL="public-read")
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
