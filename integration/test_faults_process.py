"""Nodes that die, come back, and stop: nothing acknowledged is lost, and what is in doubt is called so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster import Nodes, running

LIMITS = {"request_s": 2.0}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with running(Nodes(tmp_path, 3, limits=LIMITS, trace=True)) as nodes:
        yield nodes


def test_a_minority_that_dies_is_not_missed_and_comes_back_current(nodes: Nodes) -> None:
    nodes.put("n1", "kept", b"before")
    nodes.kill("n3")
    assert nodes.get("n2", "kept").body == b"before"
    assert nodes.put("n1", "kept", b"meanwhile").status == 201
    nodes.start("n3")
    assert nodes.get("n3", "kept").body == b"meanwhile"
    assert nodes.page("n3", prefix="kept")["items"][0]["generation"] == 2


def test_without_a_majority_nothing_is_acknowledged_and_a_doubt_is_called_unknown(nodes: Nodes) -> None:
    nodes.put("n1", "alone", b"before")
    nodes.kill("n2")
    nodes.kill("n3")
    # its fast path lets it ask for acceptance at once, and its own replica accepts: that may come to count
    written = nodes.put("n1", "alone", b"perhaps", x_amberio_write_id="w-alone")
    assert (written.status, written.headers["x-amberio-outcome"]) == (503, "unknown")
    # now its fast path is gone: nobody promises, so nobody can have accepted
    certain = nodes.put("n1", "alone", b"no")
    assert (certain.status, certain.headers["x-amberio-outcome"]) == (503, "failed")
    read = nodes.get("n1", "alone")
    assert (read.status, read.code) == (503, "NoQuorum")
    nodes.start("n2", "n3")
    again = nodes.put("n2", "alone", b"perhaps", x_amberio_write_id="w-alone")
    assert again.status in (200, 201) and again.json["generation"] == 2
    assert nodes.get("n3", "alone").body == b"perhaps"


def test_everything_acknowledged_outlives_the_death_of_all_nodes(nodes: Nodes) -> None:
    large = b"large" * 50_000
    for number in range(40):
        nodes.put(nodes.names[number % 3], f"all/{number}", b"%d" % number if number % 8 else large)
    for node in nodes.names:
        nodes.kill(node)
    nodes.start()
    for number in range(40):
        assert nodes.get("n2", f"all/{number}").body == (b"%d" % number if number % 8 else large)
    assert len(nodes.page("n1", prefix="all/", limit="1000")["items"]) == 40


def test_a_write_id_is_known_after_its_coordinator_was_killed(nodes: Nodes) -> None:
    nodes.put("n1", "known", b"x", x_amberio_write_id="w-known")
    nodes.kill("n1")
    again = nodes.put("n2", "known", b"x", x_amberio_write_id="w-known")
    assert (again.status, again.json["generation"]) == (200, 1)


def test_a_node_that_is_told_to_stop_drains_and_exits_with_0(nodes: Nodes) -> None:
    nodes.put("n1", "drained", b"x")
    assert nodes.stop("n1") == 0
    assert [line for line in nodes.log("n1").splitlines() if '"level":"error"' in line] == []
    trace = (nodes.root / "traces" / "n1.1.ndjson").read_text().splitlines()
    assert '"event":"Stop"' in trace[-1]


def test_a_part_that_rots_is_served_from_another_replica_and_mended(nodes: Nodes) -> None:
    body = b"precious" * 20_000
    nodes.put("n1", "rotting", body)
    (part,) = (nodes.disk("n1") / "slots").glob("*/parts/*")
    healthy = part.read_bytes()
    part.write_bytes(healthy[:1000] + b"?" + healthy[1001:])
    assert nodes.get("n1", "rotting").body == body
    assert part.read_bytes() == healthy
    assert [file.name for file in (nodes.disk("n1") / "rotten").iterdir()] == [part.name]


def test_metrics_are_in_the_format_of_prometheus(nodes: Nodes) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    nodes.put("n1", "metered", b"x")
    families = {
        family.name for family in text_string_to_metric_families(nodes.ask("n1", "GET", "/_metrics").body.decode())
    }
    assert {"amberio_http_request_seconds", "amberio_commit_seconds", "amberio_link_frames"} <= families
