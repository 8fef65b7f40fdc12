"""A node that holds no replica of a path coordinates it as well as any other, also when others did so in between."""

from collections.abc import Iterator

import pytest

from impl.model import RECENT_WRITES_MAX
from integration.cluster import Nodes, running

PATHS = tuple(f"p{number}" for number in range(8))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("more"), 4)) as nodes:
        yield nodes


def apart(nodes: Nodes, path: str) -> tuple[str, str]:
    """A node without a replica of the path, and one with."""
    replicas = nodes.replicas(path)
    return next(name for name in nodes.names if name not in replicas), replicas[0]


@pytest.mark.parametrize("path", PATHS)
def test_a_write_is_not_in_doubt_because_others_have_written_much_since_the_last_one(nodes: Nodes, path: str) -> None:
    outside, inside = apart(nodes, path)
    assert nodes.put(outside, path, b"first").status == 201
    for number in range(RECENT_WRITES_MAX + 1):
        assert nodes.put(inside, path, b"%d" % number).status == 201
    last = nodes.put(outside, path, b"last")
    assert (last.status, last.json["generation"]) == (201, RECENT_WRITES_MAX + 3)


@pytest.mark.parametrize("path", PATHS)
def test_a_retry_of_what_another_node_has_finished_is_called_a_replay(nodes: Nodes, path: str) -> None:
    path = f"retried/{path}"
    outside, inside = apart(nodes, path)
    assert nodes.put(outside, path, b"first").status == 201
    finished = nodes.put(inside, path, b"mine", x_amberio_write_id="w")
    again = nodes.put(outside, path, b"mine", x_amberio_write_id="w")
    assert (finished.status, again.status) == (201, 200)
    assert again.json["idempotent_replay"] and again.json["generation"] == finished.json["generation"]
