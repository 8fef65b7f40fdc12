"""Nodes that start with a configuration, and nodes that another one tells it (features A6, A7 and R2)."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from impl.cluster.registry.settings import RedisSettings
from integration.cluster import SECRET, Nodes, free_ports, running
from integration.registries import redis_server

PASSWORD = "no-business-of-yours"


@dataclass
class Joining(Nodes):
    """A cluster some of whose nodes `join`, each in a directory of its own and with nothing but the secret."""

    joiners: tuple[str, ...] = ()
    registry: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    def sections(self) -> dict[str, object]:
        return {"registry": dict(self.registry), **self.extra} if self.registry else dict(self.extra)

    def command(self, node: str) -> list[str]:
        server = [sys.executable, "-m", "impl.server"]
        if node not in self.joiners:
            return [*server, "start", "--conf", str(self.config(node)), "--node", node]
        seeds = ",".join(f"127.0.0.1:{port}" for name, port in self.ports.items() if name not in self.joiners)
        self.elsewhere(node).mkdir(parents=True, exist_ok=True)
        return [*server, "join", f"cluster://{seeds}", "--node", node, "--data", str(self.elsewhere(node))]

    def elsewhere(self, node: str) -> Path:
        return self.root / "elsewhere" / node


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joining]:
    """n1 and n2 start, and agree in Redis; n3 joins."""
    directory = tmp_path_factory.mktemp("joining")
    with redis_server(directory, "--requirepass", PASSWORD) as redis, running(_nodes(directory, redis)) as started:
        yield started


def _nodes(directory: Path, redis: RedisSettings) -> Joining:
    registry = {"backend": "redis", "redis": {"url": redis.url, "password": PASSWORD}}
    return Joining(
        directory,
        3,
        environment={"AMBERIO_SECRET": SECRET},
        joiners=("n3",),
        registry=registry,
        extra={"healing": {"every_s": 3.5}},
    )


def join(seeds: str, node: str, *options: str, secret: str | None = SECRET) -> subprocess.CompletedProcess[str]:
    """A `join` that is refused: its output and exit code."""
    environment = {name: value for name, value in os.environ.items() if name != "AMBERIO_SECRET"}
    if secret is not None:
        environment["AMBERIO_SECRET"] = secret
    command = [sys.executable, "-m", "impl.server", "join", f"cluster://{seeds}", "--node", node, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def assert_refused(ended: subprocess.CompletedProcess[str], *told: str) -> None:
    """Exit code 2, and one line for a person."""
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    for text in told:
        assert text in ended.stderr


def test_a_node_joins_with_nothing_but_the_secret(nodes: Joining) -> None:
    """R2: it serves what others wrote, and others what it wrote; its data is where it was told to keep it."""
    assert nodes.put("n1", "seen/by/all", b"from n1").status == 201
    assert nodes.get("n3", "seen/by/all").body == b"from n1"
    written = nodes.put("n3", "seen/by/all", b"from n3")
    assert written.status == 200 or written.status == 201
    assert nodes.get("n2", "seen/by/all").body == b"from n3"
    ids = {nodes.ask(node, "GET", "/_/api/v1/healthz").json["cluster_id"] for node in nodes.names}
    assert len(ids) == 1
    assert (nodes.elsewhere("n3") / "cluster.json").exists() and not nodes.disk("n3").exists()


def test_what_a_joining_node_keeps_has_no_secrets_in_it(nodes: Joining) -> None:
    """Not the cluster's, not the registry's: neither in its directory nor in any log."""
    for file in (nodes.elsewhere("n3") / "joined.json", nodes.elsewhere("n3") / "cluster.json"):
        assert SECRET not in file.read_text() and PASSWORD not in file.read_text()
    assert all(SECRET not in nodes.log(node) and PASSWORD not in nodes.log(node) for node in nodes.names)
    told = json.loads((nodes.elsewhere("n3") / "joined.json").read_text())["configuration"]
    assert told["healing"] == {"every_s": 3.5} and told["registry"] == {"namespace": "amberio"}


@pytest.mark.parametrize(
    ("node", "secret", "told"),
    [
        ("n4", SECRET, ["there is no node 'n4' in this cluster; its nodes are n1, n2, n3"]),
        ("n3", "another-secret", ["does not let us in", "check that both sides have one cluster_secret"]),
        ("n3", None, ["the environment has no AMBERIO_SECRET", "export it, or give --secret-file"]),
    ],
)
def test_a_node_that_may_not_join_is_told_why(nodes: Joining, node: str, secret: str | None, told: list[str]) -> None:
    assert_refused(join(f"127.0.0.1:{nodes.ports['n1']}", node, secret=secret), *told)


def test_a_node_that_does_not_know_the_secret_cannot_tell_a_configuration() -> None:
    """Whoever sits at the seed's address could else place our data where it likes."""

    class Impostor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b'{"record": "", "configuration": {}}'
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.send_header("x-amberio-proof", "0" * 64)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Impostor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"127.0.0.1:{server.server_port}"
        assert_refused(join(address, "n3"), f"{address} does not know the cluster's secret")
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_to_join_is_told_with_what_was_tried() -> None:
    (port,) = free_ports(1)
    ended = join(f"127.0.0.1:{port}", "n3", "--wait", "0")
    assert_refused(ended, f"no node of the cluster answers: 127.0.0.1:{port} does not answer", "Connection refused")
    assert_refused(join("127.0.0.1", "n3"), "names no node; use cluster://host:port")


def test_a_whole_cluster_starts_again_without_registry_and_without_each_other(tmp_path: Path) -> None:
    """Its configuration was agreed on once and for all; n3 is the first to start, with nobody to ask."""
    with redis_server(tmp_path, "--requirepass", PASSWORD) as redis:
        nodes = _nodes(tmp_path, redis)
        with running(nodes):
            assert nodes.put("n3", "kept", b"for ever").status == 201
            for node in nodes.names:
                assert nodes.stop(node) == 0
    try:
        nodes.start("n3", "n1")
        assert nodes.get("n3", "kept").body == b"for ever"
        assert "does not answer" in nodes.log("n3")  # its registry; whether n1 is up by then, chance decides
        assert "does not answer" in nodes.log("n1") and "This node goes on with its own copy" in nodes.log("n1")
    finally:
        nodes.close()
