"""What lies on a node's disk is what its heads name: rotten and missing parts come, unnamed ones go (B2, B5)."""

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from integration.cluster import Nodes, blob, running

LARGE = bytes(range(256)) * 400
PATIENCE_S = 30.0
GRACE_S = 0.4


@dataclass
class KeepingNodes(Nodes):
    """A cluster whose nodes look after their parts like this."""

    healing: Mapping[str, object] = field(default_factory=dict)

    def sections(self) -> dict[str, object]:
        return {"healing": dict(self.healing), "s3": {"anonymous": True}}

    def counted(self, node: str, prefix: str) -> dict[str, float]:
        """What a node says in its metrics of the families that begin so."""
        text = self.ask(node, "GET", "/_metrics").body.decode()
        return {name: float(value) for name, value in re.findall(rf"^{prefix}_(\w+)_total (\S+)", text, re.MULTILINE)}

    def parts(self, node: str) -> dict[str, Path]:
        return {file.name: file for file in self.disk(node).glob("slots/*/parts/*")}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeepingNodes]:
    healing = {"every_s": 600, "parts_every_s": 0.2, "parts_grace_s": GRACE_S, "scrub_bytes_per_s": 64 * 1024 * 1024}
    limits = {"cache_bytes": 1}  # what lies in the database is what counts
    with running(KeepingNodes(tmp_path_factory.mktemp("kept"), 3, limits=limits, healing=healing)) as started:
        assert isinstance(started, KeepingNodes)
        yield started


def until(is_so: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_part_that_rots_or_vanishes_is_had_anew_though_nobody_reads_it(nodes: KeepingNodes) -> None:
    rotten, lost = LARGE + b"rotten", LARGE + b"lost"
    for path, body in (("rotten", rotten), ("lost", lost)):
        assert nodes.put("n1", path, body).status == 201
    until(lambda: {digest(rotten), digest(lost)} <= nodes.parts("n2").keys(), "n2 has both parts")
    files = nodes.parts("n2")
    files[digest(rotten)].write_bytes(rotten[:-1] + b"!")
    files[digest(lost)].unlink()
    until(lambda: files[digest(lost)].exists() and files[digest(lost)].read_bytes() == lost, "the lost one is back")
    until(lambda: files[digest(rotten)].exists() and files[digest(rotten)].read_bytes() == rotten, "the other one, too")
    assert (nodes.disk("n2") / "rotten" / digest(rotten)).exists(), "for whoever wants to know why"
    until(lambda: nodes.counted("n2", "amberio_scrub")["repaired"] == 1, "the repair is counted")
    until(lambda: nodes.counted("n2", "amberio_scrub")["bytes"] >= len(lost), "and what was read")
    assert nodes.counted("n2", "amberio_scrub")["rotten"] == 1


def test_a_small_body_that_rots_in_its_row_is_written_anew(nodes: KeepingNodes) -> None:
    body = b"a body that rides in the head"
    assert nodes.put("n1", "small", body).status == 201
    assert nodes.ask("n1", "PUT", "/bucket").status == 200
    assert nodes.ask("n1", "PUT", "/bucket/small", body).status == 200
    for path in ("small", "bucket/small"):
        until(lambda path=path: nodes.get("n3", path).status == 200, "n3 serves it")
        nodes.put("n3", "another", b"the one that n3 has in memory")
        before = nodes.counted("n3", "amberio_scrub")["repaired"]
        with sqlite3.connect(nodes.disk("n3") / "registers.db", timeout=20) as database:
            database.execute("UPDATE registers SET body = ? WHERE path = ?", (body[:-1] + b"!", path))
        database.close()
        until(lambda before=before: nodes.counted("n3", "amberio_scrub")["repaired"] == before + 1, "repaired")
        with sqlite3.connect(nodes.disk("n3") / "registers.db", timeout=20) as database:
            assert database.execute("SELECT body FROM registers WHERE path = ?", (path,)).fetchone() == (body,)
        database.close()


def test_what_no_head_names_any_more_goes_after_the_grace_time_and_all_else_stays(nodes: KeepingNodes) -> None:
    gone, kept, older = LARGE + b"gone", LARGE + b"kept", LARGE + b"older"
    assert nodes.put("n1", "goes", gone).status == 201
    assert nodes.put("n1", "stays", kept).status == 201
    for body in (older, b"new"):
        assert nodes.ask("n1", "PUT", blob("versions") + "?versioned=true", body).status == 201
    began = nodes.ask("n1", "POST", "/bucket/whole?uploads").body.decode()
    (upload,) = re.findall("<UploadId>(.*)</UploadId>", began)
    part = LARGE + b"part"
    sent = nodes.ask("n1", "PUT", f"/bucket/whole?partNumber=1&uploadId={upload}", part)
    assert sent.status == 200
    assert nodes.delete("n2", "goes").status == 200
    until(lambda: all(digest(gone) not in nodes.parts(node) for node in nodes.names), "the part goes everywhere")
    time.sleep(3 * GRACE_S)
    for node in nodes.names:
        assert {digest(kept), digest(older), digest(part)} <= nodes.parts(node).keys()
        assert nodes.counted(node, "amberio_parts")["collected"] >= 1
    named = f"<Part><PartNumber>1</PartNumber><ETag>{sent.headers['etag']}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>"
    assert nodes.ask("n3", "POST", f"/bucket/whole?uploadId={upload}", document.encode()).status == 200
    time.sleep(2 * GRACE_S)
    assert nodes.ask("n2", "GET", "/bucket/whole").body == part
    assert nodes.get("n2", "stays").body == kept
    assert nodes.ask("n2", "GET", blob("versions") + "?version=1").body == older


@pytest.mark.parametrize("reader", ["n1", "n3"])
def test_a_replica_that_a_read_meets_behind_heals_that_path(nodes: KeepingNodes, reader: str) -> None:
    """The row is taken from under the node, so its digests say that nothing is missing: only a read can tell."""
    path = f"behind/{reader}"
    assert nodes.put("n1", path, b"here").status == 201
    until(lambda: row(nodes, "n3", path), "n3 has it")
    time.sleep(0.5)  # whatever n3 was told of this path while the write was on its way to it
    with sqlite3.connect(nodes.disk("n3") / "registers.db", timeout=20) as database:
        database.execute("DELETE FROM registers WHERE path = ?", (path,))
    database.close()
    assert nodes.put("n3", "another", b"the one that n3 has in memory").status in (200, 201)
    before = nodes.counted(reader, "amberio_read_repair")["found"]
    assert nodes.get(reader, path).body == b"here"
    until(lambda: row(nodes, "n3", path), "n3 has it again")
    assert nodes.counted(reader, "amberio_read_repair")["found"] > before
    assert nodes.counted("n3", "amberio_healing")["healed"] >= 1


def row(nodes: KeepingNodes, node: str, path: str) -> object:
    """Does a node's own database have the path?"""
    with sqlite3.connect(nodes.disk(node) / "registers.db", timeout=20) as database:
        found = database.execute("SELECT accepted_node FROM registers WHERE path = ?", (path,)).fetchone()
    database.close()
    return found
