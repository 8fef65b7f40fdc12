"""A bucket as its register has it: a head read as a value, and written again. Pure.

What lists of buckets and most requests look at is in the head's attributes. The documents that clients configure a
bucket with are in its body, as JSON: so one read of the register tells everything there is to know of a bucket.
"""

from typing import Final, Literal

import msgspec

from impl.api.s3.errors import InvalidRequest
from impl.api.s3.shapes import CannedAcl, CorsRule, Tag
from impl.model import INLINE_BODY_BYTES_MAX, SYSTEM_START, Attributes, Head

START: Final = SYSTEM_START + "b/"
"""What the paths of buckets' registers begin with."""
DOCUMENTS_BYTES_MAX: Final = INLINE_BODY_BYTES_MAX
"""Policy, CORS rules and tags together, as JSON: what rides in a head."""
Versioning = Literal["", "Enabled", "Suspended"]
_VERSIONINGS: Final[dict[str, Versioning]] = {"": "", "Enabled": "Enabled", "Suspended": "Suspended"}
_CREATED: Final = "created-ms"
_OWNER: Final = "owner"
_REGION: Final = "region"
_VERSIONING: Final = "versioning"
_ACL: Final = "acl"
_CREATION_ID: Final = "creation-id"


class Documents(msgspec.Struct, frozen=True, omit_defaults=True):
    """What clients configure a bucket with. `policy` is the text as it was put, "" for none."""

    policy: str = ""
    cors: tuple[CorsRule, ...] = ()
    tags: tuple[Tag, ...] = ()


NO_DOCUMENTS: Final = Documents()


class Bucket(msgspec.Struct, frozen=True):
    """A bucket. `owner` is the access key id that made it ("" for nobody known), `etag` is that of its register.

    `versioning` is "" until it is first set. `creation_id` tells it from all that had the name before, or will have it.
    """

    name: str
    created_ms: int
    owner: str
    region: str
    etag: str = ""
    versioning: Versioning = ""
    acl: CannedAcl = CannedAcl.PRIVATE
    documents: Documents = NO_DOCUMENTS
    creation_id: str = ""

    def is_same(self, other: "Bucket") -> bool:
        """Is the other this bucket, at whatever time? One that was deleted and made again is not."""
        return (self.name, self.creation_id) == (other.name, other.creation_id)


def path_of(name: str) -> str:
    """The path of a bucket's register."""
    return START + name


def of_head(name: str, head: Head) -> Bucket:
    """The bucket that a live head tells of; heads from lists have no body, so their buckets have no documents."""
    kept = dict(head.attributes)
    return Bucket(
        name,
        int(kept[_CREATED]),
        kept[_OWNER],
        kept[_REGION],
        head.etag or "",
        _VERSIONINGS[kept.get(_VERSIONING, "")],
        CannedAcl(kept.get(_ACL, CannedAcl.PRIVATE)),
        msgspec.json.decode(head.body, type=Documents) if head.body else NO_DOCUMENTS,
        kept[_CREATION_ID],
    )


def creation_id_of(head: Head) -> str:
    """The creation id of the bucket that a live head tells of; without reading all there is to know of it."""
    return next(value for name, value in head.attributes if name == _CREATION_ID)


def attributes(bucket: Bucket) -> Attributes:
    """What of a bucket is kept in its head's attributes."""
    said: Attributes = (
        (_CREATED, str(bucket.created_ms)),
        (_OWNER, bucket.owner),
        (_REGION, bucket.region),
        (_CREATION_ID, bucket.creation_id),
    )
    if bucket.versioning:
        said += ((_VERSIONING, bucket.versioning),)
    if bucket.acl is not CannedAcl.PRIVATE:
        said += ((_ACL, bucket.acl.value),)
    return said


def body(bucket: Bucket) -> bytes:
    """What of a bucket is kept in its head's body. Raises InvalidRequest if that is too much."""
    if bucket.documents == NO_DOCUMENTS:
        return b""
    encoded = msgspec.json.encode(bucket.documents)
    if len(encoded) > DOCUMENTS_BYTES_MAX:
        raise InvalidRequest(
            f"The bucket's policy, CORS rules and tags would have {len(encoded)} bytes together; up to "
            f"{DOCUMENTS_BYTES_MAX} are kept."
        )
    return encoded
