"""A cluster of real server processes on this machine, each pair of nodes joined through a proxy of ours.

The harness knows a node by its command line, its configuration file, its HTTP face, its signals and its traces; it
never imports it. Nodes die with the harness, however that ends.
"""

import asyncio
import platform
import random
import shutil
import signal
import sys
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from tracegen.archive.s3 import S3Behind, S3Process
from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape
from tracegen.backend.face import Crossing, NodeState
from tracegen.backend.node_config import Site, disks_below, node_config, write_config
from tracegen.backend.probing import cross, is_reset, until_ready
from tracegen.backend.proxy import HOST, LoopbackWire, Proxy
from tracegen.backend.spawning import free_ports, spawn
from tracegen.disk.power import powered_disk
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces, last_lines
from tracegen.scenario import ClusterShape
from tracegen.workload.connection import HttpConnection

SERVER: Final = (sys.executable, "-m", "impl.server")
END_S: Final = 15.0


class _Node:
    """One node's process, and whether its end was asked for."""

    def __init__(self, node_id: str, port: int) -> None:
        self.node_id = node_id
        self.port = port
        self.process: asyncio.subprocess.Process | None = None
        self.end_is_wanted = False

    @property
    def is_gone(self) -> bool:
        return self.process is None or self.process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        if self.process is None or self.process.returncode is not None:
            raise HarnessError(f"{self.node_id} is gone: it cannot get {number.name}")
        self.process.send_signal(number)


class ProcessCluster:
    """See `face.Cluster`. `command` is what starts a node, before --config and --node; `nemeses` are those of the run.

    An archive of kind s3 is started with the cluster; one that is a directory lies in the run's.
    """

    def __init__(
        self,
        places: RunPlaces,
        shape: ClusterShape,
        *,
        archive: ArchiveShape = NO_ARCHIVE,
        nemeses: Collection[str] = (),
        mutants: Sequence[str] = (),
        keep: bool = False,
        command: Sequence[str] = SERVER,
    ) -> None:
        self._places = places
        self._shape = shape
        self._archive_shape = archive
        self._mutants = tuple(mutants)
        self._keep = keep
        self._powered = {node: powered_disk(places, node) for node in shape.node_ids if "power_cut" in nemeses}
        self._command = tuple(command)
        *ports, archive_port = free_ports(shape.nodes + 1)
        self._s3: S3Behind | None = None
        if archive.kind == "s3":
            log = places.log("archive")
            server = S3Process(log, archive_port)
            self._s3 = S3Behind(shape.node_ids, server, log, places.archive_changes, archive.request_life_s)
        self._nodes = {node: _Node(node, port) for node, port in zip(shape.node_ids, ports, strict=True)}
        pairs = [(a, b) for a in shape.node_ids for b in shape.node_ids if a != b]
        self._wires = {pair: LoopbackWire(*pair) for pair in pairs}
        self._proxies = {
            (a, b): Proxy(self._wires[a, b], self._wires[b, a], (HOST, self._nodes[b].port)) for a, b in pairs
        }

    @property
    def nodes(self) -> tuple[str, ...]:
        return self._shape.node_ids

    @property
    def archive(self) -> S3Behind | None:
        return self._s3

    async def start(self) -> None:
        self._places.make()
        for proxy in self._proxies.values():
            await proxy.open()
        if self._s3 is not None:
            await self._s3.start()
        await asyncio.gather(*(disk.mount() for disk in self._powered.values()))
        secret = random.SystemRandom().randbytes(16).hex()
        for node in self.nodes:
            write_config(self._places.config(node), self._config(node, secret))
        await asyncio.gather(*(self.start_node(node) for node in self.nodes))

    async def stop(self) -> list[str]:
        ended = await asyncio.gather(*(self._end(node) for node in self._nodes.values() if not node.is_gone))
        for proxy in self._proxies.values():
            proxy.close()
        if self._s3 is not None:
            await self._s3.stop()
        await asyncio.gather(*(disk.unmount() for disk in self._powered.values()))
        if not self._keep:
            for disks in (self._places.disks, self._places.platters):
                await asyncio.to_thread(shutil.rmtree, disks, ignore_errors=True)
        return [problem for problem in ended if problem is not None]

    def connection(self, node: str) -> HttpConnection:
        return HttpConnection(HOST, self._nodes[node].port)

    async def start_node(self, node: str) -> None:
        one = self._nodes[node]
        if not one.is_gone:
            raise HarnessError(f"{node} runs already; it cannot be started")
        one.end_is_wanted = False
        command = [*self._command, "--config", str(self._places.config(node).resolve()), "--node", node]
        if self._mutants:
            command.append("--allow-mutants")
        with self._places.log(node).open("ab") as log:
            one.process = await spawn(command, log)
        await self._until_ready(one)

    async def kill(self, node: str) -> int:
        one = self._nodes[node]
        one.end_is_wanted = True
        one.send(signal.SIGKILL)
        return await self._exit_code(one)

    async def cut_power(self, node: str) -> int:
        self._powered[node].hold()
        await self.kill(node)
        return await self._powered[node].cut()

    async def lose_disk(self, node: str) -> int:
        directory = self._places.disks.resolve() / node
        return await asyncio.to_thread(_empty, directory)

    async def terminate(self, node: str) -> int:
        one = self._nodes[node]
        one.end_is_wanted = True
        one.send(signal.SIGTERM)
        return await self._exit_code(one)

    def pause(self, node: str) -> None:
        self._nodes[node].send(signal.SIGSTOP)

    def resume(self, node: str) -> None:
        self._nodes[node].send(signal.SIGCONT)

    def state(self, node: str) -> NodeState:
        one = self._nodes[node]
        if one.process is None or one.process.returncode is not None:
            return "gone"
        try:
            # the state follows the command's name, which stands in brackets and may hold anything
            letter = Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "gone"
        if letter in "ZX":
            return "gone"
        return "paused" if letter in "Tt" else "running"

    def wire(self, source: str, target: str) -> LoopbackWire:
        return self._wires[source, target]

    async def try_link(self, source: str, target: str, patience_s: float) -> Crossing:
        return await cross(self._proxies[source, target].address, patience_s)

    async def is_link_reset(self, source: str, target: str, patience_s: float) -> bool:
        return await is_reset(self._proxies[source, target].address, patience_s)

    def unexpected_deaths(self) -> list[str]:
        return [self._death(one) for one in self._nodes.values() if one.is_gone and not one.end_is_wanted]

    def versions(self) -> dict[str, str]:
        try:
            own = metadata.version("amberio")
        except metadata.PackageNotFoundError:
            own = "not installed"
        return {"amberio": own, "python": platform.python_version(), "system": platform.platform(terse=True)}

    def _config(self, node: str, secret: str) -> dict[str, object]:
        sites = {one.node_id: self._site(one) for one in self._nodes.values()}
        routes = {b: "{}:{}".format(*proxy.address) for (a, b), proxy in self._proxies.items() if a == node}
        shape = self._archive_shape
        archive = shape.node_config(self._place_of_archive(node)) if shape.is_there else None
        own, every = sites[node], list(sites.values())
        return node_config(own, every, self._shape, secret, routes=routes, archive=archive, mutants=self._mutants)

    def _site(self, one: _Node) -> Site:
        disks = disks_below(str(self._places.disks.resolve() / one.node_id), self._shape.disks_per_node)
        return Site(one.node_id, HOST, one.port, disks, str(self._places.traces.resolve()))

    def _place_of_archive(self, node: str) -> dict[str, object]:
        if self._s3 is not None:
            return self._s3.place(node)
        directory = self._places.archive.resolve()
        directory.mkdir(exist_ok=True)
        return {"directory": {"path": str(directory)}}

    async def _until_ready(self, one: _Node) -> None:
        log = self._places.log(one.node_id)
        await until_ready(one.node_id, (HOST, one.port), lambda: self._death(one) if one.is_gone else None, log)

    async def _exit_code(self, one: _Node) -> int:
        assert one.process is not None
        try:
            async with asyncio.timeout(END_S):
                return await one.process.wait()
        except TimeoutError:
            raise HarnessError(
                f"{one.node_id} still runs {END_S:g} s after its signal{self._last_lines(one)}"
            ) from None

    async def _end(self, one: _Node) -> str | None:
        """Ask a node to stop; what was wrong with how it did."""
        assert one.process is not None
        one.end_is_wanted = True
        one.send(signal.SIGCONT)  # a paused node hears nothing
        one.send(signal.SIGTERM)
        try:
            code = await self._exit_code(one)
        except HarnessError as error:
            one.send(signal.SIGKILL)
            await one.process.wait()
            return str(error)
        return None if code == 0 else f"{one.node_id} ended with exit code {code}{self._last_lines(one)}"

    def _death(self, one: _Node) -> str:
        code = one.process.returncode if one.process is not None else None
        return f"{one.node_id} ended by itself with exit code {code}{self._last_lines(one)}"

    def _last_lines(self, one: _Node) -> str:
        return last_lines(self._places.log(one.node_id))


def _empty(directory: Path) -> int:
    """Remove what is in a directory, which may be a mount; how many files there were."""
    lost = sum(1 for file in directory.rglob("*") if file.is_file())
    for entry in directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return lost
