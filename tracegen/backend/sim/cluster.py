"""The simulated backend: the interface of `tracegen/backend/face.py` over nodes, network and disks in virtual time."""

import asyncio
import functools
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from impl.archive.retries import Limits as ArchiveLimits
from impl.archive.settings import ArchiveSettings, read_archive
from impl.cluster.registry.embedded import Cluster as ClusterTable
from impl.cluster.registry.embedded import Wanted
from impl.config import (
    Address,
    AuthSettings,
    DiskSettings,
    HealingSettings,
    Limits,
    LoggingSettings,
    NodeSettings,
    Replication,
    S3Settings,
    Settings,
    TraceSettings,
)
from impl.config_reader import Faults, Section
from impl.errors import ConfigError
from impl.model import INLINE_BODY_BYTES_MAX
from impl.protocol.placement import Site, place
from impl.storage.layout import Layout
from tracegen.archive.shape import KEY_PREFIX, NO_ARCHIVE, ArchiveShape
from tracegen.backend.face import Crossing, NodeState
from tracegen.backend.sim.archive import SimBucket
from tracegen.backend.sim.audit import audit, unstored
from tracegen.backend.sim.connection import SimConnection
from tracegen.backend.sim.disks import SimDisks
from tracegen.backend.sim.loop import Owner, SimLoop
from tracegen.backend.sim.network import SimNetwork, Way
from tracegen.backend.sim.node import SimNode, quiet_logs
from tracegen.backend.sim.vfs import SimDisk
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape

SLOTS: Final = 64
FSYNC_S: Final = (0.0003, 0.003)
LATENCY_S: Final = (0.0001, 0.002)
BYTES_PER_S: Final = 5e6
TRY_AGAIN_S: Final = 0.01
PROBE_BYTES: Final = 64


class SimWire:
    """One way between two nodes, under the harness's hand: see `face.Wire` and `simulated.Frames`."""

    def __init__(self, network: SimNetwork, source: str, target: str) -> None:
        self._network = network
        self._source = source
        self._target = target

    @property
    def way(self) -> Way:
        return self._network.ways[self._source, self._target]

    @property
    def passed_bytes(self) -> int:
        return self.way.passed_bytes

    def open(self) -> None:
        self._network.open(self._source, self._target)

    def cut(self) -> None:
        self.way.is_cut = True
        self._network.reset(self._source, self._target)

    def stall(self) -> None:
        self.way.is_stalled = True

    def delay(self, delay_s: float, jitter_s: float, seed: str) -> None:
        self.way.delay_s, self.way.jitter_s = delay_s, jitter_s

    def drop_connections(self) -> int:
        return self._network.reset(self._source, self._target)

    @property
    def mangled_frames(self) -> int:
        return self.way.mangled_frames

    @property
    def vanished_bytes(self) -> int:
        return self.way.vanished_bytes

    def mangle(self, drop: float, double: float, overtake: float) -> None:
        self.way.drop, self.way.double, self.way.overtake = drop, double, overtake

    def halve(self) -> int:
        return self._network.halve(self._source, self._target)


class SimCluster:
    """One cluster for one run: see `face.Cluster` and `nemesis/powers.py`.

    `trace` writes each incarnation's trace into `places.traces`.
    """

    def __init__(
        self,
        shape: ClusterShape,
        places: RunPlaces,
        loop: SimLoop,
        seed: str,
        *,
        archive: ArchiveShape = NO_ARCHIVE,
        mutants: Sequence[str] = (),
        trace: bool = True,
    ) -> None:
        quiet_logs()
        self.loop = loop
        loop.latency = self._work_s
        self._draw = random.Random(f"{seed}/sim")
        self.network = SimNetwork(loop, shape.node_ids, random.Random(f"{seed}/network"), LATENCY_S, BYTES_PER_S)
        self._places = places
        self._names = shape.node_ids
        self._problems: list[str] = []
        limits = _limits(random.Random(f"{seed}/limits"))
        traces = places.traces if trace else None
        settings = _settings(shape, traces, places.disks, limits, archive_settings(archive), tuple(mutants))
        self._bucket: SimBucket | None = None
        if archive.is_there:
            chance = random.Random(f"{seed}/archive")
            self._bucket = SimBucket(loop, chance, self._names, archive.request_life_s)
        archive_limits = _archive_limits(random.Random(f"{seed}/archive-limits"))
        self._table = table = _table(shape)
        self._disks = {node.node_id: self._made(node, seed) for node in settings.nodes}
        self._databases = {node.node_id: self._databases_of(node) for node in settings.nodes}
        self._nodes = {
            name: SimNode(
                name,
                settings,
                table,
                loop,
                self.network,
                self._disks[name],
                random.Random(f"{seed}/node/{name}"),
                self._bucket.access(name) if self._bucket is not None else None,
                archive_limits,
            )
            for name in self._names
        }

    def _made(self, node: NodeSettings, seed: str) -> SimDisk | SimDisks:
        name = node.node_id
        if len(node.disks) == 1:
            return SimDisk(f"{name}-{id(self):x}", random.Random(f"{seed}/disk/{name}"))
        disks = {
            disk.path: SimDisk(f"{name}-{number}-{id(self):x}", random.Random(f"{seed}/disk/{name}/{number}"))
            for number, disk in enumerate(node.disks, start=1)
        }
        return SimDisks(disks, random.Random(f"{seed}/bad-disk/{name}"))

    def _databases_of(self, node: NodeSettings) -> list[tuple[Path, str | None]]:
        """Each database of a node, and the VFS that has it."""
        disk = self._disks[node.node_id]
        return [(Layout(each.path).database, disk.at(each.path).vfs) for each in node.disks]

    @property
    def nodes(self) -> tuple[str, ...]:
        return self._names

    @property
    def archive(self) -> SimBucket | None:
        return self._bucket

    def sim_node(self, node: str) -> SimNode:
        return self._nodes[node]

    def _work_s(self, owner: Owner | None) -> float:
        """How long a piece of work on a node's disk takes, or on a thread of its."""
        work_s = self._draw.uniform(*FSYNC_S)
        return work_s if owner is None else work_s + self._disks[owner.name].next_delay_s()

    def acknowledged(self, target: str, body: bytes) -> None:
        """A client is told that a body is stored: look whether it is."""
        if len(body) > INLINE_BODY_BYTES_MAX:
            had_part = self._bucket.had_part if self._bucket is not None else lambda _: False
            self._problems += unstored(self._disks, target, body, self._table.write_quorum, had_part)

    def client_latency_s(self) -> float:
        return self._draw.uniform(*LATENCY_S)

    async def start(self) -> None:
        await asyncio.gather(*(node.start(is_new=True) for node in self._nodes.values()))
        await asyncio.sleep(0.1)  # they reach each other

    async def stop(self) -> list[str]:
        for node in self._nodes.values():
            if node.owner is not None and node.owner.is_paused:
                self.resume(node.name)
            if node.is_serving:
                await node.terminate()
        archived: dict[str, bytes] = {}
        if self._bucket is not None:
            held = self._bucket.objects().items()
            archived = {key.removeprefix(KEY_PREFIX): content for key, (_, content) in held}
            lines = [msgspec.json.encode(change) + b"\n" for change in self._bucket.changes()]
            self._places.archive_changes.write_bytes(b"".join(lines))
        problems = [f"an exception nobody caught: {error}" for error in self.loop.errors]
        problems += self._problems
        return problems + audit(self._disks, self._databases, self._table.table, self._table.write_quorum, archived)

    def close(self) -> None:
        """Let go of everything; the loop does not run any more."""
        for node in self._nodes.values():
            node.bury_for_good()
        for disk in self._disks.values():
            disk.close()

    def connection(self, node: str) -> SimConnection:
        return SimConnection(self, node)

    async def start_node(self, node: str) -> None:
        await self._nodes[node].start()

    async def kill(self, node: str) -> int:
        self._nodes[node].kill(power_cut=False)
        return -signal.SIGKILL

    async def lose_disk(self, node: str) -> int:
        assert self._nodes[node].owner is None, f"{node} has its disk in use"
        return self._disks[node].empty()

    async def cut_power(self, node: str) -> int:
        return self._nodes[node].kill(power_cut=True)

    def disk(self, node: str) -> SimDisk | SimDisks:
        return self._disks[node]

    def frames(self, source: str, target: str) -> SimWire:
        return SimWire(self.network, source, target)

    def set_skew_ms(self, node: str, skew_ms: float) -> None:
        self._nodes[node].clock.skew_ms = int(skew_ms)

    async def stamped_skew_ms(self, node: str) -> float | None:
        return self._nodes[node].clock.last_skew_ms

    async def settle(self, node: str) -> None:
        await self._nodes[node].settle()

    async def terminate(self, node: str) -> int:
        return await self._nodes[node].terminate()

    def pause(self, node: str) -> None:
        self.loop.pause(self._owner(node))

    def resume(self, node: str) -> None:
        self.loop.resume(self._owner(node))

    def state(self, node: str) -> NodeState:
        owner = self._nodes[node].owner
        if owner is None:
            return "gone"
        return "paused" if owner.is_paused else "running"

    def wire(self, source: str, target: str) -> SimWire:
        return SimWire(self.network, source, target)

    async def try_link(self, source: str, target: str, patience_s: float) -> Crossing:
        """See whether a question would cross: there and back, on a connection as the source makes them."""
        began_s = self.loop.time()
        there = self.network.ways[source, target]
        try:
            async with asyncio.timeout(patience_s):
                is_answered = await self._cross(source, target) and await self._cross(target, source, there)
        except TimeoutError:
            return Crossing("stalled", patience_s * 1000)
        return Crossing("answered" if is_answered else "broken", (self.loop.time() - began_s) * 1000)

    async def _cross(self, source: str, target: str, dialled: Way | None = None) -> bool:
        """Send a question of the harness's own over a way, or an answer on what was `dialled`; False if it breaks."""
        way = self.network.ways[source, target]
        await asyncio.sleep(self.network.latency_s(way))
        deaf = self._nodes[target]
        while way.is_stalled or deaf.is_dark or self.state(target) == "paused":  # noqa: ASYNC110 # many things end this
            await asyncio.sleep(TRY_AGAIN_S)
        if (dialled or way).is_cut or self.state(target) == "gone":
            return False
        way.passed_bytes += PROBE_BYTES
        return True

    async def is_link_reset(self, source: str, target: str, patience_s: float) -> bool:
        if self.network.ways[source, target].is_cut:
            return True
        try:
            async with asyncio.timeout(patience_s):
                await self.network.probe(source, target)
        except TimeoutError:
            return False
        return True

    def under_way(self) -> list[str]:
        """The requests that nodes work on, whether or not anybody waits for their answers."""
        return [request for node in self._nodes.values() for request in node.under_way()]

    def unexpected_deaths(self) -> list[str]:
        return [line for node in self._nodes.values() for line in node.failed]

    def versions(self) -> dict[str, str]:
        return {"backend": "sim"}

    def _owner(self, node: str) -> Owner:
        owner = self._nodes[node].owner
        assert owner is not None, f"{node} is gone"
        return owner


@functools.cache
def _table(shape: ClusterShape) -> ClusterTable:
    """The cluster's configuration; the same for all runs of one shape."""
    sites = tuple(Site(name, name) for name in shape.node_ids)
    wanted = Wanted("sim", sites, shape.factor, shape.min_write_replicas, SLOTS)
    return ClusterTable("simulated", wanted, place(sites, shape.factor, SLOTS))


def _limits(draw: random.Random) -> Limits:
    """Few or many registers kept in memory, and nodes that give up before their clients do, or long after."""
    return Limits(cache_bytes=draw.choice((0, 8_192, 1024 * 1024)), request_s=draw.choice((0.4, 1.0, 5.0)))


def _archive_limits(draw: random.Random) -> ArchiveLimits:
    """Small or large parts, and nodes that give a request up soon or late; they ask again soon, as runs are short."""
    return ArchiveLimits(
        part_bytes=draw.choice((64 * 1024, 8 * 1024 * 1024)),
        attempt_s=draw.choice((0.5, 2.0)),
        backoff_max_s=1.0,
        pause_s=0.2,
        pause_max_s=2.0,
    )


def archive_settings(shape: ArchiveShape) -> ArchiveSettings:
    """What nodes are told of the archive, as from a file. Raises HarnessError for what they would refuse."""
    if not shape.is_there:
        return ArchiveSettings()
    place = {"s3": {"s3": {"bucket": "simulated"}}, "directory": {"directory": {"path": "simulated"}}}[shape.kind]
    faults = Faults("the scenario")
    section = Section("archive", shape.node_config(place), faults)
    settings = read_archive(section)
    section.refuse_unknown()
    try:
        faults.raise_any()
    except ConfigError as error:
        raise HarnessError(str(error)) from error
    return settings


def _disks_of(directory: Path, count: int) -> tuple[DiskSettings, ...]:
    if count == 1:
        return (DiskSettings(directory),)
    return tuple(DiskSettings(directory / str(number)) for number in range(1, count + 1))


def _settings(
    shape: ClusterShape,
    traces: Path | None,
    disks: Path,
    limits: Limits,
    archive: ArchiveSettings,
    mutants: tuple[str, ...],
) -> Settings:
    nodes = tuple(
        NodeSettings(name, Address(name, 1), Address(name, 1), name, _disks_of(disks / name, shape.disks_per_node))
        for name in shape.node_ids
    )
    return Settings(
        nodes=nodes,
        replication=Replication(shape.factor, shape.min_write_replicas, SLOTS),
        auth=AuthSettings("simulated-secret"),
        limits=limits,
        healing=_healing(shape),
        trace=TraceSettings(traces is not None, traces),
        logging=LoggingSettings(),
        routes={},
        mutants=mutants,
        s3=S3Settings(anonymous=True),
        archive=archive,
    )


def _healing(shape: ClusterShape) -> HealingSettings:
    grace_s, looks_every_s = shape.tombstones
    healing = HealingSettings(
        shape.heal_every_s > 0,
        shape.heal_every_s or 1.0,
        tombstone_grace_s=grace_s,
        tombstones_every_s=looks_every_s,
    )
    if not shape.parts_grace_s:
        return healing
    return msgspec.structs.replace(healing, parts_every_s=shape.parts_grace_s / 2, parts_grace_s=shape.parts_grace_s)
