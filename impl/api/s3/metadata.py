"""What S3 keeps beside an object's bytes: from a request's headers to a head's attributes, and to headers again. Pure.

Attributes have the names of their headers in lower case, but for the sizes of an upload's parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final
from urllib.parse import quote

from impl.api.s3 import xml_requests
from impl.api.s3.checksums import Algorithm, Checksum, ChecksumType, read_value
from impl.api.s3.chunked import stored_encoding
from impl.api.s3.errors import (
    AccessControlListNotSupported,
    InvalidArgument,
    InvalidStorageClass,
    MetadataTooLarge,
    MissingSecurityHeader,
    NotImplementedByS3,
    UnexpectedContent,
)
from impl.api.s3.shapes import CannedAcl, Tag
from impl.api.s3.tags import tags_of_header
from impl.model import Attributes

CONTENT_TYPE_DEFAULT: Final = "binary/octet-stream"
USER_METADATA_BYTES_MAX: Final = 2048
_USER: Final = "x-amz-meta-"
_STORAGE_CLASS: Final = "x-amz-storage-class"
_KEPT: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
_STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
_ACL: Final = "x-amz-acl"
_CANNED_ACLS: Final = {
    "private": CannedAcl.PRIVATE,
    "public-read": CannedAcl.PUBLIC_READ,
    "bucket-owner-full-control": CannedAcl.PRIVATE,
    "bucket-owner-read": CannedAcl.PRIVATE,
}
"""All objects belong to the bucket's owner: so what grants something to that owner is private."""
_TAGGING: Final = "x-amz-tagging"
_NOT_IMPLEMENTED: Final = ("x-amz-server-side-encryption", "x-amz-object-lock-")
_PART_SIZES: Final = "part-sizes"
CHECKSUM_TYPE: Final = "x-amz-checksum-type"
TAGGING_COUNT: Final = "x-amz-tagging-count"
_TAGGING_DIRECTIVE: Final = "x-amz-tagging-directive"


def refuse_unsupported(headers: Mapping[str, str]) -> None:
    """Raises NotImplementedByS3 or AccessControlListNotSupported for headers whose wish would not be granted."""
    for name in headers:
        if name.startswith(_NOT_IMPLEMENTED):
            raise NotImplementedByS3(Header=name)
        if name.startswith("x-amz-grant-"):
            raise AccessControlListNotSupported(Header=name)
    if headers.get(_ACL, "private") not in _CANNED_ACLS:
        raise AccessControlListNotSupported(ArgumentName=_ACL, ArgumentValue=headers[_ACL][:200])


def acl_of_request(headers: Mapping[str, str]) -> CannedAcl:
    """The ACL that x-amz-acl asks for. Raises what `refuse_unsupported` does."""
    refuse_unsupported(headers)
    return _CANNED_ACLS[headers.get(_ACL, "private")]


def acl_asked(headers: Mapping[str, str], document: bytes) -> CannedAcl:
    """The ACL that a request asks for whose purpose that is, in x-amz-acl or in a document ("": none).

    Raises MissingSecurityHeader, UnexpectedContent, MalformedACLError, AccessControlListNotSupported.
    """
    if _ACL in headers and document:
        raise UnexpectedContent()
    if document:
        return xml_requests.access_control_policy(document)
    acl = acl_of_request(headers)
    if _ACL not in headers:
        raise MissingSecurityHeader(MissingHeaderName=_ACL)
    return acl


def of_acl(acl: CannedAcl) -> Attributes:
    """The attributes that keep an object's ACL; private needs none."""
    return () if acl is CannedAcl.PRIVATE else ((_ACL, acl.value),)


def with_acl(attributes: Attributes, acl: CannedAcl) -> Attributes:
    """The attributes with another ACL."""
    return (*(pair for pair in attributes if pair[0] != _ACL), *of_acl(acl))


def tags_of(attributes: Attributes) -> Sequence[Tag]:
    """An object's tags."""
    return tags_of_header(dict(attributes).get(_TAGGING, ""))


def takes_tags(headers: Mapping[str, str]) -> bool:
    """Does a copy have its source's tags? If not, those that the request has. Raises InvalidArgument."""
    directive = headers.get(_TAGGING_DIRECTIVE, "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise InvalidArgument("Unknown tagging directive.", ArgumentName=_TAGGING_DIRECTIVE)
    return directive == "COPY"


def tags_of_copy(headers: Mapping[str, str], source: Attributes) -> Sequence[Tag]:
    """The tags of a copy. Raises what `takes_tags` and `tags_of_header` do."""
    return tags_of(source) if takes_tags(headers) else tags_of_header(headers.get(_TAGGING, ""))


def with_tags(attributes: Attributes, tags: Sequence[Tag]) -> Attributes:
    """The attributes with other tags: as the header x-amz-tagging has them."""
    others = tuple(pair for pair in attributes if pair[0] != _TAGGING)
    encoded = "&".join(f"{quote(tag.key, safe='')}={quote(tag.value, safe='')}" for tag in tags)
    return (*others, (_TAGGING, encoded)) if tags else others


def acl_of(attributes: Attributes) -> CannedAcl:
    """The ACL that an object was written with."""
    return CannedAcl(dict(attributes).get(_ACL, CannedAcl.PRIVATE))


def of_request(headers: Mapping[str, str]) -> Attributes:
    """The attributes that a PUT, a copy with REPLACE or a new upload asks for.

    Raises MetadataTooLarge, InvalidStorageClass, and what `refuse_unsupported` does.
    """
    refuse_unsupported(headers)
    kept = [(name, headers[name]) for name in _KEPT if headers.get(name)]
    encoding = stored_encoding(headers.get("content-encoding", ""))
    kept = [pair for pair in kept if pair[0] != "content-encoding"]
    if encoding:
        kept.append(("content-encoding", encoding))
    if (storage_class := headers.get(_STORAGE_CLASS, "STANDARD")) != "STANDARD":
        if storage_class not in _STORAGE_CLASSES:
            raise InvalidStorageClass(StorageClassRequested=storage_class[:80])
        kept.append((_STORAGE_CLASS, storage_class))
    user = [(name, value) for name, value in headers.items() if name.startswith(_USER)]
    size_bytes = sum(len(name) - len(_USER) + len(value) for name, value in user)
    if size_bytes > USER_METADATA_BYTES_MAX:
        raise MetadataTooLarge(Size=size_bytes, MaxSizeAllowed=USER_METADATA_BYTES_MAX)
    tags = with_tags((), tags_of_header(headers.get(_TAGGING, "")))
    return (*kept, *user, *of_acl(_CANNED_ACLS[headers.get(_ACL, "private")]), *tags)


def content_type(headers: Mapping[str, str]) -> str:
    """The media type to keep."""
    said = headers.get("content-type") or CONTENT_TYPE_DEFAULT
    if len(said) > 1024:
        raise InvalidArgument("the content type has more than 1024 characters", ArgumentName="content-type")
    return said


def of_checksum(checksum: Checksum | None) -> Attributes:
    """The attributes that keep a checksum."""
    if checksum is None:
        return ()
    return ((checksum.algorithm.header, checksum.value), (CHECKSUM_TYPE, checksum.type.value))


def checksum_in(attributes: Attributes) -> Checksum | None:
    """The checksum that an object was stored with."""
    found = dict(attributes)
    for algorithm in Algorithm:
        if value := found.get(algorithm.header):
            checksum = read_value(algorithm, value, of_upload=True)
            return Checksum(algorithm, value, ChecksumType(found.get(CHECKSUM_TYPE, checksum.type)))
    return None


def of_part_sizes(sizes: Sequence[int]) -> Attributes:
    """The attribute that keeps the sizes of an upload's parts, equal ones that follow each other counted."""
    runs = [(size, len(list(run))) for size, run in groupby(sizes)]
    return ((_PART_SIZES, ",".join(f"{size}*{count}" for size, count in runs)),)


def part_sizes(attributes: Attributes) -> list[int]:
    """The sizes of the parts that an object was uploaded in, none if it was not."""
    sizes: list[int] = []
    for run in filter(None, dict(attributes).get(_PART_SIZES, "").split(",")):
        size, _, count = run.partition("*")
        sizes += [int(size)] * int(count)
    return sizes


def without_checksum(attributes: Attributes) -> Attributes:
    """The attributes that a copy takes along: what depends neither on the bytes nor on who may read them."""
    gone = {CHECKSUM_TYPE, _PART_SIZES, _ACL, *(algorithm.header for algorithm in Algorithm)}
    return tuple(pair for pair in attributes if pair[0] not in gone)


def header_pairs(attributes: Attributes, with_checksum: bool) -> Iterable[tuple[str, str]]:
    """The attributes as headers of an answer; of tags, how many."""
    shown = attributes if with_checksum else without_checksum(attributes)
    tags = len(tags_of(attributes))
    count = ((TAGGING_COUNT, str(tags)),) if tags else ()
    return (*(pair for pair in shown if pair[0] not in (_PART_SIZES, _ACL, _TAGGING)), *count)


def storage_class(attributes: Attributes) -> str:
    """The storage class as lists tell it."""
    return dict(attributes).get(_STORAGE_CLASS, "STANDARD")


def header_text(text: str) -> str:
    """A text from a URL or a form as a header's value: its UTF-8, one character a byte.

    Raises InvalidArgument for control characters.
    """
    if not text.isprintable() and any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidArgument("a response header cannot hold control characters", ArgumentValue=quote(text[:200]))
    return text.encode().decode("latin-1")
