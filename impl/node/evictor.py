"""Keeps what lies on one node's disk below a mark: the parts used longest ago go, of objects that the archive has.

Only parts whose every use here is by a current version that may be evicted (`tiering.may_evict`; spec: Evict) go: what
another path, an older version or an upload names stays. A part that is put, read or held meanwhile stays, too, as with
the garbage collector (impl/storage/uses.py). A crash at any line leaves a part or none; the archive has it either way.

What bounds it: a look holds the names of FILES_MAX parts, and goes through the registers in pages.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.doors import Clock
from impl.model import SYSTEM_START, Head
from impl.protocol import events
from impl.protocol.rules import HONEST, Rules
from impl.protocol.tiering import may_evict
from impl.storage.face import Registers
from impl.storage.parts import PartStore
from impl.storage.uses import Part
from impl.trace import Tracer

EVERY_S: Final = 1.0
LOW_MARK: Final = 0.9
"""Down to this share of the mark, so that not every new part needs a look."""
FILES_MAX: Final = 100_000
SLOTS_AT_ONCE: Final = 64
PAGE: Final = 500
PAGE_REST_S: Final = 0.005

log = structlog.get_logger(__name__)


class _Candidate(msgspec.Struct):
    """A part that may go: who names it, and whether all of these let it."""

    size_bytes: int
    paths: set[str]
    may_go: bool = True


class Evictor(Collector):
    """Evicts for one node. `above_bytes` is the mark; none if it is 0."""

    def __init__(
        self,
        slots: Sequence[int],
        above_bytes: int,
        store: Registers,
        parts: PartStore,
        tracer: Tracer,
        clock: Clock,
        rules: Rules = HONEST,
    ) -> None:
        self._slots = slots
        self._above_bytes = above_bytes
        self._store = store
        self._parts = parts
        self._tracer = tracer
        self._clock = clock
        self._rules = rules
        self._stored_bytes = -1
        self._size_bytes = 0
        self._evicted = 0
        self._evicted_bytes = 0

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        yield GaugeMetricFamily("amberio_parts_bytes", "Bytes of parts on this disk, when last seen.", self._size_bytes)
        yield CounterMetricFamily("amberio_evicted_parts", "Parts evicted.", self._evicted)
        yield CounterMetricFamily("amberio_evicted_bytes", "Bytes of these.", self._evicted_bytes)

    async def look_if_stored(self) -> None:
        """Look, unless nothing was stored since the last look and there was not too much. Raises InternalError."""
        if self._parts.stored_bytes == self._stored_bytes and self._size_bytes <= self._above_bytes:
            return
        self._stored_bytes = self._parts.stored_bytes
        await self.look()

    async def look(self) -> None:
        """If there is too much, evict what may go of what was used longest ago. Raises InternalError."""
        sizes: dict[Part, int] = {}
        for first in range(0, len(self._slots), SLOTS_AT_ONCE):
            sizes.update(await self._parts.sizes(self._slots[first : first + SLOTS_AT_ONCE]))
            if len(sizes) >= FILES_MAX:
                break  # the rest is judged when these are fewer
        self._size_bytes = sum(sizes.values())
        if self._size_bytes <= self._above_bytes:
            return
        too_many_bytes = self._size_bytes - int(self._above_bytes * LOW_MARK)
        oldest_first = self._parts.uses.oldest_first(sizes)
        candidates = {part: _Candidate(sizes[part], set()) for part in oldest_first}
        # from here on, whoever uses one of them takes it off the list
        self._parts.uses.seen((), oldest_first, self._clock.monotonic_s())
        await self._judge(candidates)
        await self._evict(candidates, oldest_first, too_many_bytes)

    async def _judge(self, candidates: dict[Part, _Candidate]) -> None:
        """Find out who names each candidate, and whether it may go."""
        after: str | None = ""
        while after is not None:
            rows, after = await self._store.registers_with_parts(after, PAGE)
            for path, slot, register in rows:
                if register.head is None or path.startswith(SYSTEM_START):
                    continue
                may_go = may_evict(register, self._rules)
                current = {(slot, ref.digest) for ref in register.head.parts}
                for part in current & candidates.keys():
                    candidates[part].paths.add(path)
                    candidates[part].may_go &= may_go
                for part in _of_older(slot, register.head) & candidates.keys():
                    candidates[part].may_go = False
            await self._clock.sleep(PAGE_REST_S)

    async def _evict(
        self, candidates: dict[Part, _Candidate], oldest_first: Sequence[Part], too_many_bytes: int
    ) -> None:
        count = 0
        freed_bytes = 0
        told: set[str] = set()
        for slot, digest in oldest_first:
            candidate = candidates[slot, digest]
            if freed_bytes >= too_many_bytes:
                break
            if not candidate.paths or not candidate.may_go or not await self._still(candidate.paths, told):
                continue
            self._tracer.flush()
            if await self._parts.discard(slot, digest):
                count += 1
                freed_bytes += candidate.size_bytes
        self._size_bytes -= freed_bytes
        self._evicted += count
        self._evicted_bytes += freed_bytes
        if count:
            log.info("evicted", parts=count, size_bytes=freed_bytes, left_bytes=self._size_bytes)

    async def _still(self, paths: set[str], told: set[str]) -> bool:
        """May what these paths name go even now? Then the trace says so, once a path."""
        for path in sorted(paths):
            register = await self._store.read(path)
            if register.head is None or not may_evict(register, self._rules):
                return False
            if path not in told:
                told.add(path)
                self._tracer.emit(
                    events.Evict(
                        path=path,
                        generation=register.generation,
                        was_generation=register.generation,
                        was_archived=register.archived,
                        was_settled=register.is_settled,
                    )
                )
        return True


def _of_older(slot: int, head: Head) -> set[Part]:
    return {(slot, ref.digest) for version in head.older for ref in version.parts}
