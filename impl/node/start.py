"""Wires one node: opens its disk, completes its last trace, builds the rooms in order, and closes them in reverse."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import structlog
from prometheus_client.registry import Collector

from impl.archive.face import Archive
from impl.archive.opening import open_archive
from impl.archive.settings import ArchiveSettings
from impl.cluster.link import LinkCounters
from impl.cluster.liveness import Liveness
from impl.cluster.metrics import LinkMetrics
from impl.cluster.peers import Peers, Who
from impl.cluster.registry.embedded import Cluster
from impl.cluster.secret import Secret
from impl.cluster.serving import PeerServer, Upgraded
from impl.cluster.wire import Hello
from impl.config import NodeSettings, Settings
from impl.doors import Clock, Disk, Network, Random, RealClock, RealDisk, RealNetwork, RealRandom
from impl.errors import ConfigError
from impl.model import ReplicaSet, slot_of
from impl.node.archivist import Archivist
from impl.node.collector import CollectorMetrics, TombstoneCollector
from impl.node.coordinator import Coordinator
from impl.node.evictor import Evictor
from impl.node.fetcher import Fetcher
from impl.node.gc import GarbageCollector
from impl.node.healer import Healer, HealingMetrics
from impl.node.importer import Importer, OnBucket
from impl.node.limits import Timing
from impl.node.lister import Lister
from impl.node.local import Local
from impl.node.locate import Locate
from impl.node.naming import Naming
from impl.node.node import Member, Node
from impl.node.read_repair import ReadRepair
from impl.node.reader import Reader
from impl.node.replica import Replica
from impl.node.rounds import Rounds
from impl.node.scrubber import Scrubber
from impl.node.shipper import Shipper
from impl.node.tiering import Tiering
from impl.node.uploads import Uploads
from impl.protocol.rules import Rules, broken
from impl.storage.disks import join
from impl.storage.face import Registers
from impl.storage.layout import Dealt, Layout, Lock
from impl.storage.membership import Configured
from impl.storage.parts import PartStore
from impl.storage.registers import RegisterStore
from impl.trace import FileTrace, NoTrace, Tracer, complete

OpenArchive = Callable[[ArchiveSettings], Awaitable[Archive]]


class Release(Protocol):
    """A lock that is held."""

    def release(self) -> None: ...


class Keeper(Protocol):
    """Something that goes on in the background."""

    async def close(self) -> None: ...


class Running:
    """A node that runs. `failed` is set when its disk has failed, and it must stop."""

    def __init__(
        self,
        node: Node,
        replica: Local,
        tracer: Tracer,
        store: Registers,
        parts: PartStore,
        peers: Peers,
        server: PeerServer,
        healer: Healer,
        keepers: Sequence[Keeper],
        liveness: Liveness,
        tiering: Tiering | None,
        locks: ExitStack,
        collectors: Sequence[Collector],
    ) -> None:
        self.node = node
        self.liveness = liveness
        self.tiering = tiering
        self.replica = replica
        self.flush: Callable[[], None] = tracer.flush
        self.collectors = tuple(collectors)
        self.failed = store.failed
        self._tracer = tracer
        self._store = store
        self._parts = parts
        self._peers = peers
        self._server = server
        self.healer = healer
        self._keepers = keepers
        self._locks = locks

    def rpc(self, request: Upgraded, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take over a connection on which another node wants to speak frames; raises Unauthorised."""
        self._server.upgrade(request, transport, leftover)

    async def close(self) -> None:
        """Hang up, finish what is on its way to the disk, end the trace, let go of the directory."""
        self._server.close()
        for keeper in self._keepers:
            await keeper.close()
        if self.tiering is not None:
            await self.tiering.close()
        await self._peers.close()
        await self._parts.close()
        await self._store.close()
        self._tracer.close()
        self._locks.close()

    def start_importing(self, on_bucket: OnBucket) -> None:
        """Take over what the archive had before this cluster, if that is wanted; see Importer.start."""
        if self.tiering is not None:
            self.tiering.importer.start(on_bucket)

    def abandon(self) -> None:
        """Let go of the files without another byte or word, as a kill does; for a simulator."""
        self._tracer.abandon()
        self._store.abandon()
        self._locks.close()


class Doors:
    """What comes in from outside; the real ones unless a simulator brings its own.

    `lock` takes a data directory, `archive` opens the archive of its settings.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        random: Random | None = None,
        disk: Disk | None = None,
        network: Network | None = None,
        lock: Callable[[Path], Release] = Lock,
        archive: OpenArchive | None = None,
        disk_at: Callable[[Path], Disk] | None = None,
    ) -> None:
        self.clock = clock or RealClock()
        self.random = random or RealRandom()
        self.disk = usual = disk or RealDisk()
        self.disk_at = disk_at or (lambda directory: usual)
        self.network = network or RealNetwork()
        self.lock = lock
        self.archive = archive or self._open_archive

    async def _open_archive(self, settings: ArchiveSettings) -> Archive:
        return await open_archive(settings, self.clock, self.random, self.disk)


async def start_node(
    settings: Settings,
    cluster: Cluster,
    node_id: str,
    log: structlog.stdlib.BoundLogger,
    doors: Doors | None = None,
    may_migrate: bool = True,
) -> Running:
    """Start one node; it dials the others in the background. Data of an older format is migrated if that is allowed.

    Raises ConfigError if its disk cannot be used, DiskFull.
    """
    doors = doors or Doors()
    me = settings.node(node_id)
    rules = broken(settings.mutants)
    with ExitStack() as undo:
        locks = ExitStack()
        undo.callback(locks.close)
        store, directories = _open_disks(settings, me, cluster, doors, rules, may_migrate, locks, undo)
        tracer = _open_trace(settings, cluster, node_id, store, doors, log)
        undo.callback(tracer.abandon)
        store.start(asyncio.get_running_loop(), tracer)
        rounds = Rounds(node_id, store, rules)
        await rounds.open()
        undo.pop_all()

    groups = [ReplicaSet(nodes, cluster.write_quorum) for nodes in cluster.table]
    locate = _locator(groups)
    timing = Timing(request_s=settings.limits.request_s)
    parts = PartStore(Dealt(directories), doors.disk, rules)
    counters = LinkCounters()
    who = Who(node_id, store.incarnation, cluster.cluster_id)
    liveness = Liveness(Hello(node_id, store.incarnation), _addresses(settings, node_id), doors.clock)
    secret = Secret(settings.auth.cluster_secret)
    addresses = _addresses(settings, node_id)
    peers = Peers(who, addresses, secret, doors.clock, doors.random, doors.network, counters, tracer.flush, liveness)
    uploads = Uploads(node_id, parts, peers, timing, settings.limits.object_bytes_max, rules)
    naming = Naming(store, parts, uploads, locate, doors.clock, rules)
    replica = Replica(store, tracer, naming, lambda path: slot_of(path, cluster.wanted.total_slots), rules)
    server = PeerServer(
        liveness,
        who.cluster_id,
        secret,
        replica,
        parts,
        doors.clock,
        counters,
        tracer.flush,
        peers.heard_from,
        peers.probe,
    )
    coordinator = Coordinator(
        node_id, store, replica, naming, peers, tracer, rounds, locate, doors.clock, doors.random, timing, rules
    )
    reader = Reader(node_id, store.incarnation, replica, peers, tracer, coordinator, locate, timing, rules)
    lister = Lister(node_id, cluster.node_ids, store, peers, reader, locate, timing, rules)
    members = _members(settings.nodes, me, liveness, peers)
    tiering = None
    if settings.archive.kind != "none":
        tiering = await _open_tiering(
            settings,
            who,
            groups,
            doors,
            store,
            parts,
            peers,
            reader,
            coordinator,
            uploads,
            locate,
            liveness,
            tracer,
            rules,
        )
    node = Node(
        node_id,
        cluster.cluster_id,
        store.incarnation,
        coordinator,
        reader,
        lister,
        uploads,
        locate,
        members,
        lambda: store.health,
        doors.clock,
        doors.random,
        liveness,
        tiering,
        rules,
    )
    healer = Healer(
        node_id,
        store.incarnation,
        cluster.node_ids,
        groups,
        store,
        peers,
        coordinator,
        naming,
        locate,
        doors.clock,
        timing,
        settings.healing.every_s,
        rules,
    )
    healing = settings.healing
    repair = ReadRepair(node_id, peers, healer, locate, doors.clock, timing, healing.enabled)
    reader.on_behind, server.on_behind = repair.is_behind, repair.heard
    gc = GarbageCollector(
        node_id,
        groups,
        store,
        parts,
        lister,
        settings.archive.evict_above_bytes > 0,
        uploads,
        doors.clock,
        healing.parts_every_s,
        healing.parts_grace_s,
        rules,
    )
    scrubber = Scrubber(
        node_id,
        store.incarnation,
        groups,
        store,
        parts,
        peers,
        uploads,
        locate,
        doors.clock,
        timing,
        healing.scrub_bytes_per_s,
        healing.parts_every_s,
    )
    collector = TombstoneCollector(
        node_id,
        store.incarnation,
        store,
        replica,
        peers,
        locate,
        doors.clock,
        timing,
        settings.healing.tombstone_grace_s,
        settings.healing.tombstones_every_s,
        lambda path: settings.archive.mode_of(path) == "none",
        rules,
    )
    peers.open()
    if tiering is not None:
        naming.source = tiering.source
        tiering.start()
    if healing.enabled:
        healer.start()
        collector.start()
        gc.start()
        scrubber.start()
    collectors: tuple[Collector, ...] = (store.metrics, parts, LinkMetrics(counters), HealingMetrics(healer.total))
    collectors += (
        CollectorMetrics(collector.total),
        gc,
        scrubber,
        repair,
        *(tiering.collectors if tiering is not None else ()),
    )
    local = Local(store, parts)
    keepers = (scrubber, gc, collector, repair, healer, replica)
    return Running(
        node, local, tracer, store, parts, peers, server, healer, keepers, liveness, tiering, locks, collectors
    )


async def _open_tiering(
    settings: Settings,
    who: Who,
    groups: Sequence[ReplicaSet],
    doors: Doors,
    store: Registers,
    parts: PartStore,
    peers: Peers,
    reader: Reader,
    coordinator: Coordinator,
    uploads: Uploads,
    locate: Locate,
    liveness: Liveness,
    tracer: Tracer,
    rules: Rules,
) -> Tiering:
    """The archive, and all that works with it."""
    wanted, node_id = settings.archive, who.node_id
    archive = await doors.archive(wanted)
    fetcher = Fetcher(wanted, archive, store, parts)
    shipper = Shipper(
        node_id,
        who.cluster_id,
        wanted,
        archive,
        store,
        peers,
        reader,
        uploads,
        fetcher,
        locate,
        tracer,
        doors.clock,
        rules,
    )
    archivist = Archivist(node_id, wanted, store, shipper, liveness, locate, doors.clock)
    slots = [slot for slot, group in enumerate(groups) if node_id in group.nodes]
    evictor = Evictor(slots, wanted.evict_above_bytes, store, parts, tracer, doors.clock, rules)
    importer = Importer(
        node_id, wanted, settings.init_scan, archive, reader, coordinator, locate, liveness, doors.clock
    )
    return Tiering(wanted, archive, shipper, archivist, fetcher, evictor, importer, reader, store, parts, locate)


def _open_disks(
    settings: Settings,
    me: NodeSettings,
    cluster: Cluster,
    doors: Doors,
    rules: Rules,
    may_migrate: bool,
    locks: ExitStack,
    undo: ExitStack,
) -> tuple[Registers, Sequence[Path]]:
    """The registers on the disks of this node, and slot -> the directory of its disk; `locks` holds them from then on.

    Whoever uses `undo` lets go of the databases.
    """
    stores = []
    for place in me.disks:
        layout = Layout(place.path)
        locks.callback(doors.lock(layout.directory).release)
        disk = doors.disk_at(layout.directory)
        cache_bytes = settings.limits.cache_bytes // len(me.disks)
        store = RegisterStore(
            layout.database,
            cache_bytes,
            rules,
            disk.vfs,
            disk.log_pages_max,
            may_migrate,
            lambda path: settings.archive.mode_of(path) != "none",
            lambda path: slot_of(path, cluster.wanted.total_slots),
        )
        undo.callback(store.abandon)
        stores.append(store)
    configured = [Configured(place.path, place.weight) for place in me.disks]
    return join(me.node_id, configured, stores, cluster.wanted.total_slots)


def _open_trace(
    settings: Settings,
    cluster: Cluster,
    node_id: str,
    store: Registers,
    doors: Doors,
    log: structlog.stdlib.BoundLogger,
) -> Tracer:
    if not settings.trace.enabled:
        store.begin()
        return NoTrace()
    directory = settings.trace.directory
    assert directory is not None  # the configuration refuses tracing without one
    _make(directory)
    added = sum(
        complete(directory, node_id, store.incarnation - 1, durable, disk) for disk, durable in store.events_left()
    )
    if added:
        log.info("completed the trace of the last incarnation", events=added)
    store.begin()
    tracer = FileTrace(directory, node_id, store.incarnation, doors.clock.now_ms, store.prune_events, doors.disk)
    tracer.start(cluster.cluster_id, cluster.node_ids)
    return tracer


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be made: {error.strerror}; check trace.directory") from None


def _locator(groups: Sequence[ReplicaSet]) -> Locate:
    """path -> its slot and replica set."""

    def locate(path: str) -> tuple[int, ReplicaSet]:
        slot = slot_of(path, len(groups))
        return slot, groups[slot]

    return locate


def _addresses(settings: Settings, node_id: str) -> dict[str, tuple[str, int]]:
    addresses = {}
    for other in settings.nodes:
        if other.node_id != node_id:
            address = settings.routes.get(other.node_id, other.advertise_addr)
            addresses[other.node_id] = (address.host, address.port)
    return addresses


def _members(
    nodes: Sequence[NodeSettings], me: NodeSettings, liveness: Liveness, peers: Peers
) -> Callable[[], Sequence[Member]]:
    def members() -> list[Member]:
        statuses = {**peers.statuses(), me.node_id: liveness.status(me.node_id)}
        return [
            Member(node.node_id, str(node.advertise_addr), seen.status, seen.incarnation)
            for node, seen in ((node, statuses[node.node_id]) for node in nodes)
        ]

    return members
