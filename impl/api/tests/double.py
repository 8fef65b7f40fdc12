"""A node and a replica in memory, with the shapes of `impl/api/node_face.py`: semantics by the real change function."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from impl.api.http.body import BodyStream
from impl.api.node_face import BodySource
from impl.errors import AmberioError
from impl.model import (
    INLINE_BODY_BYTES_MAX,
    NULL_VERSION,
    VIRGIN,
    Attributes,
    Head,
    PartRef,
    Register,
    ReplicaSet,
    Stored,
    slot_of,
)
from impl.protocol.change import Change, Condition, apply
from impl.protocol.events import Outcome

NOW_MS = 1_700_000_000_000
PIECE_BYTES = 64 * 1024


class Written(msgspec.Struct, frozen=True):
    outcome: Outcome
    slot: int
    generation: int
    etag: str | None
    size_bytes: int
    deleted: bool
    committed_replicas: int
    version: int = NULL_VERSION
    marker: bool = False


class Listing(msgspec.Struct, frozen=True):
    items: list[tuple[str, Head]]
    next_after: str | None


class Member(msgspec.Struct, frozen=True):
    node_id: str
    address: str
    status: str
    incarnation: int | None


class NodeDouble:
    """Heads in a dict. `failure` is raised by every operation while set; `gate` holds every operation while unset.

    `break_after` so many bytes, a body raises; or, if it `ends_early`, just ends.
    """

    def __init__(self) -> None:
        self.node_id = "n1"
        self.cluster_id = "c0ffee"
        self.incarnation = 7
        self.heads: dict[str, Head] = {}
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.reason: str | None = None
        self.calls: list[str] = []
        self.bodies_closed = 0
        self.break_after: int | None = None
        self.ends_early = False

    def lag(self) -> None:
        return None

    def not_ready(self) -> str | None:
        return self.reason

    def disks(self) -> Mapping[int, bool]:
        return {1: True}

    def members(self) -> Sequence[Member]:
        return [Member("n1", "127.0.0.1:1", "healthy", 7), Member("n2", "127.0.0.1:2", "down", None)]

    def locate(self, path: str) -> tuple[int, ReplicaSet]:
        return slot_of(path), ReplicaSet(("n1", "n2", "n3"), 2)

    def by_preference(self, nodes: Sequence[str]) -> Sequence[str]:
        return nodes

    async def put(
        self, path: str, body: bytes | BodyStream, *, condition: Condition, write_id: str | None, content_type: str
    ) -> Written:
        self.calls.append(f"put {path} {'bytes' if isinstance(body, bytes) else 'stream'}")
        await self._pass()
        digest = hashlib.sha256()
        size_bytes = 0
        inline = body if isinstance(body, bytes) else None
        if isinstance(body, BodyStream):
            while piece := await body.read():
                digest.update(piece)
                size_bytes += len(piece)
        else:
            digest.update(body)
            size_bytes = len(body)
        parts = () if inline is not None else (PartRef(digest.hexdigest(), size_bytes),)
        change = Change(
            "put",
            write_id or self._token(),
            condition,
            digest.hexdigest(),
            size_bytes,
            content_type,
            NOW_MS,
            inline,
            parts,
        )
        return self._change(path, change)

    async def delete(
        self, path: str, *, condition: Condition, write_id: str | None, version: int = NULL_VERSION
    ) -> Written:
        self.calls.append(f"delete {path}")
        await self._pass()
        change = Change("delete", write_id or self._token(), condition, updated_at_ms=NOW_MS, version=version)
        return self._change(path, change)

    async def store(self, path: str, body: BodySource, inline_bytes_max: int = INLINE_BODY_BYTES_MAX) -> Stored:
        whole = b"".join([piece async for piece in _pieces(body)])
        digest = hashlib.sha256(whole).hexdigest()
        if len(whole) <= inline_bytes_max:
            return Stored(whole, (), len(whole), digest)
        return Stored(None, (PartRef(digest, len(whole)),), len(whole), digest)

    async def write(
        self,
        path: str,
        stored: Stored,
        *,
        condition: Condition,
        write_id: str | None,
        content_type: str,
        attributes: Attributes = (),
        versioned: bool = False,
    ) -> Written:
        self.calls.append(f"write {path}")
        await self._pass()
        return self._change(
            path,
            Change(
                "put",
                write_id or self._token(),
                condition,
                stored.etag,
                stored.size_bytes,
                content_type,
                NOW_MS,
                stored.body,
                stored.parts,
                attributes,
                versioned,
            ),
        )

    async def mark(self, path: str, *, condition: Condition, write_id: str | None, versioned: bool) -> Written:
        self.calls.append(f"mark {path}")
        await self._pass()
        write_id = write_id or self._token()
        return self._change(path, Change("mark", write_id, condition, updated_at_ms=NOW_MS, versioned=versioned))

    async def amend(
        self, path: str, *, condition: Condition, write_id: str | None, version: int, attributes: Attributes
    ) -> Written:
        self.calls.append(f"amend {path}")
        await self._pass()
        change = Change("amend", write_id or self._token(), condition, attributes=attributes, version=version)
        return self._change(path, change)

    async def head(self, path: str) -> Head | None:
        self.calls.append(f"head {path}")
        await self._pass()
        return self.heads.get(path)

    async def body(self, path: str, head: Head, start: int, end: int) -> AsyncIterator[bytes | memoryview]:
        """Zeros, as many as were written: a large body is not kept."""
        try:
            while start < end:
                if self.break_after is not None and start >= self.break_after:
                    if self.ends_early:
                        return
                    raise AmberioError("the disk is gone")
                await asyncio.sleep(0)
                yield bytes(min(PIECE_BYTES, end - start))
                start += PIECE_BYTES
        finally:
            self.bodies_closed += 1

    async def list(
        self, prefix: str, limit: int, after: str | None, include_deleted: bool, with_older: bool = False
    ) -> Listing:
        self.calls.append("list")
        await self._pass()
        found = [
            (path, head)
            for path, head in sorted(self.heads.items(), key=lambda item: item[0].encode())
            if path.startswith(prefix)
            and (after is None or path.encode() > after.encode())
            and (include_deleted or not head.deleted)
        ]
        return Listing(found[:limit], found[limit - 1][0] if len(found) > limit else None)

    def _token(self) -> str:
        return f"call {len(self.calls)}"

    async def _pass(self) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    def _change(self, path: str, change: Change) -> Written:
        slot = self.locate(path)[0]
        result = apply(change, self.heads.get(path))
        if result.head is not None:
            self.heads[path] = result.head
        told = result.applied or result.head
        if told is None:
            return Written(result.outcome, slot, 0, None, 0, False, 3)
        return Written(
            result.outcome,
            slot,
            told.generation,
            told.etag,
            told.size_bytes,
            told.deleted,
            3,
            told.version,
            told.marker,
        )


async def _pieces(body: BodySource) -> AsyncIterator[bytes]:
    while piece := await body.read():
        yield piece


class Slotlet(msgspec.Struct, frozen=True):
    prefix: str
    digest: str
    objects: int


class ReplicaDouble:
    """Registers and parts in dicts."""

    def __init__(self) -> None:
        self.registers: dict[str, Register] = {}
        self.parts: dict[tuple[int, str], bytes] = {}

    async def register(self, slot: int, path: str) -> Register:
        return self.registers.get(path, VIRGIN)

    async def put_part(self, slot: int, digest: str, pieces: list[bytes]) -> bool:
        reused = (slot, digest) in self.parts
        self.parts[slot, digest] = b"".join(pieces)
        return reused

    async def get_part(self, slot: int, digest: str) -> bytes | None:
        return self.parts.get((slot, digest))

    async def slotlets(self, slot: int, prefix_len: int) -> Sequence[Slotlet]:
        return [Slotlet("0" * prefix_len, "abc", 3)]

    async def heads(self, slot: int, prefixes: Sequence[str]) -> Sequence[tuple[str, Head]]:
        return [(path, register.head) for path, register in self.registers.items() if register.head is not None]
