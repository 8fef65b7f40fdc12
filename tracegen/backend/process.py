"""A cluster of real server processes on this machine, each pair of nodes joined through a proxy of ours.

The harness knows a node by its command line, its configuration file, its HTTP face, its signals and its traces; it
never imports it. Nodes die with the harness, however that ends.
"""

import asyncio
import os
import platform
import random
import shutil
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import yaml

from tracegen.archive.s3 import S3Behind
from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape
from tracegen.backend.face import Crossing, NodeState
from tracegen.backend.proxy import LoopbackWire, Proxy
from tracegen.backend.spawning import HOST, free_ports, spawn
from tracegen.errors import HarnessError, Lost, NotSent
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape
from tracegen.workload.connection import HttpConnection

SERVER: Final = (sys.executable, "-m", "impl.server")
HEALTH: Final = "/_/api/v1/healthz"
READY_S: Final = 30.0
DRAIN_S: Final = 4.0  # what a node has for its requests when asked to stop; told to it as limits.drain_s
END_S: Final = 15.0
POLL_S: Final = 0.02
LOG_LINES: Final = 12
REQUEST_S: Final = 3.0


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
    """See `face.Cluster`. `command` is what starts a node, before --config and --node.

    An archive of kind s3 is started with the cluster; one that is a directory lies in the run's.
    """

    def __init__(
        self,
        places: RunPlaces,
        shape: ClusterShape,
        *,
        archive: ArchiveShape = NO_ARCHIVE,
        mutants: Sequence[str] = (),
        keep: bool = False,
        command: Sequence[str] = SERVER,
    ) -> None:
        self._places = places
        self._shape = shape
        self._archive_shape = archive
        self._mutants = tuple(mutants)
        self._keep = keep
        self._command = tuple(command)
        *ports, self._archive_port = free_ports(shape.nodes + 1)
        self._s3: S3Behind | None = None
        if archive.kind == "s3":
            self._s3 = S3Behind(shape.node_ids, places.log("archive"), places.archive_changes, archive.request_life_s)
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
            await self._s3.start(self._archive_port)
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
        if not self._keep:
            await asyncio.to_thread(shutil.rmtree, self._places.disks, ignore_errors=True)
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
        connection = HttpConnection(*self._proxies[source, target].address)
        clock = asyncio.get_running_loop().time
        start_s = clock()
        try:
            await connection.request("GET", HEALTH, (), None, patience_s)
        except (Lost, NotSent):
            took_s = clock() - start_s
            # a request that failed before its time was out, failed because somebody broke it
            return Crossing("broken" if took_s < patience_s * 0.95 else "stalled", took_s * 1000)
        finally:
            connection.close()
        return Crossing("answered", (clock() - start_s) * 1000)

    async def is_link_reset(self, source: str, target: str, patience_s: float) -> bool:
        reader, writer = await asyncio.open_connection(*self._proxies[source, target].address)
        try:
            async with asyncio.timeout(patience_s):
                return await reader.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            writer.transport.abort()

    def unexpected_deaths(self) -> list[str]:
        return [self._death(one) for one in self._nodes.values() if one.is_gone and not one.end_is_wanted]

    def versions(self) -> dict[str, str]:
        try:
            own = metadata.version("amberio")
        except metadata.PackageNotFoundError:
            own = "not installed"
        return {"amberio": own, "python": platform.python_version(), "system": platform.platform(terse=True)}

    def _config(self, node: str, secret: str) -> dict[str, object]:
        disk = self._places.disks.resolve()
        nodes = [
            {
                "node_id": one.node_id,
                "bind_addr": f"{HOST}:{one.port}",
                "advertise_addr": f"{HOST}:{one.port}",
                "disks": [{"path": str(path)} for path in self._disks_of(disk / one.node_id)],
            }
            for one in self._nodes.values()
        ]
        shape = self._shape
        healing: dict[str, object] = {
            "enabled": shape.heal_every_s > 0,
            "every_s": shape.heal_every_s or 1.0,
            "tombstone_grace_s": shape.tombstones[0],
            "tombstones_every_s": shape.tombstones[1],
        }
        if shape.parts_grace_s:
            healing |= {"parts_every_s": shape.parts_grace_s / 2, "parts_grace_s": shape.parts_grace_s}
        config: dict[str, object] = {
            "initial_cluster": {
                "nodes": nodes,
                "replication": {"factor": shape.factor, "min_write_replicas": shape.min_write_replicas},
            },
            "auth": {"cluster_secret": secret},
            "limits": {"drain_s": DRAIN_S, "request_s": REQUEST_S},
            "trace": {"enabled": True, "directory": str(self._places.traces.resolve())},
            "logging": {"format": "json", "level": "info"},
            "s3": {"anonymous": True},
            "healing": healing,
            "routes": {
                target: "{}:{}".format(*proxy.address)
                for (source, target), proxy in self._proxies.items()
                if source == node
            },
        }
        if self._archive_shape.is_there:
            config["archive"] = self._archive_shape.node_config(self._place_of_archive(node))
        if self._mutants:
            config["mutants"] = list(self._mutants)
        return config

    def _place_of_archive(self, node: str) -> dict[str, object]:
        if self._s3 is not None:
            return self._s3.place(node)
        directory = self._places.archive.resolve()
        directory.mkdir(exist_ok=True)
        return {"directory": {"path": str(directory)}}

    def _disks_of(self, directory: Path) -> list[Path]:
        count = self._shape.disks_per_node
        return [directory] if count == 1 else [directory / str(number) for number in range(1, count + 1)]

    async def _until_ready(self, one: _Node) -> None:
        clock = asyncio.get_running_loop().time
        end_s = clock() + READY_S
        connection = HttpConnection(HOST, one.port)
        says = "nothing"
        try:
            while clock() < end_s:
                if one.is_gone:
                    raise HarnessError(self._death(one))
                try:
                    answer = await connection.request("GET", HEALTH, (), None, 1.0)
                except (NotSent, Lost) as error:
                    says = str(error)
                else:
                    if answer.status == 200:
                        return
                    says = f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}"
                await asyncio.sleep(POLL_S)
        finally:
            connection.close()
        raise HarnessError(f"{one.node_id} is not ready after {READY_S:g} s; it says: {says}{self._last_lines(one)}")

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
        try:
            lines = self._places.log(one.node_id).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "".join(f"\n    {line[:500]}" for line in lines[-LOG_LINES:])


def write_config(file: Path, config: dict[str, object]) -> None:
    """Write a node's configuration for its owner's eyes only: it holds the cluster's secret."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        yaml.safe_dump(config, opened, sort_keys=False)
