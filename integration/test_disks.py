"""Nodes with two disks each: objects, restarts, kills, a disk that is full, and one that came back empty; row R3."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from impl.storage.tests.test_disk_failures import _mount
from integration.cluster import Nodes, running

LARGE = bytes(range(256)) * 40_000
REQUEST_S = 1.5


@dataclass
class TwoDisks(Nodes):
    """A cluster whose nodes have two disks, `a` and `b`."""

    def node_disks(self, node: str) -> list[dict[str, object]]:
        return [{"path": str(self.disk(node) / name)} for name in ("a", "b")]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[TwoDisks]:
    with running(TwoDisks(tmp_path, 3, limits={"request_s": REQUEST_S}, trace=True)) as nodes:
        yield nodes


def write_some(nodes: Nodes, prefix: str, through: str, count: int = 24) -> dict[str, bytes]:
    bodies = {f"{prefix}/{n}": b"%d" % n if n % 6 else LARGE + b"%d" % n for n in range(count)}
    for path, body in bodies.items():
        assert nodes.put(through, path, body).status == 201
    return bodies


def assert_all_there(nodes: Nodes, bodies: dict[str, bytes], reader: str) -> None:
    for path, body in bodies.items():
        got = nodes.get(reader, path)
        assert (got.status, got.body == body) == (200, True), (path, reader)
    assert {item["path"] for item in nodes.page(reader, limit="1000")["items"]} >= set(bodies)


def test_objects_of_nodes_with_two_disks_outlive_restarts_and_kills(nodes: TwoDisks) -> None:
    bodies = write_some(nodes, "first", "n1")
    nodes.kill("n2")
    bodies |= write_some(nodes, "second", "n3")
    nodes.start("n2")
    assert nodes.stop("n3") == 0
    nodes.start("n3")
    nodes.kill("n1")
    nodes.start("n1")
    for reader in nodes.names:
        assert_all_there(nodes, bodies, reader)
        assert nodes.ask(reader, "GET", "/_/api/v1/healthz").json["disks"] == [
            {"disk": 1, "status": "healthy"},
            {"disk": 2, "status": "healthy"},
        ]
    rows = []
    for name in ("a", "b"):
        disk = nodes.disk("n1") / name
        connection = apsw.Connection(str(disk / "registers.db"), flags=apsw.SQLITE_OPEN_READONLY)
        rows.append(connection.execute("SELECT count(*) FROM registers").fetchone())
        connection.close()
        assert list((disk / "slots").glob("*/parts/*")) and (disk / "cluster.json").exists()
    assert all(count > 5 for (count,) in rows), "both disks have their share"
    # what a kill kept from a trace is completed from both disks: its events are in their order on each of them
    lines = (nodes.root / "traces" / "n2.1.ndjson").read_bytes().splitlines()
    assert any(b'"disk":2' in line for line in lines)


def test_one_full_disk_takes_nothing_from_the_other(tmp_path: Path) -> None:
    small = tmp_path / "disks" / "n1" / "b"
    small.mkdir(parents=True)
    mounted = _mount(small, "size=3m")
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    try:
        with running(TwoDisks(tmp_path, 1, limits={"request_s": REQUEST_S})) as nodes:
            statuses = {f"p/{n}": nodes.put("n1", f"p/{n}", bytes(60_000)).status for n in range(160)}
            assert set(statuses.values()) == {201, 507}
            written = [path for path, status in statuses.items() if status == 201]
            assert 80 < len(written) < 150, "the other disk took all of its own"
            assert nodes.ask("n1", "GET", "/_/api/v1/healthz").json["status"] == "ok"
            _mount(small, "remount,size=64m")
            for path in statuses:
                assert nodes.put("n1", path, bytes(60_000)).status in (200, 201)
            assert {item["path"] for item in nodes.page("n1", limit="1000")["items"]} == set(statuses)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
