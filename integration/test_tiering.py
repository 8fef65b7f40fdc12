"""The cloud behind a cluster: write-through, write-back, read-through (A5, R1), with moto's S3 as the cloud."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from integration import moto_server
from integration.cluster import Nodes, blob, running
from integration.moto_server import Moto

LARGE = bytes(range(256)) * 1000
SHIPPED_S = 30.0


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with moto_server.running() as server:
        yield server


@dataclass
class TieredNodes(Nodes):
    """A cluster in front of a bucket of moto's."""

    url: str = ""
    bucket: str = ""
    archive: Mapping[str, object] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)

    def sections(self) -> dict[str, object]:
        keys = {"access_key_id": "key", "secret_access_key": "secret"}
        s3 = {"bucket": self.bucket, "endpoint": self.url, "allow_http": True, "credentials": keys}
        return {"archive": {"archive_type": "s3", "s3": s3, **self.archive}, "s3": {"anonymous": True}, **self.more}

    def pending(self, node: str) -> int:
        return int(self.ask(node, "GET", "/_/api/v1/archive").json["pending"])


def tiered(moto: Moto, root: Path, count: int, **archive: object) -> TieredNodes:
    bucket = f"archive-{root.name.lower().replace('_', '-')}"[:60]
    moto.client.create_bucket(Bucket=bucket)
    return TieredNodes(root, count, url=moto.url, bucket=bucket, archive=archive)


@pytest.fixture(scope="module")
def back(moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TieredNodes]:
    """Three nodes in write-back mode."""
    with running(tiered(moto, tmp_path_factory.mktemp("back"), 3, mode="write_back")) as started:
        assert isinstance(started, TieredNodes)
        yield started


@pytest.fixture(scope="module")
def through(moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TieredNodes]:
    """Three nodes in write-through mode."""
    with running(tiered(moto, tmp_path_factory.mktemp("through"), 3, mode="write_through")) as started:
        assert isinstance(started, TieredNodes)
        yield started


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SHIPPED_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def in_archive(moto: Moto, nodes: TieredNodes, path: str) -> Any:
    """What any S3 client reads there: the body, its type and metadata; None if there is nothing."""
    try:
        answer = moto.client.get_object(Bucket=nodes.bucket, Key=path)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
    return answer["Body"].read(), answer["ContentType"], answer["Metadata"]


def body_in_archive(moto: Moto, nodes: TieredNodes, path: str) -> bytes | None:
    found = in_archive(moto, nodes, path)
    return None if found is None else bytes(found[0])


def rows(nodes: TieredNodes, node: str, paths: set[str]) -> set[str]:
    """Which of these paths a node's database has a row of."""
    with sqlite3.connect(f"file:{nodes.disk(node) / 'registers.db'}?mode=ro", uri=True) as database:
        return {path for (path,) in database.execute("SELECT path FROM registers")} & paths


def is_import_done(nodes: TieredNodes, node: str) -> bool:
    return bool(nodes.ask(node, "GET", "/_/api/v1/archive").json["is_import_done"])


def until_shipped(nodes: TieredNodes) -> None:
    until(lambda: not any(nodes.pending(node) for node in nodes.names), "not all is shipped")


def test_what_is_written_back_comes_to_the_archive_under_its_key_with_its_metadata(
    moto: Moto, back: TieredNodes
) -> None:
    """Row R1."""
    small = back.ask("n1", "PUT", blob("photos/small"), b"small", {"content-type": "text/plain"})
    assert small.status == 201
    assert back.ask("n2", "PUT", "/photos", b"").status == 200
    headers = {"content-type": "image/png", "x-amz-meta-place": "Rome"}
    assert back.ask("n2", "PUT", "/photos/large", LARGE, headers).status == 200
    until_shipped(back)
    body, content_type, metadata = in_archive(moto, back, "photos/small")
    assert (body, content_type, metadata["amberio-generation"]) == (b"small", "text/plain", "1")
    body, content_type, metadata = in_archive(moto, back, "photos/large")
    assert (body, content_type, metadata["place"]) == (LARGE, "image/png", "Rome")
    back.put("n3", "photos/small", b"newer")
    back.ask("n1", "DELETE", blob("photos/large"))
    until_shipped(back)
    assert body_in_archive(moto, back, "photos/small") == b"newer"
    assert in_archive(moto, back, "photos/large") is None


def test_an_outage_of_the_archive_costs_no_write_in_write_back_mode(moto: Moto, back: TieredNodes) -> None:
    """Row R1."""
    moto.trouble = lambda _: "cut"
    try:
        for number in range(40):
            assert back.ask("n1", "PUT", blob(f"outage/{number}"), b"%d" % number).status == 201
        assert back.pending("n1") == 40
        back.kill("n1")  # what waits is on the others, too
        assert back.ask("n2", "PUT", blob("outage/0"), b"again").status == 201
    finally:
        moto.reset()
    until(lambda: not back.pending("n2") and not back.pending("n3"), "the others do not ship")
    assert body_in_archive(moto, back, "outage/0") == b"again"
    assert all(body_in_archive(moto, back, f"outage/{number}") == b"%d" % number for number in range(1, 40))
    back.start("n1")


def test_what_is_written_through_is_in_the_archive_when_the_client_is_answered(
    moto: Moto, through: TieredNodes
) -> None:
    """Row A5."""
    for number, node in enumerate(through.names * 2):
        body = LARGE[number:] if number % 2 else b"%d" % number
        assert through.ask(node, "PUT", blob(f"through/{number % 3}"), body).status == 201
        assert body_in_archive(moto, through, f"through/{number % 3}") == body
    assert through.ask("n1", "DELETE", blob("through/0")).status == 200
    assert in_archive(moto, through, "through/0") is None


def test_a_write_through_that_the_archive_does_not_take_is_unknown_and_shipped_later(
    moto: Moto, through: TieredNodes
) -> None:
    """Row A5."""
    moto.trouble = lambda _: "cut"
    try:
        unknown = through.ask("n1", "PUT", blob("doubt"), b"once", {"x-amberio-write-id": "w1"})
        assert (unknown.status, unknown.code) == (503, "OutcomeUnknown")
        assert unknown.headers["x-amberio-outcome"] == "unknown"
    finally:
        moto.reset()

    def answered() -> bool:
        reply = through.ask("n2", "PUT", blob("doubt"), b"once", {"x-amberio-write-id": "w1"})
        return reply.status == 200 and bool(reply.json["idempotent_replay"])

    until(answered, "the retry does not find its write")
    assert body_in_archive(moto, through, "doubt") == b"once"


def test_a_lost_answer_of_the_archive_is_no_second_object_and_no_lost_one(moto: Moto, through: TieredNodes) -> None:
    lost: list[str] = []

    def lose_one(environ: dict[str, Any]) -> moto_server.Fault | None:
        if environ["REQUEST_METHOD"] == "PUT" and not lost:
            lost.append(environ["PATH_INFO"])
            return "lose"
        return None

    moto.trouble = lose_one
    try:
        reply = through.ask("n1", "PUT", blob("lost-answer"), b"kept")
        assert reply.status in (201, 503) and lost
    finally:
        moto.reset()
    until_shipped(through)
    assert body_in_archive(moto, through, "lost-answer") == b"kept"


def test_parts_that_no_replica_has_come_from_the_archive_once_and_stay(moto: Moto, through: TieredNodes) -> None:
    """Row A5: read-through, ranged, with many readers."""
    assert through.ask("n1", "PUT", blob("evicted"), LARGE).status == 201
    for node in through.names:
        for part in through.disk(node).glob("slots/*/parts/*"):
            part.unlink()
    moto.reset()
    moto.hold_s = 0.2
    with ThreadPoolExecutor(8) as readers:
        replies = list(
            readers.map(
                lambda at: through.ask("n1", "GET", blob("evicted"), headers={"Range": f"bytes={at}-{at + 99}"}),
                range(0, 8000, 1000),
            )
        )
    assert [reply.body for reply in replies] == [LARGE[at : at + 100] for at in range(0, 8000, 1000)]
    assert sum(request.startswith("GET") for request in moto.seen) == 1
    moto.reset()
    assert through.ask("n1", "GET", blob("evicted")).body == LARGE
    assert moto.seen == []


def test_a_bucket_that_was_there_before_the_cluster_is_taken_over_page_by_page(moto: Moto, tmp_path: Path) -> None:
    """Row A5: import; bodies on demand; a node that is killed meanwhile, and the others go on."""
    nodes = tiered(moto, tmp_path, 3, mode="write_back")
    put = {"Bucket": nodes.bucket, "ContentType": "text/plain", "Metadata": {"who": "before"}}
    for number in range(45):
        moto.client.put_object(Key=f"old-bucket/{number:03}", Body=b"%d" % number, **put)
    moto.client.put_object(Key="old-bucket/large", Body=LARGE * 40, **put)
    moto.client.put_object(Key="with//slashes", Body=b"no path", **put)
    nodes.more = {"init_scan": {"enabled": True, "page_size": 10}}
    moto.reset()
    moto.hold_s = 0.05
    with running(nodes):
        early = nodes.ask("n2", "GET", blob("old-bucket/044"))
        assert (early.status, early.body) == (200, b"44"), "not imported yet, and there all the same"
        assert nodes.ask("n2", "PUT", blob("old-bucket/043"), b"x", {"If-None-Match": "*"}).status == 412
        assert nodes.ask("n3", "PUT", blob("old-bucket/042"), b"newer").status == 201
        nodes.kill("n1")
        nodes.start("n1")
        moto.hold_s = 0.0
        until(lambda: is_import_done(nodes, "n1"), "the import does not end")
        assert not any(
            request.startswith("GET") and "044" not in request and "list" not in request for request in moto.seen
        )
        listed = nodes.ask("n3", "GET", "/old-bucket?list-type=2")
        assert listed.status == 200 and listed.body.count(b"<Key>") == 46
        assert nodes.ask("n1", "GET", blob("old-bucket/042")).body == b"newer"
        reply = nodes.ask("n1", "GET", "/old-bucket/007")
        assert (reply.body, reply.headers["content-type"], reply.headers["x-amz-meta-who"]) == (
            b"7",
            "text/plain",
            "before",
        )
        middle = nodes.ask("n2", "GET", blob("old-bucket/large"), headers={"Range": "bytes=9000000-9000099"})
        assert middle.body == (LARGE * 40)[9000000:9000100]
        moto.reset()
        assert (
            nodes.ask("n2", "GET", blob("old-bucket/large"), headers={"Range": "bytes=8999000-8999009"}).status == 206
        )
        assert not moto.seen, "what was read is kept"
        assert nodes.ask("n1", "GET", blob("old-bucket/large")).body == LARGE * 40
        # a version on top of it must not take the only copy with it
        versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        assert nodes.ask("n1", "PUT", "/old-bucket?versioning", versioning).status == 200
        assert nodes.ask("n1", "PUT", "/old-bucket/large", b"version 2").status == 200
        until_shipped(nodes)
        assert body_in_archive(moto, nodes, "old-bucket/large") == b"version 2"
        assert nodes.ask("n1", "GET", "/old-bucket/large?versionId=null").body == LARGE * 40


def test_operators_see_what_is_where_and_archive_and_restore_on_demand(moto: Moto, back: TieredNodes) -> None:
    """Row B4: the index, with ranges; archive and restore."""
    assert back.ask("n1", "PUT", blob("demand/large"), LARGE * 40).status == 201
    reply = back.ask("n2", "POST", "/_/api/v1/archive/blobs/demand/large")
    assert (reply.status, reply.json["generation"], reply.json["target"]) == (200, 1, "demand/large")
    assert body_in_archive(moto, back, "demand/large") == LARGE * 40
    until_shipped(back)

    def indexed(node: str) -> Any:
        return back.ask(node, "GET", "/_/api/v1/archive/index?prefix=demand/").json["items"][0]

    item = indexed("n3")
    assert (item["is_archived"], item["is_settled"], item["archived_generation"]) == (True, True, 1)
    spans = [(part["start"], part["end"], part["is_here"]) for part in item["ranges"]]
    assert spans == [(0, 8 * 1024**2, True), (8 * 1024**2, len(LARGE) * 40, True)]

    def is_everywhere() -> bool:  # a write quorum has it when a client is told, the third node a moment later
        return all(part["is_here"] for node in back.names for part in indexed(node)["ranges"])

    until(is_everywhere, "the third replica has no parts")
    for node in back.names:
        for part in item["ranges"]:
            next(back.disk(node).glob(f"slots/*/parts/{part['sha256']}")).unlink()
    assert not any(part["is_here"] for part in indexed("n1")["ranges"])
    assert back.ask("n1", "POST", "/_/api/v1/archive/restore/demand/large").json["size_bytes"] == len(LARGE) * 40
    until(is_everywhere, "not restored")
    assert back.ask("n1", "POST", "/_/api/v1/archive/restore/demand/nothing").status == 404


def test_only_what_the_archive_has_leaves_the_disk_and_is_read_all_the_same(moto: Moto, tmp_path: Path) -> None:
    """Row R1: eviction by a mark, of confirmed parts only."""
    nodes = tiered(moto, tmp_path, 3, mode="write_back", evict_above_bytes=1_000_000)
    bodies = {f"evict/{number}": LARGE + b"%d" % number for number in range(12)}

    def on_disk(node: str) -> int:
        return sum(part.stat().st_size for part in nodes.disk(node).glob("slots/*/parts/*"))

    with running(nodes):
        moto.trouble = lambda _: "cut"
        try:
            for path, body in bodies.items():
                assert nodes.ask("n1", "PUT", blob(path), body).status == 201
            time.sleep(2.5)
            assert all(on_disk(node) == sum(map(len, bodies.values())) for node in nodes.names)
        finally:
            moto.reset()
        until(lambda: all(on_disk(node) <= 1_000_000 for node in nodes.names), "nothing is evicted")
        for path, body in bodies.items():
            assert nodes.ask("n2", "GET", blob(path)).body == body


def test_what_is_deleted_is_forgotten_when_it_is_gone_from_the_archive_for_good(moto: Moto, tmp_path: Path) -> None:
    """Row B5, with an archive: not while the deletion waits, nor while an older request may still come."""
    life_s = 4.0
    nodes = tiered(moto, tmp_path, 3, mode="write_back", request_life_s=life_s)
    nodes.more = {"healing": {"every_s": 0.2, "tombstone_grace_s": 0.1, "tombstones_every_s": 0.1}}
    paths = {f"gone/{number}" for number in range(4)}

    with running(nodes):
        for path in paths:
            assert nodes.put("n1", path, LARGE).status == 201
        until_shipped(nodes)
        moto.trouble = lambda _: "cut"
        try:
            for path in paths:
                assert nodes.delete("n2", path).status == 200
            time.sleep(0.5)
            assert all(rows(nodes, node, paths) == paths for node in nodes.names), "the archive has it all yet"
        finally:
            moto.reset()
        shipped_s = time.monotonic()
        until(lambda: not any(rows(nodes, node, paths) for node in nodes.names), "not all is forgotten")
        assert time.monotonic() - shipped_s >= life_s, "forgotten while a request that was older may have been alive"
        for path in paths:
            assert {nodes.get(node, path).status for node in nodes.names} == {404}
            assert in_archive(moto, nodes, path) is None
            assert nodes.put("n3", path, b"anew").json["generation"] == 3
        until_shipped(nodes)
        assert {body_in_archive(moto, nodes, path) for path in paths} == {b"anew"}


def test_nothing_is_forgotten_before_the_import_is_done_as_it_would_come_back(moto: Moto, tmp_path: Path) -> None:
    """Row A5: of a path whose mode keeps its deletion from the archive, the object is there yet."""
    nodes = tiered(moto, tmp_path, 3, mode="none")
    nodes.more = {
        "init_scan": {"enabled": True},
        "healing": {"every_s": 0.2, "tombstone_grace_s": 0.1, "tombstones_every_s": 0.1},
    }
    moto.client.put_object(Bucket=nodes.bucket, Key="old/1", Body=b"before")

    def no_list(environ: dict[str, Any]) -> moto_server.Fault | None:
        return "cut" if "list-type" in environ["QUERY_STRING"] else None

    moto.trouble = no_list
    try:
        with running(nodes):
            assert nodes.get("n1", "old/1").body == b"before"
            assert nodes.delete("n1", "old/1").status == 200
            time.sleep(1.5)
            assert {nodes.get(node, "old/1").status for node in nodes.names} == {410}
            moto.trouble = lambda _: None
            until(lambda: all(is_import_done(nodes, node) for node in nodes.names), "the import does not end")
            until(lambda: not any(rows(nodes, node, {"old/1"}) for node in nodes.names), "it is not forgotten")
            assert {nodes.get(node, "old/1").status for node in nodes.names} == {404}
    finally:
        moto.reset()


def test_a_node_ends_in_time_though_its_archive_is_silent(moto: Moto, tmp_path: Path) -> None:
    nodes = tiered(moto, tmp_path, 1, mode="write_back")
    with running(nodes):
        moto.hold_s = 30.0
        try:
            assert nodes.ask("n1", "PUT", blob("held"), b"held").status == 201
            until(lambda: moto.seen != [], "nothing is shipped")
            assert nodes.stop("n1") == 0, "it does not wait for an answer, which would be too late"
        finally:
            moto.reset()
