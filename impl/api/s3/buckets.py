"""Buckets: each is a register at a system path, so that making and deleting one is as exact as any other write.

How a bucket is kept in its register is `bucket.py`, what its owner configures `configuration.py`.
"""

from collections.abc import Sequence
from typing import Final

from impl.api.http.exchange import Answer
from impl.api.node_face import ObjectNode
from impl.api.s3 import bucket as registers
from impl.api.s3 import listing, metadata, shapes, xml, xml_requests
from impl.api.s3.bucket import START, Bucket, Documents
from impl.api.s3.bucket_guard import BucketGuard
from impl.api.s3.call import Call, owner_of, xml_answer
from impl.api.s3.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    IllegalLocationConstraintException,
    InvalidArgument,
    InvalidBucketName,
    NoSuchBucket,
    NotImplementedByS3,
)
from impl.api.s3.names import check_bucket_name
from impl.api.s3.tags import BUCKET_TAGS_MAX, check_tags
from impl.doors import Clock
from impl.model import Stored
from impl.protocol.change import Condition

RESERVED: Final = frozenset({"internal"})
"""Names whose URLs belong to another API."""
BUCKETS_AT_ONCE_MAX: Final = 1000
_ABSENT: Final = Condition("absent")


class Buckets:
    """The buckets of the cluster, and the operations on them."""

    def __init__(self, node: ObjectNode, clock: Clock, region: str) -> None:
        self.guard = BucketGuard(node)
        self._node = node
        self._clock = clock
        self._region = region

    async def require(self, name: str) -> Bucket:
        """The bucket of this name, as of now. Raises NoSuchBucket."""
        head = await self._node.head(registers.path_of(name))
        if head is None or head.deleted:
            raise NoSuchBucket(BucketName=name)
        return registers.of_head(name, head)

    async def create(self, call: Call) -> Answer:
        """CreateBucket. Raises BucketAlreadyOwnedByYou and BucketAlreadyExists for one that is there."""
        name = call.bucket
        if name in RESERVED:
            raise InvalidBucketName(
                f"The specified bucket is not valid: {name!r} is the start of another API's URLs.", BucketName=name
            )
        if call.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
            raise NotImplementedByS3(Header="x-amz-bucket-object-lock-enabled")
        acl = metadata.acl_of_request(call.headers)
        asked = xml_requests.create_bucket_configuration(await call.document(required=False))
        region = asked.location
        if region not in (None, self._region):
            raise IllegalLocationConstraintException(
                f"The {region[:64]} location constraint is incompatible for the region specific endpoint this request "
                f"was sent to; this cluster is {self._region}."
            )
        owner = call.verified.identity.access_key_id
        now_ms = self._clock.now_ms()
        creation_id = f"{now_ms:x}-{call.request.request_id}"
        documents = Documents(tags=check_tags(asked.tags, BUCKET_TAGS_MAX))
        bucket = Bucket(name, now_ms, owner, self._region, acl=acl, documents=documents, creation_id=creation_id)
        body = registers.body(bucket)
        written = await self._node.write(
            registers.path_of(name),
            Stored(body, (), len(body), creation_id),
            condition=_ABSENT,
            write_id=call.write_id,
            content_type="",
            attributes=registers.attributes(bucket),
        )
        if written.outcome == "refused":
            raise await self._there_already(name, owner)
        return Answer(200, (("Location", f"/{name}"),))

    async def adopt(self, name: str) -> None:
        """Have a bucket for objects that were imported, if its name can be one. It is nobody's, so root's only."""
        try:
            if check_bucket_name(name) in RESERVED:
                return
        except InvalidBucketName:
            return
        now_ms = self._clock.now_ms()
        creation_id = f"{now_ms:x}-import"
        bucket = Bucket(name, now_ms, "", self._region, creation_id=creation_id)
        body = registers.body(bucket)
        await self._node.write(
            registers.path_of(name),
            Stored(body, (), len(body), creation_id),
            condition=_ABSENT,
            write_id=None,
            content_type="",
            attributes=registers.attributes(bucket),
        )

    async def _there_already(self, name: str, owner: str) -> Exception:
        there = await self.require(name)
        return (
            BucketAlreadyOwnedByYou(BucketName=name) if there.owner == owner else BucketAlreadyExists(BucketName=name)
        )

    async def delete(self, call: Call) -> Answer:
        """DeleteBucket, if it is empty."""
        await self.guard.delete(call.bucket, call.request.request_id)
        return Answer(204)

    async def head(self, call: Call) -> Answer:
        """HeadBucket."""
        bucket = call.found
        return Answer(200, (("x-amz-bucket-region", bucket.region), ("Content-Type", "application/xml")))

    async def list(self, call: Call) -> Answer:
        """ListBuckets: those that the sender owns, all or a page of them."""
        asked = call.arguments
        prefix = asked.get("prefix", "")
        after = listing.decode_token(asked["continuation-token"]) if asked.get("continuation-token") else None
        most = None
        if "max-buckets" in asked:
            most = listing.max_entries("max-buckets", asked["max-buckets"])
            if not most:
                raise InvalidArgument("max-buckets must be between 1 and 10000", ArgumentName="max-buckets")
        identity = call.verified.identity
        buckets, more = await self._listed(prefix, after, most, None if call.may_all else identity.access_key_id)
        token = listing.encode_token(buckets[-1].name) if more else None
        entries = [shapes.BucketEntry(bucket.name, bucket.created_ms, bucket.region) for bucket in buckets]
        listed = shapes.ListedBuckets(owner_of(identity.access_key_id, identity.name), entries, prefix or None, token)
        return xml_answer(xml.list_buckets(listed))

    async def _listed(
        self, prefix: str, after: str | None, most: int | None, owner: str | None
    ) -> tuple[Sequence[Bucket], bool]:
        """The first `most` buckets of an owner (None: of all) above a name, and whether there are more."""
        buckets: Sequence[Bucket] = ()
        while most is None or len(buckets) <= most:
            page = await self._node.list(
                START + prefix, BUCKETS_AT_ONCE_MAX, None if after is None else START + after, False
            )
            found = (registers.of_head(path.removeprefix(START), head) for path, head in page.items)
            buckets = (*buckets, *(bucket for bucket in found if owner in (None, bucket.owner)))
            if page.next_after is None:
                break
            after = page.next_after.removeprefix(START)
        return buckets[:most], most is not None and len(buckets) > most

    async def location(self, call: Call) -> Answer:
        """GetBucketLocation; us-east-1 is said by saying nothing."""
        region = call.found.region
        return xml_answer(xml.location_constraint(region))
