"""Versions over the native API (B1, B3): read, written, deleted by version; blob ids; ranges by start and end."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from integration.cluster import Nodes, Reply, blob, running

NODES = ("n1", "n2", "n3")
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


@pytest.fixture(
    scope="module", params=[pytest.param((), id="direct"), pytest.param(("--no-direct-path",), id="tornado")]
)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("versions"), 3, options=request.param)) as nodes:
        yield nodes


def put(nodes: Nodes, node: str, path: str, body: bytes, **headers: str) -> Any:
    reply = nodes.ask(node, "PUT", blob(path) + "?versioned=true", body, headers)
    assert reply.status in (200, 201), reply.body
    return reply.json


def get(nodes: Nodes, node: str, path: str, query: str) -> Reply:
    return nodes.ask(node, "GET", blob(path) + query)


def test_every_version_is_read_on_every_node_by_the_generation_that_made_it(nodes: Nodes) -> None:
    made = [put(nodes, NODES[number % 3], "kept", b"%d" % number) for number in range(5)]
    assert [answer["version"] for answer in made] == ["1", "2", "3", "4", "5"]
    for node in NODES:
        for number, answer in enumerate(made):
            reply = get(nodes, node, "kept", f"?version={answer['version']}")
            assert (reply.status, reply.body) == (200, b"%d" % number)
            assert reply.headers["x-amberio-blob-id"] == answer["blob_id"]
    assert nodes.get("n1", "kept").body == b"4"


def test_blob_ids_are_ulids_that_sort_as_versions_do(nodes: Nodes) -> None:
    ids = [put(nodes, "n1", "named", b"x")["blob_id"] for _ in range(3)]
    assert all(ULID.fullmatch(blob_id) for blob_id in ids)
    assert len(set(ids)) == 3
    assert [blob_id[:10] for blob_id in ids] == sorted(blob_id[:10] for blob_id in ids)


def test_a_deleted_version_is_gone_and_the_others_are_not(nodes: Nodes) -> None:
    for number in range(3):
        put(nodes, "n1", "cut", b"%d" % number)
    deleted = nodes.ask("n2", "DELETE", blob("cut") + "?version=3").json
    assert (deleted["version"], deleted["generation"]) == ("3", 4)
    assert nodes.get("n3", "cut").body == b"1"
    assert get(nodes, "n3", "cut", "?version=3").status == 404
    assert get(nodes, "n3", "cut", "?version=1").body == b"0"


def test_a_marker_hides_what_is_kept_beneath_it(nodes: Nodes) -> None:
    put(nodes, "n1", "hidden", b"beneath")
    marker = nodes.ask("n2", "DELETE", blob("hidden") + "?versioned=true").json
    assert marker["delete_marker"] is True
    assert nodes.get("n3", "hidden").status == 410
    assert get(nodes, "n3", "hidden", "?version=1").body == b"beneath"
    assert nodes.ask("n1", "DELETE", blob("hidden") + f"?version={marker['version']}").status == 200
    assert nodes.get("n3", "hidden").body == b"beneath"


def test_a_plain_write_replaces_the_null_version_only(nodes: Nodes) -> None:
    nodes.put("n1", "mixed", b"plain")
    put(nodes, "n2", "mixed", b"kept")
    nodes.put("n3", "mixed", b"plain again")
    assert get(nodes, "n1", "mixed", "?version=null").body == b"plain again"
    assert get(nodes, "n1", "mixed", "?version=2").body == b"kept"
    assert nodes.delete("n2", "mixed").status == 200
    assert nodes.get("n1", "mixed").body == b"kept"


def test_a_retry_is_told_the_version_that_it_made_the_first_time(nodes: Nodes) -> None:
    first = put(nodes, "n1", "again", b"x", **{"x-amberio-write-id": "w"})
    put(nodes, "n2", "again", b"y")
    retry = put(nodes, "n3", "again", b"x", **{"x-amberio-write-id": "w"})
    assert retry["idempotent_replay"] is True
    assert (retry["version"], retry["blob_id"]) == (first["version"], first["blob_id"])


def test_start_and_end_name_the_bytes_from_one_up_to_the_other(nodes: Nodes) -> None:
    body = bytes(range(256)) * 400
    put(nodes, "n1", "ranged", body)
    put(nodes, "n1", "ranged", b"newer")
    for query, expected in (
        ("?version=1&start=10&end=20", body[10:20]),
        ("?version=1&start=102000", body[102000:]),
        ("?version=1&end=5", body[:5]),
        ("?start=1&end=99", b"ewer"),
    ):
        reply = get(nodes, "n2", "ranged", query)
        assert (reply.status, reply.body) == (206, expected), query
    assert get(nodes, "n2", "ranged", "?start=5").status == 416


@pytest.mark.parametrize(
    "query", ["?version=x", "?version=0", "?version=-1", "?start=a", "?end=-1", "?versioned=maybe"]
)
def test_what_names_no_version_is_refused_clearly(nodes: Nodes, query: str) -> None:
    put(nodes, "n1", "asked", b"x")
    method = "DELETE" if "versioned" in query else "GET"
    reply = nodes.ask("n1", method, blob("asked") + query)
    assert (reply.status, reply.code) == (400, "InvalidArgument"), reply.body
