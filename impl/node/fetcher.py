"""Reads through: what no replica has, or has any more, comes from the archive; once however many readers want it.

A body that was imported is not in parts: it is read in windows of PART_BYTES, and what was read is kept on this disk as
a part beside the others, under its digest, which a table remembers. That is a cache, which may be lost at any time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, ParamSpec

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.archive.face import Archive
from impl.archive.settings import ArchiveSettings
from impl.errors import AmberioError, ArchiveCorrupted, BadBytes, NeverWritten, NotInArchive
from impl.model import PART_BYTES, SYSTEM_START, Head, PartRef
from impl.node.uploads import Source
from impl.storage.face import Registers
from impl.storage.parts import PartStore, sha256

P = ParamSpec("P")

log = structlog.get_logger(__name__)


class Fetcher(Collector):
    """Fetches for one node."""

    def __init__(self, settings: ArchiveSettings, archive: Archive, store: Registers, parts: PartStore) -> None:
        self._settings = settings
        self._archive = archive
        self._store = store
        self._kept = parts
        self._fetching: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._parts = 0
        self._size_bytes = 0
        self._shared = 0

    def source(self, path: str, head: Head) -> Source | None:
        """Where the parts of a path's current version may come from; None where there are none."""
        if path.startswith(SYSTEM_START) or not head.parts:
            return None
        places: dict[str, int] = {}
        offset = 0
        for ref in head.parts:
            places.setdefault(ref.digest, offset)
            offset += ref.size_bytes
        return partial(self._part, path, places)

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        yield CounterMetricFamily("amberio_fetched_parts", "Parts read from the archive.", self._parts)
        yield CounterMetricFamily("amberio_fetched_bytes", "Bytes of parts read from the archive.", self._size_bytes)
        yield CounterMetricFamily("amberio_fetches_shared", "Reads that had another one's part.", self._shared)

    async def imported(self, path: str, slot: int, head: Head, start: int, end: int) -> AsyncIterator[memoryview]:
        """The bytes [start, end) of a body that was imported. Raises ArchiveChanged if the archive has another one."""
        for number in range(start // PART_BYTES, -(-end // PART_BYTES)):
            first = number * PART_BYTES
            window = await self._once((path, f"{head.etag} {number}"), self._window, path, slot, head, number)
            yield memoryview(window)[max(start - first, 0) : end - first]

    async def _window(self, path: str, slot: int, head: Head, number: int) -> bytes:
        """One window of an imported body, from this disk if it was read before."""
        etag = head.etag or ""
        digest = await self._store.imported_part(path, etag, number)
        if digest is not None:
            with contextlib.suppress(NeverWritten, BadBytes):
                return await self._kept.get(slot, digest)
        first = number * PART_BYTES
        last = min(first + PART_BYTES, head.size_bytes)
        fetched = await self._archive.get(self._settings.key_of(path), first, last, if_match=etag)
        chunks = [chunk async for chunk in fetched.chunks]
        self._parts += 1
        self._size_bytes += last - first
        digest = await asyncio.to_thread(sha256, chunks)
        try:
            await self._kept.put(slot, digest, chunks, verified=True)
            await self._store.keep_imported_part(path, etag, number, digest)
        except AmberioError as error:
            log.warning("what was read of an imported object is not kept", path=path, error=str(error))
        return b"".join(chunks)

    async def close(self) -> None:
        """Stop; who waits gets an error."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    async def _part(self, path: str, places: Mapping[str, int], ref: PartRef) -> bytes:
        if ref.digest not in places:
            raise NotInArchive(f"part {ref.digest} is not of the current version of {path!r}")
        return await self._once((path, ref.digest), self._fetch, path, ref, places[ref.digest])

    async def _once(
        self, key: tuple[str, str], fetch: Callable[P, Coroutine[Any, Any, bytes]], *given: P.args, **named: P.kwargs
    ) -> bytes:
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.get_running_loop().create_task(fetch(*given, **named))
            task.add_done_callback(partial(self._fetched, key))
        else:
            self._shared += 1
        # a reader that goes away must not take it from those who wait with it
        return await asyncio.shield(task)

    def _fetched(self, key: tuple[str, str], task: asyncio.Task[bytes]) -> None:
        del self._fetching[key]
        if not task.cancelled():
            task.exception()  # who waited has it; perhaps nobody did to the end

    async def _fetch(self, path: str, ref: PartRef, offset: int) -> bytes:
        """The bytes of one part; the object may be a newer one by now, so its digest decides."""
        key = self._settings.key_of(path)
        fetched = await self._archive.get(key, offset, offset + ref.size_bytes)
        chunks = [chunk async for chunk in fetched.chunks]
        if await asyncio.to_thread(sha256, chunks) != ref.digest:
            raise ArchiveCorrupted(f"{key} does not have part {ref.digest} at byte {offset}")
        self._parts += 1
        self._size_bytes += ref.size_bytes
        return b"".join(chunks)
