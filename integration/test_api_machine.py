"""The native API of a real node, both ways through the HTTP layer, against a dict: any requests in any order.

Each walk has a prefix of its own on a server that lives as long as the module. Paths are nasty on purpose, and spelled
in a new way each time: percent-encoded more or less, decomposed, with slashes too many.
"""

import http.client
import itertools
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
)

from impl.protocol.tests.refuting import assert_refuted, walk
from integration.blob_model import (
    ASKED,
    GUARDS,
    PATH_BYTES_MAX,
    REMEMBERED_WRITES,
    Asked,
    Guard,
    Span,
    Stored,
    Stores,
    Written,
    filled,
    normal,
    spans,
)
from integration.cluster import BLOBS, Nodes, Reply, running

PREFIX_BYTES = len("walk000000/")
SEGMENTS = ("a", "b.txt", ".hidden", "..c", "...", "d e", "+", "a+b", "%", "%2F", "%2e%2e", "100%", "é", "e\u0301", "Å")
SEGMENTS += (
    "\u212b",
    "ﬁ",
    "漢字",
    "😀",
    "\u202e",
    "ß",
    "&=?#",
    ";:@",
    "\\",
    "'\"",
    "<>",
    "{|}",
    "^`",
    "[0]",
    "~",
    "$!*(),",
)
BAD_NAMES = ("..", "a/../b", ".", "a/./b", "nul\0", "tab\t", "x\x7f", "\x85", "(too long)")
LONG_NAMES = {
    "(longest)": "z" * (PATH_BYTES_MAX - PREFIX_BYTES),
    "(longest, é)": "é" * ((PATH_BYTES_MAX - PREFIX_BYTES) // 2),
}
BODIES = {
    "none": b"",
    "short": b"hello",
    "every byte": bytes(range(256)) * 3,
    "just inline": b"i" * 65_536,
    "just not inline": b"p" * 65_537,
}
SPELLINGS = 6

segments = st.one_of(st.sampled_from(SEGMENTS), st.text(st.sampled_from("aé /.+%"), min_size=1, max_size=4))
names = st.one_of(
    st.lists(segments, min_size=1, max_size=3).map("/".join),
    st.lists(segments, min_size=1, max_size=2).map(lambda parts: "/".join(parts) + "/"),
    st.sampled_from(sorted(LONG_NAMES)),
)
spellings = st.integers(0, SPELLINGS - 1)
ranges = st.builds(
    lambda first, last, way: spans(first, last)[way],
    st.sampled_from((0, 1, 4, 5, 100, 65_535, 65_536)),
    st.sampled_from((0, 1, 4, 5, 6, 65_536, 99_999_999)),
    st.sampled_from((0, 0, 0, 1, 2, 2, 3, 4)),
)


def target(path: str, spelling: int) -> str:
    """One of several spellings of a path, all of which name the same object."""
    match spelling:
        case 1:
            encoded = quote(path, safe="/!$&'()*+,;=:@")
        case 2:
            encoded = "".join(f"%{byte:02x}" for byte in path.encode())
        case 3:
            encoded = quote(unicodedata.normalize("NFD", path))
        case 4:
            encoded = "/" + quote(path).replace("/", "//")
        case 5:
            encoded = quote(path, safe="")
        case _:
            encoded = quote(path)
    return f"{BLOBS}/{encoded}"


class Client:
    """One connection that is kept, as clients do; `padding` stands after the values of headers."""

    def __init__(self, port: int) -> None:
        self.padding = ""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)

    def ask(self, method: str, where: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> Reply:
        padded = {name: value + self.padding for name, value in headers.items()}
        self._connection.request(method, where, body, padded)
        response = self._connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, named, response.read())

    def close(self) -> None:
        self._connection.close()


walks = itertools.count()
Page = tuple[str, bool, str, str]


@dataclass(frozen=True)
class Retry:
    """A write as a client may send it once more; no body: a delete."""

    path: str
    write_id: str | None
    body: bytes | None = field(repr=False)
    content_type: str = ""


class ApiMachine(RuleBasedStateMachine):
    """A client of one node, and what the node must know."""

    paths = Bundle("paths")
    retries = Bundle("retries")
    pages = Bundle("pages")

    def __init__(self, port: int) -> None:
        super().__init__()
        self.client = Client(port)
        self.prefix = f"walk{next(walks):06}/"
        self.stores = Stores()
        self.bodies: dict[str, bytes] = {}
        self.writes = 0
        self.floods = 0

    def teardown(self) -> None:
        self.client.close()

    @initialize(
        target=paths,
        drawn=st.lists(names, min_size=1, max_size=4),
        body=st.sampled_from(sorted(BODIES)),
        padding=st.sampled_from(("", " ", "\t  ")),
    )
    def begin(self, drawn: list[str], body: str, padding: str) -> MultipleResults[str]:
        """The paths of this walk, few enough to meet again; the first has an object."""
        self.client.padding = padding
        normalised = (normal(self.prefix + LONG_NAMES.get(name, name)) for name in drawn)
        found = [path for path in normalised if path is not None]
        for path in found[:1]:
            self.write(Retry(path, None, BODIES[body]), 0, GUARDS[0])
        return multiple(*found)

    # -- writes

    @rule(
        target=retries,
        path=paths,
        spelling=spellings,
        body=st.sampled_from(sorted(BODIES)),
        guard=st.sampled_from(GUARDS),
        content_type=st.sampled_from(("text/plain", "", 'x/y; charset="z"')),
        way=st.sampled_from(("id", "no id", "chunked")),
    )
    def put(
        self, path: str, spelling: int, body: str, guard: Guard, content_type: str, way: str
    ) -> MultipleResults[Retry]:
        retry = Retry(path, self.fresh_id() if way == "id" else None, BODIES[body], content_type)
        self.write(retry, spelling, guard, is_chunked=way == "chunked")
        return multiple(retry) if retry.write_id else multiple()

    @rule(target=retries, path=paths, spelling=spellings, guard=st.sampled_from(GUARDS), has_id=st.booleans())
    def delete(self, path: str, spelling: int, guard: Guard, has_id: bool) -> MultipleResults[Retry]:
        retry = Retry(path, self.fresh_id() if has_id else None, None)
        self.write(retry, spelling, guard)
        return multiple(retry) if retry.write_id else multiple()

    @rule(retry=retries, spelling=spellings, guard=st.sampled_from(GUARDS))
    def write_again(self, retry: Retry, spelling: int, guard: Guard) -> None:
        """The first outcome, whatever came after, and though its precondition may not hold any more."""
        self.write(retry, spelling, guard)

    @precondition(lambda self: self.floods < 2)
    @rule(path=paths, count=st.sampled_from((1, REMEMBERED_WRITES - 1, REMEMBERED_WRITES)))
    def write_much_and_again(self, path: str, count: int) -> None:
        self.floods += 1
        retry = Retry(path, self.fresh_id(), b"first")
        self.write(retry, 0, GUARDS[0])
        for number in range(count):
            self.write(Retry(path, None, b"flood %d" % number), 0, GUARDS[0])
        self.write(retry, 0, GUARDS[0])

    @rule(
        name=st.sampled_from(BAD_NAMES),
        method=st.sampled_from(("PUT", "GET", "DELETE")),
        spelling=st.sampled_from((0, 2)),
    )
    def name_what_cannot_be(self, name: str, method: str, spelling: int) -> None:
        name = name.replace("(too long)", "z" * (PATH_BYTES_MAX - PREFIX_BYTES + 1))
        body = b"x" if method == "PUT" else None
        self.check_error(self.client.ask(method, target(self.prefix + name, spelling), body), 400)

    # -- reads

    @rule(
        path=paths,
        spelling=spellings,
        method=st.sampled_from(("GET", "GET", "HEAD")),
        asked=st.sampled_from(ASKED),
        span=st.one_of(st.none(), ranges),
    )
    def read(self, path: str, spelling: int, method: str, asked: Asked, span: Span | None) -> None:
        stored = self.stores[path]
        headers = filled(asked.headers, stored)
        if span is not None:
            headers["Range"] = span.header
        reply = self.client.ask(method, target(path, spelling), None, **headers)
        assert method != "HEAD" or not reply.body
        if not stored.is_live:
            assert reply.status == (410 if stored.generation else 404)
            assert reply.headers.get("x-amberio-generation") == (str(stored.generation) if stored.generation else None)
            return
        if asked.verdict == "serve":
            self.check_content(stored, reply, method, span if asked.ranged else None)
        else:
            assert reply.status == (304 if asked.verdict == "not modified" else 412)
        if reply.status != 416:
            assert reply.headers.get("etag") == stored.etag
            assert reply.headers.get("x-amberio-generation") == str(stored.generation)

    @rule(path=paths, asked=st.lists(ranges, min_size=1, max_size=4))
    def read_ranges(self, path: str, asked: list[Span]) -> None:
        for span in asked:
            self.read(path, 0, "GET", ASKED[0], span)

    @rule(
        target=pages,
        path=paths,
        cut=st.integers(0, 12),
        limit=st.sampled_from((None, 1, 2, 3, 1000)),
        include_deleted=st.booleans(),
    )
    def list(self, path: str, cut: int, limit: int | None, include_deleted: bool) -> MultipleResults[Page]:
        """From a prefix that ends anywhere in a path."""
        prefix = unicodedata.normalize("NFC", path[: max(PREFIX_BYTES, len(path) - cut)])
        return self.page(prefix, include_deleted, "", None, limit)

    @rule(target=pages, page=consumes(pages), limit=st.sampled_from((None, 1, 2, 1000)))
    def list_on(self, page: Page, limit: int | None) -> MultipleResults[Page]:
        """A page goes on after the last path, whatever was written in between."""
        return self.page(*page, limit)

    @rule(
        query=st.sampled_from(
            ("limit=0", "limit=1001", "limit=x", "cursor=%21", "include_deleted=perhaps", "limit=1&limit=1")
        )
    )
    def list_nonsense(self, query: str) -> None:
        self.check_error(self.client.ask("GET", f"{BLOBS}?prefix={self.prefix}&{query}"), 400)

    # -- what answers must be

    def fresh_id(self) -> str:
        self.writes += 1
        return f"w {self.writes}"

    def write(self, retry: Retry, spelling: int, guard: Guard, is_chunked: bool = False) -> None:
        """Send it, and take what it does over into the model."""
        path, body = retry.path, retry.body
        stored = self.stores[path]
        headers = filled(guard.headers, stored)
        if retry.write_id is not None:
            headers["x-amberio-write-id"] = retry.write_id
        if body is not None:
            headers["content-type"] = retry.content_type
        sent = iter((body[:3], body[3:])) if is_chunked and body is not None and len(body) > 3 else body
        reply = self.client.ask("DELETE" if body is None else "PUT", target(path, spelling), sent, **headers)
        earlier = stored.earlier(retry.write_id) if guard.holds is not None else None
        if earlier is not None:
            self.check_written(path, earlier, reply, replayed=True)
        elif self.is_refused(guard, stored, reply):
            return
        elif body is not None:
            etag = reply.json.get("etag")
            assert etag is not None and self.bodies.setdefault(etag, body) == body, "one etag, one body"
            written = stored.write(retry.write_id, etag, body, retry.content_type or "application/octet-stream")
            self.check_written(path, written, reply, replayed=False)
        elif not stored.generation:
            self.check_error(reply, 404)
        elif not stored.is_live:
            self.check_written(path, Written(None, stored.generation, None, 0), reply, replayed=False)
        else:
            self.check_written(path, stored.write(retry.write_id, None, b"", ""), reply, replayed=False)

    def is_refused(self, guard: Guard, stored: Stored, reply: Reply) -> bool:
        if guard.holds is None:
            self.check_error(reply, 400)
            return True
        if guard.holds(stored):
            return False
        self.check_error(reply, guard.refusal)
        assert reply.headers.get("x-amberio-generation") == str(stored.generation)
        return True

    def check_written(self, path: str, written: Written, reply: Reply, replayed: bool) -> None:
        """A tombstone has no etag, and its answer is that of a delete."""
        told = {"path": path, "generation": written.generation, "committed_replicas": 1}
        if written.etag is not None:
            told |= {"etag": written.etag, "size_bytes": written.size_bytes, "slot_id": reply.json.get("slot_id")}
            assert reply.json.get("slot_id") in range(2048)
            assert reply.headers.get("etag") == written.etag
        if replayed:
            told |= {"idempotent_replay": True}
        assert reply.status == (200 if replayed or written.etag is None else 201)
        assert reply.json == told
        assert reply.headers.get("x-amberio-generation") == str(written.generation)

    def check_error(self, reply: Reply, status: int) -> None:
        assert reply.status == status
        error = reply.json["error"]
        assert set(error) == {"code", "message", "request_id"} and error["code"] and error["message"]
        assert error["request_id"] == reply.headers["x-amberio-request-id"]

    def check_content(self, stored: Stored, reply: Reply, method: str, span: Span | None) -> None:
        size = len(stored.body)
        start, end = (0, size) if span is None or span.slice is None else span.slice(size)
        if start >= end and span is not None and span.slice is not None:
            assert (reply.status, reply.headers.get("content-range")) == (416, f"bytes */{size}")
            return
        assert reply.headers.get("content-length") == str(end - start)
        assert reply.headers.get("content-type") == stored.content_type
        assert parsedate_to_datetime(reply.headers.get("last-modified", "")).tzinfo is not None
        if span is None or span.slice is None:
            assert reply.status == 200 and "content-range" not in reply.headers
        else:
            assert (reply.status, reply.headers.get("content-range")) == (206, f"bytes {start}-{end - 1}/{size}")
        assert method == "HEAD" or reply.body == stored.body[start:end]

    def page(
        self, prefix: str, include_deleted: bool, after: str, cursor: str | None, limit: int | None
    ) -> MultipleResults[Page]:
        asked = {"prefix": prefix, "include_deleted": str(include_deleted).lower()}
        asked |= {} if cursor is None else {"cursor": cursor}
        asked |= {} if limit is None else {"limit": str(limit)}
        quoted = quote_plus if limit == 1 else quote
        reply = self.client.ask(
            "GET", f"{BLOBS}?" + "&".join(f"{name}={quoted(value)}" for name, value in asked.items())
        )
        assert reply.status == 200
        found = self.stores.listed(prefix, after, include_deleted)
        items = reply.json["items"]
        assert all(datetime.fromisoformat(item.pop("updated_at")).tzinfo is not None for item in items)
        assert items == [
            {
                "path": path,
                "generation": stored.generation,
                "etag": stored.etag,
                "size_bytes": len(stored.body),
                "deleted": not stored.is_live,
            }
            for path, stored in found[:limit]
        ]
        following = reply.json["next_cursor"]
        assert (following is not None) == (limit is not None and len(found) > limit), "a cursor where there is more"
        return multiple() if following is None else multiple((prefix, include_deleted, items[-1]["path"], following))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="direct"),
        pytest.param(("--no-direct-path",), id="tornado"),
    ],
)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("api"), 1, options=request.param)) as nodes:
        yield nodes


def test_the_api_answers_as_a_dict_would(nodes: Nodes) -> None:
    walk(lambda: ApiMachine(nodes.ports["n1"]), examples=30, steps=40)


class BrokenNodes(Nodes):
    """A node that is broken on purpose in the ways that `options` name."""

    mutants: tuple[str, ...] = ()

    def config(self, node: str) -> Path:
        file = super().config(node)
        file.write_text(json.dumps(json.loads(file.read_text()) | {"mutants": self.mutants}))
        return file


@pytest.mark.parametrize(
    "mutant",
    [
        "tombstone-not-found",
        "swap-304-and-412",
        "range-off-by-one",
        "replay-tells-newest",
        "etag-of-previous",
        "ignore-if-none-match",
        "recent-writes-too-short",
        "condition-before-write-id",
        "tombstone-forgets-generation",
    ],
)
def test_an_api_that_breaks_its_word_is_noticed(mutant: str, tmp_path: Path) -> None:
    nodes = BrokenNodes(tmp_path, 1, options=("--allow-mutants",))
    nodes.mutants = (mutant,)
    with running(nodes):
        assert_refuted(lambda: ApiMachine(nodes.ports["n1"]), examples=200, steps=40)
