"""Who may do what over S3, without policies: real nodes, boto3, two access keys and nobody."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from typing import Any

from integration.s3_askers import outcome, policy_of, who
from integration.s3_cluster import S3Nodes, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401


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
