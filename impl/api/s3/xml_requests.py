"""The XML that strangers send to S3, read into values. Bombs and what is too large are refused before they are built.

Strict, as S3's schemas are: an element that we do not know may be a condition that we would not keep.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from impl.api.s3.checksums import Algorithm, read_value
from impl.api.s3.errors import (
    AccessControlListNotSupported,
    IllegalVersioningConfigurationException,
    InvalidPartOrder,
    MalformedACLError,
    MalformedXML,
    MaxMessageLengthExceeded,
    NotImplementedByS3,
)
from impl.api.s3.shapes import (
    CannedAcl,
    CompletePart,
    CorsRule,
    CreateBucket,
    DeleteRequest,
    DeleteTarget,
    Tag,
    VersioningStatus,
)
from impl.api.s3.tags import check_tags
from impl.api.s3.xml import ALL_USERS

PARTS_MAX: Final = 10_000
DELETES_MAX: Final = 1000
COMPLETE_BYTES_MAX: Final = 4 * 1024 * 1024
DELETE_BYTES_MAX: Final = 2 * 1024 * 1024
CORS_BYTES_MAX: Final = 64 * 1024
SMALL_BYTES_MAX: Final = 64 * 1024
"""What a body may have, by what it is; whoever reads it from a socket stops there."""

CORS_RULES_MAX: Final = 100

_XSI_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
_ONE: Final = False
_MANY: Final = True
_CHECKSUMS: Final = {f"Checksum{algorithm}": algorithm for algorithm in Algorithm}
_PART: Final = {"PartNumber": _ONE, "ETag": _ONE} | dict.fromkeys(_CHECKSUMS, _ONE)
_IDENTITY: Final = {"ID": _ONE, "DisplayName": _ONE}


def complete_multipart_upload(body: bytes) -> tuple[CompletePart, ...]:
    """The parts to join, in ascending order. Raises MalformedXML, InvalidPartOrder, InvalidRequest for a checksum."""
    root = _parse(body, COMPLETE_BYTES_MAX, PARTS_MAX * 8)
    found = _children(_rooted(root, "CompleteMultipartUpload"), {"Part": _MANY})
    parts = tuple(map(_complete_part, found["Part"]))
    if not 1 <= len(parts) <= PARTS_MAX:
        raise _malformed(f"it names {len(parts)} parts; 1 to {PARTS_MAX} are allowed")
    if any(later.number <= earlier.number for earlier, later in pairwise(parts)):
        raise InvalidPartOrder()
    return parts


def _complete_part(part: Element) -> CompletePart:
    found = _children(part, _PART)
    number = _whole_number(_required(found, "PartNumber", "Part"), PARTS_MAX)
    if number == 0:
        raise _malformed(f"PartNumber is 0; 1 to {PARTS_MAX} are allowed")
    etag = _text(_required(found, "ETag", "Part")).strip().strip('"')
    said = [(algorithm, found[name][0]) for name, algorithm in _CHECKSUMS.items() if found[name]]
    if len(said) > 1:
        raise _malformed(f"part {number} has {len(said)} checksums; give one")
    return CompletePart(number, etag, read_value(said[0][0], _text(said[0][1]).strip()) if said else None)


def delete(body: bytes) -> DeleteRequest:
    """What to delete, up to 1000. Raises MalformedXML."""
    root = _parse(body, DELETE_BYTES_MAX, DELETES_MAX * 8)
    found = _children(_rooted(root, "Delete"), {"Object": _MANY, "Quiet": _ONE})
    targets = tuple(map(_delete_target, found["Object"]))
    if not 1 <= len(targets) <= DELETES_MAX:
        raise _malformed(f"it names {len(targets)} objects; 1 to {DELETES_MAX} are allowed")
    quiet = found["Quiet"]
    return DeleteRequest(targets, quiet=bool(quiet) and _boolean(quiet[0]))


def _delete_target(target: Element) -> DeleteTarget:
    known = dict.fromkeys(("Key", "VersionId", "ETag", "Size", "LastModifiedTime"), _ONE)
    found = _children(target, known)
    key = _text(_required(found, "Key", "Object"))
    if not key:
        raise _malformed("an object's Key is empty")
    return DeleteTarget(
        key,
        version_id=_text(found["VersionId"][0]).strip() or None if found["VersionId"] else None,
        etag=_text(found["ETag"][0]).strip().strip('"') if found["ETag"] else None,
        size_bytes=_whole_number(found["Size"][0], 2**63) if found["Size"] else None,
        modified_at_s=_moment_s(found["LastModifiedTime"][0]) if found["LastModifiedTime"] else None,
    )


def versioning_configuration(body: bytes) -> VersioningStatus:
    """Raises MalformedXML, IllegalVersioningConfigurationException without a status, NotImplementedByS3 for MFA."""
    root = _rooted(_parse(body, SMALL_BYTES_MAX, 10), "VersioningConfiguration")
    found = _children(root, {"Status": _ONE, "MfaDelete": _ONE})
    if found["MfaDelete"] and _text(found["MfaDelete"][0]).strip() != "Disabled":
        raise NotImplementedByS3("MFA delete is not offered")
    if not found["Status"]:
        raise IllegalVersioningConfigurationException()
    match _text(found["Status"][0]).strip():
        case "Enabled":
            return "Enabled"
        case "Suspended":
            return "Suspended"
        case other:
            raise _malformed(f"Status is {other[:80]!r}; use Enabled or Suspended")


def tagging(body: bytes, count_max: int) -> tuple[Tag, ...]:
    """Raises MalformedXML; BadRequest and InvalidTag for tags that S3 would not keep."""
    root = _rooted(_parse(body, SMALL_BYTES_MAX, 500), "Tagging")
    tag_set = _required(_children(root, {"TagSet": _ONE}), "TagSet", "Tagging")
    return check_tags(_tags(tag_set), count_max)


def _tags(tag_set: Element) -> list[Tag]:
    tags = []
    for tag in _children(tag_set, {"Tag": _MANY})["Tag"]:
        found = _children(tag, {"Key": _ONE, "Value": _ONE})
        tags.append(Tag(_text(_required(found, "Key", "Tag")), _text(_required(found, "Value", "Tag"))))
    return tags


def cors_configuration(body: bytes) -> tuple[CorsRule, ...]:
    """The rules as they were sent; `cors.check_rules` says whether they make sense. Raises MalformedXML."""
    root = _rooted(_parse(body, CORS_BYTES_MAX, 4000), "CORSConfiguration")
    rules = tuple(map(_cors_rule, _children(root, {"CORSRule": _MANY})["CORSRule"]))
    if not 1 <= len(rules) <= CORS_RULES_MAX:
        raise _malformed(f"it has {len(rules)} rules; 1 to {CORS_RULES_MAX} are allowed")
    return rules


def _cors_rule(rule: Element) -> CorsRule:
    lists = ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
    found = _children(rule, {"ID": _ONE, "MaxAgeSeconds": _ONE} | dict.fromkeys(lists, _MANY))
    origins, methods, headers, exposed = (tuple(_text(one).strip() for one in found[name]) for name in lists)
    return CorsRule(
        origins,
        methods,
        headers,
        exposed,
        max_age_s=_whole_number(found["MaxAgeSeconds"][0], 2**31) if found["MaxAgeSeconds"] else None,
        id=_text(found["ID"][0]) if found["ID"] else None,
    )


def create_bucket_configuration(body: bytes) -> CreateBucket:
    """Raises MalformedXML, NotImplementedByS3 for directory buckets; an empty body is the default."""
    if not body.strip():
        return CreateBucket()
    root = _rooted(_parse(body, SMALL_BYTES_MAX, 500), "CreateBucketConfiguration")
    found = _children(root, dict.fromkeys(("LocationConstraint", "Location", "Bucket", "Tags"), _ONE))
    if found["Location"] or found["Bucket"]:
        raise NotImplementedByS3("Directory buckets are not offered")
    location = _text(found["LocationConstraint"][0]).strip() if found["LocationConstraint"] else None
    return CreateBucket(location or None, tuple(_tags(found["Tags"][0])) if found["Tags"] else ())


def access_control_policy(body: bytes) -> CannedAcl:
    """The canned ACL that says the same. Raises MalformedACLError, AccessControlListNotSupported if there is none."""
    try:
        root = _rooted(_parse(body, SMALL_BYTES_MAX, 2000), "AccessControlPolicy")
        found = _children(root, {"Owner": _ONE, "AccessControlList": _ONE})
        grants = _required(found, "AccessControlList", "AccessControlPolicy")
        said = {_grant(grant) for grant in _children(grants, {"Grant": _MANY})["Grant"]}
        owner = _text(_required(_children(found["Owner"][0], _IDENTITY), "ID", "Owner")) if found["Owner"] else None
    except MalformedXML as error:
        raise MalformedACLError(str(error)) from None
    said.discard((owner, "FULL_CONTROL"))
    if not said:
        return CannedAcl.PRIVATE
    if said == {(ALL_USERS, "READ")}:
        return CannedAcl.PUBLIC_READ
    raise AccessControlListNotSupported()


def _grant(grant: Element) -> tuple[str, str]:
    """Who, by id, URI or address, and which permission."""
    found = _children(grant, {"Grantee": _ONE, "Permission": _ONE})
    grantee = _required(found, "Grantee", "Grant")
    if _XSI_TYPE not in grantee.attrib:
        raise _malformed("a Grantee has no xsi:type")
    who = _children(grantee, _IDENTITY | {"URI": _ONE, "EmailAddress": _ONE})
    names = [_text(who[name][0]).strip() for name in ("ID", "URI", "EmailAddress") if who[name]]
    if len(names) != 1:
        raise _malformed("a Grantee needs one of ID, URI and EmailAddress")
    return names[0], _text(_required(found, "Permission", "Grant")).strip()


def _malformed(why: str) -> MalformedXML:
    return MalformedXML(f"{MalformedXML.said}: {why}")


def _parse(body: bytes, bytes_max: int, elements_max: int) -> Element:
    """The root. A body is UTF-8 or UTF-16, whatever it says of itself: so `<` can be counted before there is a tree."""
    if len(body) > bytes_max:
        raise MaxMessageLengthExceeded(MaxMessageLengthBytes=bytes_max)
    if body.count(b"<") > elements_max * 2 + 10:
        raise _malformed(f"it has more than {elements_max} elements")
    parser = DefusedXMLParser(target=TreeBuilder(), encoding="utf-8", forbid_dtd=True)
    try:
        parser.feed(body)
        root: Element = parser.close()
    except DefusedXmlException:
        raise _malformed("document types and entities are not allowed") from None
    except (ParseError, ValueError) as error:
        raise _malformed(str(error)) from None
    return root


def _name(element: Element) -> str:
    """Without its namespace: clients give S3's, an older one of S3, or none."""
    return element.tag.rpartition("}")[2]


def _rooted(root: Element, expected: str) -> Element:
    if _name(root) != expected:
        raise _malformed(f"its root is {_name(root)[:80]}; {expected} was expected")
    return root


def _children(element: Element, known: Mapping[str, bool]) -> dict[str, list[Element]]:
    """All the known names, each with its elements; those that are not `_MANY` have one at most."""
    found: dict[str, list[Element]] = {name: [] for name in known}
    for child in element:
        name = _name(child)
        if name not in known:
            raise _malformed(f"{_name(element)[:80]} has an element {name[:80]}, which is not known here")
        if found[name] and not known[name]:
            raise _malformed(f"{_name(element)[:80]} has more than one {name}")
        found[name].append(child)
    texts = [element.text, *(child.tail for child in element)]
    if any(text and text.strip() for text in texts):
        raise _malformed(f"{_name(element)[:80]} has text between its elements")
    return found


def _required(found: Mapping[str, list[Element]], name: str, parent: str) -> Element:
    if not found[name]:
        raise _malformed(f"{parent} has no {name}")
    return found[name][0]


def _text(element: Element) -> str:
    if len(element):
        raise _malformed(f"{_name(element)[:80]} has elements in it; text was expected")
    return element.text or ""


def _whole_number(element: Element, number_max: int) -> int:
    text = _text(element).strip()
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) > number_max:
        raise _malformed(f"{_name(element)} is {text[:80]!r}; a whole number up to {number_max} was expected")
    return int(text)


def _boolean(element: Element) -> bool:
    text = _text(element).strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise _malformed(f"{_name(element)} is {text[:80]!r}; true or false was expected")
    return text in ("true", "1")


def _moment_s(element: Element) -> int:
    """Seconds since the epoch, of an HTTP date or ISO 8601."""
    text = _text(element).strip()
    try:
        moment = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        raise _malformed(f"{_name(element)} is {text[:80]!r}; a time was expected") from None
