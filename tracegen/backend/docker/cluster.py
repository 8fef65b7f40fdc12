"""A cluster of containers: every node in one of its own, on a machine of its own, in a network without a way out.

The harness sits at the network's gateway: clients of the run ask nodes from there, and the archive is reached through
its proxies there. Links are broken by packet filters in the network namespaces of both ends, or, in scenarios that make
them slow or end connections, by the harness's proxies, through which nodes dial each other then.
"""

import asyncio
import os
import platform
import random
import shutil
import signal
from collections.abc import Callable, Collection, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Final

from tracegen.archive.s3 import S3Behind
from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape
from tracegen.backend.docker.archive import S3Container
from tracegen.backend.docker.clock import NodeClock, told_skew_ms
from tracegen.backend.docker.disk import VolumeDisk
from tracegen.backend.docker.engine import Mark, connect, left_by, remove, understood
from tracegen.backend.docker.images import Images, images
from tracegen.backend.docker.links import NODE_PORT, FilteredWire, PacketFilter
from tracegen.backend.docker.machine import DISK, Machine
from tracegen.backend.docker.network import Network, make_network
from tracegen.backend.docker.node import TRACES, UNLIMITED_BYTES, USER, NodeContainer
from tracegen.backend.docker.reaper import Reaper
from tracegen.backend.face import Crossing, NodeState, Wire
from tracegen.backend.node_config import Site, disks_below, node_config, write_config
from tracegen.backend.probing import until_ready
from tracegen.backend.proxy import LoopbackWire, Proxy
from tracegen.disk.power import PoweredDisk, powered_disk
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces, last_lines
from tracegen.scenario import ClusterShape
from tracegen.workload.connection import HttpConnection

if TYPE_CHECKING:
    from docker import DockerClient

NEEDS_CLOCK: Final = ("clock_jump", "clock_skew")
"""The nemeses for which somebody lies to the nodes about the time."""
NEEDS_PROXY: Final = ("delay", "drop")
"""The nemeses for which the harness's proxies stand between nodes."""
LOOK_S: Final = 0.25
Say = Callable[[str], None]


class DockerCluster:
    """See `face.Cluster`. `nemeses` are those that the run has: some need another disk, or proxies between nodes."""

    def __init__(
        self,
        places: RunPlaces,
        shape: ClusterShape,
        *,
        archive: ArchiveShape = NO_ARCHIVE,
        nemeses: Collection[str] = (),
        mutants: Sequence[str] = (),
        keep: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        self._places = places
        self._shape = shape
        self._archive_shape = archive
        self._nemeses = frozenset(nemeses)
        self._mutants = tuple(mutants)
        self._keep = keep
        self._say = say
        self._mark = Mark()
        self._client: DockerClient | None = None
        self._images: Images | None = None
        self._reaper: Reaper | None = None
        self._s3: S3Behind | None = None
        self._nodes: dict[str, NodeContainer] = {}
        self._powered: dict[str, PoweredDisk] = {}
        self._packets = PacketFilter({})
        self._clocks: dict[str, NodeClock] = {}
        self._disks: dict[str, VolumeDisk] = {}
        self._memory_met: dict[str, int] = {}
        self._proxies: dict[tuple[str, str], Proxy] = {}
        self._wires: dict[tuple[str, str], Wire] = {}

    @property
    def nodes(self) -> tuple[str, ...]:
        return self._shape.node_ids

    @property
    def archive(self) -> S3Behind | None:
        return self._s3

    @property
    def run(self) -> str:
        """What everything at the engine is labelled with that belongs to this cluster."""
        return self._mark.run

    async def start(self) -> None:
        self._places.make()
        client = self._client = await asyncio.to_thread(connect)
        self._images = await asyncio.to_thread(images, client, self._say)
        self._say("starting containers")
        self._reaper = Reaper(self.run)
        network = await asyncio.to_thread(make_network, client, self._mark)
        for number, node in enumerate(self.nodes):
            machine = Machine(node, network.node(number))
            self._nodes[node] = NodeContainer(client, self._mark, machine, self._places)
        if "power_cut" in self._nemeses:
            self._powered = {node: powered_disk(self._places, node) for node in self.nodes}
            await asyncio.gather(*(disk.mount(USER) for disk in self._powered.values()))
        starting = [asyncio.to_thread(self._start_machine, one, network) for one in self._nodes.values()]
        await asyncio.gather(*starting, self._start_archive(network))
        await asyncio.gather(*(one.machine.until_up() for one in self._nodes.values()))
        self._packets = PacketFilter({node: one.machine for node, one in self._nodes.items()})
        await self._join(network)
        secret = random.SystemRandom().randbytes(16).hex()
        for node in self.nodes:
            write_config(self._places.config(node), self._config(node, secret))
            os.chown(self._places.config(node), *USER)
        await asyncio.gather(*(self.start_node(node) for node in self.nodes))

    async def stop(self) -> list[str]:
        """Nothing of the run is left at the engine then."""
        problems: list[str] = []
        try:
            there = [one for one in self._nodes.values() if not one.is_gone()]
            problems = [problem for problem in await asyncio.gather(*map(self._end, there)) if problem is not None]
            for node in self._nodes.values():
                node.keep_log()
            if self._s3 is not None:
                await self._s3.stop()
        finally:
            for proxy in self._proxies.values():
                proxy.close()
            for one in self._nodes.values():
                one.machine.close()
            if self._client is not None:
                await asyncio.to_thread(remove, self._client, self.run)
                problems += [f"{name} is left at the engine" for name in left_by(self._client, self.run).containers]
                self._client.close()
            if self._reaper is not None:
                await asyncio.to_thread(self._reaper.let_go)
        await asyncio.gather(*(disk.unmount() for disk in self._powered.values()))
        if not self._keep:
            for disks in (self._places.disks, self._places.platters):
                await asyncio.to_thread(shutil.rmtree, disks, ignore_errors=True)
        return problems

    def connection(self, node: str) -> HttpConnection:
        return HttpConnection(self._nodes[node].machine.host, NODE_PORT)

    async def start_node(self, node: str) -> None:
        one = self._nodes[node]
        await asyncio.to_thread(one.start)
        log = self._places.log(node)
        await until_ready(node, (one.machine.host, NODE_PORT), self._death_now_and_then(one), log)

    async def kill(self, node: str) -> int:
        return await asyncio.to_thread(self._nodes[node].end, signal.SIGKILL)

    async def terminate(self, node: str) -> int:
        return await asyncio.to_thread(self._nodes[node].end, signal.SIGTERM)

    def pause(self, node: str) -> None:
        self._nodes[node].pause()

    def resume(self, node: str) -> None:
        self._nodes[node].resume()

    def state(self, node: str) -> NodeState:
        return self._nodes[node].state()

    def wire(self, source: str, target: str) -> Wire:
        return self._wires[source, target]

    async def try_link(self, source: str, target: str, patience_s: float) -> Crossing:
        machine = self._nodes[source].machine
        result, took_ms = await machine.ask("cross", *self._dialled(source, target), patience_s)
        return Crossing(result, took_ms)

    async def is_link_reset(self, source: str, target: str, patience_s: float) -> bool:
        machine = self._nodes[source].machine
        return bool(await machine.ask("is_reset", *self._dialled(source, target), patience_s))

    def unexpected_deaths(self) -> list[str]:
        return [self._death(one) for one in self._nodes.values() if one.is_gone() and not one.end_is_wanted]

    def versions(self) -> dict[str, str]:
        assert self._client is not None and self._images is not None
        with understood():
            engine = str(self._client.version()["Version"])
        return {
            "amberio": metadata.version("amberio"),
            "python": platform.python_version(),
            "system": platform.platform(terse=True),
            "engine": f"Docker {engine}",
            "image": self._images.digest,
            "links": "the harness's proxies" if self._proxies else "packet filters of the nodes' networks",
        }

    # -- what only some backends have under their hand (`nemesis/powers.py`)

    def disk(self, node: str) -> VolumeDisk:
        return self._disks.setdefault(node, VolumeDisk(self._nodes[node].machine))

    async def cut_power(self, node: str) -> int:
        self._powered[node].hold()
        await self.kill(node)
        return await self._powered[node].cut()

    def set_skew_ms(self, node: str, skew_ms: float) -> None:
        self._clocks[node].set_skew_ms(skew_ms)

    async def stamped_skew_ms(self, node: str) -> float | None:
        return await told_skew_ms(self.connection(node))

    def lose(self, source: str, target: str, share: float) -> None:
        if self._proxies:
            raise HarnessError("links through the harness's proxies lose no packets; use loss without delay and drop")
        self._packets.lose(source, target, share)

    def lost_packets(self, source: str, target: str) -> int:
        return self._packets.lost_packets(source, target)

    async def limit_memory(self, node: str, room_bytes: int) -> None:
        one = self._nodes[node]
        own_bytes, self._memory_met[node] = await asyncio.to_thread(one.memory)
        one.end_is_wanted = True  # the kernel may end it
        await asyncio.to_thread(one.limit_memory, own_bytes + room_bytes)

    async def memory_refusals(self, node: str) -> int:
        one = self._nodes[node]
        if await asyncio.to_thread(one.was_out_of_memory):
            return 1
        _, met = await asyncio.to_thread(one.memory)
        return met - self._memory_met[node]

    async def unlimit_memory(self, node: str) -> None:
        one = self._nodes[node]
        await asyncio.to_thread(one.limit_memory, UNLIMITED_BYTES)
        one.end_is_wanted = one.is_gone()

    async def lose_disk(self, node: str) -> int:
        if not self._nodes[node].is_gone():
            raise HarnessError(f"{node} is not gone: its disk cannot be replaced")
        return int(await self._nodes[node].machine.ask("wipe"))

    # -- how it begins and ends

    def _start_machine(self, one: NodeContainer, network: Network) -> None:
        assert self._images is not None
        one.make_disk(is_limited="disk_full" in self._nemeses)
        one.machine.start(one.client, self._mark, self._images.rig, network.name, one.disk_binds)
        binds, environment, image = [], {}, self._images.node
        if self._archive_shape.kind == "directory":
            self._places.archive.mkdir(exist_ok=True)
            os.chown(self._places.archive, *USER)
            binds.append(f"{self._places.archive.resolve()}:/archive")
        if self._nemeses & set(NEEDS_CLOCK):
            clock = self._clocks[one.node] = NodeClock(self._places.root / "clocks" / one.node)
            binds.append(clock.bind)
            environment, image = clock.environment, self._images.rig
        one.make(image, self._mutants, binds, environment)

    async def _start_archive(self, network: Network) -> None:
        if self._archive_shape.kind != "s3":
            return
        assert self._client is not None and self._images is not None
        log, changes = self._places.log("archive"), self._places.archive_changes
        server = S3Container(self._client, self._mark, self._images.rig, network, log)
        self._s3 = S3Behind(self.nodes, server, log, changes, self._archive_shape.request_life_s)
        await self._s3.start(network.gateway)

    async def _join(self, network: Network) -> None:
        """Make the ways between nodes."""
        packets = self._packets
        pairs = [(a, b) for a in self.nodes for b in self.nodes if a != b]
        if not self._nemeses & set(NEEDS_PROXY):
            packets.count()
            self._wires.update({pair: FilteredWire(*pair, packets) for pair in pairs})
            return
        wires = {pair: LoopbackWire(*pair) for pair in pairs}
        self._wires.update(wires)
        for a, b in pairs:
            target = (self._nodes[b].machine.host, NODE_PORT)
            proxy = self._proxies[a, b] = Proxy(wires[a, b], wires[b, a], target)
            await proxy.open(network.gateway)

    def _dialled(self, source: str, target: str) -> tuple[str, int]:
        """Where the first node dials the second."""
        proxy = self._proxies.get((source, target))
        return (self._nodes[target].machine.host, NODE_PORT) if proxy is None else proxy.address

    def _config(self, node: str, secret: str) -> dict[str, object]:
        sites = {name: self._site(one) for name, one in self._nodes.items()}
        routes = {b: "{}:{}".format(*proxy.address) for (a, b), proxy in self._proxies.items() if a == node}
        archive = None
        if self._archive_shape.is_there:
            place = {"directory": {"path": "/archive"}} if self._s3 is None else self._s3.place(node)
            archive = self._archive_shape.node_config(place)
        own, every = sites[node], list(sites.values())
        return node_config(own, every, self._shape, secret, routes=routes, archive=archive, mutants=self._mutants)

    def _site(self, one: NodeContainer) -> Site:
        disks = disks_below(f"{DISK}/{one.node}", self._shape.disks_per_node)
        return Site(one.node, one.machine.host, NODE_PORT, disks, TRACES, "0.0.0.0")

    async def _end(self, one: NodeContainer) -> str | None:
        """Ask a node to stop; what was wrong with how it did."""
        if one.state() == "paused":
            one.resume()  # a paused node hears nothing
        try:
            code = await asyncio.to_thread(one.end, signal.SIGTERM)
        except HarnessError as error:
            return str(error)
        one.keep_log()
        return None if code == 0 else f"{one.node} ended with exit code {code}{last_lines(self._places.log(one.node))}"

    def _death_now_and_then(self, one: NodeContainer) -> Callable[[], str | None]:
        """How it died, if it has; asking the engine costs more than asking the node, so not each time."""
        clock = asyncio.get_running_loop().time
        next_s = clock() + LOOK_S

        def death() -> str | None:
            nonlocal next_s
            if clock() < next_s:
                return None
            next_s = clock() + LOOK_S
            return self._death(one) if one.is_gone() else None

        return death

    def _death(self, one: NodeContainer) -> str:
        one.keep_log()
        return f"{one.node} ended by itself with exit code {one.exit_code()}{last_lines(self._places.log(one.node))}"
