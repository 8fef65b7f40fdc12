"""The XML that S3 answers with: its elements, in its order, in its namespace. What strangers send is read elsewhere.

Written as text and escaped by the standard library, because a page of a list has thousands of elements and a tree of
them costs several times as much.
"""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

from impl.api.s3.checksums import Algorithm, Checksum, ChecksumType
from impl.api.s3.shapes import (
    AttributeParts,
    BucketEntry,
    CannedAcl,
    CompletedUpload,
    Copied,
    CorsRule,
    Deleted,
    DeleteResult,
    ListedBuckets,
    ListedObjects,
    ListedObjectsV2,
    ListedParts,
    ListedUploads,
    ListedVersions,
    NewUpload,
    NotDeleted,
    ObjectAttributes,
    ObjectEntry,
    Owner,
    PartEntry,
    PostedObject,
    Tag,
    UploadEntry,
    VersionEntry,
    VersioningStatus,
)
from impl.api.s3.text import PLAIN, iso_time, xml_text

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
ALL_USERS: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
CONTENT_TYPE: Final = "application/xml"

_Encode = Callable[[str], str]


def list_buckets(listed: ListedBuckets) -> bytes:
    return _document(
        "ListAllMyBucketsResult",
        _owner(listed.owner),
        f"<Buckets>{''.join(map(_bucket, listed.buckets))}</Buckets>",
        _text("Prefix", listed.prefix),
        _text("ContinuationToken", listed.continuation_token),
    )


def list_objects(listed: ListedObjects) -> bytes:
    """As S3 does, NextMarker is there only with a delimiter: without one it is the last key."""
    name = _name_encoding(listed.url_encoded)
    return _document(
        "ListBucketResult",
        _text("Name", listed.bucket),
        _text("Prefix", name(listed.prefix)),
        _text("Marker", name(listed.marker)),
        _text("NextMarker", name(listed.next_marker)) if listed.next_marker and listed.delimiter else "",
        f"<MaxKeys>{listed.max_keys}</MaxKeys>",
        _delimiter_and_encoding(listed.delimiter, listed.url_encoded),
        _flag("IsTruncated", listed.next_marker is not None),
        *(_object(entry, name) for entry in listed.objects),
        *_common_prefixes(listed.common_prefixes, name),
    )


def list_objects_v2(listed: ListedObjectsV2) -> bytes:
    name = _name_encoding(listed.url_encoded)
    return _document(
        "ListBucketResult",
        _text("Name", listed.bucket),
        _text("Prefix", name(listed.prefix)),
        _text("StartAfter", name(listed.start_after)) if listed.start_after else "",
        _text("ContinuationToken", listed.continuation_token),
        _text("NextContinuationToken", listed.next_continuation_token),
        f"<KeyCount>{len(listed.objects) + len(listed.common_prefixes)}</KeyCount>",
        f"<MaxKeys>{listed.max_keys}</MaxKeys>",
        _delimiter_and_encoding(listed.delimiter, listed.url_encoded),
        _flag("IsTruncated", listed.next_continuation_token is not None),
        *(_object(entry, name) for entry in listed.objects),
        *_common_prefixes(listed.common_prefixes, name),
    )


def list_versions(listed: ListedVersions) -> bytes:
    name = _name_encoding(listed.url_encoded)
    return _document(
        "ListVersionsResult",
        _text("Name", listed.bucket),
        _text("Prefix", name(listed.prefix)),
        _text("KeyMarker", name(listed.key_marker)),
        _text("VersionIdMarker", listed.version_id_marker),
        _text("NextKeyMarker", name(listed.next_key_marker)) if listed.next_key_marker else "",
        _text("NextVersionIdMarker", listed.next_version_id_marker),
        f"<MaxKeys>{listed.max_keys}</MaxKeys>",
        _delimiter_and_encoding(listed.delimiter, listed.url_encoded),
        _flag("IsTruncated", listed.next_key_marker is not None),
        *(_version(entry, name) for entry in listed.versions),
        *_common_prefixes(listed.common_prefixes, name),
    )


def new_upload(upload: NewUpload) -> bytes:
    return _document(
        "InitiateMultipartUploadResult",
        _text("Bucket", upload.bucket),
        _text("Key", upload.key),
        _text("UploadId", upload.upload_id),
    )


def completed_upload(completed: CompletedUpload) -> bytes:
    return _document(
        "CompleteMultipartUploadResult",
        _text("Location", completed.location),
        _text("Bucket", completed.bucket),
        _text("Key", completed.key),
        _etag(completed.etag),
        _checksum(completed.checksum),
        _text("ChecksumType", completed.checksum.type) if completed.checksum else "",
    )


def posted_object(posted: PostedObject) -> bytes:
    return _document(
        "PostResponse",
        _text("Location", posted.location),
        _text("Bucket", posted.bucket),
        _text("Key", posted.key),
        _etag(posted.etag),
        namespace=None,
    )


def list_parts(listed: ListedParts) -> bytes:
    following = listed.next_part_number_marker
    return _document(
        "ListPartsResult",
        _text("Bucket", listed.bucket),
        _text("Key", listed.key),
        _text("UploadId", listed.upload_id),
        _owner(listed.owner, "Initiator"),
        _owner(listed.owner),
        _text("StorageClass", listed.storage_class),
        f"<PartNumberMarker>{listed.part_number_marker}</PartNumberMarker>",
        "" if following is None else f"<NextPartNumberMarker>{following}</NextPartNumberMarker>",
        f"<MaxParts>{listed.max_parts}</MaxParts>",
        _flag("IsTruncated", following is not None),
        _checksum_kind(listed.checksum_algorithm, listed.checksum_type),
        *map(_part, listed.parts),
    )


def object_attributes(told: ObjectAttributes) -> bytes:
    """Here, and only here, S3 writes an etag without quotes."""
    checksum = told.checksum
    return _document(
        "GetObjectAttributesResponse",
        _text("ETag", told.etag),
        f"<Checksum>{_checksum(checksum)}{_text('ChecksumType', checksum.type)}</Checksum>" if checksum else "",
        _attribute_parts(told.parts) if told.parts else "",
        _text("StorageClass", told.storage_class),
        "" if told.size_bytes is None else f"<ObjectSize>{told.size_bytes}</ObjectSize>",
    )


def _attribute_parts(parts: AttributeParts) -> str:
    following = parts.next_part_number_marker
    listed = (f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size></Part>" for number, size in parts.parts)
    return (
        f"<ObjectParts>{_flag('IsTruncated', following is not None)}<MaxParts>{parts.max_parts}</MaxParts>"
        f"{'' if following is None else f'<NextPartNumberMarker>{following}</NextPartNumberMarker>'}"
        f"<PartNumberMarker>{parts.part_number_marker}</PartNumberMarker>{''.join(listed)}"
        f"<PartsCount>{parts.count}</PartsCount></ObjectParts>"
    )


def list_uploads(listed: ListedUploads) -> bytes:
    name = _name_encoding(listed.url_encoded)
    return _document(
        "ListMultipartUploadsResult",
        _text("Bucket", listed.bucket),
        _text("KeyMarker", name(listed.key_marker)),
        _text("UploadIdMarker", listed.upload_id_marker),
        _text("NextKeyMarker", name(listed.next_key_marker)) if listed.next_key_marker else "",
        _text("NextUploadIdMarker", listed.next_upload_id_marker),
        _text("Prefix", name(listed.prefix)),
        f"<MaxUploads>{listed.max_uploads}</MaxUploads>",
        _delimiter_and_encoding(listed.delimiter, listed.url_encoded),
        _flag("IsTruncated", listed.next_key_marker is not None),
        *(_upload(entry, name) for entry in listed.uploads),
        *_common_prefixes(listed.common_prefixes, name),
    )


def copied_object(copied: Copied) -> bytes:
    return _copied("CopyObjectResult", copied, with_type=True)


def copied_part(copied: Copied) -> bytes:
    return _copied("CopyPartResult", copied, with_type=False)


def _copied(root: str, copied: Copied, with_type: bool) -> bytes:
    return _document(
        root,
        _time("LastModified", copied.modified_at_ms),
        _etag(copied.etag),
        _text("ChecksumType", copied.checksum.type) if copied.checksum and with_type else "",
        _checksum(copied.checksum),
    )


def delete_result(result: DeleteResult) -> bytes:
    return _document("DeleteResult", *map(_deleted, result.deleted), *map(_not_deleted, result.errors))


def location_constraint(region: str) -> bytes:
    """Buckets of us-east-1 have an empty one."""
    return _document("LocationConstraint", "" if region == "us-east-1" else xml_text(region))


def versioning_configuration(status: VersioningStatus | None) -> bytes:
    """None for a bucket whose versioning was never set."""
    return _document("VersioningConfiguration", _text("Status", status))


def tagging(tags: Iterable[Tag]) -> bytes:
    inner = "".join(f"<Tag>{_text('Key', tag.key)}{_text('Value', tag.value)}</Tag>" for tag in tags)
    return _document("Tagging", f"<TagSet>{inner}</TagSet>")


def nothing_set(root: str) -> bytes:
    """A bucket's configuration of something that nobody has set; what it is then."""
    return _document(root, "<Payer>BucketOwner</Payer>" if root == "RequestPaymentConfiguration" else "")


def policy_status(is_public: bool) -> bytes:
    return _document("PolicyStatus", _flag("IsPublic", is_public))


def cors_configuration(rules: Iterable[CorsRule]) -> bytes:
    return _document("CORSConfiguration", *map(_cors_rule, rules))


def access_control_policy(owner: Owner, acl: CannedAcl) -> bytes:
    grants = _grant("CanonicalUser", _identity(owner), "FULL_CONTROL")
    if acl is CannedAcl.PUBLIC_READ:
        grants += _grant("Group", f"<URI>{ALL_USERS}</URI>", "READ")
    return _document("AccessControlPolicy", _owner(owner), f"<AccessControlList>{grants}</AccessControlList>")


def _document(root: str, *inner: str, namespace: str | None = NAMESPACE) -> bytes:
    declared = f' xmlns="{namespace}"' if namespace else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{declared}>{"".join(inner)}</{root}>'.encode()


def _text(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{xml_text(text)}</{name}>"


def _flag(name: str, value: bool) -> str:
    return f"<{name}>{'true' if value else 'false'}</{name}>"


def _time(name: str, at_ms: int) -> str:
    return f"<{name}>{iso_time(at_ms)}</{name}>"


def _etag(etag: str) -> str:
    return f"<ETag>&quot;{xml_text(etag)}&quot;</ETag>"


def _name_encoding(url_encoded: bool) -> _Encode:
    return _url_encode if url_encoded else str


def _url_encode(name: str) -> str:
    """A space is `%20`, which decoders of forms and of paths both understand."""
    return name if PLAIN.fullmatch(name) else quote(name, safe="/")


def _delimiter_and_encoding(delimiter: str, url_encoded: bool) -> str:
    name = _name_encoding(url_encoded)
    shown = _text("Delimiter", name(delimiter)) if delimiter else ""
    return shown + ("<EncodingType>url</EncodingType>" if url_encoded else "")


def _common_prefixes(prefixes: Iterable[str], name: _Encode) -> Iterable[str]:
    return (f"<CommonPrefixes>{_text('Prefix', name(prefix))}</CommonPrefixes>" for prefix in prefixes)


def _identity(owner: Owner) -> str:
    return _text("ID", owner.id) + _text("DisplayName", owner.display_name)


def _owner(owner: Owner | None, name: str = "Owner") -> str:
    return f"<{name}>{_identity(owner)}</{name}>" if owner else ""


def _bucket(bucket: BucketEntry) -> str:
    created = _time("CreationDate", bucket.created_at_ms)
    return f"<Bucket>{_text('Name', bucket.name)}{created}{_text('BucketRegion', bucket.region)}</Bucket>"


def _checksum_kind(algorithm: Algorithm | None, checksum_type: ChecksumType | None) -> str:
    return _text("ChecksumAlgorithm", algorithm) + _text("ChecksumType", checksum_type)


def _checksum(checksum: Checksum | None) -> str:
    return _text(f"Checksum{checksum.algorithm}", checksum.value) if checksum else ""


def _object(entry: ObjectEntry, name: _Encode) -> str:
    return (
        f"<Contents><Key>{xml_text(name(entry.key))}</Key>{_time('LastModified', entry.modified_at_ms)}"
        f"{_etag(entry.etag)}{_checksum_kind(entry.checksum_algorithm, entry.checksum_type)}"
        f"<Size>{entry.size_bytes}</Size>{_owner(entry.owner)}{_text('StorageClass', entry.storage_class)}</Contents>"
    )


def _version(entry: VersionEntry, name: _Encode) -> str:
    named = (
        f"{_text('Key', name(entry.key))}{_text('VersionId', entry.version_id)}{_flag('IsLatest', entry.is_latest)}"
        f"{_time('LastModified', entry.modified_at_ms)}"
    )
    if entry.is_delete_marker:
        return f"<DeleteMarker>{named}{_owner(entry.owner)}</DeleteMarker>"
    return (
        f"<Version>{named}{_etag(entry.etag)}{_checksum_kind(entry.checksum_algorithm, entry.checksum_type)}"
        f"<Size>{entry.size_bytes}</Size>{_text('StorageClass', entry.storage_class)}{_owner(entry.owner)}</Version>"
    )


def _part(part: PartEntry) -> str:
    return (
        f"<Part><PartNumber>{part.number}</PartNumber>{_time('LastModified', part.modified_at_ms)}"
        f"{_etag(part.etag)}<Size>{part.size_bytes}</Size>{_checksum(part.checksum)}</Part>"
    )


def _upload(upload: UploadEntry, name: _Encode) -> str:
    return (
        f"<Upload>{_text('Key', name(upload.key))}{_text('UploadId', upload.upload_id)}"
        f"{_owner(upload.owner, 'Initiator')}{_owner(upload.owner)}{_text('StorageClass', upload.storage_class)}"
        f"{_time('Initiated', upload.initiated_at_ms)}"
        f"{_checksum_kind(upload.checksum_algorithm, upload.checksum_type)}</Upload>"
    )


def _deleted(deleted: Deleted) -> str:
    marker = _flag("DeleteMarker", True) if deleted.delete_marker else ""
    return (
        f"<Deleted>{_text('Key', deleted.key)}{_text('VersionId', deleted.version_id)}{marker}"
        f"{_text('DeleteMarkerVersionId', deleted.delete_marker_version_id)}</Deleted>"
    )


def _not_deleted(failed: NotDeleted) -> str:
    return (
        f"<Error>{_text('Key', failed.key)}{_text('VersionId', failed.version_id)}{_text('Code', failed.code)}"
        f"{_text('Message', failed.message)}</Error>"
    )


def _cors_rule(rule: CorsRule) -> str:
    return "".join(
        (
            "<CORSRule>",
            _text("ID", rule.id),
            *(_text("AllowedOrigin", origin) for origin in rule.allowed_origins),
            *(_text("AllowedMethod", method) for method in rule.allowed_methods),
            *(_text("AllowedHeader", header) for header in rule.allowed_headers),
            *(_text("ExposeHeader", header) for header in rule.expose_headers),
            "" if rule.max_age_s is None else f"<MaxAgeSeconds>{rule.max_age_s}</MaxAgeSeconds>",
            "</CORSRule>",
        )
    )


def _grant(kind: str, grantee: str, permission: str) -> str:
    return (
        f'<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{kind}">{grantee}</Grantee>'
        f"<Permission>{permission}</Permission></Grant>"
    )
