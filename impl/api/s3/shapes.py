"""The values that S3's XML carries, both ways, without the XML: `xml.py` writes and `xml_requests.py` reads them.

Etags are without quotes, times are milliseconds since the epoch, keys are as they are (not percent-encoded). `None`
stands for an element that is not there. Checksums are those of `checksums.py`.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from impl.api.s3.checksums import Algorithm, Checksum, ChecksumType

STANDARD = "STANDARD"
"""The storage class of what names no other."""


class Owner(msgspec.Struct, frozen=True):
    id: str
    display_name: str | None = None


class BucketEntry(msgspec.Struct, frozen=True):
    name: str
    created_at_ms: int
    region: str | None = None


class ListedBuckets(msgspec.Struct, frozen=True):
    owner: Owner
    buckets: list[BucketEntry]
    prefix: str | None = None
    continuation_token: str | None = None


class ObjectEntry(msgspec.Struct, frozen=True):
    key: str
    modified_at_ms: int
    etag: str
    size_bytes: int
    storage_class: str = STANDARD
    owner: Owner | None = None
    checksum_algorithm: Algorithm | None = None
    checksum_type: ChecksumType | None = None


class ListedObjects(msgspec.Struct, frozen=True):
    """ListObjects v1. `next_marker` is None on the last page."""

    bucket: str
    prefix: str
    delimiter: str
    marker: str
    max_keys: int
    objects: list[ObjectEntry]
    common_prefixes: list[str]
    next_marker: str | None = None
    url_encoded: bool = False


class ListedObjectsV2(msgspec.Struct, frozen=True):
    """ListObjects v2. `next_continuation_token` is None on the last page; the other token is the request's."""

    bucket: str
    prefix: str
    delimiter: str
    max_keys: int
    objects: list[ObjectEntry]
    common_prefixes: list[str]
    continuation_token: str | None = None
    next_continuation_token: str | None = None
    start_after: str | None = None
    url_encoded: bool = False


class VersionEntry(msgspec.Struct, frozen=True):
    """A version, or a delete marker: that has `is_delete_marker` set, and neither etag nor size."""

    key: str
    version_id: str
    is_latest: bool
    modified_at_ms: int
    etag: str = ""
    size_bytes: int = 0
    is_delete_marker: bool = False
    storage_class: str = STANDARD
    owner: Owner | None = None
    checksum_algorithm: Algorithm | None = None
    checksum_type: ChecksumType | None = None


class ListedVersions(msgspec.Struct, frozen=True):
    """`next_key_marker` is None on the last page."""

    bucket: str
    prefix: str
    delimiter: str
    key_marker: str
    version_id_marker: str
    max_keys: int
    versions: list[VersionEntry]
    common_prefixes: list[str]
    next_key_marker: str | None = None
    next_version_id_marker: str | None = None
    url_encoded: bool = False


class NewUpload(msgspec.Struct, frozen=True):
    bucket: str
    key: str
    upload_id: str


class CompletedUpload(msgspec.Struct, frozen=True):
    location: str
    bucket: str
    key: str
    etag: str
    checksum: Checksum | None = None


class PostedObject(msgspec.Struct, frozen=True):
    """What a form upload gets with success_action_status 201."""

    location: str
    bucket: str
    key: str
    etag: str


class PartEntry(msgspec.Struct, frozen=True):
    number: int
    modified_at_ms: int
    etag: str
    size_bytes: int
    checksum: Checksum | None = None


class ListedParts(msgspec.Struct, frozen=True):
    """`next_part_number_marker` is None on the last page."""

    bucket: str
    key: str
    upload_id: str
    owner: Owner
    part_number_marker: int
    max_parts: int
    parts: list[PartEntry]
    next_part_number_marker: int | None = None
    storage_class: str = STANDARD
    checksum_algorithm: Algorithm | None = None
    checksum_type: ChecksumType | None = None


class UploadEntry(msgspec.Struct, frozen=True):
    key: str
    upload_id: str
    owner: Owner
    initiated_at_ms: int
    storage_class: str = STANDARD
    checksum_algorithm: Algorithm | None = None
    checksum_type: ChecksumType | None = None


class ListedUploads(msgspec.Struct, frozen=True):
    """`next_key_marker` is None on the last page."""

    bucket: str
    prefix: str
    delimiter: str
    key_marker: str
    upload_id_marker: str
    max_uploads: int
    uploads: list[UploadEntry]
    common_prefixes: list[str]
    next_key_marker: str | None = None
    next_upload_id_marker: str | None = None
    url_encoded: bool = False


class Copied(msgspec.Struct, frozen=True):
    """What a copy became, of an object or to a part."""

    modified_at_ms: int
    etag: str
    checksum: Checksum | None = None


class Deleted(msgspec.Struct, frozen=True):
    """`version_id` is the one that was asked for; a delete that made or removed a marker names that too."""

    key: str
    version_id: str | None = None
    delete_marker: bool = False
    delete_marker_version_id: str | None = None


class NotDeleted(msgspec.Struct, frozen=True):
    key: str
    version_id: str | None
    code: str
    message: str


class DeleteResult(msgspec.Struct, frozen=True):
    """Quiet requests hear of failures only: then `deleted` is empty."""

    deleted: list[Deleted]
    errors: list[NotDeleted]


VersioningStatus = Literal["Enabled", "Suspended"]


class Tag(msgspec.Struct, frozen=True):
    key: str
    value: str


class CorsRule(msgspec.Struct, frozen=True):
    """Who may do what from a page of another origin. Origins and headers may have one `*` each."""

    allowed_origins: tuple[str, ...]
    allowed_methods: tuple[str, ...]
    allowed_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age_s: int | None = None
    id: str | None = None


class CannedAcl(StrEnum):
    """The only access control lists that there are here; bucket policies do the rest."""

    PRIVATE = "private"
    PUBLIC_READ = "public-read"


class AttributeParts(msgspec.Struct, frozen=True):
    """A page of the parts that an object was uploaded in, each with its number and size in bytes."""

    count: int
    part_number_marker: int
    max_parts: int
    parts: list[tuple[int, int]]
    next_part_number_marker: int | None = None


class ObjectAttributes(msgspec.Struct, frozen=True):
    """What was asked for of an object's attributes; None for what was not, or is not there."""

    etag: str | None = None
    checksum: Checksum | None = None
    parts: AttributeParts | None = None
    storage_class: str | None = None
    size_bytes: int | None = None


class CompletePart(msgspec.Struct, frozen=True):
    number: int
    etag: str
    checksum: Checksum | None = None


class DeleteTarget(msgspec.Struct, frozen=True):
    """What to delete, and on which conditions beside the version."""

    key: str
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None
    modified_at_s: int | None = None


class DeleteRequest(msgspec.Struct, frozen=True):
    objects: tuple[DeleteTarget, ...]
    quiet: bool = False


class CreateBucket(msgspec.Struct, frozen=True):
    location: str | None = None
    tags: tuple[Tag, ...] = ()
