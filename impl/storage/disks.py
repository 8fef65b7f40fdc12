"""The registers of a node with several disks: each slot on one of them, each disk a `RegisterStore` of its own.

So each disk has its own lock, database, writer and group commit, and a slow disk holds up its own slots only. What is
the node's and not a slot's is kept safe over all of them:

- *Which disk is which*, and that none is empty that was not: `membership.py`.
- *Incarnation*: one more than any disk has counted. Each disk's events are those of the start that it counted last; so
  after a crash between two disks' counting, what the others still have is of a trace that was completed before.
- *Ballot rounds*: above what any disk has. A block is given out once one disk has it durably, and all that can are told
  of it. That suffices, as a start reads all disks: one that is empty, and so may have been the only one that knew, is
  found by `membership.py`.
- *Events*: numbered by each disk for itself, as they commit with their state there; see `trace.complete`.

**A disk that fails** (a write or fsync went wrong, so that nobody knows what is on it) is out of service until the node
starts again: its slots are neither voted for, read, nor listed, which to the protocol is an acceptor that is down. The
others go on, as nothing they say rests on it. When the last one fails the node stops. A full disk refuses writes only.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.errors import AmberioError
from impl.model import AcceptedPage, Head, Register, Rows, Unshipped, slot_of
from impl.protocol import events
from impl.protocol.placement import deal
from impl.storage.database import SCAN_BYTES_MAX
from impl.storage.face import Registers
from impl.storage.lives import next_incarnation
from impl.storage.membership import Configured, Membership, judge, renewed
from impl.storage.metrics import StoreMetrics
from impl.storage.registers import RegisterStore
from impl.storage.slotlets import Slotlet
from impl.storage.steps import Committed, Decide, Done, Found
from impl.trace import Tracer

log = structlog.get_logger(__name__)


def join(
    node_id: str, configured: Sequence[Configured], stores: Sequence[RegisterStore], total_slots: int
) -> tuple[Registers, tuple[Path, ...]]:
    """The stores of a node's disks as one, and slot -> the directory of its disk.

    One that was replaced by an empty disk stays empty until the node begins a new life with it (`be_born`). Raises
    ConfigError if these are not the node's disks; DiskFull.
    """
    claims = [store.claim() for store in stores]
    membership = judge(node_id, configured, claims)
    for store, disk in zip(stores, membership.disks, strict=True):
        store.disk = disk
    known = [(store, claim) for store, claim in zip(stores, claims, strict=True) if store.disk not in membership.fresh]
    for store, claim in known:
        if (claim.disk, claim.listed) != (store.disk, membership.listed) and len(stores) > 1:
            store.be(store.disk, membership.listed, is_settled=claim.is_settled)
    for store, claim in known:
        if not claim.is_settled:
            store.be(store.disk, membership.listed, is_settled=True)
    life = max(store.life for store in stores)
    for store in stores:
        if 0 < store.life < life:
            store.be_born(life, ())  # a crash came between two disks' being told
    disk_of_slot = dealt(node_id, membership, total_slots)
    directories = {disk: place.path for disk, place in zip(membership.disks, configured, strict=True)}
    paths = tuple(directories[disk] for disk in disk_of_slot)
    if len(stores) == 1:
        return stores[0], paths
    return Disks({store.disk: store for store in stores}, disk_of_slot, membership), paths


def dealt(node_id: str, membership: Membership, total_slots: int) -> tuple[int, ...]:
    """slot -> the number of the disk that keeps it."""
    return deal(node_id, {disk.disk: disk.weight for disk in membership.listed}, total_slots)


class Disks(Collector):
    """See `face.Registers`. `stores` by the numbers of their disks; `disk_of_slot` names one for each slot."""

    def __init__(
        self, stores: Mapping[int, RegisterStore], disk_of_slot: Sequence[int], membership: Membership
    ) -> None:
        self._stores = dict(sorted(stores.items()))
        self._all = tuple(self._stores.values())
        self._by_slot = tuple(self._stores[disk] for disk in disk_of_slot)
        self.slots = {disk: disk_of_slot.count(disk) for disk in self._stores}
        self._membership = membership
        self.counted = max(store.counted for store in self._all)
        self.life = max(store.life for store in self._all)
        self.lives: Mapping[str, int] = {}
        for store in self._all:
            self.lives = _latest(self.lives, store.lives)
        self.incarnation = next_incarnation(self.counted, self.life)
        self.failed = asyncio.Event()
        self.metrics: Collector = self
        self.digests = self
        self.backlog = self._all[0].backlog
        self._rounds = max(store.rounds for store in self._all)
        self._counters = StoreMetrics(self)
        for disk, store in self._stores.items():
            store.incarnation = self.incarnation
            store.metrics = self._counters
            store.backlog = self.backlog
            store.scan_bytes_max = SCAN_BYTES_MAX // len(self._all)  # together they are one answer
            store.when_failed = partial(self._one_failed, disk)

    def _one_failed(self, disk: int) -> None:
        self._stores[disk].failed.set()
        left = [other for other, store in self._stores.items() if not store.is_failed]
        log.critical("a disk of this node is out of service", disk=disk, slots=self.slots[disk], disks_left=len(left))
        if not left:
            self.failed.set()

    @property
    def is_born(self) -> bool:
        """Does each disk know of a life of the node?"""
        return all(store.is_born for store in self._all)

    def is_lost(self, slot: int) -> bool:
        """Is what the node ever had in this slot not here? Of a node that is not born yet."""
        return self._by_slot[slot].is_lost(slot)

    @property
    def behind(self) -> frozenset[int]:
        """The slots of all disks that were lost and are not caught up."""
        return frozenset().union(*(store.behind for store in self._all))

    def be_born(self, life: int, behind: Collection[int]) -> None:
        """Be of this life from now on, one disk after the other.

        A crash between two of them leaves a disk that is still empty, and so another life after this one, or one that
        is told at the next start (`join`).
        """
        listed = renewed(self._membership)
        for store in self._all:
            store.be_born(life, [slot for slot in behind if self._by_slot[slot] is store], listed)
        self.life = life
        self.incarnation = next_incarnation(self.counted, life)
        for store in self._all:
            store.incarnation = self.incarnation

    async def learn(self, node: str, life: int) -> None:
        """Know it on all disks in service, as any one may be lost."""
        await asyncio.gather(*(store.learn(node, life) for store in self._serving()))
        self.lives = _latest(self.lives, {node: life})

    async def caught_up(self, floors: Mapping[int, Register], back: events.Back) -> None:
        """These slots are not behind any more, each on its own disk."""
        by_store: dict[RegisterStore, dict[int, Register]] = {}
        for slot, floor in floors.items():
            by_store.setdefault(self._by_slot[slot], {})[slot] = floor
        for store, of_store in by_store.items():
            await store.caught_up(of_store, msgspec.structs.replace(back, slots=tuple(sorted(of_store))))

    @property
    def health(self) -> Mapping[int, bool]:
        """Is it in service? By the disks' numbers."""
        return {disk: not store.is_failed for disk, store in self._stores.items()}

    def is_serving(self, slot: int) -> bool:
        """Is the disk of this slot in service?"""
        return self._by_slot[slot].is_serving(slot)

    def collect(self) -> Iterator[Metric]:
        """The counters of all disks together, and which of them are in service."""
        yield from self._counters.collect()
        up = GaugeMetricFamily("amberio_disk_up", "1 if the disk is in service, 0 if it has failed.", labels=["disk"])
        slots = GaugeMetricFamily("amberio_disk_slots", "Slots of the cluster that this disk keeps.", labels=["disk"])
        for disk, is_up in self.health.items():
            up.add_metric([str(disk)], float(is_up))
            slots.add_metric([str(disk)], float(self.slots[disk]))
        yield up
        yield slots

    @property
    def queued(self) -> tuple[int, int]:
        """Jobs and bytes between decision and publication, on all disks."""
        jobs, sizes = zip(*(store.queued for store in self._all), strict=True)
        return sum(jobs), sum(sizes)

    @property
    def cache_size(self) -> tuple[int, int]:
        """Cached registers, and their bytes."""
        entries, sizes = zip(*(store.cache_size for store in self._all), strict=True)
        return sum(entries), sum(sizes)

    def all(self) -> Mapping[int, int]:
        """The digests of all slots that have one and are served."""
        return {slot: digest for store in self._serving() for slot, digest in store.digests.all().items()}

    # -- its life

    def events_left(self) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
        """The events that the last incarnation may not have written to its trace, of each disk that counted it."""
        for disk, store in self._stores.items():
            if store.counted == self.incarnation - 1:
                yield disk, store.durable_events()

    def begin(self) -> None:
        """Count this start on every disk; raises DiskFull, InternalError."""
        for store in self._all:
            store.begin()

    def start(self, loop: asyncio.AbstractEventLoop, tracer: Tracer) -> None:
        """Begin to serve."""
        for store in self._all:
            store.start(loop, tracer)

    def prune_events(self, number: int, disk: int = 1) -> None:
        """The trace has every event of this disk up to this number."""
        self._stores[disk].prune_events(number)

    async def close(self) -> None:
        """Finish what is queued, and close all."""
        await asyncio.gather(*(store.close() for store in self._all))

    def abandon(self) -> None:
        """Let go of the databases as they are, as a kill does."""
        for store in self._all:
            store.abandon()

    # -- of one slot

    def cached(self, path: str) -> Register | None:
        return self._store_of(path).cached(path)

    async def read(self, path: str) -> Register:
        return await self._store_of(path).read(path)

    def read_then(self, path: str, found: Found) -> None:
        self._store_of(path).read_then(path, found)

    async def apply(self, path: str, slot: int, decide: Decide) -> Committed:
        return await self._by_slot[slot].apply(path, slot, decide)

    def apply_then(self, path: str, slot: int, decide: Decide, done: Done) -> None:
        self._by_slot[slot].apply_then(path, slot, decide, done)

    async def slotlets(self, slot: int, prefix_len: int) -> list[Slotlet]:
        return await self._by_slot[slot].slotlets(slot, prefix_len)

    async def heads(self, slot: int, prefixes: Sequence[str]) -> list[tuple[str, Head]]:
        return await self._by_slot[slot].heads(slot, prefixes)

    async def imported_part(self, path: str, etag: str, part: int) -> str | None:
        return await self._store_of(path).imported_part(path, etag, part)

    async def keep_imported_part(self, path: str, etag: str, part: int, digest: str) -> None:
        await self._store_of(path).keep_imported_part(path, etag, part, digest)

    # -- of all of them

    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool = False) -> Rows:
        """Rows of all disks, as one would give them. Fails if one does: a list that leaves out a disk would lie."""
        pages = await asyncio.gather(*(store.scan(prefix, after, limit, with_older) for store in self._all))
        # what a page that ends early does not reach is not known to be all there is
        ends = [page.registers[-1][0] for page in pages if page.has_more]
        merged = sorted((row for page in pages for row in page.registers), key=lambda row: row[0])
        if ends:
            merged = [row for row in merged if row[0] <= min(ends)]
        return Rows(merged[:limit], has_more=bool(ends) or len(merged) > limit)

    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage:
        """What is accepted in these slots, of the disks that keep them."""
        wanted = {self._by_slot[slot].disk for slot in slots}
        asked = [store for store in self._all if store.disk in wanted]
        pages = await asyncio.gather(*(store.accepted_page(slots, after, limit) for store in asked))
        ends = [page.next_after for page in pages if page.next_after is not None]
        merged = sorted((ballot for page in pages for ballot in page.ballots), key=lambda ballot: ballot[0])
        if not ends:
            return AcceptedPage(merged, None)
        return AcceptedPage([ballot for ballot in merged if ballot[0] <= min(ends)], min(ends))

    async def registers_with_parts(self, after: str, limit: int) -> tuple[list[tuple[str, int, Register]], str | None]:
        """The next registers whose heads name parts, of all disks; raises DiskFailed where one is out of service."""
        pages = await asyncio.gather(*(store.registers_with_parts(after, limit) for store in self._all))
        ends = [end for _, end in pages if end is not None]
        merged = sorted((row for rows, _ in pages for row in rows), key=lambda row: row[0])
        return [row for row in merged if not ends or row[0] <= min(ends)], min(ends, default=None)

    async def bodies_page(
        self, after: str, limit: int, is_right: Callable[[str, Head], bool]
    ) -> tuple[list[str], int, int, str | None]:
        """Look at the next inline bodies of all disks; some may be looked at, and counted, once more."""
        pages = await asyncio.gather(*(store.bodies_page(after, limit, is_right) for store in self._all))
        ends = [end for *_, end in pages if end is not None]
        wrong = sorted(path for paths, *_ in pages for path in paths if not ends or path <= min(ends))
        return wrong, sum(page[1] for page in pages), sum(page[2] for page in pages), min(ends, default=None)

    async def recall(self, key: str) -> int:
        """A counter of this node that was remembered."""
        return max(await asyncio.gather(*(store.recall(key) for store in self._serving())))

    async def remember(self, key: str, value: int) -> None:
        """Keep a counter of this node, on all disks in service."""
        await asyncio.gather(*(store.remember(key, value) for store in self._serving()))

    async def known_page(self, slots: Collection[int], after: str | None, limit: int) -> tuple[list[str], str | None]:
        """The paths in these slots of which anything is known on any disk, as far as all have told; where to go on."""
        pages = await asyncio.gather(*(store.known_page(slots, after, limit) for store in self._all))
        ends = [end for _, end in pages if end is not None]
        paths = sorted(path for paths, _ in pages for path in paths if not ends or path <= min(ends))
        return paths, min(ends, default=None)

    def floors(self, slots: Collection[int]) -> list[tuple[int, Register]]:
        """Of those of the slots in which something was forgotten, what is known of a path that has no row."""
        return [floor for store in self._all for floor in store.floors(slots)]

    async def unshipped(self, after: tuple[int, str], limit: int) -> list[Unshipped]:
        """The next registers of all disks in service that wait to be shipped; the others' wait for theirs."""
        pages = await asyncio.gather(*(store.unshipped(after, limit) for store in self._serving()))
        return sorted((each for page in pages for each in page), key=lambda each: (each.since_ms, each.path))[:limit]

    async def unsettled(self, after: str, limit: int) -> list[tuple[str, int]]:
        """The next paths of all disks in service whose archived generation is not settled."""
        pages = await asyncio.gather(*(store.unsettled(after, limit) for store in self._serving()))
        return sorted(each for page in pages for each in page)[:limit]

    async def reserve_rounds(self, count: int) -> int:
        """The first of `count` ballot rounds that nobody was ever given before; durably, on one disk at least."""
        first = self._rounds + 1
        self._rounds += count  # at once: what a failure leaves unused is skipped
        kept = await asyncio.gather(*(self._keep(store, first + count - 1) for store in self._all))
        if None not in kept:
            raise next(error for error in kept if error is not None)
        return first

    async def _keep(self, store: RegisterStore, last: int) -> AmberioError | None:
        try:
            await store.keep_rounds(last)
        except AmberioError as error:
            log.warning("a disk does not know of the last ballot rounds", disk=store.disk, reason=str(error))
            return error
        return None

    def _store_of(self, path: str) -> RegisterStore:
        return self._by_slot[slot_of(path, len(self._by_slot))]

    def _serving(self) -> list[RegisterStore]:
        return [store for store in self._all if not store.is_failed]


def _latest(lives: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {node: max(lives.get(node, 0), others.get(node, 0)) for node in sorted(lives.keys() | others.keys())}
