"""The direct path and Tornado's handlers answer alike: status, headers and body, on real nodes."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from integration.cluster import BLOBS, Nodes, Reply, blob, running

LARGE = bytes(range(256)) * 40_000
OF_THE_MOMENT = ("date", "last-modified", "x-amberio-request-id")
Asked = tuple[str, str, bytes | None, Mapping[str, str]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Nodes]]:
    """Two clusters of one node, alike but for the way."""
    root: Path = tmp_path_factory.mktemp("ways")
    direct = Nodes(root / "direct", 1)
    tornado = Nodes(root / "tornado", 1, options=("--no-direct-path",))
    with running(direct), running(tornado):
        yield direct, tornado


WRITES: tuple[Asked, ...] = (
    ("PUT", blob("a"), b"hello", {"content-type": "text/plain", "x-amberio-write-id": "w1"}),
    ("PUT", blob("a"), b"hello", {"x-amberio-write-id": "w1"}),
    ("PUT", blob("a"), b"x", {"If-None-Match": "*"}),
    ("PUT", blob("a"), b"x", {"If-Match": '"nonsense"'}),
    ("PUT", blob("a"), b"x", {"If-Match": 'W/"weak"'}),
    ("PUT", blob("a"), b"x", {"x-amberio-if-generation": "9"}),
    ("PUT", blob("a"), b"x", {"x-amberio-if-generation": "one"}),
    ("PUT", blob("a"), b"x", {"x-amberio-write-id": ""}),
    ("PUT", blob("empty"), b"", {}),
    ("PUT", blob("large"), LARGE, {"content-type": "application/x-large"}),
    ("PUT", blob("größe/😀"), b"x", {}),
    ("PUT", BLOBS + "/a%00b", b"x", {}),
    ("PUT", BLOBS + "/a/../b", b"x", {}),
    ("PUT", BLOBS + "/" + "a" * 1025, b"x", {}),
    ("PUT", blob("gone"), b"x", {}),
    ("DELETE", blob("gone"), None, {"x-amberio-write-id": "d1"}),
    ("DELETE", blob("gone"), None, {"x-amberio-write-id": "d1"}),
    ("DELETE", blob("gone"), None, {}),
    ("DELETE", blob("never"), None, {}),
    ("DELETE", blob("a"), None, {"If-Match": '"nonsense"'}),
)
READS: tuple[Asked, ...] = tuple(
    (method, blob(path), None, headers)
    for method in ("GET", "HEAD")
    for path in ("a", "empty", "large", "größe/😀", "gone", "never", "..")
    for headers in (
        {},
        {"Range": "bytes=1-3"},
        {"Range": "bytes=-2"},
        {"Range": "bytes=99999999-"},
        {"Range": "lines=1"},
        {"If-None-Match": "*"},
        {"If-Match": '"nonsense"'},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    )
)
OTHERS: tuple[Asked, ...] = (
    ("GET", BLOBS + "?limit=2", None, {}),
    ("GET", BLOBS + "?prefix=g&include_deleted=true", None, {}),
    ("GET", BLOBS + "?limit=0", None, {}),
    ("GET", BLOBS + "?cursor=%21", None, {}),
    ("GET", blob("a") + "?version=1", None, {}),
    ("POST", blob("a"), b"x", {}),
    ("PATCH", blob("a"), b"x", {}),
    ("OPTIONS", BLOBS, None, {}),
    ("GET", "/_/api/v1/healthz", None, {}),
    ("HEAD", "/_/api/v1/healthz", None, {}),
    ("DELETE", "/_/api/v1/healthz", None, {}),
    ("GET", "/_/api/v1/slots/resolve?path=/a//b", None, {}),
    ("GET", "/_/api/v1/slots/resolve", None, {}),
    ("GET", "/_/nothing/here", None, {}),
    ("GET", "/internal/v1/slots/1/heads/a", None, {}),
)


def comparable(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs between any two moments."""
    headers = {name: value for name, value in reply.headers.items() if name not in OF_THE_MOMENT}
    request_id = reply.headers["x-amberio-request-id"].encode()
    body = re.sub(rb'"updated_at":"[^"]*"', b'"updated_at":""', reply.body.replace(request_id, b"ID"))
    return reply.status, headers, body


def test_every_answer_is_the_same_on_both_ways(both: tuple[Nodes, Nodes]) -> None:
    for method, target, body, headers in (*WRITES, *READS, *OTHERS):
        direct, tornado = (nodes.ask("n1", method, target, body, headers) for nodes in both)
        assert comparable(direct) == comparable(tornado), (method, target[:100], headers)
        for name in OF_THE_MOMENT:
            assert (name in direct.headers) == (name in tornado.headers)
        if direct.status >= 400 and method != "HEAD":
            assert set(json.loads(direct.body)["error"]) == {"code", "message", "request_id"}
