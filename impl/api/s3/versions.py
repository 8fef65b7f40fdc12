"""Versions of objects as S3 names them, and what answers say of them. Pure.

A version's id is the generation of its path that made it, in decimal digits, or `null` for the one that writes make
while a bucket's versioning is not enabled. So a retry finds the id that it made the first time.
"""

from typing import Final

from impl.api.http.exchange import HeaderPairs
from impl.api.node_face import Made, Written
from impl.api.s3.bucket import Bucket
from impl.api.s3.call import http_time
from impl.api.s3.errors import InvalidArgument, InvalidRequest, MethodNotAllowed, NoSuchKey, NoSuchVersion
from impl.api.versions import NULL, no_room, spelled
from impl.model import NULL_VERSION, Head

_DIGITS_MAX: Final = 18
ID: Final = "x-amz-version-id"
SOURCE_ID: Final = "x-amz-copy-source-version-id"
MARKER: Final = "x-amz-delete-marker"
GENERATION: Final = "x-amberio-generation"


def read(text: str) -> int:
    """The version that a client names. Raises InvalidArgument for what can be none of ours."""
    if text == NULL:
        return NULL_VERSION
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX) or text.startswith("0"):
        raise InvalidArgument(
            "Invalid version id specified", ArgumentName="versionId", ArgumentValue=text[:200] or "(empty)"
        )
    return int(text)


def asked(arguments: dict[str, str]) -> int | None:
    """The version that a request is about; None for the current one. Raises InvalidArgument."""
    return read(arguments["versionId"]) if "versionId" in arguments else None


def is_versioned(bucket: Bucket) -> bool:
    """Does a write make a version of its own?"""
    return bucket.versioning == "Enabled"


def told_of_head(bucket: Bucket, head: Head) -> HeaderPairs:
    """What a read's answer says of the version that it is of."""
    return (*_id(bucket, head.version), *(((MARKER, "true"),) if head.marker else ()), _generation(head.generation))


def told_of_write(bucket: Bucket, written: Made) -> HeaderPairs:
    """What a write's answer says of the version that it made."""
    return (*_id(bucket, written.version), _generation(written.generation))


def told_of_delete(bucket: Bucket, written: Written, asked: int | None) -> HeaderPairs:
    """What a delete's answer says of the version that it was `asked` to remove, or of the marker that it made."""
    is_marker = marker_of(written) is not None
    version = written.version if asked is None else asked
    return (*(((MARKER, "true"),) if is_marker else ()), *_id(bucket, version), _generation(written.generation))


def told_of_copy(bucket: Bucket, written: Written, source: Head) -> HeaderPairs:
    """What a copy's answer says of the version that it made, and of the one that it is of."""
    of_source = () if source.version == NULL_VERSION else ((SOURCE_ID, spelled(source.version)),)
    return (*of_source, *told_of_write(bucket, written))


def marker_of(written: Written) -> str | None:
    """The id of the delete marker that a delete made or removed; None if it was about none."""
    return spelled(written.version) if written.marker and written.outcome != "unchanged" else None


def _id(bucket: Bucket, version: int) -> HeaderPairs:
    return () if not bucket.versioning and version == NULL_VERSION else ((ID, spelled(version)),)


def _generation(generation: int) -> tuple[str, str]:
    return (GENERATION, str(generation))


def named(bucket: Bucket, key: str, head: Head | None, version: int | None) -> Head:
    """The object as it is read: its current version, or the one that is named.

    Raises NoSuchKey, NoSuchVersion; and MethodNotAllowed for a delete marker that is named.
    """
    if version is None:
        if head is None or head.current is None:
            raise NoSuchKey(headers=(_generation(head.generation if head else 0),), Key=key)
        if head.marker:
            raise NoSuchKey(headers=told_of_head(bucket, head), Key=key)
        return head
    found = head.at(version) if head is not None else None
    if found is None:
        now = _generation(head.generation if head else 0)
        raise NoSuchVersion(headers=(now,), Key=key, VersionId=spelled(version))
    if found.marker:
        made_at = ("last-modified", http_time(found.updated_at_ms))
        about = (*told_of_head(bucket, found), ("allow", "DELETE"), made_at)
        raise MethodNotAllowed(headers=about, Method="GET", ResourceType="DeleteMarker")
    return found


def check_room(head: Head | None, parts: int) -> None:
    """Raises InvalidRequest when an object has as many versions as it may."""
    if (fault := no_room(head, parts)) is not None:
        raise InvalidRequest(fault)
