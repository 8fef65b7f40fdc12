"""What metrics and logs call the operations of S3: AWS's names, as SDKs write them in Python."""

from collections.abc import Mapping
from typing import Final

from impl.api.s3.access import Place

NAMES: Final[dict[Place, str]] = {
    ("GET", "service", ""): "list_buckets",
    ("PUT", "bucket", ""): "create_bucket",
    ("HEAD", "bucket", ""): "head_bucket",
    ("DELETE", "bucket", ""): "delete_bucket",
    ("GET", "bucket", ""): "list_objects",
    ("GET", "bucket", "versions"): "list_object_versions",
    ("GET", "bucket", "uploads"): "list_multipart_uploads",
    ("GET", "bucket", "location"): "get_bucket_location",
    ("GET", "bucket", "versioning"): "get_bucket_versioning",
    ("PUT", "bucket", "versioning"): "put_bucket_versioning",
    ("GET", "bucket", "acl"): "get_bucket_acl",
    ("PUT", "bucket", "acl"): "put_bucket_acl",
    ("GET", "bucket", "policy"): "get_bucket_policy",
    ("PUT", "bucket", "policy"): "put_bucket_policy",
    ("DELETE", "bucket", "policy"): "delete_bucket_policy",
    ("GET", "bucket", "policyStatus"): "get_bucket_policy_status",
    ("GET", "bucket", "cors"): "get_bucket_cors",
    ("PUT", "bucket", "cors"): "put_bucket_cors",
    ("DELETE", "bucket", "cors"): "delete_bucket_cors",
    ("GET", "bucket", "tagging"): "get_bucket_tagging",
    ("PUT", "bucket", "tagging"): "put_bucket_tagging",
    ("DELETE", "bucket", "tagging"): "delete_bucket_tagging",
    ("GET", "bucket", "lifecycle"): "get_bucket_lifecycle_configuration",
    ("GET", "bucket", "website"): "get_bucket_website",
    ("GET", "bucket", "logging"): "get_bucket_logging",
    ("GET", "bucket", "notification"): "get_bucket_notification_configuration",
    ("GET", "bucket", "accelerate"): "get_bucket_accelerate_configuration",
    ("GET", "bucket", "requestPayment"): "get_bucket_request_payment",
    ("GET", "bucket", "encryption"): "get_bucket_encryption",
    ("GET", "bucket", "object-lock"): "get_object_lock_configuration",
    ("GET", "bucket", "publicAccessBlock"): "get_public_access_block",
    ("GET", "bucket", "ownershipControls"): "get_bucket_ownership_controls",
    ("GET", "bucket", "replication"): "get_bucket_replication",
    ("POST", "bucket", "delete"): "delete_objects",
    ("POST", "bucket", ""): "post_object",
    ("GET", "object", ""): "get_object",
    ("HEAD", "object", ""): "head_object",
    ("PUT", "object", ""): "put_object",
    ("DELETE", "object", ""): "delete_object",
    ("GET", "object", "acl"): "get_object_acl",
    ("PUT", "object", "acl"): "put_object_acl",
    ("GET", "object", "tagging"): "get_object_tagging",
    ("PUT", "object", "tagging"): "put_object_tagging",
    ("DELETE", "object", "tagging"): "delete_object_tagging",
    ("GET", "object", "attributes"): "get_object_attributes",
    ("POST", "object", "uploads"): "create_multipart_upload",
    ("PUT", "object", "uploadId"): "upload_part",
    ("POST", "object", "uploadId"): "complete_multipart_upload",
    ("GET", "object", "uploadId"): "list_parts",
    ("DELETE", "object", "uploadId"): "abort_multipart_upload",
}
_COPIES: Final = {"put_object": "copy_object", "upload_part": "upload_part_copy"}


def name_of(place: Place, headers: Mapping[bytes, bytes]) -> str:
    """The name of the operation at a place that is served; a copy is a put with a source."""
    name = NAMES[place]
    if b"x-amz-copy-source" in headers:
        name = _COPIES.get(name, name)
    return f"s3_{name}"
