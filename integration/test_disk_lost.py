"""Nodes whose disks were lost: each finds out which life it begins, and none does before enough others have told it."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from integration.cluster import Nodes, running
from integration.test_disks import TwoDisks

HEALTH = "/_/api/v1/healthz"
WAIT_S = 20.0


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with running(Nodes(tmp_path, 3, trace=True)) as nodes:
        yield nodes


def row(database: Path, query: str) -> int:
    """The first number that a query of a node's database brings."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def life(nodes: Nodes, node: str, disk: str = "") -> int:
    return row(nodes.disk(node) / disk / "registers.db", "SELECT value FROM node WHERE key = 'life'")


def behind(nodes: Nodes, node: str, disk: str = "") -> int:
    """How many slots a disk knows to have lost."""
    return row(nodes.disk(node) / disk / "registers.db", "SELECT count(*) FROM behind")


def known(nodes: Nodes, node: str, of: str) -> int:
    """The life of another node that one has on its disk."""
    return row(nodes.disk(node) / "registers.db", f"SELECT coalesce(max(life), 0) FROM lives WHERE node = '{of}'")


def started(nodes: Nodes, node: str, init: bool = False) -> "subprocess.Popen[bytes]":
    """Start a node, and do not wait."""
    with (nodes.root / f"{node}.log").open("ab") as log:
        return subprocess.Popen([*nodes.command(node), *(["--init"] if init else [])], stdout=log, stderr=log)


def says(nodes: Nodes, node: str, text: str) -> None:
    """Wait until a node that does not serve says this of itself."""
    end_s = time.monotonic() + WAIT_S
    while True:
        try:
            reply = nodes.ask(node, "GET", HEALTH, timeout_s=2)
            told = f"{reply.status} {reply.body!r}"
            if reply.status == 503 and text in reply.body.decode():
                return
        except OSError as error:
            told = str(error)
        assert time.monotonic() < end_s, f"{node} does not say {text!r} but {told}: {nodes.log(node)}"
        time.sleep(0.05)


def test_the_nodes_of_a_new_cluster_are_in_their_first_life_and_know_it_of_each_other(nodes: Nodes) -> None:
    for node in nodes.names:
        assert (life(nodes, node), behind(nodes, node)) == (1, 0)
        for other in set(nodes.names) - {node}:
            assert known(nodes, node, other) == 1


def test_a_node_whose_disk_was_lost_begins_its_second_life_without_its_slots(nodes: Nodes) -> None:
    assert nodes.put("n1", "kept", b"x").status == 201
    nodes.kill("n2")
    shutil.rmtree(nodes.disk("n2"))
    ended = started(nodes, "n2")
    assert ended.wait(WAIT_S) == 2
    assert "n2 has lost what it held of 2048 slots, and must not vote for them" in nodes.log("n2")
    assert (life(nodes, "n2"), behind(nodes, "n2")) == (2, 2048)
    assert nodes.get("n1", "kept").body == b"x"


def test_with_too_few_others_an_empty_disk_waits_and_says_for_whom(nodes: Nodes) -> None:
    for node in ("n2", "n3"):
        nodes.kill(node)
    shutil.rmtree(nodes.disk("n2"))
    waiting = started(nodes, "n2")
    try:
        says(nodes, "n2", "n2 is unborn: it asks the others whether its disk is new, and waits for n3; ")
        assert nodes.ask("n2", "PUT", "/_/api/v1/blobs/p", b"x").status == 503
        assert nodes.ask("n2", "GET", "/_/api/v1/nodes").status == 503
        assert row(nodes.disk("n2") / "registers.db", "SELECT count(*) FROM node WHERE key = 'life'") == 0
        nodes.start("n3")
        assert waiting.wait(WAIT_S) == 2, "it has what it waited for, and knows that it is behind"
        assert life(nodes, "n2") == 2
    finally:
        waiting.kill()
        waiting.wait()


def test_a_node_that_waits_stops_when_it_is_told_to(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 3)
    waiting = started(nodes, "n1")
    says(nodes, "n1", "waits for n2, n3")
    waiting.terminate()
    assert waiting.wait(WAIT_S) == 0


def test_nodes_whose_disks_are_said_to_be_new_wait_for_nobody(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 3)
    try:
        for node in ("n1", "n2"):
            assert started(nodes, node, init=True).wait(WAIT_S) == 0
            assert life(nodes, node) == 1
        nodes.start("n1", "n2")
        assert nodes.put("n1", "p", b"x").status == 201
        assert started(nodes, "n3", init=True).wait(WAIT_S) == 0
        nodes.start("n3")
        assert nodes.get("n3", "p").body == b"x"
    finally:
        nodes.close()


def test_a_disk_that_was_replaced_is_not_listened_to_when_it_comes_back(nodes: Nodes) -> None:
    nodes.kill("n2")
    old = nodes.disk("n2").rename(nodes.root / "old")
    for node in ("n1", "n3"):  # they have met the one that replaced it
        assert nodes.stop(node) == 0
        connection = apsw.Connection(str(nodes.disk(node) / "registers.db"))
        connection.execute("UPDATE lives SET life = 2 WHERE node = 'n2'")
        connection.close()
    nodes.start("n1", "n3")
    old.rename(nodes.disk("n2"))
    stale = started(nodes, "n2")
    try:
        end_s = time.monotonic() + WAIT_S
        while "life 1 is an earlier disk of n2, which is in its life 2" not in nodes.log("n1"):
            assert time.monotonic() < end_s
            time.sleep(0.05)
        assert nodes.put("n1", "p", b"x").status == 201
        assert nodes.get("n2", "p").status == 503, "it reaches nobody"
    finally:
        stale.kill()
        stale.wait()


def test_of_several_disks_one_that_came_back_empty_has_lost_its_own_slots_only(tmp_path: Path) -> None:
    with running(TwoDisks(tmp_path, 3)) as nodes:
        nodes.kill("n2")
        shutil.rmtree(nodes.disk("n2") / "b")
        assert started(nodes, "n2").wait(WAIT_S) == 2
        assert life(nodes, "n2", "a") == life(nodes, "n2", "b") == 2
        assert behind(nodes, "n2", "a") == 0 and 0 < behind(nodes, "n2", "b") < 2048
        assert nodes.put("n1", "p", b"x").status == 201
