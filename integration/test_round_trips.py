"""One round trip between nodes for a PUT, a GET and a LIST in the common case, counted on the wire."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster import Nodes, running
from integration.wiretap import Wiretap


class Tapped:
    """Three nodes, with an ear on each way by which n1 asks the others."""

    def __init__(self, nodes: Nodes, taps: dict[str, Wiretap]) -> None:
        self.nodes = nodes
        self._taps = taps

    def frames(self) -> Counter[str]:
        """What crossed since the last look, both ways."""
        time.sleep(0.2)  # the third replica's answer, which nobody waits for
        total: Counter[str] = Counter()
        for tap in self._taps.values():
            total += tap.frames
            tap.frames.clear()
        return total


@pytest.fixture(scope="module")
def tapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tapped]:
    root: Path = tmp_path_factory.mktemp("tapped")
    nodes = Nodes(root, 3)
    taps = {name: Wiretap(nodes.ports[name]) for name in ("n2", "n3")}
    nodes.routes = {"n1": {name: tap.address for name, tap in taps.items()}}
    with running(nodes):
        yield Tapped(nodes, taps)
    for tap in taps.values():
        tap.close()


def preferred_by(nodes: Nodes, node: str, prefix: str) -> str:
    return next(path for number in range(1000) if nodes.replicas(path := f"{prefix}{number}")[0] == node)


ONE_QUESTION_TO_EACH = {"ask": 2, "answer": 2}


def test_the_first_put_of_a_path_by_its_preferred_node_is_one_round_trip(tapped: Tapped) -> None:
    path = preferred_by(tapped.nodes, "n1", "first-put-")
    tapped.frames()
    assert tapped.nodes.put("n1", path, b"x" * 4096).status == 201
    assert tapped.frames() == ONE_QUESTION_TO_EACH


def test_every_further_put_is_one_round_trip_whoever_is_preferred(tapped: Tapped) -> None:
    path = preferred_by(tapped.nodes, "n2", "further-put-")
    assert tapped.nodes.put("n1", path, b"first").status == 201
    tapped.frames()
    for number in range(5):
        assert tapped.nodes.put("n1", path, b"again %d" % number).status == 201
        assert tapped.frames() == ONE_QUESTION_TO_EACH


def test_a_get_is_one_round_trip(tapped: Tapped) -> None:
    assert tapped.nodes.put("n2", "read", b"x" * 4096).status == 201
    tapped.frames()
    assert tapped.nodes.get("n1", "read").body == b"x" * 4096
    assert tapped.frames() == ONE_QUESTION_TO_EACH


def test_a_list_is_one_round_trip(tapped: Tapped) -> None:
    for number in range(20):
        tapped.nodes.put("n1", f"listed/{number:02}", b"x")
    tapped.frames()
    assert len(tapped.nodes.page("n1", prefix="listed/", limit="100")["items"]) == 20
    assert tapped.frames() == {"scan": 2, "rows": 2}
