"""The native API for clients, under /_/api/v1 (native-api.md; features A1 and A2). Decides answers, renders nothing."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

import msgspec

from impl.api import arguments, conditions
from impl.api.http.body import BodyStream, WholeBody
from impl.api.http.exchange import Answer, HeaderPairs, Operation, Request, error_answer, json_answer
from impl.api.http.routes import Route
from impl.api.node_face import ObjectNode, Written
from impl.api.versions import blob_id, no_room, spelled
from impl.errors import (
    AmberioError,
    Conflict,
    Deleted,
    InvalidArgument,
    NeverWritten,
    NotReady,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from impl.model import INLINE_BODY_BYTES_MAX, NULL_VERSION, Head
from impl.protocol.change import Condition
from impl.protocol.rules import HONEST, Rules

PREFIX: Final = "/_/api/v1"
BLOBS: Final = PREFIX + "/blobs/"


class PutAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    slot_id: int
    generation: int
    etag: str | None
    size_bytes: int
    committed_replicas: int
    idempotent_replay: bool = False
    version: str | None = None
    blob_id: str | None = None


class DeleteAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    generation: int
    committed_replicas: int
    idempotent_replay: bool = False
    version: str | None = None
    delete_marker: bool = False


class Item(msgspec.Struct, frozen=True):
    path: str
    generation: int
    etag: str | None
    size_bytes: int
    deleted: bool
    updated_at: str


class ListAnswer(msgspec.Struct, frozen=True):
    items: list[Item]
    next_cursor: str | None


class DiskItem(msgspec.Struct, frozen=True):
    """A disk by its number; `status` is healthy or failed."""

    disk: int
    status: str


class HealthAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` is ok, or degraded if some of the node's disks have failed; `disks` is there if it has several."""

    status: str
    node_id: str
    cluster_id: str
    incarnation: int
    disks: list[DiskItem] = []


class MemberItem(msgspec.Struct, frozen=True):
    node_id: str
    address: str
    status: str
    incarnation: int | None


class NodesAnswer(msgspec.Struct, frozen=True):
    nodes: list[MemberItem]


class SlotAnswer(msgspec.Struct, frozen=True):
    path: str
    slot_id: int
    replicas: tuple[str, ...]
    write_quorum: int


class NativeApi:
    """The operations of A1 and A2 on one node. `draining` says whether the node is about to stop."""

    def __init__(self, node: ObjectNode, rules: Rules = HONEST) -> None:
        self._node = node
        self._rules = rules
        self.draining = False

    def routes(self) -> tuple[Route, ...]:
        """Where each operation is served."""
        blob = {
            "GET": Operation("get", self.get),
            "HEAD": Operation("head", self.get),
            "PUT": Operation("put", self.put),
            "DELETE": Operation("delete", self.delete),
        }
        listing = {"GET": Operation("list", self.list)}
        health = {"GET": Operation("healthz", self.health), "HEAD": Operation("healthz", self.health)}
        return (
            Route(BLOBS + ".*", blob, hot_prefix=BLOBS),
            Route(PREFIX + "/blobs", listing, hot_path=PREFIX + "/blobs"),
            Route(PREFIX + "/healthz", health, hot_path=PREFIX + "/healthz"),
            Route(PREFIX + "/nodes", {"GET": Operation("nodes", self.nodes)}),
            Route(PREFIX + "/slots/resolve", {"GET": Operation("resolve", self.resolve)}),
        )

    # -- writes

    async def put(self, request: Request) -> Answer:
        """Create or replace an object; with `?versioned=true`, as a version of its own that keeps those before."""
        path = arguments.object_path(request.path[len(BLOBS) :])
        condition = _write_condition(request)
        asked = arguments.query_arguments(request.query) if request.query else {}
        if arguments.flag("versioned", asked.get("versioned")):
            return await self._put_version(request, path, condition)
        body = request.body
        if isinstance(body, BodyStream) and body.size_bytes is not None and body.size_bytes <= INLINE_BODY_BYTES_MAX:
            body = await body.read_all(INLINE_BODY_BYTES_MAX)
        written = await self._node.put(
            path,
            body,
            condition=condition,
            write_id=arguments.write_id(request.header(b"x-amberio-write-id")),
            content_type=arguments.content_type(request.header(b"content-type")),
        )
        if written.outcome == "refused":
            return _refused(request, path, condition, written)
        replayed = written.outcome == "replayed"
        etag = _quoted(written.etag)
        answer = PutAnswer(
            path, written.slot, written.generation, etag, written.size_bytes, written.committed_replicas, replayed
        )
        return json_answer(200 if replayed else 201, answer, _version_headers(etag, written.generation))

    async def _put_version(self, request: Request, path: str, condition: Condition) -> Answer:
        """The body goes into parts, as it is kept beside others in the head."""
        body = request.body if isinstance(request.body, BodyStream) else WholeBody(request.body)
        stored = await self._node.store(path, body, 0)
        if (fault := no_room(await self._node.head(path), len(stored.parts))) is not None:
            raise InvalidArgument(fault)
        written = await self._node.write(
            path,
            stored,
            condition=condition,
            write_id=arguments.write_id(request.header(b"x-amberio-write-id")),
            content_type=arguments.content_type(request.header(b"content-type")),
            versioned=True,
        )
        if written.outcome == "refused":
            return _refused(request, path, condition, written)
        now = await self._node.head(path)
        made = now.at(written.version) if now is not None else None
        replayed, etag = written.outcome == "replayed", _quoted(written.etag)
        answer = PutAnswer(
            path,
            written.slot,
            written.generation,
            etag,
            written.size_bytes,
            written.committed_replicas,
            replayed,
            spelled(written.version),
            None if made is None else blob_id(path, made),
        )
        return json_answer(200 if replayed else 201, answer, _version_headers(etag, written.generation))

    async def delete(self, request: Request) -> Answer:
        """Replace an object by a tombstone. Deleting what is deleted is no error; what never was, is.

        `?version=` removes that version, and `?versioned=true` leaves a delete marker over all that are there.
        """
        path = arguments.object_path(request.path[len(BLOBS) :])
        condition = _write_condition(request)
        asked = arguments.query_arguments(request.query) if request.query else {}
        version = arguments.version_id(asked.get("version"))
        write_id = arguments.write_id(request.header(b"x-amberio-write-id"))
        if arguments.flag("versioned", asked.get("versioned")):
            if version is not None:
                raise InvalidArgument("a version is removed, or a marker left over all: give version or versioned")
            written = await self._node.mark(path, condition=condition, write_id=write_id, versioned=True)
        else:
            written = await self._node.delete(
                path, condition=condition, write_id=write_id, version=version or NULL_VERSION
            )
        if written.outcome == "refused":
            return _refused(request, path, condition, written)
        if written.generation == 0:
            raise NeverWritten(f"{path!r} was never written")
        is_told = bool(asked) and written.outcome != "unchanged"
        answer = DeleteAnswer(
            path,
            written.generation,
            written.committed_replicas,
            written.outcome == "replayed",
            spelled(written.version) if is_told else None,
            is_told and written.marker,
        )
        return json_answer(200, answer, _version_headers(None, written.generation))

    # -- reads

    async def get(self, request: Request) -> Answer:
        """Read an object, or a range of it; HEAD too."""
        path = arguments.object_path(request.path[len(BLOBS) :])
        asked = arguments.query_arguments(request.query) if request.query else {}
        head = await self._node.head(path)
        named = arguments.version_id(asked.get("version"))
        if head is not None and named is not None:
            head = head.at(named)
            if head is None:
                raise NeverWritten(f"{path!r} has no version {spelled(named)}; it may be deleted")
        if head is None or (head.deleted and self._rules.tombstone_not_found):
            raise NeverWritten(f"{path!r} was never written")
        version = _version_headers(_quoted(head.etag), head.generation)
        if asked and head.current is not None:
            version += (("x-amberio-version", spelled(head.version)), ("x-amberio-blob-id", blob_id(path, head)))
        if head.deleted:
            return error_answer(Deleted(f"{path!r} is deleted"), request.request_id, version)
        version += (("Last-Modified", formatdate(head.updated_at_ms // 1000, usegmt=True)),)
        headers = request.headers
        verdict = conditions.read_verdict(
            head,
            request.header(b"if-match"),
            request.header(b"if-none-match"),
            request.header(b"if-modified-since"),
            request.header(b"if-unmodified-since"),
        )
        if self._rules.swap_304_and_412 and verdict != "serve":
            verdict = "failed" if verdict == "not_modified" else "not_modified"
        if verdict == "not_modified":
            return Answer(304, version)
        if verdict == "failed":
            error: AmberioError = PreconditionFailed(f"{path!r} is at {_quoted(head.etag)}, which the request excludes")
            return error_answer(error, request.request_id, version)
        span = arguments.span(asked.get("start"), asked.get("end"), head.size_bytes) if asked else None
        if span is None and b"range" in headers and conditions.range_applies(head, request.header(b"if-range")):
            found = conditions.byte_range(request.header(b"range"), head.size_bytes)
            if found == "unsatisfiable":
                error = RangeNotSatisfiable(f"{path!r} has {head.size_bytes} bytes; ask for a range within them")
                return error_answer(error, request.request_id, (("Content-Range", f"bytes */{head.size_bytes}"),))
            span = found
            if span is not None and self._rules.range_off_by_one:
                span = (span[0], span[1] - 1)
        return await self._content(request, path, head, version, span)

    async def _content(
        self, request: Request, path: str, head: Head, version: HeaderPairs, span: tuple[int, int] | None
    ) -> Answer:
        start, end = span or (0, head.size_bytes)
        about: HeaderPairs = (("Content-Type", head.content_type), ("Accept-Ranges", "bytes"), *version)
        if span is not None:
            about += (("Content-Range", f"bytes {start}-{end - 1}/{head.size_bytes}"),)
        status = 200 if span is None else 206
        if request.method == "HEAD" or end == start:
            return Answer(status, about, b"", end - start)
        if head.body is not None:
            body = head.body if span is None else head.body[start:end]
            return Answer(status, about, body, end - start)
        pieces = self._node.body(path, head, start, end)
        first = await anext(pieces)
        return Answer(status, about, _after(first, pieces), end - start)

    async def list(self, request: Request) -> Answer:
        """A page of the objects whose path begins with a prefix."""
        asked = arguments.query_arguments(request.query)
        listing = await self._node.list(
            arguments.list_prefix(asked.get("prefix", "")),
            arguments.list_limit(asked.get("limit")),
            arguments.decode_cursor(asked.get("cursor")),
            arguments.flag("include_deleted", asked.get("include_deleted")),
        )
        items = [_item(path, head) for path, head in listing.items]
        after = listing.next_after
        return json_answer(200, ListAnswer(items, None if after is None else arguments.encode_cursor(after)))

    # -- the cluster, as a client may see it

    async def health(self, request: Request) -> Answer:
        """Is this node ready to serve?"""
        node = self._node
        reason = "draining: the node is about to stop" if self.draining else node.not_ready()
        if reason is not None:
            raise NotReady(reason)
        health = node.disks()
        status = "ok" if all(health.values()) else "degraded"
        disks = [DiskItem(disk, "healthy" if is_healthy else "failed") for disk, is_healthy in health.items()]
        answer = HealthAnswer(status, node.node_id, node.cluster_id, node.incarnation, disks if len(disks) > 1 else [])
        return json_answer(200, answer)

    async def nodes(self, request: Request) -> Answer:
        """All nodes, and how they look from here."""
        members = [
            MemberItem(member.node_id, member.address, member.status, member.incarnation)
            for member in self._node.members()
        ]
        return json_answer(200, NodesAnswer(members))

    async def resolve(self, request: Request) -> Answer:
        """Where a path lives; the first of its nodes is who should be asked."""
        encoded = [pair[5:] for pair in request.query.split("&") if pair.startswith("path=")]
        if len(encoded) != 1:
            raise InvalidArgument("give the path to resolve once, as ?path=photos/cat.jpg")
        path = arguments.object_path(encoded[0].replace("+", " "))
        slot, replicas = self._node.locate(path)
        return json_answer(
            200, SlotAnswer(path, slot, tuple(self._node.by_preference(replicas.nodes)), replicas.write_quorum)
        )


def _write_condition(request: Request) -> Condition:
    return conditions.write_condition(
        request.header(b"if-match"), request.header(b"if-none-match"), request.header(b"x-amberio-if-generation")
    )


def _refused(request: Request, path: str, condition: Condition, written: Written) -> Answer:
    if condition.kind == "generation_is":
        text = f"{path!r} is at generation {written.generation}, not {condition.generation}; read it and try again"
        error: AmberioError = Conflict(text)
    else:
        error = PreconditionFailed(f"{path!r} is at generation {written.generation}, which the condition excludes")
    return error_answer(error, request.request_id, _version_headers(None, written.generation))


def _version_headers(etag: str | None, generation: int) -> HeaderPairs:
    pair = ("x-amberio-generation", str(generation))
    return (pair,) if etag is None else (("ETag", etag), pair)


def _quoted(etag: str | None) -> str | None:
    return None if etag is None else f'"{etag}"'


def _item(path: str, head: Head) -> Item:
    moment = datetime.fromtimestamp(head.updated_at_ms / 1000, UTC)
    updated_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Item(path, head.generation, _quoted(head.etag), head.size_bytes, head.deleted, updated_at)


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
