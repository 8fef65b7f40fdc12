"""What is said beside an object's bytes and can change without them: its ACL and its tags.

Each is in the attributes of a version. A change reads them, and writes them if nothing came between: neither the bytes
nor the etag nor the time of the version change, nor any other version.
"""

from collections.abc import Callable
from typing import Final

from impl.api.http.exchange import Answer, HeaderPairs
from impl.api.node_face import ObjectNode
from impl.api.s3 import metadata, versions, xml, xml_requests
from impl.api.s3.bucket_guard import BucketGuard
from impl.api.s3.call import Call, owner_of, xml_answer
from impl.api.s3.errors import OperationAborted
from impl.api.s3.objects import Objects
from impl.api.s3.tags import OBJECT_TAGS_MAX, check_tags
from impl.model import Attributes
from impl.protocol.change import Condition

TRIES_MAX: Final = 16
"""How often an amendment is tried beside other writes of the object."""


class Amendments:
    """The operations on ACLs and tags of objects."""

    def __init__(self, node: ObjectNode, objects: Objects) -> None:
        self._node = node
        self._objects = objects
        self._guard = BucketGuard(node)

    async def acl(self, call: Call) -> Answer:
        """GetObjectAcl."""
        head = await self._objects.head(call)
        acl = xml.access_control_policy(owner_of(call.found.owner), metadata.acl_of(head.attributes))
        return xml_answer(acl, versions.told_of_head(call.found, head))

    async def put_acl(self, call: Call) -> Answer:
        """PutObjectAcl: private or public-read."""
        wanted = metadata.acl_asked(call.headers, await call.document(required=False))
        return Answer(200, await self._amended(call, lambda attributes: metadata.with_acl(attributes, wanted)))

    async def tags(self, call: Call) -> Answer:
        """GetObjectTagging."""
        head = await self._objects.head(call)
        tags = xml.tagging(metadata.tags_of(head.attributes))
        return xml_answer(tags, versions.told_of_head(call.found, head))

    async def put_tags(self, call: Call) -> Answer:
        """PutObjectTagging."""
        asked = xml_requests.tagging(await call.document(), OBJECT_TAGS_MAX)
        tags = check_tags(asked, OBJECT_TAGS_MAX)
        return Answer(200, await self._amended(call, lambda attributes: metadata.with_tags(attributes, tags)))

    async def delete_tags(self, call: Call) -> Answer:
        """DeleteObjectTagging."""
        return Answer(204, await self._amended(call, lambda attributes: metadata.with_tags(attributes, ())))

    async def _amended(self, call: Call, change: Callable[[Attributes], Attributes]) -> HeaderPairs:
        """What the answer says of the version that was changed. Raises OperationAborted where others always came first.

        All tries have one write id: of them one is made at most, also if the client sends the request again.
        """
        await self._guard.check(call)
        for _ in range(TRIES_MAX):
            head = await self._objects.head(call)
            written = await self._node.amend(
                call.path,
                condition=Condition("generation_is", generation=head.generation),
                write_id=call.write_id,
                version=head.version,
                attributes=change(head.attributes),
            )
            if written.outcome in ("applied", "replayed"):
                return versions.told_of_write(call.found, written)
        raise OperationAborted()
