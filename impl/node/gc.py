"""Parts that no head names are deleted, and parts that a head names and that are missing here are fetched.

Each node judges its own disk by its own registers. That suffices, as no replica accepts a head without having each of
its parts (naming.py): what was chosen is on as many disks as have accepted it, and none of these deletes it, because
their own registers name it. A replica that is behind may delete what others name; it has it anew before it catches up.

What makes it safe:

- *A part is put again, read or held while it is judged* ("reused" by another upload, or by a head on its way to the
  disk): who does so takes it off the list of unused parts, and only what is on the list is deleted, both under one lock
  (impl/storage/uses.py). A part gets on the list when it is seen unused, and is deleted after a later look only: so the
  registers that name it were read after it got there, and it was not used since.
- *Uploads that run*: parts are stored before anything names them. For those of a multipart upload that are registered
  (/p/...), all nodes are asked, by quorum, in the very look that deletes, and their answer is used for half of the
  grace time at most. For all others there is the grace time. For objects it bounds work and not safety: a head that
  comes later has its parts anew, or is refused and was not written. A part's register is accepted as it is, though: a
  coordinator that stands still for longer than half of the grace time between storing an upload's part and registering
  it may acknowledge a part that is gone, and then completing that upload fails. No object is lost thereby.
- *Time* is this process's monotonic clock. A wall clock that jumps deletes nothing, and after a restart the grace time
  begins anew.
- *A crash at any line*: a file is there or it is not, and a power cut may bring one back; nothing else is durable here.
- *A read that is under way* of an object that is overwritten has the grace time to be over.

What bounds it: a look holds FILES_MAX names, goes through the registers in pages, and rests between them.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.doors import Clock
from impl.errors import AmberioError
from impl.model import SYSTEM_START, UPLOAD_PARTS_START, PartRef, ReplicaSet
from impl.node.lister import Lister
from impl.node.uploads import Uploads
from impl.protocol.collection import grace_is_over, named_by, named_by_uploads
from impl.protocol.rules import HONEST, Rules
from impl.protocol.tiering import may_evict
from impl.storage.face import Registers
from impl.storage.parts import PartStore
from impl.storage.uses import Part

FILES_MAX: Final = 100_000
"""Parts that one look judges; with more, there are several, each through all registers."""
SLOTS_AT_ONCE: Final = 64
MISSING_MAX: Final = 1000
"""Missing parts that one look fetches; the next one goes on."""
PAGE: Final = 500
UPLOADS_PAGE: Final = 1000
PAGE_REST_S: Final = 0.01

log = structlog.get_logger(__name__)


class GarbageCollector(Collector):
    """Keeps what lies on one node's disk to what its heads name."""

    def __init__(
        self,
        node_id: str,
        groups: Sequence[ReplicaSet],
        store: Registers,
        parts: PartStore,
        lister: Lister,
        evicts: bool,
        uploads: Uploads,
        clock: Clock,
        grace_s: float,
        rules: Rules = HONEST,
    ) -> None:
        self._groups = groups
        self._slots = [slot for slot, group in enumerate(groups) if node_id in group.nodes]
        self._store = store
        self._parts = parts
        self._lister = lister
        self._evicts = evicts
        self._uploads = uploads
        self._clock = clock
        self._grace_s = grace_s
        self._rules = rules
        self._looks = 0
        self._missing = 0
        self._fetched = 0

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them. What was collected is counted by the store of parts."""
        yield CounterMetricFamily("amberio_gc_looks", "Looks at all parts of this node, finished.", self._looks)
        yield CounterMetricFamily("amberio_gc_missing", "Parts that a head names and that were missing.", self._missing)
        yield CounterMetricFamily("amberio_gc_fetched", "Of these, those had from another replica.", self._fetched)

    async def look(self) -> None:
        """Judge every part of this node once. Raises NoQuorum, PeerError, InternalError."""
        slots: list[int] = []
        present: set[Part] = set()
        for first in range(0, len(self._slots), SLOTS_AT_ONCE):
            some = self._slots[first : first + SLOTS_AT_ONCE]
            slots += some
            present.update(await self._parts.names(some))
            if len(present) >= FILES_MAX:
                await self._judge(frozenset(slots), present)
                slots, present = [], set()
        if slots:
            await self._judge(frozenset(slots), present)
        self._looks += 1

    async def _judge(self, slots: frozenset[int], present: set[Part]) -> None:
        unused = set(present)
        missing: dict[Part, PartRef] = {}
        async for part, ref, is_evicted in self._named(slots):
            unused.discard(part)
            if part not in present and not is_evicted and len(missing) < MISSING_MAX:
                missing[part] = ref
        now_s = self._clock.monotonic_s()
        since_s = self._parts.uses.seen(present - unused, unused, now_s)
        over = grace_is_over(since_s, now_s, self._grace_s, self._rules)
        if over:
            await self._discard(over)
        for slot in sorted({slot for slot, _ in missing}):
            await self._fetch(slot, {digest: ref for (at, digest), ref in missing.items() if at == slot})

    async def _named(self, slots: frozenset[int]) -> AsyncIterator[tuple[Part, PartRef, bool]]:
        """Every part of these slots that a head of ours names, and whether it is meant to be missing."""
        after: str | None = ""
        while after is not None:
            registers, after = await self._store.registers_with_parts(after, PAGE)
            for path, slot, register in registers:
                if slot not in slots or path.startswith(SYSTEM_START) or register.head is None:
                    continue
                may_be_evicted = self._evicts and may_evict(register)
                for version in named_by(register.head, self._rules):
                    is_evicted = may_be_evicted and version == register.head.current
                    for ref in version.parts:
                        yield (slot, ref.digest), ref, is_evicted
            await self._clock.sleep(PAGE_REST_S)

    async def _discard(self, unused: Sequence[Part]) -> None:
        began_s = self._clock.monotonic_s()
        uploading = await self._uploading({digest for _, digest in unused})
        count = 0
        for slot, digest in unused:
            if digest in uploading:
                self._parts.uses.used((slot, digest))
            elif self._clock.monotonic_s() - began_s <= self._grace_s / 2:
                count += await self._parts.discard(slot, digest)
        if count:
            log.info("collected parts that no head names", parts=count)

    async def _uploading(self, digests: set[str]) -> set[str]:
        """Those of these parts that an upload names which is not over, as a quorum of all registers says."""
        found: set[str] = set()
        after: str | None = None
        while True:
            page = await self._lister.page(UPLOAD_PARTS_START, UPLOADS_PAGE, after, include_deleted=False)
            found |= digests & named_by_uploads((head for _, head in page.items), self._rules)
            after = page.next_after
            if after is None:
                return found

    async def _fetch(self, slot: int, missing: dict[str, PartRef]) -> None:
        """Have parts that our own heads name and that do not lie here (any more)."""
        for digest in await self._parts.missing(slot, list(missing)):
            self._missing += 1
            try:
                await self._uploads.have(slot, self._groups[slot], [missing[digest]])
            except AmberioError as error:
                log.error("a part that a head names is missing", slot=slot, digest=digest, reason=str(error))
            else:
                self._fetched += 1
