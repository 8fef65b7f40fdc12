"""A1 and A2: what the native API answers, the same on the direct path and through Tornado (native-api.md)."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.api.http.edge import HttpLimits
from impl.api.tests.rig import Client, Rig, serving
from impl.errors import DiskFull, NoQuorum, OutcomeUnknown, Overloaded
from impl.model import INLINE_BODY_BYTES_MAX, PathError, normalise_path

BLOBS = "/_/api/v1/blobs/"
Story = Callable[[Rig, Client], Awaitable[None]]

pytestmark = pytest.mark.parametrize("way", ["direct", "tornado"])


def tell(way: str, story: Story, limits: HttpLimits | None = None) -> None:
    """Run a story with one client against a fresh node."""

    async def run() -> None:
        async with serving(way, limits) as rig, rig.client() as client:
            await story(rig, client)

    asyncio.run(run())


def error_code(body: bytes) -> str:
    error = msgspec.json.decode(body)["error"]
    assert set(error) == {"code", "message", "request_id"} and error["message"] and error["request_id"]
    code: str = error["code"]
    return code


def test_a_put_is_created_and_read_back(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        put = await client.ask("PUT", BLOBS + "a/b", b"hello", {"content-type": "text/plain"})
        etag = f'"{hashlib.sha256(b"hello").hexdigest()}"'
        assert put.status == 201 and put.headers["etag"] == etag
        slot = rig.node.locate("a/b")[0]
        assert msgspec.json.decode(put.body) == {
            "path": "a/b", "slot_id": slot, "generation": 1, "etag": etag, "size_bytes": 5, "committed_replicas": 3,
        }  # fmt: skip
        got = await client.ask("GET", BLOBS + "a/b")
        assert (got.status, got.body) == (200, b"hello")
        assert got.headers["etag"] == etag and got.headers["x-amberio-generation"] == "1"
        assert got.headers["content-type"] == "text/plain" and got.headers["content-length"] == "5"
        assert got.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"

    tell(way, story)


def test_head_answers_as_get_without_the_body(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "a", b"hello")
        for headers in ({}, {"Range": "bytes=1-2"}, {"Range": "bytes=9-"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}):
            got = await client.ask("GET", BLOBS + "a", headers=headers)
            head = await client.ask("HEAD", BLOBS + "a", headers=headers)
            changing = ("date", "x-amberio-request-id")
            assert head.status == got.status
            assert {name: value for name, value in head.headers.items() if name not in changing} == {
                name: value for name, value in got.headers.items() if name not in changing
            }
        assert (await client.ask("HEAD", BLOBS + "missing")).status == 404

    tell(way, story)


def test_a_retry_with_the_same_write_id_is_a_replay(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        first = await client.ask("PUT", BLOBS + "a", b"1", {"x-amberio-write-id": "w1"})
        await client.ask("PUT", BLOBS + "a", b"2", {"x-amberio-write-id": "w2"})
        again = await client.ask("PUT", BLOBS + "a", b"1", {"x-amberio-write-id": "w1"})
        assert (first.status, again.status) == (201, 200)
        assert msgspec.json.decode(again.body) == msgspec.json.decode(first.body) | {"idempotent_replay": True}

    tell(way, story)


def test_never_written_is_404_and_deleted_is_410(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        assert (await client.ask("GET", BLOBS + "a")).status == 404
        assert (await client.ask("DELETE", BLOBS + "a")).status == 404
        await client.ask("PUT", BLOBS + "a", b"1")
        gone = await client.ask("DELETE", BLOBS + "a", headers={"x-amberio-write-id": "d"})
        assert (gone.status, msgspec.json.decode(gone.body)["generation"]) == (200, 2)
        assert (await client.ask("DELETE", BLOBS + "a", headers={"x-amberio-write-id": "d"})).status == 200
        assert (await client.ask("DELETE", BLOBS + "a")).status == 200
        got = await client.ask("GET", BLOBS + "a")
        assert (got.status, error_code(got.body), got.headers["x-amberio-generation"]) == (410, "Deleted", "2")

    tell(way, story)


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("If-Match", '"ETAG"', 201),
        ("If-Match", "ETAG", 201),
        ("If-Match", "*", 201),
        ("If-Match", '"other"', 412),
        ("If-Match", 'W/"ETAG"', 400),
        ("If-Match", '"a", "b"', 400),
        ("If-Match", '"unbalanced', 400),
        ("If-None-Match", "*", 412),
        ("If-None-Match", '"ETAG"', 412),
        ("If-None-Match", 'W/"ETAG"', 412),
        ("If-None-Match", '"other"', 201),
        ("If-None-Match", '"a", "b"', 400),
        ("x-amberio-if-generation", "1", 201),
        ("x-amberio-if-generation", "0", 409),
        ("x-amberio-if-generation", "-1", 400),
        ("x-amberio-if-generation", "1.0", 400),
    ],
)
def test_a_conditional_write_is_exact(way: str, header: str, value: str, status: int) -> None:
    async def story(rig: Rig, client: Client) -> None:
        etag = hashlib.sha256(b"1").hexdigest()
        await client.ask("PUT", BLOBS + "a", b"1")
        put = await client.ask("PUT", BLOBS + "a", b"2", {header: value.replace("ETAG", etag)})
        assert put.status == status
        assert rig.node.heads["a"].generation == (2 if status == 201 else 1)
        if status != 201:
            assert error_code(put.body) in ("PreconditionFailed", "GenerationConflict", "InvalidArgument")

    tell(way, story)


def test_two_conditions_on_a_write_are_refused(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        put = await client.ask("PUT", BLOBS + "a", b"2", {"If-Match": "*", "If-None-Match": "*"})
        assert put.status == 400 and not rig.node.calls

    tell(way, story)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"ETAG"'}, 304),
        ({"If-None-Match": 'W/"ETAG"'}, 304),
        ({"If-None-Match": '"a", W/"ETAG"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"a"'}, 200),
        ({"If-Match": '"a", "ETAG"'}, 200),
        ({"If-Match": 'W/"ETAG"'}, 412),
        ({"If-Match": '"a"'}, 412),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200),
        ({"If-Modified-Since": "not a date"}, 200),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT", "If-None-Match": '"a"'}, 200),
        ({"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 412),
        ({"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 200),
        ({"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT", "If-Match": '"ETAG"'}, 200),
        ({"Range": "bytes=0-1", "If-Range": '"ETAG"'}, 206),
        ({"Range": "bytes=0-1", "If-Range": '"a"'}, 200),
        ({"Range": "bytes=0-1", "If-Range": "Tue, 14 Nov 2023 22:13:20 GMT"}, 206),
    ],
)
def test_a_conditional_read_follows_rfc_9110(way: str, headers: dict[str, str], status: int) -> None:
    async def story(rig: Rig, client: Client) -> None:
        etag = hashlib.sha256(b"hello").hexdigest()
        await client.ask("PUT", BLOBS + "a", b"hello")
        got = await client.ask("GET", BLOBS + "a", headers={k: v.replace("ETAG", etag) for k, v in headers.items()})
        assert got.status == status
        assert got.headers["etag"] == f'"{etag}"'
        if status == 304:
            assert "content-length" not in got.headers and "content-type" not in got.headers

    tell(way, story)


@given(body=st.binary(max_size=40), first=st.integers(0, 50), last=st.integers(0, 50), form=st.sampled_from("frs"))
@settings(max_examples=60, deadline=None)
def test_a_range_is_that_slice_of_the_bytes(way: str, body: bytes, first: int, last: int, form: str) -> None:
    header = {"f": f"bytes={first}-{last}", "r": f"bytes={first}-", "s": f"bytes=-{last}"}[form]
    wanted = {"f": body[first : last + 1], "r": body[first:], "s": body[-last:] if last else b""}[form]

    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "a", body)
        got = await client.ask("GET", BLOBS + "a", headers={"Range": header})
        if form == "f" and last < first:
            assert (got.status, got.body) == (200, body)
        elif not wanted:
            assert (got.status, got.headers["content-range"]) == (416, f"bytes */{len(body)}")
        else:
            start = body.rindex(wanted) if form == "s" else first
            assert (got.status, got.body) == (206, wanted)
            assert got.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(body)}"

    tell(way, story)


@pytest.mark.parametrize("header", ["bytes=1-2,4-5", "chars=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "1-2"])
def test_a_range_we_do_not_serve_is_ignored(way: str, header: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "a", b"hello!")
        got = await client.ask("GET", BLOBS + "a", headers={"Range": header})
        assert (got.status, got.body) == (200, b"hello!")

    tell(way, story)


@given(raw=st.text(max_size=30) | st.lists(st.sampled_from(["/", "..", ".", "a", "é", "\x00", "%", "+"])).map("".join))
@settings(max_examples=100, deadline=None)
def test_a_path_is_kept_in_its_one_spelling_or_refused(way: str, raw: str) -> None:
    try:
        path = normalise_path(raw)
    except PathError:
        path = ""

    async def story(rig: Rig, client: Client) -> None:
        encoded = quote(raw.encode("utf-8", "surrogatepass"), safe="/")
        put = await client.ask("PUT", BLOBS + encoded, b"x")
        if not path:
            assert put.status == 400 and not rig.node.heads
            return
        assert put.status == 201
        assert list(rig.node.heads) == [path] == [msgspec.json.decode(put.body)["path"]]
        assert (await client.ask("GET", BLOBS + quote(path.encode(), safe=""))).status == 200

    tell(way, story)


@pytest.mark.parametrize(
    "encoded", ["", "/", "a/../b", "..", "a%2F..%2Fb", "a%00b", "%ff%fe", "a" * 1025, "%C3%A9" * 513, "a%0Ab", "."]
)
def test_a_path_that_cannot_name_an_object_is_refused(way: str, encoded: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        for method in ("PUT", "GET", "DELETE"):
            reply = await client.ask(method, BLOBS + encoded, b"x" if method == "PUT" else None)
            assert (reply.status, error_code(reply.body)) == (400, "InvalidPath")
        assert not rig.node.calls

    tell(way, story)


@pytest.mark.parametrize("write_id", ["", "x" * 129, "caf\xe9", "tab\there"])
def test_a_write_id_must_be_printable_ascii(way: str, write_id: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        put = await client.ask("PUT", BLOBS + "a", b"x", {"x-amberio-write-id": write_id})
        assert put.status == 400 and not rig.node.calls

    tell(way, story)


def test_a_small_body_comes_whole_and_a_large_one_as_a_stream(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "small", bytes(INLINE_BODY_BYTES_MAX))
        await client.ask("PUT", BLOBS + "large", bytes(INLINE_BODY_BYTES_MAX + 1))
        assert rig.node.calls == ["put small bytes", "put large stream"]
        assert (await client.ask("GET", BLOBS + "large")).body == bytes(INLINE_BODY_BYTES_MAX + 1)
        got = await client.ask("GET", BLOBS + "large", headers={"Range": "bytes=65530-"})
        assert (got.status, got.body) == (206, bytes(7))

    tell(way, story)


def test_a_list_comes_in_pages_in_the_order_of_utf8_bytes(way: str) -> None:
    paths = ["a/1", "a/2", "a/é", "a/\uffee", "a/\U0001f600", "b"]

    async def story(rig: Rig, client: Client) -> None:
        for path in paths:
            await client.ask("PUT", BLOBS + quote(path), b"x")
        await client.ask("DELETE", BLOBS + "a/2")
        target = "/_/api/v1/blobs?prefix=/a/&limit=2&include_deleted=true"
        seen, cursor = [], ""
        while True:
            page = msgspec.json.decode((await client.ask("GET", target + cursor)).body)
            seen += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = "&cursor=" + quote(page["next_cursor"])
        assert [item["path"] for item in seen] == paths[:5]
        assert seen[1] == {
            "path": "a/2", "generation": 2, "etag": None, "size_bytes": 0, "deleted": True,
            "updated_at": "2023-11-14T22:13:20.000Z",
        }  # fmt: skip
        live = msgspec.json.decode((await client.ask("GET", "/_/api/v1/blobs?prefix=a")).body)
        assert [item["path"] for item in live["items"]] == ["a/1", *paths[2:5]] and live["next_cursor"] is None

    tell(way, story)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=%D9%A1", "cursor=!", "cursor=gA", "include_deleted=maybe",
              "prefix=%ff", "prefix=a%00", "limit=1&limit=2", "prefix=" + "a" * 1025]
)  # fmt: skip
def test_a_bad_argument_of_a_list_is_named(way: str, query: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        reply = await client.ask("GET", f"/_/api/v1/blobs?{query}")
        assert (reply.status, error_code(reply.body)) == (400, "InvalidArgument")

    tell(way, story)


@pytest.mark.parametrize(
    ("failure", "status", "outcome"),
    [(NoQuorum("1 of 2"), 503, "failed"), (OutcomeUnknown("late"), 503, "unknown"), (Overloaded("full"), 503, "failed"),
     (DiskFull("full"), 507, "failed"), (ValueError("a bug"), 500, None)],
)  # fmt: skip
def test_an_error_says_whether_anything_was_written(
    way: str, failure: Exception, status: int, outcome: str | None
) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.node.failure = failure
        put = await client.ask("PUT", BLOBS + "a", b"x")
        assert (put.status, put.headers.get("x-amberio-outcome")) == (status, outcome)
        assert ("retry-after" in put.headers) == (status == 503)
        assert "a bug" not in put.body.decode() and error_code(put.body)
        rig.node.failure = None
        assert (await client.ask("PUT", BLOBS + "a", b"x")).status == 201

    tell(way, story)


def test_health_nodes_and_slots_are_answered(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        health = await client.ask("GET", "/_/api/v1/healthz")
        assert msgspec.json.decode(health.body) == {
            "status": "ok", "node_id": "n1", "cluster_id": "c0ffee", "incarnation": 7,
        }  # fmt: skip
        rig.node.reason = "catching up"
        assert (await client.ask("GET", "/_/api/v1/healthz")).status == 503
        nodes = msgspec.json.decode((await client.ask("GET", "/_/api/v1/nodes")).body)["nodes"]
        assert nodes[1] == {"node_id": "n2", "address": "127.0.0.1:2", "status": "down", "incarnation": None}
        resolved = await client.ask("GET", "/_/api/v1/slots/resolve?path=/a//b%20c")
        assert msgspec.json.decode(resolved.body) == {
            "path": "a/b c", "slot_id": rig.node.locate("a/b c")[0], "replicas": ["n1", "n2", "n3"], "write_quorum": 2,
        }  # fmt: skip
        assert (await client.ask("GET", "/_/api/v1/slots/resolve")).status == 400

    tell(way, story)


def test_metrics_count_requests_by_operation_and_status(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "a", b"hello")
        await client.ask("GET", BLOBS + "b")
        text = (await client.ask("GET", "/_metrics")).body.decode()
        assert 'amberio_http_request_seconds_count{operation="put",status="201"} 1.0' in text
        assert 'amberio_http_request_seconds_count{operation="get",status="404"} 1.0' in text
        assert 'amberio_http_received_bytes_total{operation="put"} 5.0' in text
        assert "amberio_http_in_flight 1.0" in text and "process_resident_memory_bytes" in text

    tell(way, story)
