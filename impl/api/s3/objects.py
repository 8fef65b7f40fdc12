"""Operations on one object, and DeleteObjects: what they decide; how documents look is `xml.py`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from impl.api import conditions
from impl.api.http.exchange import Answer, HeaderPairs
from impl.api.node_face import ObjectNode, Written
from impl.api.s3 import documents, metadata, shapes, versions, xml, xml_requests
from impl.api.s3.actions import action_on
from impl.api.s3.auth import Payload, PayloadKind
from impl.api.s3.bodies import CheckedBody
from impl.api.s3.buckets import Buckets
from impl.api.s3.call import (
    Call,
    http_time,
    number_argument,
    object_path,
    once_written,
    refusal_of_condition,
    xml_answer,
)
from impl.api.s3.checksums import Algorithm, Checksum, Declared
from impl.api.s3.errors import (
    AccessDenied,
    InvalidArgument,
    InvalidPartNumber,
    InvalidRange,
    InvalidRequest,
    MethodNotAllowed,
    NoSuchKey,
    NotImplementedByS3,
    PreconditionFailed,
)
from impl.api.s3.errors import answer as told_of
from impl.api.s3.names import CopySource, check_key, copy_source
from impl.api.s3.shapes import Deleted, DeleteResult, DeleteTarget, NotDeleted
from impl.errors import AmberioError
from impl.model import INLINE_BODY_BYTES_MAX, NULL_VERSION, Attributes, Head, Stored
from impl.protocol.change import NO_CONDITION, Condition
from impl.protocol.rules import HONEST, Rules

PUT_BYTES_MAX: Final = 5 * 1024**3
DELETES_AT_ONCE_MAX: Final = 16
PARTS_MAX: Final = 10_000
_OVERRIDES: Final = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}
Span = tuple[int, int]
_UNSIGNED: Final = Payload(PayloadKind.UNSIGNED)


class Objects:
    """The operations on objects of one node."""

    def __init__(self, node: ObjectNode, buckets: Buckets, rules: Rules = HONEST) -> None:
        self._node = node
        self._buckets = buckets
        self._rules = rules

    # -- writes

    async def put(self, call: Call) -> Answer:
        """PutObject, and CopyObject if there is a source."""
        if "x-amz-copy-source" in call.headers:
            return await self._copy(call)
        body = call.body()
        body.check_size(PUT_BYTES_MAX)
        attributes = metadata.of_request(call.headers)
        condition = write_condition(call)
        stored = await self.stored(call, body)
        checksum = body.checksum
        written = await self.write(
            call, stored, metadata.content_type(call.headers), (*attributes, *metadata.of_checksum(checksum)), condition
        )
        about = versions.told_of_write(call.found, written)
        return Answer(200, (("ETag", f'"{written.etag}"'), *about, *metadata.of_checksum(checksum)))

    async def stored(self, call: Call, body: CheckedBody) -> Stored:
        """A body, durable or ready to ride in a head, with its MD5 as etag.

        Versions stay in their head for long and together, so their bodies do not ride in it.
        """
        inline_bytes_max = 0 if versions.is_versioned(call.found) else INLINE_BODY_BYTES_MAX
        if body.announced_bytes <= inline_bytes_max:
            whole = await body.read_all(inline_bytes_max)
            if len(whole) == body.announced_bytes:
                return Stored(whole, (), len(whole), body.md5)
        stored = await self._node.store(call.path, body, inline_bytes_max)
        return msgspec.structs.replace(stored, etag=body.md5)

    async def write(
        self, call: Call, stored: Stored, content_type: str, attributes: Attributes, condition: Condition
    ) -> Written:
        """Write the head. Raises PreconditionFailed, or NoSuchKey for If-Match where there is nothing."""
        await self._buckets.guard.check(call)
        if versions.is_versioned(call.found):
            versions.check_room(await self._node.head(call.path), len(stored.parts))
        written = await self._node.write(
            call.path,
            stored,
            condition=condition,
            write_id=call.write_id,
            content_type=content_type,
            attributes=attributes,
            versioned=versions.is_versioned(call.found),
        )
        refuse(call, condition, written)
        await self._buckets.guard.settle(call.found, call.path, written, call.request.request_id)
        return written

    async def delete(self, call: Call) -> Answer:
        """DeleteObject. Deleting what is not there is no error; where versions are kept, it leaves a marker."""
        version = versions.asked(call.arguments)
        written = await self._delete(call, call.key, version, write_condition(call), call.write_id)
        return Answer(204, versions.told_of_delete(call.found, written, version))

    async def _delete(
        self, call: Call, key: str, version: int | None, condition: Condition, write_id: str | None
    ) -> Written:
        path, bucket = object_path(call.bucket, key), call.found
        if version is not None or not bucket.versioning:
            written = await self._node.delete(
                path, condition=condition, write_id=write_id, version=version or NULL_VERSION
            )
            refuse(call, condition, written)
            return written
        written = await self._node.mark(
            path, condition=condition, write_id=write_id, versioned=versions.is_versioned(bucket)
        )
        refuse(call, condition, written)
        await self._buckets.guard.settle(bucket, path, written, call.request.request_id)
        return written

    async def delete_many(self, call: Call) -> Answer:
        """DeleteObjects: each key by itself, and one answer for all."""
        asked = await documents.read(call, xml_requests.delete)
        await self._buckets.guard.check(call)
        turns = asyncio.Semaphore(DELETES_AT_ONCE_MAX)

        async def one(place: int, target: DeleteTarget) -> Deleted | NotDeleted:
            # each has a write id of its own, as several may be about one key
            write_id = None if call.write_id is None else f"{call.write_id} {place}"
            async with turns:
                try:
                    return await self._delete_target(call, target, write_id)
                except AmberioError as error:
                    told = told_of(error)
                    return NotDeleted(target.key, target.version_id, told.code, told.message)

        results = await asyncio.gather(*(one(place, target) for place, target in enumerate(asked.objects)))
        deleted = [result for result in results if isinstance(result, Deleted) and not asked.quiet]
        failed = [result for result in results if isinstance(result, NotDeleted)]
        return xml_answer(xml.delete_result(DeleteResult(deleted, failed)))

    async def _delete_target(self, call: Call, target: DeleteTarget, write_id: str | None) -> Deleted:
        call.require(action_on("s3:DeleteObject", target.version_id), target.key, target.version_id)
        if target.size_bytes is not None or target.modified_at_s is not None:
            raise NotImplementedByS3("Of an object's conditions only ETag is understood here.")
        condition = NO_CONDITION
        if target.etag is not None:
            condition = Condition("exists") if target.etag == "*" else Condition("etag_is", target.etag)
        version = None if target.version_id is None else versions.read(target.version_id)
        written = await self._delete(call, check_key(target.key), version, condition, write_id)
        marker = versions.marker_of(written)
        return Deleted(target.key, target.version_id, marker is not None, marker)

    # -- reads

    async def get(self, call: Call) -> Answer:
        """GetObject and HeadObject."""
        head = await self.head(call)
        headers = call.headers
        about: HeaderPairs = (("ETag", f'"{head.etag}"'), ("Last-Modified", http_time(head.updated_at_ms)))
        about += versions.told_of_head(call.found, head)
        verdict = conditions.read_verdict(
            head,
            headers.get("if-match"),
            headers.get("if-none-match"),
            headers.get("if-modified-since"),
            headers.get("if-unmodified-since"),
        )
        if verdict == "not_modified":
            return Answer(304, about)
        if verdict == "failed":
            condition = "If-Match" if "if-match" in headers else "If-Unmodified-Since"
            raise PreconditionFailed(Condition=condition)
        part, parts = _part(call, head)
        span = part
        if "range" in headers and conditions.range_applies(head, headers.get("if-range")):
            if part is not None:
                raise InvalidRequest("Cannot specify both Range header and partNumber query parameter")
            span = _range(headers["range"], head)
        start, end = span or (0, head.size_bytes)
        told = {"Content-Type": head.content_type, "Accept-Ranges": "bytes"}
        is_checksum_wanted = headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and span in (
            None,
            (0, head.size_bytes),
        )
        told |= {
            _titled(name): value
            for name, value in metadata.header_pairs(head.attributes, is_checksum_wanted)
            if name != metadata.TAGGING_COUNT or _may_read_tags(call)
        }
        told |= {
            name: metadata.header_text(call.arguments[asked])
            for asked, name in _OVERRIDES.items()
            if asked in call.arguments
        }
        if parts:
            told["x-amz-mp-parts-count"] = str(parts)
        if span is not None:
            told["Content-Range"] = f"bytes {start}-{end - 1}/{head.size_bytes}"
        return await self._content(call, head, (*about, *told.items()), span)

    async def head(self, call: Call) -> Head:
        """The object that a request is about, in its current version or the one that is named.

        Raises NoSuchKey, NoSuchVersion, MethodNotAllowed.
        """
        version = None if self._rules.version_ignored else versions.asked(call.arguments)
        return versions.named(call.found, call.key, await self._node.head(call.path), version)

    async def _content(self, call: Call, head: Head, about: HeaderPairs, span: Span | None) -> Answer:
        start, end = span or (0, head.size_bytes)
        status = 200 if span is None else 206
        if call.request.method == "HEAD" or end == start:
            return Answer(status, about, b"", end - start)
        if head.body is not None:
            return Answer(status, about, head.body[start:end], end - start)
        pieces = self._node.body(call.path, head, start, end)
        first = await anext(pieces)
        return Answer(status, about, _after(first, pieces), end - start)

    # -- copies

    async def source(self, call: Call) -> tuple[CopySource, Head]:
        """What a copy's source is now. Raises NoSuchKey, NoSuchVersion, InvalidRequest, PreconditionFailed."""
        source = copy_source(call.headers["x-amz-copy-source"])
        version = None if source.version_id is None else versions.read(source.version_id)
        try:
            found = await self._node.head(object_path(source.bucket, source.key))
            head = versions.named(call.found, source.key, found, version)
        except MethodNotAllowed:
            raise InvalidRequest(
                "The source of a copy request may not specifically refer to a delete marker by version id."
            ) from None
        prefix = "x-amz-copy-source-if-"
        asked = [
            call.headers.get(prefix + name) for name in ("match", "none-match", "modified-since", "unmodified-since")
        ]
        if conditions.read_verdict(head, *asked) != "serve":
            raise PreconditionFailed(Condition=next(name for name in call.headers if name.startswith(prefix)))
        return source, head

    async def _copy(self, call: Call) -> Answer:
        directive = call.headers.get("x-amz-metadata-directive", "COPY").upper()
        if directive not in ("COPY", "REPLACE"):
            raise InvalidArgument("Unknown metadata directive.", ArgumentName="x-amz-metadata-directive")
        metadata.refuse_unsupported(call.headers)
        condition = write_condition(call)
        source, head = await self.source(call)
        source_path = object_path(source.bucket, source.key)
        is_itself = source_path == call.path and source.version_id is None
        if is_itself and directive == "COPY" and "x-amz-storage-class" not in call.headers:
            raise InvalidRequest(
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes."
            )
        if head.size_bytes > PUT_BYTES_MAX:
            raise InvalidRequest(
                "The specified copy source is larger than the maximum allowable size for a copy source: "
                f"{PUT_BYTES_MAX}"
            )
        if directive == "REPLACE":
            attributes, content_type = metadata.of_request(call.headers), metadata.content_type(call.headers)
        else:
            attributes, content_type = metadata.without_checksum(head.attributes), head.content_type
            if "x-amz-storage-class" in call.headers:
                kept = [pair for pair in attributes if pair[0] != "x-amz-storage-class"]
                attributes = (*kept, *metadata.of_request({"x-amz-storage-class": call.headers["x-amz-storage-class"]}))
            attributes = (*attributes, *metadata.of_acl(metadata.acl_of_request(call.headers)))
        tags = metadata.tags_of_copy(call.headers, head.attributes)
        if tags and metadata.takes_tags(call.headers):
            _check_may_copy_tags(call, source)
        attributes = metadata.with_tags(attributes, tags)
        stored, checksum = await self._stored_copy(call, source_path, head)
        attributes = (*attributes, *metadata.of_checksum(checksum))
        written = await self.write(call, stored, content_type, attributes, condition)
        with once_written("copied, but it is not known when"):
            now = await self._node.head(call.path)
        copy = now.at(written.version) if now is not None else None
        modified_ms = copy.updated_at_ms if copy is not None else head.updated_at_ms
        about = versions.told_of_copy(call.found, written, head)
        return xml_answer(xml.copied_object(shapes.Copied(modified_ms, written.etag or "", checksum)), about)

    async def _stored_copy(self, call: Call, source_path: str, head: Head) -> tuple[Stored, Checksum | None]:
        """The source's body where the copy lives: the same parts if that is the same slot, else read and stored.

        With an archive they may be on no disk any more, and nobody could say of the copy's where to find them.
        """
        etag = head.etag or ""
        checksum = metadata.checksum_in(head.attributes)
        is_whole = "-" not in etag
        rides = head.size_bytes == 0 or (head.body is not None and not versions.is_versioned(call.found))
        if is_whole and rides:
            return Stored(head.body or b"", (), head.size_bytes, etag), checksum
        is_same_slot = self._node.locate(source_path)[0] == self._node.locate(call.path)[0]
        if is_whole and head.parts and is_same_slot and self._node.lag() is None:
            return Stored(None, head.parts, head.size_bytes, etag), checksum
        body = self.reading(source_path, head, (0, head.size_bytes), checksum.algorithm if checksum else None)
        return await self.stored(call, body), body.checksum

    def reading(self, path: str, head: Head, span: Span, algorithm: Algorithm | None) -> CheckedBody:
        """An object's bytes as a body to be stored elsewhere."""
        return CheckedBody(Pieces(self._node, path, head, span), _UNSIGNED, {}, Declared(), algorithm)


class Pieces:
    """Bytes of an object, read as a request's body is."""

    def __init__(self, node: ObjectNode, path: str, head: Head, span: Span) -> None:
        self.size_bytes: int | None = span[1] - span[0]
        self._pieces = _inline(head.body[span[0] : span[1]]) if head.body is not None else node.body(path, head, *span)

    async def read(self) -> bytes:
        async for piece in self._pieces:
            if piece:
                return bytes(piece)
        return b""


def _may_read_tags(call: Call) -> bool:
    version_id = call.arguments.get("versionId")
    return call.may(action_on("s3:GetObjectTagging", version_id), call.key, version_id)


def _check_may_copy_tags(call: Call, source: CopySource) -> None:
    """Raises AccessDenied unless the sender may read the tags of a copy's source, and tag the copy."""
    call.require("s3:PutObjectTagging", call.key)
    action = action_on("s3:GetObjectTagging", source.version_id)
    if call.source is None or not call.source.may(action, source.key, source.version_id):
        raise AccessDenied()


def write_condition(call: Call) -> Condition:
    """The precondition of a write. Raises InvalidArgument, and NotImplementedByS3 for what S3 does not have."""
    if_none_match = call.headers.get("if-none-match")
    if if_none_match is not None and if_none_match.strip() != "*":
        raise NotImplementedByS3(Header="If-None-Match", additionalMessage="Only * is understood on a write.")
    return conditions.write_condition(call.headers.get("if-match"), if_none_match, None)


def refuse(call: Call, condition: Condition, written: Written) -> None:
    """Raises what a write gets whose precondition does not hold."""
    if written.outcome != "refused":
        return
    if condition.kind in ("etag_is", "exists") and (written.deleted or written.generation == 0):
        raise NoSuchKey(Key=call.key)
    raise PreconditionFailed(Condition=refusal_of_condition(condition))


def _range(header: str, head: Head) -> Span | None:
    asked = conditions.byte_range(header, head.size_bytes)
    if asked == "unsatisfiable":
        raise InvalidRange(
            headers=(("content-range", f"bytes */{head.size_bytes}"),),
            RangeRequested=header[:100],
            ActualObjectSize=head.size_bytes,
        )
    return asked


def _part(call: Call, head: Head) -> tuple[Span | None, int]:
    """The range of the part that a read asks for, and how many the object was uploaded in (0: in one)."""
    if "partNumber" not in call.arguments:
        return None, 0
    number = number_argument(call, "partNumber", 1, PARTS_MAX)
    sizes = metadata.part_sizes(head.attributes)
    if number > max(len(sizes), 1):
        raise InvalidPartNumber(PartNumberRequested=number, ActualPartCount=max(len(sizes), 1))
    if not sizes:
        return ((0, head.size_bytes) if head.size_bytes else None), 0
    start = sum(sizes[: number - 1])
    end = start + sizes[number - 1]
    return ((start, end) if end > start else None), len(sizes)


def _titled(name: str) -> str:
    """`content-encoding` as `Content-Encoding`; S3's own names stay as they are."""
    return name if name.startswith("x-amz-") else name.title()


async def _inline(body: bytes) -> AsyncIterator[bytes | memoryview]:
    yield body


async def _after(
    first: bytes | memoryview, rest: AsyncIterator[bytes | memoryview]
) -> AsyncIterator[bytes | memoryview]:
    """`first`, then `rest`: taken apart so that an error before any byte is still a proper answer."""
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()  # type: ignore[attr-defined]  # a generator, like all bodies
