"""The XML documents of S3: those it answers with, and those that clients send. Pure.

Names in lists are percent-encoded if the client asked for it (`encoding-type=url`), else escaped as XML wants.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from impl.api.s3.checksums import Algorithm, Checksum, read_value
from impl.api.s3.credentials import Identity
from impl.api.s3.errors import MalformedXML
from impl.api.s3.text import iso_time, xml_text

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
DELETES_MAX: Final = 1000
PARTS_MAX: Final = 10_000
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XSI: Final = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'


# -- writing


def leaf(name: str, value: str | int | bool | None) -> str:
    """An element with a text; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"<{name}>{xml_text(str(value))}</{name}>"


def document(name: str, *inner: str) -> bytes:
    """A whole document, its root in S3's namespace."""
    return f'{_HEAD}<{name} xmlns="{NAMESPACE}">{"".join(inner)}</{name}>'.encode()


def empty(name: str) -> bytes:
    """A document with nothing in it."""
    return document(name)


def owner_id(access_key_id: str) -> str:
    """A canonical user id: 64 hex digits."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()


def owner(name: str, access_key_id: str, display_name: str = "", attributes: str = "") -> str:
    """Somebody, as owner, initiator or grantee."""
    opening = f"{name} {attributes}" if attributes else name
    told = leaf("ID", owner_id(access_key_id)) + leaf("DisplayName", display_name or access_key_id or "anonymous")
    return f"<{opening}>{told}</{name}>"


def buckets(rows: Iterable[tuple[str, int, str]], identity: Identity, token: str | None, prefix: str) -> bytes:
    """ListBuckets: (name, created, region) of each."""
    listed = "".join(
        f"<Bucket>{leaf('Name', name)}{leaf('CreationDate', iso_time(created_ms))}{leaf('BucketRegion', region)}"
        "</Bucket>"
        for name, created_ms, region in rows
    )
    who = owner("Owner", identity.access_key_id, identity.name)
    rest = leaf("ContinuationToken", token) + leaf("Prefix", prefix or None)
    return document("ListAllMyBucketsResult", who, f"<Buckets>{listed}</Buckets>", rest)


def location(region: str) -> bytes:
    """GetBucketLocation."""
    return document("LocationConstraint", xml_text(region))


def private_acl(access_key_id: str) -> bytes:
    """An ACL that gives its owner everything, and nobody else anything."""
    grantee = owner("Grantee", access_key_id, attributes=_XSI)
    grant = f"<Grant>{grantee}{leaf('Permission', 'FULL_CONTROL')}</Grant>"
    return document(
        "AccessControlPolicy", owner("Owner", access_key_id), f"<AccessControlList>{grant}</AccessControlList>"
    )


def checksum_elements(checksum: Checksum | None, with_type: bool = True) -> str:
    """A checksum as elements."""
    if checksum is None:
        return ""
    told = leaf(f"Checksum{checksum.algorithm.value}", checksum.value)
    return told + leaf("ChecksumType", checksum.type.value) if with_type else told


def copied(name: str, etag: str, modified_ms: int, checksum: Checksum | None) -> bytes:
    """CopyObjectResult or CopyPartResult."""
    is_object = name == "CopyObjectResult"
    return document(
        name,
        leaf("LastModified", iso_time(modified_ms)),
        leaf("ETag", f'"{etag}"'),
        checksum_elements(checksum, with_type=is_object),
    )


class Listed(msgspec.Struct, frozen=True):
    """One object of a list."""

    key: str
    modified_ms: int
    etag: str
    size_bytes: int
    storage_class: str
    checksum: Checksum | None = None


class Spelling:
    """How names in a list are written."""

    def __init__(self, url_encoded: bool) -> None:
        self._url_encoded = url_encoded
        self.told = leaf("EncodingType", "url" if url_encoded else None)

    def leaf(self, name: str, value: str | None) -> str:
        """An element with a name in it; nothing for None."""
        if value is None:
            return ""
        return f"<{name}>{quote(value, safe='/*') if self._url_encoded else xml_text(value)}</{name}>"

    def groups(self, prefixes: Iterable[str]) -> str:
        """Common prefixes."""
        return "".join(f"<CommonPrefixes>{self.leaf('Prefix', prefix)}</CommonPrefixes>" for prefix in prefixes)


def contents(listed: Listed, spelling: Spelling, who: str) -> str:
    """An object in ListObjects of both versions; `who` is its owner's element, or nothing."""
    algorithm = leaf("ChecksumAlgorithm", listed.checksum.algorithm.value) if listed.checksum else ""
    kind = leaf("ChecksumType", listed.checksum.type.value) if listed.checksum else ""
    return (
        f"<Contents>{spelling.leaf('Key', listed.key)}<LastModified>{iso_time(listed.modified_ms)}</LastModified>"
        f"<ETag>&quot;{xml_text(listed.etag)}&quot;</ETag>{algorithm}{kind}<Size>{listed.size_bytes}</Size>{who}"
        f"<StorageClass>{listed.storage_class}</StorageClass></Contents>"
    )


def version(listed: Listed, spelling: Spelling, who: str) -> str:
    """An object in ListObjectVersions of a bucket that never had versions."""
    return (
        f"<Version>{spelling.leaf('Key', listed.key)}<VersionId>null</VersionId><IsLatest>true</IsLatest>"
        f"<LastModified>{iso_time(listed.modified_ms)}</LastModified><ETag>&quot;{xml_text(listed.etag)}&quot;</ETag>"
        f"<Size>{listed.size_bytes}</Size>{who}<StorageClass>{listed.storage_class}</StorageClass></Version>"
    )


class Deletion(msgspec.Struct, frozen=True):
    """What became of one key of DeleteObjects; no code means that it is gone."""

    key: str
    code: str = ""
    message: str = ""


def deletions(done: Sequence[Deletion], quiet: bool) -> bytes:
    """DeleteObjects."""
    told = []
    for deletion in done:
        key = leaf("Key", deletion.key)
        if deletion.code:
            told.append(f"<Error>{key}{leaf('Code', deletion.code)}{leaf('Message', deletion.message)}</Error>")
        elif not quiet:
            told.append(f"<Deleted>{key}</Deleted>")
    return document("DeleteResult", *told)


# -- reading


class Doomed(msgspec.Struct, frozen=True):
    """A key to delete, if its etag is this one, where one is given."""

    key: str
    version_id: str | None
    etag: str | None


class Delete(msgspec.Struct, frozen=True):
    """A DeleteObjects request."""

    items: list[Doomed]
    quiet: bool


class Completed(msgspec.Struct, frozen=True):
    """A part as CompleteMultipartUpload names it; the etag is unquoted."""

    number: int
    etag: str
    checksum: Checksum | None


def read_location(body: bytes) -> str:
    """The region that CreateBucket asks for, "" for none. Raises MalformedXML."""
    root = _parsed(body, "CreateBucketConfiguration")
    return _text(root, "LocationConstraint") or ""


def read_delete(body: bytes) -> Delete:
    """Raises MalformedXML, also for none and for more than DELETES_MAX keys."""
    root = _parsed(body, "Delete")
    items = []
    for item in _all(root, "Object"):
        key = _text(item, "Key")
        if not key:
            raise MalformedXML()
        items.append(Doomed(key, _text(item, "VersionId"), _text(item, "ETag")))
    if not 1 <= len(items) <= DELETES_MAX:
        raise MalformedXML()
    return Delete(items, (_text(root, "Quiet") or "").strip().lower() == "true")


def read_complete(body: bytes) -> list[Completed]:
    """The parts in the order given. Raises MalformedXML, also for none and for more than PARTS_MAX."""
    root = _parsed(body, "CompleteMultipartUpload")
    parts = []
    for item in _all(root, "Part"):
        number, etag = (_text(item, "PartNumber") or "").strip(), (_text(item, "ETag") or "").strip()
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and etag):
            raise MalformedXML()
        checksums = [(algorithm, _text(item, f"Checksum{algorithm.value}")) for algorithm in Algorithm]
        said = [read_value(algorithm, value) for algorithm, value in checksums if value]
        parts.append(Completed(int(number), etag.strip('"'), said[0] if said else None))
    if not 1 <= len(parts) <= PARTS_MAX:
        raise MalformedXML()
    return parts


def _parsed(body: bytes, name: str) -> Element:
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise MalformedXML() from None
    if _local(root.tag) != name:
        raise MalformedXML()
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _all(parent: Element, name: str) -> list[Element]:
    return [child for child in parent if _local(child.tag) == name]


def _text(parent: Element, name: str) -> str | None:
    found = _all(parent, name)
    return (found[0].text or "") if found else None
