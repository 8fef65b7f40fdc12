"""Nodes whose disks were lost: each finds out which life it begins, catches up, and is a full member again.

None begins a life before enough others have told it which, and none votes before it has what they have.
"""

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


def accepted(nodes: Nodes, node: str, disk: str = "") -> int:
    """Of how many paths a disk has what was accepted, those of the system left out."""
    return row(
        nodes.disk(node) / disk / "registers.db",
        "SELECT count(*) FROM registers WHERE accepted_node <> '' AND path NOT LIKE '/%'",
    )


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


def is_back(nodes: Nodes, node: str) -> bool:
    try:
        return "\namberio_rejoin_slots_behind 0.0\n" in nodes.ask(node, "GET", "/_metrics").body.decode()
    except OSError:
        return False  # what it listened with while it was unborn is gone, and it does not listen yet


def back(nodes: Nodes, node: str) -> None:
    """Wait until a node has caught up."""
    end_s = time.monotonic() + WAIT_S
    while not is_back(nodes, node):
        assert time.monotonic() < end_s, nodes.log(node)[-2000:]
        time.sleep(0.05)


def test_a_node_that_lost_its_disk_catches_up_and_is_a_full_member(nodes: Nodes) -> None:
    bodies = {f"kept/{number}": bytes([number]) * (10 if number % 5 else 100_000) for number in range(20)}
    for path, body in bodies.items():
        assert nodes.put("n1", path, body).status == 201
    nodes.kill("n2")
    shutil.rmtree(nodes.disk("n2"))
    for number in range(0, 20, 4):
        bodies[f"kept/{number}"] = b"new" * (number + 1)
        assert nodes.put("n3", f"kept/{number}", bodies[f"kept/{number}"]).status == 201
    assert nodes.delete("n1", "kept/1").status == 200
    nodes.start("n2")
    back(nodes, "n2")
    assert (life(nodes, "n2"), behind(nodes, "n2"), accepted(nodes, "n2")) == (2, 0, 20)
    assert [known(nodes, node, "n2") for node in ("n1", "n3")] == [2, 2]
    nodes.kill("n1")
    for path, body in bodies.items():
        reply = nodes.get("n3", path)
        assert (reply.status, reply.body) == ((410, reply.body) if path == "kept/1" else (200, body)), path
    assert nodes.put("n2", "kept/1", b"again").status == 201, "with the vote of the one that was lost"
    assert nodes.get("n3", "kept/1").body == b"again"


def test_a_node_that_lost_its_disk_does_not_vote_before_all_others_have_heard_of_it(nodes: Nodes) -> None:
    assert nodes.put("n1", "p", b"x").status == 201
    nodes.kill("n2")
    shutil.rmtree(nodes.disk("n2"))
    process = started(nodes, "n2")
    try:
        end_s = time.monotonic() + WAIT_S
        while not (nodes.disk("n2") / "registers.db").exists() or "a disk was lost" not in nodes.log("n2"):
            assert time.monotonic() < end_s
            time.sleep(0.005)
        nodes.kill("n3")
        status = nodes.put("n1", "q", b"z").status
        assert status == 503 or behind(nodes, "n2") == 0, "one of two is no quorum, if the other one forgot"
        nodes.start("n3")
        back(nodes, "n2")
        assert nodes.put("n2", "q", b"z").status in (200, 201)
    finally:
        process.kill()
        process.wait()


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
        back(nodes, "n2")
        assert life(nodes, "n2") == 2, "it had what it waited for"
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


def test_of_several_disks_one_that_came_back_empty_is_caught_up(tmp_path: Path) -> None:
    with running(TwoDisks(tmp_path, 3)) as nodes:
        paths = [f"p/{number}" for number in range(30)]
        assert all(nodes.put("n1", path, path.encode()).status == 201 for path in paths)
        nodes.kill("n2")
        shutil.rmtree(nodes.disk("n2") / "b")
        nodes.start("n2")
        back(nodes, "n2")
        assert life(nodes, "n2", "a") == life(nodes, "n2", "b") == 2
        assert accepted(nodes, "n2", "a") + accepted(nodes, "n2", "b") == len(paths)
        nodes.kill("n1")
        for path in paths:
            assert nodes.get("n2", path).body == path.encode()
