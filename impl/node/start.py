"""Wires one node: builds its rooms in the order in which they need each other, then starts what goes on by itself.

What each room is for, it says itself; what is opened before them is `opening.py`, how they end `running.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client.registry import Collector

from impl.cluster.link import LinkCounters
from impl.cluster.liveness import Liveness
from impl.cluster.lives import Lives
from impl.cluster.metrics import LinkMetrics
from impl.cluster.peers import Peers, Who
from impl.cluster.registry.embedded import Cluster
from impl.cluster.secret import Secret
from impl.cluster.serving import PeerServer
from impl.cluster.wire import Hello
from impl.config import NodeSettings, Settings
from impl.doors import Clock
from impl.model import ReplicaSet
from impl.node.archivist import Archivist
from impl.node.collector import CollectorMetrics, TombstoneCollector
from impl.node.coordinator import Coordinator
from impl.node.evictor import EVERY_S as EVICT_EVERY_S
from impl.node.evictor import Evictor
from impl.node.fetcher import Fetcher
from impl.node.gc import GarbageCollector
from impl.node.healer import Healer, HealingMetrics
from impl.node.importer import Importer
from impl.node.keeper import Keeper, KeeperMetrics, every
from impl.node.limits import Timing
from impl.node.lister import Lister
from impl.node.local import Local
from impl.node.locate import Locate, locator
from impl.node.naming import Naming
from impl.node.node import Member, Node
from impl.node.opening import Doors, Opened, addresses, open_node
from impl.node.read_repair import ReadRepair
from impl.node.reader import Reader
from impl.node.rejoiner import EVERY_S as REJOIN_EVERY_S
from impl.node.rejoiner import Rejoiner
from impl.node.replica import Replica
from impl.node.running import Running
from impl.node.scrubber import Scrubber
from impl.node.shipper import Shipper
from impl.node.tiering import Tiering
from impl.node.uploads import Uploads
from impl.protocol import events
from impl.protocol.rules import Rules, broken
from impl.storage.face import Registers
from impl.storage.layout import Dealt
from impl.storage.parts import PartStore
from impl.trace import Tracer


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
    rules = broken(settings.mutants)
    opened = await open_node(settings, cluster, node_id, log, doors, rules, may_migrate)
    common = _common(settings, cluster, node_id, opened, doors, rules)
    rooms = _rooms(common, opened)
    tiering = await _tiering(common, rooms) if settings.archive.kind != "none" else None
    rejoiner = _rejoiner(common, rooms)
    keeping = _keeping(common, rooms, tiering)
    server = _peer_server(common, rooms)
    server.on_meet = _meeting(common, rooms, keeping.collector)
    rooms.replica.before_telling = keeping.collector.quiet
    rejoining = Keeper("rejoining", rejoiner.look, every(common.clock, REJOIN_EVERY_S), rests_first=False)
    rooms.reader.on_behind, server.on_behind = keeping.repair.is_behind, keeping.repair.heard
    common.peers.open()
    if tiering is not None:
        rooms.naming.source = tiering.source
        tiering.start()
    if common.store.behind:
        rejoining.start()
    if settings.healing.enabled:
        for keeper in keeping.keepers:
            keeper.start()
    return Running(
        _node(common, rooms, tiering),
        Local(common.store, common.parts),
        common.tracer,
        common.store,
        common.parts,
        common.peers,
        server,
        keeping.healer,
        (rejoining, *keeping.keepers, keeping.repair, rooms.replica),
        common.liveness,
        tiering,
        opened.locks,
        (rejoiner, *_collectors(common, keeping, tiering)),
    )


@dataclass(frozen=True)
class _Common:
    """What nearly every room is given."""

    settings: Settings
    cluster: Cluster
    who: Who
    groups: Sequence[ReplicaSet]
    locate: Locate
    timing: Timing
    rules: Rules
    clock: Clock
    doors: Doors
    store: Registers
    parts: PartStore
    tracer: Tracer
    liveness: Liveness
    secret: Secret
    counters: LinkCounters
    lives: Lives
    peers: Peers

    @property
    def node_id(self) -> str:
        return self.who.node_id

    @property
    def slots(self) -> list[int]:
        """The slots of which this node holds a replica."""
        return [slot for slot, group in enumerate(self.groups) if self.node_id in group.nodes]


def _common(settings: Settings, cluster: Cluster, node_id: str, opened: Opened, doors: Doors, rules: Rules) -> _Common:
    groups = [ReplicaSet(nodes, cluster.write_quorum) for nodes in cluster.table]
    who = Who(node_id, opened.store.incarnation, cluster.cluster_id)
    dialled_at = addresses(settings, node_id)
    liveness = Liveness(Hello(node_id, who.incarnation), dialled_at, doors.clock)
    secret = Secret(settings.auth.cluster_secret)
    counters = LinkCounters()
    lives = Lives(opened.store)
    return _Common(
        settings,
        cluster,
        who,
        groups,
        locator(groups),
        Timing(request_s=settings.limits.request_s),
        rules,
        doors.clock,
        doors,
        opened.store,
        PartStore(Dealt(opened.directories), doors.disk, rules),
        opened.tracer,
        liveness,
        secret,
        counters,
        lives,
        Peers(
            who,
            dialled_at,
            secret,
            doors.clock,
            doors.random,
            doors.network,
            counters,
            opened.tracer.flush,
            liveness,
            lives,
        ),
    )


@dataclass(frozen=True)
class _Rooms:
    """What serves requests: those of clients, and those of other nodes."""

    uploads: Uploads
    naming: Naming
    replica: Replica
    coordinator: Coordinator
    reader: Reader
    lister: Lister


def _rooms(common: _Common, opened: Opened) -> _Rooms:
    node_id, store, peers, tracer = common.node_id, common.store, common.peers, common.tracer
    locate, clock, timing, rules = common.locate, common.clock, common.timing, common.rules
    total_slots = common.cluster.wanted.total_slots
    uploads = Uploads(node_id, common.parts, peers, timing, common.settings.limits.object_bytes_max, rules)
    naming = Naming(store, common.parts, uploads, locate, clock, rules)
    replica = Replica(store, tracer, naming, total_slots, rules)
    coordinator = Coordinator(
        node_id,
        store,
        replica,
        naming,
        peers,
        tracer,
        opened.rounds,
        locate,
        clock,
        common.doors.random,
        timing,
        rules,
    )
    reader = Reader(node_id, common.who.incarnation, replica, peers, tracer, coordinator, locate, timing, rules)
    lister = Lister(node_id, common.cluster.node_ids, store, peers, reader, locate, timing, rules)
    return _Rooms(uploads, naming, replica, coordinator, reader, lister)


def _peer_server(common: _Common, rooms: _Rooms) -> PeerServer:
    """The door for the other nodes."""
    return PeerServer(
        common.liveness,
        common.who.cluster_id,
        common.secret,
        rooms.replica,
        common.parts,
        common.clock,
        common.counters,
        common.tracer.flush,
        common.peers.heard_from,
        common.peers.probe,
        common.lives,
        common.peers.leave_earlier,
    )


def _rejoiner(common: _Common, rooms: _Rooms) -> Rejoiner:
    """What brings this node back if it lost its disk; until then it coordinates nothing."""
    rejoiner = Rejoiner(
        common.node_id,
        [node for node in common.cluster.node_ids if node != common.node_id],
        common.groups,
        common.store,
        common.peers,
        rooms.coordinator,
        common.tracer,
        common.clock,
        common.timing,
        common.rules,
    )
    rooms.coordinator.not_ready = rejoiner.not_ready
    return rejoiner


def _meeting(
    common: _Common, rooms: _Rooms, collector: TombstoneCollector
) -> Callable[[str, str, tuple[int, ...] | None], str]:
    """What happens when another node lost its disk: drop what it was heard to say, and tell the trace (spec: Meet)."""

    def met(node: str, cause: str, slots: tuple[int, ...] | None) -> str:
        rooms.coordinator.forget_replies()
        collector.forget_replies()
        causes = (cause,) if cause else ()
        return common.tracer.emit(events.Meet(cause=causes, of=node, slots=slots, total_slots=len(common.groups)))

    return met


def _node(common: _Common, rooms: _Rooms, tiering: Tiering | None) -> Node:
    """The door for the APIs."""
    store = common.store
    return Node(
        common.node_id,
        common.cluster.cluster_id,
        common.who.incarnation,
        rooms.coordinator,
        rooms.reader,
        rooms.lister,
        rooms.uploads,
        common.locate,
        _members(common.settings.nodes, common.node_id, common.liveness, common.peers),
        lambda: store.health,
        common.clock,
        common.doors.random,
        common.liveness,
        tiering,
        common.rules,
    )


async def _tiering(common: _Common, rooms: _Rooms) -> Tiering:
    """The archive, and all that works with it."""
    node_id, wanted, store, parts = common.node_id, common.settings.archive, common.store, common.parts
    reader, locate, liveness, clock = rooms.reader, common.locate, common.liveness, common.clock
    archive = await common.doors.archive(wanted)
    fetcher = Fetcher(wanted, archive, store, parts)
    shipper = Shipper(
        node_id,
        common.who.cluster_id,
        wanted,
        archive,
        store,
        common.peers,
        reader,
        rooms.uploads,
        fetcher,
        locate,
        common.tracer,
        clock,
        common.rules,
    )
    archivist = Archivist(node_id, wanted, store, shipper, liveness, locate, clock)
    evictor = Evictor(common.slots, wanted.evict_above_bytes, store, parts, common.tracer, clock, common.rules)
    importer = Importer(
        node_id, wanted, common.settings.init_scan, archive, reader, rooms.coordinator, locate, liveness, clock
    )
    keepers = [
        Keeper("shipping", archivist.ship_due, archivist.until_more, rests_first=False),
        Keeper("settling", archivist.settle_due, every(clock, archivist.settle_every_s), rests_first=True),
    ]
    if wanted.evict_above_bytes:
        keepers.append(Keeper("evicting", evictor.look_if_stored, every(clock, EVICT_EVERY_S), rests_first=True))
    return Tiering(
        wanted, archive, shipper, archivist, fetcher, evictor, importer, keepers, reader, store, parts, locate
    )


@dataclass(frozen=True)
class _Keeping:
    """What keeps the data of this node whole, in the background."""

    healer: Healer
    repair: ReadRepair
    collector: TombstoneCollector
    gc: GarbageCollector
    scrubber: Scrubber
    keepers: Sequence[Keeper]


def _keeping(common: _Common, rooms: _Rooms, tiering: Tiering | None) -> _Keeping:
    healing, clock = common.settings.healing, common.clock
    healer, collector = _healer(common, rooms), _tombstone_collector(common, rooms, tiering)
    repair = ReadRepair(common.node_id, common.peers, healer, common.locate, clock, common.timing, healing.enabled)
    gc = GarbageCollector(
        common.node_id,
        common.groups,
        common.store,
        common.parts,
        rooms.lister,
        common.settings.archive.evict_above_bytes > 0,
        rooms.uploads,
        clock,
        healing.parts_grace_s,
        common.rules,
    )
    scrubber = Scrubber(
        common.node_id,
        common.who.incarnation,
        common.groups,
        common.store,
        common.parts,
        common.peers,
        rooms.uploads,
        common.locate,
        clock,
        common.timing,
        healing.scrub_bytes_per_s,
    )
    keepers = (
        Keeper("healing", healer.look, every(clock, healing.every_s), rests_first=False),
        Keeper("tombstones", collector.collect, every(clock, healing.tombstones_every_s), rests_first=False),
        Keeper("parts", gc.look, every(clock, healing.parts_every_s), rests_first=True),
        Keeper("scrubbing", scrubber.scrub, every(clock, healing.parts_every_s), rests_first=False),
    )
    return _Keeping(healer, repair, collector, gc, scrubber, keepers)


def _healer(common: _Common, rooms: _Rooms) -> Healer:
    return Healer(
        common.node_id,
        common.who.incarnation,
        common.cluster.node_ids,
        common.groups,
        common.store,
        common.peers,
        rooms.coordinator,
        rooms.naming,
        common.locate,
        common.clock,
        common.timing,
        common.rules,
    )


def _tombstone_collector(common: _Common, rooms: _Rooms, tiering: Tiering | None) -> TombstoneCollector:
    archive = common.settings.archive
    return TombstoneCollector(
        common.node_id,
        common.who.incarnation,
        common.store,
        rooms.replica,
        common.peers,
        common.locate,
        common.clock,
        common.timing,
        common.settings.healing.tombstone_grace_s,
        lambda path: archive.mode_of(path) != "none",
        # the import takes what was forgotten for what never was, and would have it again
        lambda: tiering is None or tiering.importer.progress.is_done,
        common.rules,
    )


def _collectors(common: _Common, keeping: _Keeping, tiering: Tiering | None) -> tuple[Collector, ...]:
    """What tells Prometheus of this node."""
    of_archive = (*tiering.keepers, tiering.importer.keeper) if tiering is not None else ()
    return (
        common.store.metrics,
        common.parts,
        LinkMetrics(common.counters),
        HealingMetrics(keeping.healer.total),
        CollectorMetrics(keeping.collector.total),
        keeping.gc,
        keeping.scrubber,
        keeping.repair,
        KeeperMetrics((*keeping.keepers, *of_archive)),
        *(tiering.collectors if tiering is not None else ()),
    )


def _members(
    nodes: Sequence[NodeSettings], node_id: str, liveness: Liveness, peers: Peers
) -> Callable[[], Sequence[Member]]:
    def members() -> list[Member]:
        statuses = {**peers.statuses(), node_id: liveness.status(node_id)}
        return [
            Member(node.node_id, str(node.advertise_addr), seen.status, seen.incarnation)
            for node, seen in ((node, statuses[node.node_id]) for node in nodes)
        ]

    return members
