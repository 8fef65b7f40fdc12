"""Who lives, as nodes see each other, and nodes that drain: what is routed where (features A2, R3 and O3)."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.cluster import Nodes, free_ports, running

LONGER_THAN_A_SUSPICION_S = 5.5
"""What it takes to miss a node, ask others for it, suspect it and call it down (impl/protocol/liveness.py)."""


@dataclass
class Scattered(Nodes):
    """Three nodes, of which n1 and n2 cannot reach each other; both reach n3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        nowhere = f"127.0.0.1:{free_ports(1)[0]}"
        self.routes = {"n1": {"n2": nowhere}, "n2": {"n1": nowhere}}

    def start(self, *nodes: str) -> None:
        """They cannot ask each other whether their disks are new, so that is said."""
        for node in nodes or self.names:
            if not self.disk(node).exists():
                subprocess.run([*self.command(node), "--init"], check=True, timeout=60)
        super().start(*nodes)

    def _reaches_others(self, node: str) -> bool:
        return seen_from(self, node, "n3") == "healthy"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("liveness"), 3)) as started:
        yield started


def seen_from(nodes: Nodes, node: str, other: str) -> str:
    """How `other` looks to `node`."""
    listed = nodes.ask(node, "GET", "/_/api/v1/nodes").json["nodes"]
    return str({item["node_id"]: item["status"] for item in listed}[other])


def order(nodes: Nodes, node: str, path: str) -> list[str]:
    """The nodes of a path as `node` names them, the one to ask first."""
    return list(nodes.ask(node, "GET", f"/_/api/v1/slots/resolve?path={path}").json["replicas"])


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end_s, "it did not become true in time"
        time.sleep(0.05)


def drain(nodes: Nodes, command: str, node: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`drain` or `undrain`, as an operator types it."""
    typed = [sys.executable, "-m", "impl.server", command, "--conf", str(nodes.config(node)), "--node", node, *options]
    return subprocess.run(typed, capture_output=True, text=True, timeout=60, check=False)


def test_a_broken_link_between_two_nodes_makes_neither_look_dead(tmp_path: Path) -> None:
    """R3: others reach it, so it lives; when it is killed, those who could not reach it learn that, too."""
    with running(Scattered(tmp_path, 3)) as nodes:
        path = next(path for path in (f"p{n}" for n in range(100)) if order(nodes, "n3", path)[0] == "n2")
        until(lambda: order(nodes, "n1", path)[0] == "n2")
        end_s = time.monotonic() + LONGER_THAN_A_SUSPICION_S
        while time.monotonic() < end_s:
            assert order(nodes, "n1", path)[0] == "n2"
            assert seen_from(nodes, "n1", "n2") == "suspect", "as it is not reached from here"
            time.sleep(0.2)
        nodes.kill("n2")
        until(lambda: seen_from(nodes, "n1", "n2") == "down" and seen_from(nodes, "n3", "n2") == "down")
        assert order(nodes, "n1", path)[-1] == order(nodes, "n3", path)[-1] == "n2"
        assert nodes.put("n1", path, b"n1 and n3 are a quorum").status == 201


def test_drain_and_undrain_are_seen_by_all(nodes: Nodes) -> None:
    """O3: it is not healthy, others name it last, and it serves whoever comes."""
    before = order(nodes, "n1", "a/path")
    first = before[0]
    done = drain(nodes, "drain", first)
    assert (done.returncode, done.stdout) == (
        0,
        f"{first}: drains, and nothing is under way; it can be stopped, or undrained\n",
    )
    health = nodes.ask(first, "GET", "/_/api/v1/healthz")
    assert health.status == 503 and "draining" in health.json["error"]["message"]
    for node in nodes.names:
        until(lambda node=node: seen_from(nodes, node, first) == "draining")
        assert order(nodes, node, "a/path") == [*before[1:], first]
    assert nodes.put(first, "a/path", b"asked, so it serves").status == 201
    done = drain(nodes, "undrain", first, "--json")
    assert done.returncode == 0 and '"draining":false' in done.stdout
    assert nodes.ask(first, "GET", "/_/api/v1/healthz").status == 200
    for node in nodes.names:
        until(lambda node=node: order(nodes, node, "a/path") == before)


def test_draining_and_stopping_under_load_loses_no_request(nodes: Nodes) -> None:
    """O3: clients that ask whoever is healthy, as behind a load balancer, do not notice."""
    failures: list[str] = []
    written: list[str] = []
    healthy = list(nodes.names)
    rounds = [0] * 4
    over = threading.Event()

    def client(name: int) -> None:
        count = 0
        while not over.is_set():
            choice = tuple(healthy)
            node = choice[(name + count) % len(choice)]
            path = f"load/{name}/{count}"
            try:
                status = nodes.put(node, path, b"x" * 100).status
            except OSError as error:
                failures.append(f"{path} at {node}: {error!r}")
            else:
                if status == 201:
                    written.append(path)
                else:
                    failures.append(f"{path} at {node}: {status}")
            count += 1
            rounds[name] += 1

    clients = [threading.Thread(target=client, args=(name,)) for name in range(len(rounds))]
    for each in clients:
        each.start()
    try:
        until(lambda: len(written) > 50)
        assert drain(nodes, "drain", "n2", "--wait", "0").returncode in (0, 1), "1: something is under way"
        assert nodes.ask("n2", "GET", "/_/api/v1/healthz").status == 503
        healthy.remove("n2")  # as a load balancer does
        before = list(rounds)
        until(lambda: all(now > was for now, was in zip(rounds, before, strict=True)))
        assert drain(nodes, "drain", "n2").returncode == 0
        assert nodes.stop("n2") == 0
        stopped_at = len(written)
        until(lambda: len(written) > stopped_at + 50)
    finally:
        over.set()
        for each in clients:
            each.join()
    assert failures == []
    nodes.start("n2")
    assert nodes.ask("n2", "GET", "/_/api/v1/healthz").status == 200, "a restart ends a drain"
    assert all(nodes.get("n2", path).status == 200 for path in written[:: len(written) // 50 or 1])


def test_a_drain_of_the_wrong_node_is_refused_and_does_nothing(nodes: Nodes) -> None:
    ports = dict(nodes.ports)
    nodes.ports["n1"], nodes.ports["n3"] = ports["n3"], ports["n1"]
    try:
        done = drain(nodes, "drain", "n1")
    finally:
        nodes.ports.update(ports)
    assert done.returncode == 2 and "is node n3, not n1; check its advertise_addr" in done.stderr
    assert nodes.ask("n3", "GET", "/_/api/v1/healthz").status == 200
