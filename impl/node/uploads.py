"""Bodies too large for a head: cut into parts, each durable on a write quorum before any head names it.

Memory is bounded whatever the objects' size and number: one upload has a part that fills and PARTS_IN_FLIGHT_MAX on
their way, one download the part that goes out and the next; and all together have PARTS_WRITTEN_MAX and PARTS_READ_MAX.
A request beyond that waits, and its client with it.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from impl.cluster.peers import Peers
from impl.errors import (
    AmberioError,
    ArchiveCorrupted,
    ArchiveError,
    BadBytes,
    BodyCutShort,
    DiskFull,
    NeverWritten,
    NoQuorum,
    NotInArchive,
    TooLarge,
)
from impl.model import INLINE_BODY_BYTES_MAX, PART_BYTES, Head, PartRef, ReplicaSet, Stored
from impl.node.limits import PARTS_IN_FLIGHT_MAX, PARTS_READ_MAX, PARTS_WRITTEN_MAX, Timing
from impl.protocol.rules import HONEST, Rules
from impl.storage.parts import PartStore, sha256

Source = Callable[[PartRef], Awaitable[bytes]]
"""Gives a part that no replica has from elsewhere; its digest is checked already."""


class BodySource(Protocol):
    """A request body while it arrives. `size_bytes` is None where the client did not say."""

    size_bytes: int | None

    async def read(self) -> bytes:
        """The next piece, b"" at the end; raises BodyCutShort when the client stops before its own length."""
        ...


def inline(body: bytes) -> Stored:
    """A small body as it rides in the head; its etag is the first 128 bits of its SHA-256."""
    return Stored(body, (), len(body), hashlib.sha256(body).hexdigest()[:32])


class Uploads:
    """Takes bodies apart and puts them together again."""

    def __init__(
        self,
        node_id: str,
        parts: PartStore,
        peers: Peers,
        timing: Timing,
        object_bytes_max: int,
        rules: Rules = HONEST,
    ) -> None:
        self._node_id = node_id
        self._parts = parts
        self._peers = peers
        self._timing = timing
        self._object_bytes_max = object_bytes_max
        self._rules = rules
        self._write_room = asyncio.Semaphore(PARTS_WRITTEN_MAX)
        self._read_room = asyncio.Semaphore(PARTS_READ_MAX)

    async def store(
        self, source: BodySource, slot: int, group: ReplicaSet, inline_bytes_max: int = INLINE_BODY_BYTES_MAX
    ) -> Stored:
        """Read the body to its end and make it durable; raises NoQuorum, DiskFull, TooLarge, BodyCutShort.

        A body above `inline_bytes_max` (at most INLINE_BODY_BYTES_MAX) goes into parts, others ride in the head.
        The etag of a body in parts is the first 128 bits of the SHA-256 over the parts' digests, a dash, and their
        number: no byte is hashed a second time for it.
        """
        turns = asyncio.Semaphore(PARTS_IN_FLIGHT_MAX)
        sending: list[asyncio.Task[PartRef]] = []
        filling = _Filling(source, self._write_room, inline_bytes_max)
        try:
            while (piece := await filling.next()) is not None:
                chunks, part_bytes, has_room = piece
                if filling.size_bytes > self._object_bytes_max:
                    raise TooLarge(f"the body is over {self._object_bytes_max} bytes; raise limits.object_bytes_max")
                if not sending and not has_room:
                    return inline(b"".join(chunks))
                await turns.acquire()
                filling.hand_over()
                sending.append(asyncio.create_task(self._put(slot, group, chunks, part_bytes, turns)))
                _raise_first(sending)
            refs = [await task for task in sending]
        finally:
            filling.close()
            for task in sending:
                task.cancel()
        size_bytes = filling.size_bytes
        if source.size_bytes is not None and source.size_bytes != size_bytes:
            raise BodyCutShort(f"the body ended after {size_bytes} of {source.size_bytes} bytes; nothing was written")
        whole = hashlib.sha256("".join(ref.digest for ref in refs).encode()).hexdigest()[:32]
        return Stored(None, tuple(refs), size_bytes, f"{whole}-{len(refs)}")

    async def _put(
        self, slot: int, group: ReplicaSet, chunks: list[bytes], size_bytes: int, turns: asyncio.Semaphore
    ) -> PartRef:
        """One part to every replica; returns when a write quorum has it fsynced, the rest goes on behind.

        Its place in memory is free again when the last replica has it or has failed.
        """
        try:
            digest = await asyncio.to_thread(sha256, chunks)
            waiting = [asyncio.create_task(self._put_at(node, slot, digest, chunks)) for node in group.nodes]
        except BaseException:
            self._give_back(turns)
            raise
        asyncio.gather(*waiting, return_exceptions=True).add_done_callback(lambda _: self._give_back(turns))
        if self._rules.head_before_parts:
            return PartRef(digest, size_bytes)
        needed = 1 if self._rules.parts_of_one else group.write_quorum
        failures: list[AmberioError] = []
        done = 0
        for next_done in asyncio.as_completed(waiting):
            failure = await next_done
            if failure is None:
                done += 1
            else:
                failures.append(failure)
            if done >= needed:
                return PartRef(digest, size_bytes)
        full = next((failure for failure in failures if isinstance(failure, DiskFull)), None)
        raise full or NoQuorum(
            f"a part was stored on {done} of the replicas {', '.join(group.nodes)}, {group.write_quorum} are needed; "
            f"nothing was written: {failures[0]}"
        )

    def _give_back(self, turns: asyncio.Semaphore) -> None:
        turns.release()
        self._write_room.release()

    async def _put_at(self, node: str, slot: int, digest: str, chunks: list[bytes]) -> AmberioError | None:
        try:
            if node == self._node_id:
                await self._parts.put(slot, digest, chunks, verified=True)
            else:
                await self._peers.put_part(node, slot, digest, chunks, self._timing.part_s)
        except AmberioError as error:
            return error
        return None

    async def read(
        self, slot: int, group: ReplicaSet, head: Head, start: int, end: int, source: Source | None = None
    ) -> AsyncIterator[bytes | memoryview]:
        """The bytes [start, end) of a body in parts, each part checked against its digest, the next one read ahead.

        What no replica has any more comes from `source`, and is kept here again.
        """
        wanted = _overlapping(head.parts, start, end)
        ahead: asyncio.Task[bytes] | None = None
        for index, (ref, first, last) in enumerate(wanted):
            if ahead is None:
                await self._read_room.acquire()
                ahead = asyncio.create_task(self._part(slot, group, ref, source))
            current, ahead = ahead, None
            try:
                part = await current
                if index + 1 < len(wanted) and not self._read_room.locked():
                    await self._read_room.acquire()
                    ahead = asyncio.create_task(self._part(slot, group, wanted[index + 1][0], source))
                yield memoryview(part)[first:last]
                del part
            except BaseException:
                if ahead is not None:
                    ahead.cancel()
                    self._read_room.release()
                raise
            finally:
                self._read_room.release()

    async def have(self, slot: int, group: ReplicaSet, refs: Sequence[PartRef], source: Source | None = None) -> None:
        """Have these parts here, each checked, from elsewhere if need be. Raises BadBytes, NoQuorum, DiskFull."""
        for ref in refs:
            async with self._read_room:
                await self._part(slot, group, ref, source, must_keep=True)

    async def _part(
        self, slot: int, group: ReplicaSet, ref: PartRef, source: Source | None, must_keep: bool = False
    ) -> bytes:
        """One part, checked: from our own disk, else from a replica or `source`, and then kept here too."""
        reasons = []
        is_lost = True
        if self._node_id in group.nodes:
            try:
                return await self._parts.get(slot, ref.digest)
            except AmberioError as error:
                # missing or rotten here (counted and moved aside by the store), or the disk fails: another one has it
                is_lost = isinstance(error, NeverWritten | BadBytes)
                reasons.append(f"{self._node_id}: {error}")
        for node in group.nodes:
            if node == self._node_id:
                continue
            try:
                chunks = await self._peers.get_part(node, slot, ref.digest, self._timing.part_s)
                if await asyncio.to_thread(sha256, chunks) != ref.digest:
                    raise BadBytes(f"{node} sent wrong bytes for part {ref.digest}")
                if must_keep:
                    await self._parts.put(slot, ref.digest, chunks, verified=True)
                else:
                    await self._keep(slot, group, ref, chunks)
                return b"".join(chunks)
            except DiskFull:
                raise
            except AmberioError as error:
                is_lost = is_lost and isinstance(error, NeverWritten | BadBytes)
                reasons.append(f"{node}: {error}")
        if source is not None:
            try:
                part = await source(ref)
                if must_keep:
                    await self._parts.put(slot, ref.digest, [part], verified=True)
                else:
                    await self._keep(slot, group, ref, [part])
                return part
            except ArchiveError as error:
                is_lost = is_lost and isinstance(error, NotInArchive | ArchiveCorrupted)
                reasons.append(f"the archive: {error}")
        told = f"part {ref.digest} could not be had: {'; '.join(reasons)}"
        raise BadBytes(told) if is_lost else NoQuorum(told)

    async def _keep(self, slot: int, group: ReplicaSet, ref: PartRef, chunks: list[bytes]) -> None:
        """Have a part here, too, if this is a replica of it and has room; the bytes are right either way."""
        if self._node_id in group.nodes:
            with contextlib.suppress(AmberioError):
                await self._parts.put(slot, ref.digest, chunks, verified=True)


class _Filling:
    """Cuts a body into parts, each a list of the chunks as they arrived, so that nothing is copied.

    A part that outgrows a head takes a place in `room` before more of it is read.
    """

    def __init__(self, source: BodySource, room: asyncio.Semaphore, inline_bytes_max: int) -> None:
        self.size_bytes = 0
        self._inline_bytes_max = inline_bytes_max
        self._source = source
        self._room = room
        self._has_room = False
        self._rest = b""
        self._is_first = True

    async def next(self) -> tuple[list[bytes], int, bool] | None:
        """The next part, its size, and whether it holds a place; at least one, None after the last."""
        chunks: list[bytes] = []
        part_bytes = 0
        while part_bytes < PART_BYTES:
            chunk = self._rest or await self._source.read()
            if not chunk:
                break
            fits = PART_BYTES - part_bytes
            self._rest = chunk[fits:]
            chunks.append(chunk[:fits])
            part_bytes += len(chunks[-1])
            if not self._has_room and (part_bytes > self._inline_bytes_max or not self._is_first):
                await self._room.acquire()
                self._has_room = True
        if not chunks and not self._is_first:
            return None
        self._is_first = False
        self.size_bytes += part_bytes
        return chunks, part_bytes, self._has_room

    def hand_over(self) -> None:
        """The part's place is now somebody else's to give back."""
        self._has_room = False

    def close(self) -> None:
        """Give the place back if it is still ours."""
        if self._has_room:
            self._has_room = False
            self._room.release()


def _overlapping(parts: tuple[PartRef, ...], start: int, end: int) -> list[tuple[PartRef, int, int]]:
    """The parts that hold [start, end), each with the range inside it."""
    overlapping = []
    offset = 0
    for ref in parts:
        first, last = max(start - offset, 0), min(end - offset, ref.size_bytes)
        if first < last:
            overlapping.append((ref, first, last))
        offset += ref.size_bytes
    return overlapping


def _raise_first(tasks: list[asyncio.Task[PartRef]]) -> None:
    for task in tasks:
        if task.done() and (error := task.exception()) is not None:
            raise error
