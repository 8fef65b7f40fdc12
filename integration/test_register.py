"""What a cluster promises of a path, on real nodes, on both ways through the HTTP layer (A1, A3, B3, B6)."""

import threading
from collections.abc import Iterator

import pytest

from impl.model import slot_of
from integration.cluster import Nodes, Reply, running

NODES = ("n1", "n2", "n3")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="direct"),
        pytest.param(("--no-direct-path",), id="tornado"),
    ],
)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("register"), 3, options=request.param)) as nodes:
        yield nodes


def test_what_one_node_wrote_every_node_reads(nodes: Nodes) -> None:
    for number, writer in enumerate(NODES):
        path = f"written/{number}"
        assert nodes.put(writer, path, b"by " + writer.encode()).status == 201
        for reader in NODES:
            assert nodes.get(reader, path).body == b"by " + writer.encode()


def test_generations_count_the_writes_whoever_made_them(nodes: Nodes) -> None:
    generations = [nodes.put(NODES[number % 3], "counted", b"%d" % number).json["generation"] for number in range(7)]
    assert generations == [1, 2, 3, 4, 5, 6, 7]


def test_a_path_that_was_never_written_is_404_and_a_deleted_one_410(nodes: Nodes) -> None:
    assert nodes.get("n1", "gone").status == 404
    assert nodes.delete("n1", "gone").status == 404
    nodes.put("n2", "gone", b"x")
    assert nodes.delete("n3", "gone").json["generation"] == 2
    for node in NODES:
        reply = nodes.get(node, "gone")
        assert (reply.status, reply.headers["x-amberio-generation"]) == (410, "2")
    assert nodes.put("n1", "gone", b"back").json["generation"] == 3
    assert nodes.get("n2", "gone").body == b"back"


def race(nodes: Nodes, path: str, **headers: str) -> list[Reply]:
    """The same put from all three nodes at once."""
    replies: list[Reply] = []
    barrier = threading.Barrier(3)

    def put(node: str) -> None:
        barrier.wait()
        replies.append(nodes.put(node, path, node.encode(), **headers))

    threads = [threading.Thread(target=put, args=(node,)) for node in NODES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def test_of_creators_that_race_from_all_coordinators_exactly_one_wins(nodes: Nodes) -> None:
    for number in range(20):
        replies = race(nodes, f"raced/{number}", If_None_Match="*")
        assert sorted(reply.status for reply in replies) == [201, 412, 412]
        assert nodes.get("n1", f"raced/{number}").headers["x-amberio-generation"] == "1"


def test_of_replacers_that_race_with_one_etag_exactly_one_wins(nodes: Nodes) -> None:
    for number in range(20):
        etag = nodes.put("n1", f"replaced/{number}", b"first").headers["etag"]
        replies = race(nodes, f"replaced/{number}", If_Match=etag)
        assert sorted(reply.status for reply in replies) == [201, 412, 412]
        assert nodes.get("n2", f"replaced/{number}").headers["x-amberio-generation"] == "2"


def test_an_expected_generation_is_exact(nodes: Nodes) -> None:
    nodes.put("n1", "expected", b"one")
    assert nodes.put("n2", "expected", b"two", x_amberio_if_generation="1").status == 201
    refused = nodes.put("n3", "expected", b"no", x_amberio_if_generation="1")
    assert refused.status == 409
    assert nodes.get("n1", "expected").body == b"two"


def test_a_retry_with_its_write_id_returns_the_first_outcome_even_after_later_writes(nodes: Nodes) -> None:
    first = nodes.put("n1", "retried", b"mine", x_amberio_write_id="w-1")
    assert (first.status, first.json["generation"]) == (201, 1)
    nodes.put("n2", "retried", b"theirs")
    again = nodes.put("n3", "retried", b"mine", x_amberio_write_id="w-1")
    assert (again.status, again.json["generation"], again.json["idempotent_replay"]) == (200, 1, True)
    assert again.json["etag"] == first.json["etag"]
    assert nodes.get("n1", "retried").body == b"theirs"


def test_a_list_from_any_node_has_what_was_acknowledged_before(nodes: Nodes) -> None:
    for number in range(30):
        nodes.put(NODES[number % 3], f"listed/{number:02}", b"x")
        seen = nodes.page(NODES[(number + 1) % 3], prefix="listed/", limit="1000")["items"]
        assert [item["path"] for item in seen] == [f"listed/{at:02}" for at in range(number + 1)]


def test_a_list_goes_on_where_its_page_ended_in_the_order_of_bytes(nodes: Nodes) -> None:
    names = ["paged/a", "paged/a/b", "paged/é", "paged/z", "paged/😀", "paged/Z"]
    for name in names:
        nodes.put("n1", name, b"x")
    nodes.delete("n2", "paged/z")
    seen, cursor = [], None
    while True:
        page = nodes.page("n3", prefix="paged/", limit="2", **({"cursor": cursor} if cursor else {}))
        seen += [item["path"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    live = sorted((name for name in names if name != "paged/z"), key=str.encode)
    assert seen == live
    everything = nodes.page("n1", prefix="paged/", limit="100", include_deleted="true")["items"]
    assert [(item["path"], item["deleted"]) for item in everything if item["deleted"]] == [("paged/z", True)]
    assert len(everything) == len(names)


SIZES = (0, 1, 4096, 65_536, 65_537, 8 * 1024 * 1024, 8 * 1024 * 1024 + 1)


@pytest.mark.parametrize("size_bytes", SIZES)
def test_a_body_of_any_size_comes_back_as_it_went(nodes: Nodes, size_bytes: int) -> None:
    body = (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]
    path = f"sized/{size_bytes}"
    assert nodes.put("n1", path, body).json["size_bytes"] == size_bytes
    for node in ("n1", "n3"):
        reply = nodes.get(node, path)
        assert reply.status == 200 and reply.body == body
    head = nodes.ask("n2", "HEAD", f"/_/api/v1/blobs/{path}")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(size_bytes), b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, 8_388_709),
        ("bytes=-5", 8_388_704, 8_388_709),
        ("bytes=8388600-8388619", 8_388_600, 8_388_620),
    ],
)
def test_a_range_is_served_across_parts(nodes: Nodes, asked: str, start: int, end: int) -> None:
    body = (bytes(range(241)) * 34_809)[:8_388_709]
    nodes.put("n2", "ranged", body)
    reply = nodes.get("n3", "ranged", Range=asked)
    assert (reply.status, reply.body) == (206, body[start:end])
    assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/{len(body)}"


def test_equal_bodies_share_their_parts(nodes: Nodes) -> None:
    body = b"shared" * 20_000
    same_slot = [path for number in range(4000) if slot(nodes, path := f"shared/{number}") == slot(nodes, "shared/0")][
        :2
    ]
    for path in same_slot:
        nodes.put("n1", path, body)
    directory = nodes.disk("n1") / "slots" / str(slot(nodes, "shared/0")) / "parts"
    assert len(list(directory.iterdir())) == 1


def slot(nodes: Nodes, path: str) -> int:

    return slot_of(path)
