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
from impl.api.s3 import policy as policies
from impl.api.s3.bucket import Bucket
from impl.api.s3.buckets import Buckets
from impl.api.s3.call import Call, owner_of, xml_answer
from impl.api.s3.cors import check_rules
from impl.api.s3.errors import NoSuchBucketPolicy, NoSuchCORSConfiguration, NoSuchTagSet, OperationAborted
from impl.api.s3.shapes import CorsRule, Tag
from impl.api.s3.tags import BUCKET_TAGS_MAX
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

    async def policy(self, call: Call) -> Answer:
        """GetBucketPolicy: to the letter as it was put."""
        document = _policy_of(call).encode()
        return Answer(200, (("Content-Type", "application/json"),), document, len(document))

    async def policy_status(self, call: Call) -> Answer:
        """GetBucketPolicyStatus."""
        policy = policies.parse(_policy_of(call).encode(), call.bucket)
        return xml_answer(xml.policy_status(policies.is_public(policy)))

    async def put_policy(self, call: Call) -> Answer:
        """PutBucketPolicy."""
        document = await call.document()
        policies.parse(document, call.bucket)
        return await self._put_documents(call, 204, policy=document.decode())

    async def delete_policy(self, call: Call) -> Answer:
        """DeleteBucketPolicy."""
        return await self._put_documents(call, 204, policy="")

    async def cors(self, call: Call) -> Answer:
        """GetBucketCors."""
        if not call.found.documents.cors:
            raise NoSuchCORSConfiguration(BucketName=call.bucket)
        return xml_answer(xml.cors_configuration(call.found.documents.cors))

    async def put_cors(self, call: Call) -> Answer:
        """PutBucketCors."""
        rules = xml_requests.cors_configuration(await call.document())
        check_rules(rules)
        return await self._put_documents(call, 200, cors=rules)

    async def delete_cors(self, call: Call) -> Answer:
        """DeleteBucketCors."""
        return await self._put_documents(call, 204, cors=())

    async def tagging(self, call: Call) -> Answer:
        """GetBucketTagging."""
        if not call.found.documents.tags:
            raise NoSuchTagSet(BucketName=call.bucket)
        return xml_answer(xml.tagging(call.found.documents.tags))

    async def put_tagging(self, call: Call) -> Answer:
        """PutBucketTagging."""
        tags = xml_requests.tagging(await call.document(), BUCKET_TAGS_MAX)
        return await self._put_documents(call, 204, tags=tags)

    async def delete_tagging(self, call: Call) -> Answer:
        """DeleteBucketTagging."""
        return await self._put_documents(call, 204, tags=())

    async def _put_documents(
        self,
        call: Call,
        status: int,
        *,
        policy: str | None = None,
        cors: tuple[CorsRule, ...] | None = None,
        tags: tuple[Tag, ...] | None = None,
    ) -> Answer:
        """Replace those that are given."""
        given = {name: one for name, one in (("policy", policy), ("cors", cors), ("tags", tags)) if one is not None}

        def edit(bucket: Bucket) -> Bucket:
            documents = msgspec.structs.replace(bucket.documents, **given)
            return msgspec.structs.replace(bucket, documents=documents)

        return await self._changed(call, edit, status)

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


def _policy_of(call: Call) -> str:
    if not call.found.documents.policy:
        raise NoSuchBucketPolicy(BucketName=call.bucket)
    return call.found.documents.policy
