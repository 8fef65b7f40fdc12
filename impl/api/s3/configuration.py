"""What a bucket's owner configures: versioning and its ACL, policy, CORS rules and tags.

All of it is in the bucket's register. A change reads the bucket, and writes it on the condition that nobody else did
meanwhile: two changes at once never undo each other.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from impl.api.http.exchange import Answer
from impl.api.node_face import ObjectNode
from impl.api.s3 import bucket as registers
from impl.api.s3 import metadata, xml, xml_requests
from impl.api.s3.bucket import Bucket
from impl.api.s3.buckets import Buckets
from impl.api.s3.call import Call, owner_of, xml_answer
from impl.api.s3.errors import OperationAborted
from impl.doors import Clock
from impl.model import Stored
from impl.protocol.change import Condition

TRIES_MAX: Final = 8
"""How often a change of a bucket is begun again because another came first."""

Edit = Callable[[Bucket], Bucket]


class Configuration:
    """The operations on what buckets are configured with."""

    def __init__(self, node: ObjectNode, buckets: Buckets, clock: Clock) -> None:
        self._node = node
        self._buckets = buckets
        self._clock = clock

    async def versioning(self, call: Call) -> Answer:
        """GetBucketVersioning."""
        return xml_answer(xml.versioning_configuration(call.found.versioning or None))

    async def put_versioning(self, call: Call) -> Answer:
        """PutBucketVersioning."""
        status = xml_requests.versioning_configuration(await call.document())
        return await self._changed(call, lambda bucket: msgspec.structs.replace(bucket, versioning=status))

    async def acl(self, call: Call) -> Answer:
        """GetBucketAcl."""
        return xml_answer(xml.access_control_policy(owner_of(call.found.owner), call.found.acl))

    async def put_acl(self, call: Call) -> Answer:
        """PutBucketAcl: private or public-read."""
        acl = metadata.acl_asked(call.headers, await call.document(required=False))
        return await self._changed(call, lambda bucket: msgspec.structs.replace(bucket, acl=acl))

    async def _changed(self, call: Call, edit: Edit, status: int = 200) -> Answer:
        """Change the bucket. Raises OperationAborted if others kept coming first, or made the bucket anew."""
        found = call.found
        for _ in range(TRIES_MAX):
            changed = edit(found)
            body = registers.body(changed)
            written = await self._node.write(
                registers.path_of(found.name),
                Stored(body, (), len(body), f"{self._clock.now_ms():x}-{call.request.request_id}"),
                condition=Condition("etag_is", found.etag),
                write_id=call.write_id,
                content_type="",
                attributes=registers.attributes(changed),
            )
            if written.outcome != "refused":
                return Answer(status)
            found = await self._buckets.require(call.bucket)
            if not found.is_same(call.found):
                break
        raise OperationAborted()
