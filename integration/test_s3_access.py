"""What buckets are configured with, and who may do what to them: real nodes, boto3, two access keys and nobody."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from typing import Any

from integration.s3_cluster import S3Nodes, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401

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
