"""DeleteBucket beside writes: no acknowledged object is ever left behind in a bucket that is gone. Spec: Bucket.tla.

Only a register's own conditional writes are exact, and an object is another register than its bucket. So each side says
first what it is about to do, and looks afterwards whether the other said something too:

    DeleteBucket    marks the bucket, lists it, deletes it if the mark is still the very same one
    a write         writes the object, reads the bucket again, and only then is acknowledged

If the write's second read comes before the mark, then the list comes after the write, and sees it. If it comes after,
the write finds the mark, and takes it away: so that the delete, which is conditional on it, is refused and must look
again. If the bucket is gone by then, the write takes back what it wrote, and says so. If it is another bucket by then,
made under the same name, the write says that it does not know: it cannot say that it is there, as another one that
found no bucket may have overwritten it, and take both back; nor may it take itself back, as it may have overwritten
what is acknowledged in the new bucket. There are no clocks and no locks; a mark whose maker crashed harms nobody.

Uploads in progress keep no bucket alive, as with S3: they are gone with it (multipart.py).
"""

from typing import Final

import msgspec

from impl.api.http.body import BodyStream
from impl.api.node_face import Made, ObjectNode
from impl.api.s3.bucket import Bucket, creation_id_of, path_of
from impl.api.s3.call import Call, object_path
from impl.api.s3.errors import BucketNotEmpty, NoSuchBucket, OperationAborted
from impl.errors import AmberioError, OutcomeUnknown
from impl.model import NULL_VERSION, Head, Stored
from impl.protocol.change import NO_CONDITION, Condition

DELETING: Final = "deleting"
"""The attribute that marks a bucket which somebody is about to delete."""
ATTEMPTS_MAX: Final = 16
"""How often to begin again when another client's step came between: each time somebody got further."""


class BucketGuard:
    """Deletes buckets, and settles writes into them."""

    def __init__(self, node: ObjectNode) -> None:
        self._node = node

    async def delete(self, bucket: str, token: str) -> None:
        """Delete a bucket that is empty. `token` is new for each call, in all of the cluster.

        A mark that is there already does as well as one's own: what was acknowledged before it, this list sees.
        Raises NoSuchBucket, BucketNotEmpty, and OperationAborted if writes came between each time.
        """
        for attempt in range(ATTEMPTS_MAX):
            head = await self._node.head(path_of(bucket))
            if head is None or head.deleted:
                raise NoSuchBucket(BucketName=bucket)
            mark = head.etag if is_marked(head) else f"mark-{token}-{attempt}"
            if not is_marked(head) and not await self._rewrite(bucket, head, f"{mark}", marked=True):
                continue
            if not await self.is_empty(bucket):
                marked = msgspec.structs.replace(head, etag=mark)
                await self._rewrite(bucket, marked, f"kept-{token}-{attempt}", marked=False)
                raise BucketNotEmpty(BucketName=bucket)
            written = await self._node.delete(path_of(bucket), condition=Condition("etag_is", mark), write_id=None)
            if written.outcome != "refused":
                return
        raise OperationAborted()

    async def is_empty(self, bucket: str) -> bool:
        """Is there nothing in the bucket that must keep it from being deleted?"""
        found = await self._node.list(object_path(bucket, ""), 1, None, False, with_older=True)
        return not found.items

    async def check(self, call: Call) -> None:
        """See that the bucket still is the one that a request began with, if its body came slowly. Raises NoSuchBucket.

        Nothing rests on it but this: who may change a bucket may not, by sending slowly, change the next one of that
        name. Whoever acts on what a body says calls it before.
        """
        if not isinstance(call.request.body, BodyStream):
            return
        bucket = call.found
        head = await self._node.head(path_of(bucket.name))
        if head is None or head.deleted or creation_id_of(head) != bucket.creation_id:
            raise NoSuchBucket(BucketName=bucket.name)

    async def settle(self, bucket: Bucket, path: str, written: Made, token: str) -> None:
        """See that what was written at `path` may be acknowledged: its bucket is there, and will not go unseen.

        Whoever leaves something in a bucket that keeps it from being deleted calls this before the acknowledgement,
        with the bucket as it was when the request began; it is the second read. Raises NoSuchBucket when the write was
        taken back, OutcomeUnknown when that is not known, or the bucket is another one by now.
        """
        try:
            stands = await self._stands(bucket.name, token)
            if stands is None:
                condition = _still_there(written)
                await self._node.delete(path, condition=condition, write_id=None, version=written.version)
        except OutcomeUnknown:
            raise
        except AmberioError as error:
            raise OutcomeUnknown(f"written, but it is not known whether the bucket still is there: {error}") from error
        if stands is None:
            raise NoSuchBucket(BucketName=bucket.name)
        if stands != bucket.creation_id:
            raise OutcomeUnknown("the bucket was deleted and made again meanwhile; try again")

    async def _stands(self, name: str, token: str) -> str | None:
        """The bucket's creation id, now that nobody may delete it without looking again; None if it is gone."""
        for attempt in range(ATTEMPTS_MAX):
            head = await self._node.head(path_of(name))
            if head is None or head.deleted:
                return None
            if not is_marked(head) or await self._rewrite(name, head, f"used-{token}-{attempt}", marked=False):
                return creation_id_of(head)
        raise OutcomeUnknown("written, but the bucket was marked for deletion again and again; try again")

    async def _rewrite(self, bucket: str, head: Head, etag: str, *, marked: bool) -> bool:
        """Set or clear the mark, if the bucket's register still is `head`. Is it so now?

        No etag is ever used twice, so that a mark which was taken away and set again is another mark.
        """
        kept = tuple(pair for pair in head.attributes if pair[0] != DELETING)
        written = await self._node.write(
            path_of(bucket),
            Stored(head.body, head.parts, head.size_bytes, etag),
            condition=Condition("etag_is", head.etag),
            write_id=None,
            content_type=head.content_type,
            attributes=(*kept, (DELETING, "1")) if marked else kept,
        )
        return written.outcome != "refused"


def _still_there(written: Made) -> Condition:
    """On what to take a write back: a version of its own is nobody else's, the null version may be by now."""
    if written.version != NULL_VERSION:
        return NO_CONDITION
    return Condition("generation_is", generation=written.generation)


def is_marked(bucket: Head) -> bool:
    """Is somebody about to delete the bucket with this register?"""
    return any(name == DELETING for name, _ in bucket.attributes)
