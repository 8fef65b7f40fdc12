"""Real nodes as processes, for the tests of this folder: start, ask over HTTP, kill, start again, stop."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

SECRET = "integration-secret"
START_S = 20.0
STOP_S = 20.0
BLOBS = "/_/api/v1/blobs"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error's body."""
        return str(self.json["error"]["code"])


@dataclass
class Nodes:
    """A cluster under `root`. Node names are n1, n2...; `options` go to each start of a node."""

    root: Path
    count: int
    options: tuple[str, ...] = ()
    limits: Mapping[str, object] = field(default_factory=dict)
    routes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    replication: Mapping[str, int] = field(default_factory=dict)
    disks: Mapping[str, Path] = field(default_factory=dict)
    trace: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = [f"n{number}" for number in range(1, self.count + 1)]
        self.ports = dict(zip(self.names, free_ports(self.count), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def config(self, node: str) -> Path:
        """The node's configuration file, written anew; each has its own, as routes differ."""
        nodes = [
            {
                "node_id": name,
                "bind_addr": f"127.0.0.1:{self.ports[name]}",
                "disks": self.node_disks(name),
            }
            for name in self.names
        ]
        tree: dict[str, object] = {
            "initial_cluster": {"nodes": nodes, "replication": dict(self.replication)},
            "auth": {"cluster_secret": SECRET},
            "limits": dict(self.limits),
            "logging": {"format": "json"},
            "routes": dict(self.routes.get(node, {})),
        }
        if self.trace:
            tree["trace"] = {"enabled": True, "directory": str(self.root / "traces")}
        tree |= self.sections()
        file = self.root / f"{node}.yaml"
        self.root.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(tree))  # JSON is YAML
        file.chmod(0o600)
        return file

    def command(self, node: str) -> list[str]:
        """What starts a node."""
        return [sys.executable, "-m", "impl.server", "--config", str(self.config(node)), "--node", node]

    def sections(self) -> dict[str, object]:
        """More sections for every node's file; for clusters of other kinds."""
        return {}

    def node_disks(self, node: str) -> list[dict[str, object]]:
        """The disks of a node, as its configuration has them."""
        return [{"path": str(self.disk(node))}]

    def disk(self, node: str) -> Path:
        return self.disks.get(node, self.root / "disks" / node)

    def log(self, node: str) -> str:
        return (self.root / f"{node}.log").read_text(errors="replace")

    def start(self, *nodes: str) -> None:
        """Start these nodes (all of them if none is named), and wait until each answers."""
        started = nodes or tuple(self.names)
        for node in started:
            command = self.command(node)
            with (self.root / f"{node}.log").open("ab") as log:
                self._processes[node] = subprocess.Popen(
                    [*command, *self.options], stdout=log, stderr=log, env={**os.environ, **self.environment}
                )
        for node in started:
            self._wait_until(node, lambda node=node: self._answers(node), "does not answer")
        for node in started:
            self._wait_until(node, lambda node=node: self._reaches_others(node), "does not reach the others")

    def stop(self, node: str) -> int:
        """SIGTERM, and wait; the exit code."""
        process = self._processes.pop(node)
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_S)

    def kill(self, node: str) -> None:
        """SIGKILL."""
        process = self._processes.pop(node)
        process.kill()
        process.wait(STOP_S)

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(STOP_S)
        self._processes.clear()

    def pid(self, node: str) -> int:
        return self._processes[node].pid

    def ask(
        self,
        node: str,
        method: str,
        target: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 15.0,
    ) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[node], timeout=timeout_s)
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())
        finally:
            connection.close()

    def measure(self, node: str, target: str, timeout_s: float) -> int:
        """How many bytes a GET brings; they are not kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[node], timeout=timeout_s)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            received = 0
            while piece := response.read(1024 * 1024):
                received += len(piece)
            return received
        finally:
            connection.close()

    def put(self, node: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        return self.ask(node, "PUT", blob(path), body, _headers(headers))

    def get(self, node: str, path: str, **headers: str) -> Reply:
        return self.ask(node, "GET", blob(path), headers=_headers(headers))

    def delete(self, node: str, path: str, **headers: str) -> Reply:
        return self.ask(node, "DELETE", blob(path), headers=_headers(headers))

    def page(self, node: str, **query: str) -> Any:
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        reply = self.ask(node, "GET", f"{BLOBS}?{asked}")
        assert reply.status == 200, reply
        return reply.json

    def replicas(self, path: str) -> list[str]:
        """The nodes that hold a path, preferred coordinator first."""
        reply = self.ask(self.names[0], "GET", f"/_/api/v1/slots/resolve?path={quote(path)}")
        return list(reply.json["replicas"])

    def _answers(self, node: str) -> bool:
        try:
            return self.ask(node, "GET", "/_/api/v1/healthz", timeout_s=2).status == 200
        except OSError:
            return False

    def _reaches_others(self, node: str) -> bool:
        statuses = {item["node_id"]: item["status"] for item in self.ask(node, "GET", "/_/api/v1/nodes").json["nodes"]}
        return all(statuses[other] == "healthy" for other in self._processes)

    def _wait_until(self, node: str, holds: Any, otherwise: str) -> None:
        end_s = time.monotonic() + START_S
        while not holds():
            ended = self._processes[node].poll()
            if ended is not None or time.monotonic() > end_s:
                raise AssertionError(f"{node} {otherwise} (exit code {ended}):\n{self.log(node)}")
            time.sleep(0.05)


@contextmanager
def running(nodes: Nodes) -> Iterator[Nodes]:
    """Start all of them, and end them whatever happens."""
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


def blob(path: str) -> str:
    return f"{BLOBS}/{quote(path)}"


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in given.items()}


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()
