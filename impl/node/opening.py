"""What a node opens before it has any room: the outside world, its disks, and its trace, completed after a kill."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from impl.archive.face import Archive
from impl.archive.opening import open_archive
from impl.archive.settings import ArchiveSettings
from impl.cluster.registry.embedded import Cluster
from impl.cluster.secret import Secret
from impl.config import NodeSettings, Settings
from impl.doors import Clock, Disk, Network, Random, RealClock, RealDisk, RealNetwork, RealRandom
from impl.errors import ConfigError
from impl.model import ReplicaSet, slot_of
from impl.node.birth import Unborn, begin_first_life, begin_life
from impl.node.rounds import Rounds
from impl.protocol.rules import HONEST, Rules
from impl.storage.disks import join
from impl.storage.face import Registers
from impl.storage.layout import Layout, Lock
from impl.storage.membership import Configured
from impl.storage.registers import RegisterStore
from impl.trace import FileTrace, NoTrace, Tracer, complete

Receive = Callable[[Unborn], AbstractAsyncContextManager[object]]
OpenArchive = Callable[[ArchiveSettings], Awaitable[Archive]]


class Release(Protocol):
    """A lock that is held."""

    def release(self) -> None: ...


class Doors:
    """What comes in from outside; the real ones unless a simulator brings its own.

    `lock` takes a data directory, `archive` opens the archive of its settings. `receive` lets other nodes reach one
    that is unborn, while it lasts; `is_new` is the word of whoever knows that the disks were never used (birth.py).
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
        receive: Receive = nullcontext,
        is_new: bool = False,
    ) -> None:
        self.receive = receive
        self.is_new = is_new
        self.clock = clock or RealClock()
        self.random = random or RealRandom()
        self.disk = usual = disk or RealDisk()
        self.disk_at = disk_at or (lambda directory: usual)
        self.network = network or RealNetwork()
        self.lock = lock
        self.archive = archive or self._open_archive

    async def _open_archive(self, settings: ArchiveSettings) -> Archive:
        return await open_archive(settings, self.clock, self.random, self.disk)


@dataclass(frozen=True)
class Opened:
    """What is open of one node: its registers, slot -> the directory of its disk, its trace and ballot rounds."""

    store: Registers
    directories: Sequence[Path]
    tracer: Tracer
    rounds: Rounds
    locks: ExitStack


async def open_node(
    settings: Settings,
    cluster: Cluster,
    node_id: str,
    log: structlog.stdlib.BoundLogger,
    doors: Doors,
    rules: Rules,
    may_migrate: bool,
) -> Opened:
    """Open the disks of a node and complete its last trace; nothing stays open on an error.

    Raises ConfigError if a disk cannot be used, DiskFull.
    """
    with ExitStack() as undo:
        locks = ExitStack()
        undo.callback(locks.close)
        store, directories = _open_disks(
            settings, settings.node(node_id), cluster, doors, rules, may_migrate, locks, undo
        )
        if not store.is_born:
            await _be_born(store, settings, cluster, node_id, doors)
        tracer = _open_trace(settings, cluster, node_id, store, doors, log)
        undo.callback(tracer.abandon)
        store.start(asyncio.get_running_loop(), tracer)
        rounds = Rounds(node_id, store, rules)
        await rounds.open()
        undo.pop_all()
    return Opened(store, directories, tracer, rounds, locks)


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


async def _be_born(store: Registers, settings: Settings, cluster: Cluster, node_id: str, doors: Doors) -> None:
    """Have a node that does not know its life begin one."""
    if doors.is_new:
        begin_first_life(store, node_id)
        return
    groups = [ReplicaSet(nodes, cluster.write_quorum) for nodes in cluster.table]
    unborn = Unborn(
        node_id,
        cluster.cluster_id,
        groups,
        addresses(settings, node_id),
        Secret(settings.auth.cluster_secret),
        store,
        doors.clock,
        doors.random,
        doors.network,
    )
    async with doors.receive(unborn):
        try:
            begin_life(store, node_id, groups, await unborn.told())
        finally:
            await unborn.close()


def initialise(
    settings: Settings,
    cluster: Cluster,
    node_id: str,
    doors: Doors | None = None,
    may_migrate: bool = True,
) -> None:
    """Say that the disks of a node were never used, unless it lives; raises ConfigError if one has lived, DiskFull."""
    with ExitStack() as undo:
        locks = ExitStack()
        undo.callback(locks.close)
        store, _ = _open_disks(
            settings, settings.node(node_id), cluster, doors or Doors(), HONEST, may_migrate, locks, undo
        )
        if not store.is_born:
            begin_first_life(store, node_id)


def addresses(settings: Settings, node_id: str) -> dict[str, tuple[str, int]]:
    """Where each of the other nodes is dialled."""
    found = {}
    for other in settings.nodes:
        if other.node_id != node_id:
            address = settings.routes.get(other.node_id, other.advertise_addr)
            found[other.node_id] = (address.host, address.port)
    return found


def _open_trace(
    settings: Settings,
    cluster: Cluster,
    node_id: str,
    store: Registers,
    doors: Doors,
    log: structlog.stdlib.BoundLogger,
) -> Tracer:
    """The trace of the incarnation that begins now, after that of the last one is complete. Raises ConfigError."""
    if not settings.trace.enabled:
        store.begin()
        return NoTrace()
    directory = settings.trace.directory
    assert directory is not None  # the configuration refuses tracing without one
    _make(directory)
    added = sum(complete(directory, node_id, store.counted, durable, disk) for disk, durable in store.events_left())
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
