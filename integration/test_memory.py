"""The memory of a node is bounded, whatever the size of the object that goes through it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster import Nodes, blob, running

PIECE = bytes(range(256)) * 4096
SIZE_BYTES = 512 * 1024 * 1024
PEAK_MIB = 200


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("memory"), 3)) as nodes:
        yield nodes


def test_half_a_gib_through_three_nodes_leaves_each_below_200_mib(nodes: Nodes) -> None:
    # ci/bench/memory.py does the same with a whole one; the peak is reached within the first hundred MiB
    pieces = (PIECE for _ in range(SIZE_BYTES // len(PIECE)))
    put = nodes.ask("n1", "PUT", blob("large"), pieces, {"Content-Length": str(SIZE_BYTES)}, timeout_s=120)
    assert put.status == 201 and put.json["size_bytes"] == SIZE_BYTES
    received = nodes.measure("n2", blob("large"), timeout_s=120)
    assert received == SIZE_BYTES
    assert {node: peak_mib(nodes.pid(node)) < PEAK_MIB for node in nodes.names} == dict.fromkeys(nodes.names, True)


def peak_mib(pid: int) -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) // 1024
