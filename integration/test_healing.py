"""A node that was away catches up by itself, and on request (A4, B5): heads, versions, tombstones and parts."""

import hashlib
import hmac
import itertools
import json
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from impl.model import slot_of
from integration.cluster import SECRET, Nodes, Reply, blob, running

LARGE = bytes(range(256)) * 400
CONVERGED_S = 30.0


@dataclass
class HealingNodes(Nodes):
    """A cluster whose nodes heal themselves like this."""

    healing: Mapping[str, object] | None = None

    def sections(self) -> dict[str, object]:
        return {"healing": dict(self.healing or {}), "s3": {"anonymous": True}}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealingNodes]:
    with running(HealingNodes(tmp_path_factory.mktemp("heal"), 3, healing={"every_s": 0.2})) as started:
        assert isinstance(started, HealingNodes)
        yield started


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealingNodes]:
    """Nodes that heal only when they are told to."""
    with running(HealingNodes(tmp_path_factory.mktemp("apart"), 3, healing={"enabled": False})) as started:
        assert isinstance(started, HealingNodes)
        yield started


def signed(nodes: Nodes, node: str, method: str, target: str, body: bytes = b"") -> Reply:
    """A request to a node's internal API with its proof."""
    now_ms, digest = str(time.time_ns() // 1_000_000), hashlib.sha256(body).hexdigest()
    text = "\n".join((method, target, now_ms, digest)).encode()
    proof = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    headers = {"x-amberio-time": now_ms, "x-amberio-content-sha256": digest, "x-amberio-proof": proof}
    return nodes.ask(node, method, target, body, headers)


def record(nodes: Nodes, node: str, path: str) -> Any:
    """What a node itself has of a path: the accepted ballot, and the digest of the head; None if it has nothing."""
    reply = signed(nodes, node, "GET", f"/internal/v1/slots/{slot_of(path)}/heads/{quote(path)}")
    if reply.status == 404:
        return None
    return {name: reply.json[name] for name in ("accepted", "generation", "digest", "kind")}


def parts(nodes: Nodes, node: str) -> set[Path]:
    root = nodes.disk(node)
    return {file.relative_to(root) for file in root.glob("slots/*/parts/*")}


def repair(nodes: Nodes, node: str, slot: int, **asked: object) -> Reply:
    """Ask until it can: a node that was just started reaches others, and is dialled by them a moment later."""
    end_s = time.monotonic() + 20
    while True:
        reply = signed(nodes, node, "POST", f"/internal/v1/slots/{slot}/heal/repair", json.dumps(asked).encode())
        if reply.status < 500 or time.monotonic() > end_s:
            return reply
        time.sleep(0.05)


def change_without(nodes: Nodes, away: str, prefix: str, count: int) -> list[str]:
    """Objects written, overwritten, deleted and kept in versions while a node is away; their paths."""
    others = itertools.cycle(name for name in nodes.names if name != away)
    paths = [f"{prefix}/{number}" for number in range(count)]
    for path in paths:
        nodes.put("n1", path, b"before")
    nodes.kill(away)
    for number, (path, node) in enumerate(zip(paths, others, strict=False)):
        match number % 5:
            case 0:
                assert nodes.put(node, path, b"%d" % number).status == 201
            case 1:
                assert nodes.put(node, path, LARGE + b"%d" % number).status == 201
            case 2:
                assert nodes.delete(node, path).status == 200
            case 3:
                for body in (LARGE + b"old %d" % number, b"new"):
                    assert nodes.ask(node, "PUT", blob(path) + "?versioned=true", body).status == 201
            case _:
                pass  # nothing happened to it
    return paths


def test_a_node_that_was_away_catches_up_with_heads_versions_tombstones_and_parts(nodes: HealingNodes) -> None:
    for away in ("n3", "n1"):
        paths = change_without(nodes, away, f"without-{away}", 40)
        other = next(name for name in nodes.names if name != away)
        wanted = {path: record(nodes, other, path) for path in paths}
        nodes.start(away)
        deadline_s = time.monotonic() + CONVERGED_S
        while (found := {path: record(nodes, away, path) for path in paths}) != wanted:
            assert time.monotonic() < deadline_s, [path for path in paths if found[path] != wanted[path]]
        # heads are adopted after the parts that they name
        assert parts(nodes, away) >= parts(nodes, other)
        for number, path in enumerate(paths):
            assert nodes.get(away, path).status == (410 if number % 5 == 2 else 200)


def healed(nodes: Nodes, node: str) -> dict[str, float]:
    """What a node says of its healing since it started: paths behind, healed, errors."""
    text = nodes.ask(node, "GET", "/_metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^amberio_healing_(\w+)_total (\S+)", text, re.MULTILINE)}


def test_a_node_that_was_away_catches_up_with_uploads_that_are_not_complete(nodes: HealingNodes) -> None:
    """The bytes of an upload's part lie in the slot of the object, not in that of the part's register."""
    assert nodes.ask("n1", "PUT", "/uploads").status == 200
    nodes.kill("n3")
    behind = 0
    for number in range(8):
        began = nodes.ask("n1", "POST", f"/uploads/k{number}?uploads").body.decode()
        (upload,) = re.findall("<UploadId>(.*)</UploadId>", began)
        sent = nodes.ask("n2", "PUT", f"/uploads/k{number}?partNumber=1&uploadId={upload}", LARGE)
        assert sent.status == 200
        behind += 2
    nodes.start("n3")
    deadline_s = time.monotonic() + CONVERGED_S
    while (found := healed(nodes, "n3"))["healed"] < behind:
        assert time.monotonic() < deadline_s and not found["errors"], found


def test_repair_says_what_is_behind_and_then_mends_it(apart: HealingNodes) -> None:
    paths = change_without(apart, "n2", "apart", 10)
    apart.start("n2")
    behind = [path for number, path in enumerate(paths) if number % 5 != 4]
    told = [record(apart, "n2", path) for path in paths]
    for path in paths:
        looked = repair(apart, "n2", slot_of(path), source_node_id="n1", paths=[path], dry_run=True)
        is_behind = path in behind
        assert (looked.status, looked.json["repaired_objects"]) == (200, int(is_behind)), looked.body
    assert [record(apart, "n2", path) for path in paths] == told, "a dry run changes nothing"
    for path in paths:
        mended = repair(apart, "n2", slot_of(path), source_node_id="n1").json
        assert (mended["repaired_objects"], mended["errors"]) == (int(path in behind), 0)
        again = repair(apart, "n2", slot_of(path), source_node_id="n1", paths=[path]).json
        assert (again["repaired_objects"], again["skipped_objects"]) == (0, 1)
    assert [record(apart, "n2", path) for path in paths] == [record(apart, "n1", path) for path in paths]


def test_a_replica_that_is_ahead_takes_nothing_from_one_that_is_behind(apart: HealingNodes) -> None:
    (path, *_) = change_without(apart, "n3", "ahead", 1)
    apart.start("n3")
    before = record(apart, "n1", path)
    assert repair(apart, "n1", slot_of(path), source_node_id="n3", paths=[path]).json["repaired_objects"] == 0
    assert record(apart, "n1", path) == before


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "source_node_id"),
        ({"source_node_id": "n9"}, "n9 holds no replica of slot 3"),
        ({"source_node_id": "n1"}, "cannot be repaired from itself"),
        ({"source_node_id": "n2", "paths": ["elsewhere"]}, "is not in slot 3"),
        ({"source_node_id": "n2", "extra": 1}, "extra"),
    ],
)
def test_a_repair_that_makes_no_sense_is_refused_clearly(apart: HealingNodes, asked: dict[str, Any], says: str) -> None:
    reply = repair(apart, "n1", 3, **asked)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert says in reply.json["error"]["message"]


# -- tombstones --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forgetting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealingNodes]:
    """Nodes that forget a deletion as soon as all of them have it."""
    healing = {"every_s": 0.2, "tombstone_grace_s": 0.1, "tombstones_every_s": 0.2}
    with running(HealingNodes(tmp_path_factory.mktemp("forget"), 3, healing=healing)) as started:
        assert isinstance(started, HealingNodes)
        yield started


def rows(nodes: Nodes, node: str, paths: list[str]) -> set[str]:
    """Which of these paths have a row in a node's database, be it what it may."""
    with sqlite3.connect(f"file:{nodes.disk(node) / 'registers.db'}?mode=ro", uri=True) as database:
        return {path for (path,) in database.execute("SELECT path FROM registers")} & set(paths)


def wait_until_forgotten(nodes: Nodes, paths: list[str]) -> None:
    deadline_s = time.monotonic() + CONVERGED_S
    while left := {node: found for node in nodes.names if (found := rows(nodes, node, paths))}:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.05)


def test_what_is_deleted_everywhere_is_forgotten_and_may_be_written_anew(forgetting: HealingNodes) -> None:
    paths = [f"gone/{number}" for number in range(8)]
    for path in paths:
        forgetting.put("n1", path, b"before")
        assert forgetting.put("n1", path, b"again").json["generation"] == 2
        assert forgetting.delete("n2", path).json["generation"] == 3
    wait_until_forgotten(forgetting, paths)
    for path in paths:
        assert {forgetting.get(node, path).status for node in forgetting.names} == {404}
        assert forgetting.delete("n3", path).status == 404
        anew = forgetting.put("n3", path, b"anew")
        # never a generation that was told before: conditions, versions and the archive go by them
        assert (anew.status, anew.json["generation"]) == (201, 4)
        assert {forgetting.get(node, path).body for node in forgetting.names} == {b"anew"}
    metrics = forgetting.ask("n1", "GET", "/_metrics").body.decode()
    assert float(re.findall(r"^amberio_tombstones_collected_total (\S+)", metrics, re.MULTILINE)[0]) >= len(paths)


def test_a_node_that_was_away_keeps_the_others_from_forgetting_and_brings_nothing_back(
    forgetting: HealingNodes,
) -> None:
    paths = [f"late/{number}" for number in range(4)]
    for path in paths:
        forgetting.put("n1", path, b"before")
    forgetting.kill("n3")
    for path in paths:
        assert forgetting.delete("n1", path).status == 200
    time.sleep(1.0)  # the grace is long over
    assert rows(forgetting, "n1", paths) == rows(forgetting, "n2", paths) == set(paths)
    forgetting.start("n3")
    wait_until_forgotten(forgetting, paths)
    forgetting.kill("n3")
    forgetting.start("n3")
    for path in paths:
        assert {forgetting.get(node, path).status for node in forgetting.names} == {404}
