"""The node as its APIs see it: put, delete, head, body, list. No protocol edges, no wiring; linearizable per path."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec

from impl.cluster.liveness import Liveness
from impl.doors import Clock, Random
from impl.errors import InvalidArgument, NeverWritten
from impl.model import INLINE_BODY_BYTES_MAX, NULL_VERSION, Attributes, Head, ReplicaSet, Stored, present
from impl.node.coordinator import Coordinator
from impl.node.lister import Lister, Listing
from impl.node.locate import Locate
from impl.node.reader import Reader
from impl.node.tiering import Lag, Tiering
from impl.node.uploads import BodySource, Uploads, inline
from impl.protocol.change import Change, Condition
from impl.protocol.events import Outcome
from impl.protocol.rules import HONEST, Rules

LIST_LIMIT_MAX = 1001
"""A page of a thousand, and whether there is more."""


class Written(msgspec.Struct, frozen=True):
    """What a put or delete came to. For `refused`, generation and etag are those found.

    `version` is the one that was made, removed or amended, and `marker` says whether that one is a delete marker.
    """

    outcome: Outcome
    slot: int
    generation: int
    etag: str | None
    size_bytes: int
    deleted: bool
    committed_replicas: int
    version: int
    marker: bool


class Member(msgspec.Struct, frozen=True):
    """A node of the cluster as this one sees it; for routing and people, never for safety."""

    node_id: str
    address: str
    status: str
    incarnation: int | None


class Node:
    """One node's operations."""

    def __init__(
        self,
        node_id: str,
        cluster_id: str,
        incarnation: int,
        coordinator: Coordinator,
        reader: Reader,
        lister: Lister,
        uploads: Uploads,
        locate: Locate,
        members: Callable[[], Sequence[Member]],
        disks: Callable[[], Mapping[int, bool]],
        clock: Clock,
        random: Random,
        liveness: Liveness,
        tiering: Tiering | None = None,
        rules: Rules = HONEST,
    ) -> None:
        self.node_id = node_id
        self.cluster_id = cluster_id
        self.incarnation = incarnation
        self._coordinator = coordinator
        self._reader = reader
        self._lister = lister
        self._uploads = uploads
        self._locate = locate
        self._members = members
        self._disks = disks
        self._clock = clock
        self._random = random
        self._liveness = liveness
        self._tiering = tiering
        self._rules = rules

    def locate(self, path: str) -> tuple[int, ReplicaSet]:
        """The slot of a path and the nodes that hold it."""
        return self._locate(path)

    def members(self) -> Sequence[Member]:
        """All nodes of the cluster, this one included."""
        return self._members()

    def lag(self) -> Lag | None:
        """What waits here to be shipped; None without an archive."""
        return None if self._tiering is None else self._tiering.lag()

    def disks(self) -> Mapping[int, bool]:
        """Is it in service? Of each disk of this node, by its number."""
        return self._disks()

    def not_ready(self) -> str | None:
        """Why clients should go elsewhere; None if they need not. A node that drains still serves those who come."""
        if self._liveness.draining:
            return "draining: an operator wants this node to get no new work"
        return self._coordinator.not_ready()

    def by_preference(self, nodes: Sequence[str]) -> Sequence[str]:
        """The nodes of a replica set, those first that are alive and want work. For routing, never for safety."""
        return self._liveness.by_preference(nodes)

    async def put(
        self, path: str, body: bytes | BodySource, *, condition: Condition, write_id: str | None, content_type: str
    ) -> Written:
        """Write an object; acknowledged once a write quorum has it fsynced, its parts first.

        In write-through mode the archive has it then, too.
        """
        stored = inline(body) if isinstance(body, bytes) else await self.store(path, body)
        return await self.write(path, stored, condition=condition, write_id=write_id, content_type=content_type)

    async def store(self, path: str, body: BodySource, inline_bytes_max: int = INLINE_BODY_BYTES_MAX) -> Stored:
        """Make a body durable where the path lives, for `write` to name; of a small one only its bytes are kept."""
        if self._tiering is not None:
            self._tiering.check_room(path)
        slot, group = self._locate(path)
        return await self._uploads.store(body, slot, group, inline_bytes_max)

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
        """Write an object whose body is durable in the path's slot already; as a version of its own if `versioned`."""
        if versioned:
            await self._bring_back(path)
        change = Change(
            operation="put",
            write_id=write_id or self._random.token(),
            condition=condition,
            etag=stored.etag,
            size_bytes=stored.size_bytes,
            content_type=content_type,
            updated_at_ms=self._clock.now_ms(),
            body=stored.body,
            parts=stored.parts,
            attributes=attributes,
            versioned=versioned,
        )
        return await self._change(path, change)

    async def delete(
        self, path: str, *, condition: Condition, write_id: str | None, version: int = NULL_VERSION
    ) -> Written:
        """Remove a version; nothing to do (and `unchanged`) where it is not. A path without versions is a tombstone."""
        change = Change(
            operation="delete",
            write_id=write_id or self._random.token(),
            condition=condition,
            updated_at_ms=self._clock.now_ms(),
            version=version,
        )
        return await self._change(path, change)

    async def mark(self, path: str, *, condition: Condition, write_id: str | None, versioned: bool) -> Written:
        """Write a delete marker: the path is deleted, and what was there is kept beneath it."""
        if versioned:
            await self._bring_back(path)
        change = Change(
            operation="mark",
            write_id=write_id or self._random.token(),
            condition=condition,
            updated_at_ms=self._clock.now_ms(),
            versioned=versioned,
        )
        return await self._change(path, change)

    async def amend(
        self, path: str, *, condition: Condition, write_id: str | None, version: int, attributes: Attributes
    ) -> Written:
        """Say something else beside the body of a version; `unchanged` where it is not."""
        change = Change(
            operation="amend",
            write_id=write_id or self._random.token(),
            condition=condition,
            updated_at_ms=self._clock.now_ms(),
            version=version,
            attributes=attributes,
        )
        return await self._change(path, change)

    async def _bring_back(self, path: str) -> None:
        """Have a body on our disks that the archive may have alone, before a version is put on top of it.

        The archive has room for one version a key: what is shipped next takes the place of this one. It is written
        anew, with the parts that it has here; so it is not evicted before that write is shipped and settled.
        """
        if self._tiering is None or not self._tiering.may_be_elsewhere(path):
            return
        head = await self.head(path)
        if head is None or head.deleted or head.version != NULL_VERSION or not (head.parts or head.is_imported):
            return
        await self._write_anew(path, head)

    async def _write_anew(self, path: str, head: Head) -> None:
        """Write the current version as it is, with its body on our disks; unless somebody writes meanwhile."""
        stored = await self.store(path, _Pieces(self.body(path, head, 0, head.size_bytes), head.size_bytes))
        change = Change(
            operation="put",
            write_id=self._random.token(),
            condition=Condition("generation_is", generation=head.generation),
            etag=head.etag,
            size_bytes=head.size_bytes,
            content_type=head.content_type,
            updated_at_ms=head.updated_at_ms,
            body=stored.body,
            parts=stored.parts,
            attributes=head.attributes,
        )
        await self._coordinator.run(path, change)

    async def restore(self, path: str) -> int:
        """Have the body of a path on the disks of its replicas again; its size in bytes. Raises NeverWritten."""
        head = await self.head(path)
        if head is None or head.deleted:
            raise NeverWritten(f"{path!r} was never written, or is deleted")
        if head.parts:
            await self.store(path, _Pieces(self.body(path, head, 0, head.size_bytes), head.size_bytes))
        elif head.is_imported:
            await self._write_anew(path, head)
        return head.size_bytes

    async def head(self, path: str) -> Head | None:
        """The path's head: None if never written, `deleted` for a tombstone; with its inline body, if it has one."""
        head = await self._reader.head(path)
        return head if self._tiering is None else await self._tiering.look_for(path, head)

    def body(self, path: str, head: Head, start: int, end: int) -> AsyncIterator[bytes | memoryview]:
        """The bytes [start, end) of a body that is in parts; never a byte that does not match its digest."""
        slot, group = self._locate(path)
        if self._tiering is None:
            return self._uploads.read(slot, group, head, start, end)
        if head.is_imported:
            return self._tiering.imported(path, slot, head, start, end)
        source = self._tiering.source(path, head)
        return self._uploads.read(slot, group, head, start, end, source)

    async def list(
        self, prefix: str, limit: int, after: str | None, include_deleted: bool, with_older: bool = False
    ) -> Listing:
        """A page of paths with their heads, in the order of their UTF-8 bytes; see Lister.page for `with_older`."""
        if not 1 <= limit <= LIST_LIMIT_MAX:
            raise InvalidArgument(f"limit is {limit}; use 1 to {LIST_LIMIT_MAX}")
        return await self._lister.page(prefix, limit, after, include_deleted, with_older)

    async def _change(self, path: str, change: Change) -> Written:
        if self._tiering is not None:
            self._tiering.check_room(path)
            await self._tiering.before_change(path, change)
        chosen = await self._coordinator.run(path, change)
        if self._tiering is not None:
            await self._tiering.through(path, change, chosen)
        applied, head = chosen.result.applied, present(chosen.result.head)
        told = head if self._rules.replay_tells_newest else applied or head
        etag_of = chosen.found if self._rules.etag_of_previous else told
        return Written(
            outcome=chosen.outcome,
            slot=self._locate(path)[0],
            generation=told.generation if told else 0,
            etag=etag_of.etag if etag_of else None,
            size_bytes=told.size_bytes if told else 0,
            deleted=told.deleted if told else False,
            committed_replicas=chosen.committed_replicas,
            version=told.version if told else NULL_VERSION,
            marker=told.marker if told else False,
        )


class _Pieces:
    """A body that is read as a request's is."""

    def __init__(self, pieces: AsyncIterator[bytes | memoryview], size_bytes: int) -> None:
        self.size_bytes: int | None = size_bytes
        self._pieces = pieces

    async def read(self) -> bytes:
        async for piece in self._pieces:
            if piece:
                return bytes(piece)
        return b""
