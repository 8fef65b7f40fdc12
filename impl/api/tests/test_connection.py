"""How requests lie on a connection: in whatever pieces, many on one, whole or cut short; the same both ways."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.api.http.connection import PIPELINE_MAX
from impl.api.http.edge import HttpLimits
from impl.api.tests.rig import WAIT_S, Client, Reply, Rig, chunked, request_bytes, serving
from impl.errors import Unauthorised
from impl.model import INLINE_BODY_BYTES_MAX

BLOBS = "/_/api/v1/blobs/"
LARGE_BYTES = 3 * INLINE_BODY_BYTES_MAX + 17
CHANGING = ("date", "x-amberio-request-id")
Story = Callable[[Rig, Client], Awaitable[None]]

pytestmark = pytest.mark.parametrize("way", ["direct", "tornado"])


def tell(way: str, story: Story, limits: HttpLimits | None = None) -> None:
    """Run a story with one client against a fresh node."""

    async def run() -> None:
        async with serving(way, limits) as rig, rig.client() as client:
            await story(rig, client)

    asyncio.run(run())


def refusal(reply: Reply) -> tuple[int, str]:
    """Status and code of an error that ends its connection."""
    assert reply.headers["connection"] == "close"
    error = msgspec.json.decode(reply.body)["error"]
    assert error["message"] and error["request_id"] == reply.headers["x-amberio-request-id"]
    return reply.status, error["code"]


# -- pieces

whole_story = (
    request_bytes("PUT", BLOBS + "a", b"hello", {"content-type": "text/plain"})
    + request_bytes("GET", BLOBS + "a")
    + request_bytes("PUT", BLOBS + "big", bytes(INLINE_BODY_BYTES_MAX + 1))
    + b"PUT /_/api/v1/blobs/c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked([b"one", b"two", b"three"])
    + request_bytes("HEAD", BLOBS + "big")
    + request_bytes("GET", BLOBS + "missing")
    + request_bytes("DELETE", BLOBS + "a")
)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(whole_story)), max_size=12))
def test_requests_are_answered_alike_in_whatever_pieces_they_come(way: str, cuts: list[int]) -> None:
    async def story(rig: Rig, client: Client) -> None:
        at = 0
        for cut in [*sorted(cuts), len(whole_story)]:
            client.send(whole_story[at:cut])
            at = cut
            await asyncio.sleep(0)
        methods = ("PUT", "GET", "PUT", "PUT", "HEAD", "GET", "DELETE")
        replies = [await client.reply(method) for method in methods]
        assert [reply.status for reply in replies] == [201, 200, 201, 201, 200, 404, 200]
        assert replies[1].body == b"hello" and replies[4].headers["content-length"] == str(INLINE_BODY_BYTES_MAX + 1)
        assert rig.node.heads["c"].size_bytes == 11

    tell(way, story)


def test_requests_may_come_byte_by_byte(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        for byte in request_bytes("PUT", BLOBS + "a", b"hello") + request_bytes("GET", BLOBS + "a"):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.reply()).status == 201
        assert (await client.reply()).body == b"hello"

    tell(way, story)


# -- many on one connection


def test_a_connection_is_kept_for_the_next_request(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        ids = set()
        for number in range(50):
            put = await client.ask("PUT", BLOBS + f"p{number}", b"x")
            assert put.status == 201 and "connection" not in put.headers
            ids.add(put.headers["x-amberio-request-id"])
        assert len(ids) == 50 and len(rig.edge.connections) == 1

    tell(way, story)


@pytest.mark.parametrize(
    ("version", "sent", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_who_keeps_the_connection_is_as_rfc_9112_says(way: str, version: str, sent: str, kept: bool) -> None:
    async def story(rig: Rig, client: Client) -> None:
        header = f"Connection: {sent}\r\n" if sent else ""
        client.send(f"GET /_/api/v1/healthz HTTP/{version}\r\nHost: t\r\n{header}\r\n".encode())
        reply = await client.reply()
        assert reply.status == 200
        if kept:
            assert (await client.ask("GET", "/_/api/v1/healthz")).status == 200
        else:
            assert reply.headers["connection"] == "close" and await client.ends() == b""

    tell(way, story)


def test_pipelined_requests_are_answered_in_order_however_many(way: str) -> None:
    count = 4 * PIPELINE_MAX

    async def story(rig: Rig, client: Client) -> None:
        rig.node.gate.clear()
        for number in range(count):
            client.send(request_bytes("PUT", BLOBS + f"p{number}", b"x" * number))
            client.send(request_bytes("GET", BLOBS + f"p{number}"))
        await rig.until(lambda: bool(rig.node.calls))
        await asyncio.sleep(0.02)
        assert len(rig.node.calls) == 1, "one request of a connection at a time"
        rig.node.gate.set()
        for number in range(count):
            assert (await client.reply()).status == 201
            assert (await client.reply()).body == b"x" * number

    tell(way, story)


def test_a_large_body_in_the_midst_of_a_pipeline_is_read_by_its_own_request(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("PUT", BLOBS + "a", b"1"))
        client.send(request_bytes("PUT", BLOBS + "big", bytes(LARGE_BYTES)))
        client.send(request_bytes("GET", BLOBS + "a"))
        assert [(await client.reply()).status for _ in range(2)] == [201, 201]
        assert (await client.reply()).body == b"1"
        assert rig.node.heads["big"].size_bytes == LARGE_BYTES

    tell(way, story)


def test_what_was_asked_before_a_fault_is_still_answered(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("PUT", BLOBS + "a", b"1") + b"\x00garbage\r\n\r\n")
        assert (await client.reply()).status == 201
        assert refusal(await client.reply()) == (400, "MalformedRequest")
        assert await client.ends() == b""

    tell(way, story)


def test_a_client_that_only_half_closes_still_gets_its_answers(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.node.gate.clear()
        client.send(request_bytes("PUT", BLOBS + "a", b"1") + request_bytes("GET", BLOBS + "a"))
        client.writer.write_eof()
        await rig.until(lambda: bool(rig.node.calls))
        rig.node.gate.set()
        assert (await client.reply()).status == 201
        assert (await client.reply()).body == b"1"
        assert await client.ends() == b""

    tell(way, story)


# -- what is no request

CHUNKED = b"PUT /_/api/v1/blobs/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"hello\r\n\r\n", (400, "MalformedRequest")),
        (b"\x16\x03\x01\x02\x00\x01", (400, "MalformedRequest")),
        (b"GET /_/api/v1/healthz HTTP/1.1\r\n\r\n", (400, "MalformedRequest")),
        (b"GET /_/api/v1/healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400, "MalformedRequest")),
        (b"GET /_/api/v1/healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", (400, "MalformedRequest")),
        (b"GET /_/api/v1/healthz HTTP/9.1\r\nHost: a\r\n\r\n", (400, "MalformedRequest")),
        (b"GET somewhere HTTP/1.1\r\nHost: a\r\n\r\n", (400, "MalformedRequest")),
        (b"GET /_/api/v1/healthz HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", (400, "MalformedRequest")),
        (b"PUT /_/api/v1/blobs/a HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n", (400, "MalformedRequest")),
        (b"PUT /_/api/v1/blobs/a HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", (400, "MalformedRequest")),
        (
            b"PUT /_/api/v1/blobs/a HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            (400, "MalformedRequest"),
        ),
        (CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", (400, "MalformedRequest")),
        (
            b"PUT /_/api/v1/blobs/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            (501, "NotImplemented"),
        ),
        (b"TRACE /_/api/v1/healthz HTTP/1.1\r\nHost: a\r\n\r\n", (405, "MethodNotAllowed")),
    ],
)
def test_what_is_no_request_of_ours_is_refused_and_nothing_is_done(
    way: str, sent: bytes, wanted: tuple[int, str]
) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(sent)
        assert refusal(await client.reply()) == wanted
        assert await client.ends() == b"" and not rig.node.calls

    tell(way, story)


def test_the_form_of_a_target_that_proxies_use_is_understood(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "a", b"1")
        assert (await client.ask("GET", "http://somewhere:80" + BLOBS + "a")).body == b"1"
        assert (await client.ask("GET", BLOBS + "a#fragment")).body == b"1"

    tell(way, story)


def test_an_unknown_url_and_a_wrong_method_are_told_apart(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        for target in ("/", "/_/api/v1", "/_/api/v2/blobs/a", "/_/api/v1/blobsx"):
            reply = await client.ask("GET", target)
            assert (reply.status, msgspec.json.decode(reply.body)["error"]["code"]) == (404, "NoSuchRoute")
        reply = await client.ask("POST", BLOBS + "a", b"x")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE")
        assert (await client.ask("DELETE", "/_/api/v1/healthz")).headers["allow"] == "GET, HEAD"

    tell(way, story)


def test_an_unknown_upgrade_is_ignored(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert (await client.ask("GET", "/_/api/v1/healthz", headers=upgrade)).status == 200
        assert (await client.ask("GET", "/_/api/v1/healthz")).status == 200

    tell(way, story)


def test_a_known_upgrade_gets_the_connection_or_its_refusal(way: str) -> None:
    async def run() -> None:
        taken: list[tuple[asyncio.Transport, bytes]] = []

        def take(request: object, transport: asyncio.Transport, rest: bytes) -> None:
            if taken:
                raise Unauthorised("not again")
            taken.append((transport, rest))

        asking = b"GET /internal/v1/rpc HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly"
        async with serving(way, upgrades={"/internal/v1/rpc": take}) as rig:
            async with rig.client() as client:
                client.send(asking)
                await rig.until(lambda: bool(taken))
                assert taken[0][1] == b"early" and not rig.edge.connections
                taken[0][0].write(b"another protocol")
                assert await client.reader.readexactly(16) == b"another protocol"
                taken[0][0].close()
            async with rig.client() as client:
                client.send(asking)
                assert refusal(await client.reply()) == (403, "AccessDenied")

    asyncio.run(run())


# -- bodies


@pytest.mark.parametrize("size_bytes", [5, LARGE_BYTES], ids=["small", "large"])
def test_a_body_cut_short_writes_nothing(way: str, size_bytes: int) -> None:
    async def story(rig: Rig, client: Client) -> None:
        whole = request_bytes("PUT", BLOBS + "a", bytes(size_bytes))
        client.send(whole[:-1])
        client.writer.write_eof()
        assert refusal(await client.reply()) == (400, "IncompleteBody")
        assert not rig.node.heads

    tell(way, story)


@pytest.mark.parametrize("end", [b"", b"0\r\n", b"5\r\nab"])
def test_a_chunked_body_without_its_end_writes_nothing(way: str, end: bytes) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(CHUNKED + b"\r\n" + b"3\r\nabc\r\n" + end)
        client.writer.write_eof()
        assert refusal(await client.reply()) == (400, "IncompleteBody")
        assert not rig.node.heads

    tell(way, story)


def test_a_chunk_that_lies_about_its_size_writes_nothing(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(CHUNKED + b"\r\n" + b"3\r\nabcdef\r\n0\r\n\r\n")
        reply = await client.reply()
        assert reply.status == 400 and not rig.node.heads

    tell(way, story)


def test_a_client_that_vanishes_in_its_upload_leaves_nothing_behind(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("PUT", BLOBS + "a", bytes(LARGE_BYTES))[:-9])
        await rig.until(lambda: bool(rig.node.calls))
        client.writer.transport.abort()
        await rig.until(lambda: rig.edge.in_flight == 0 and not rig.edge.connections)
        assert not rig.node.heads

    tell(way, story)


def test_a_client_that_waits_for_100_continue_gets_it_when_its_body_is_wanted(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        for size_bytes in (5, LARGE_BYTES):
            body = bytes(size_bytes)
            head = request_bytes("PUT", BLOBS + "a", body, {"Expect": "100-continue"}).removesuffix(body)
            client.send(head)
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            assert (await client.reply()).status == 201
            assert rig.node.heads["a"].size_bytes == size_bytes

    tell(way, story)


def test_a_client_that_waits_for_100_continue_is_spared_a_body_that_would_be_refused(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        for target, headers in ((BLOBS + "a/../b", {}), (BLOBS + "a", {"If-Match": 'W/"x"'})):
            async with rig.client() as other:
                headers = {**headers, "Expect": "100-continue", "Content-Length": "1000000"}
                other.send(request_bytes("PUT", target, None, headers))
                reply = await other.reply()
                assert reply.status == 400 and reply.headers["connection"] == "close"
        assert not rig.node.calls

    tell(way, story)


@pytest.mark.parametrize("breaks", ["with an error", "by an early end"])
def test_an_answer_that_breaks_half_way_is_cut_and_never_looks_whole(way: str, breaks: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "big", bytes(LARGE_BYTES))
        rig.node.break_after = 2 * INLINE_BODY_BYTES_MAX
        rig.node.ends_early = breaks == "by an early end"
        client.send(request_bytes("GET", BLOBS + "big"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert f"content-length: {LARGE_BYTES}".encode() in head.lower()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(client.reader.readexactly(LARGE_BYTES), WAIT_S)
        assert rig.edge.in_flight == 0 and rig.node.bodies_closed == 1

    tell(way, story)


def test_a_body_that_fails_before_its_first_byte_is_a_proper_error(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "big", bytes(LARGE_BYTES))
        rig.node.break_after = 0
        assert (await client.ask("GET", BLOBS + "big")).status == 500
        rig.node.break_after = None
        assert (await client.ask("GET", BLOBS + "big")).body == bytes(LARGE_BYTES)

    tell(way, story)


def test_a_client_that_vanishes_in_its_download_lets_go_of_the_body(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "big", bytes(50 * LARGE_BYTES))
        client.send(request_bytes("GET", BLOBS + "big"))
        await client.reader.readexactly(100)
        client.writer.transport.abort()
        await rig.until(lambda: rig.node.bodies_closed == 1 and rig.edge.in_flight == 0)

    tell(way, story)


# -- what is out, and when


def test_events_are_out_before_the_first_byte_of_any_answer(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    transport = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    real_write = transport.write

    def write(self: object, data: bytes) -> None:
        if bytes(data[:4]) == b"HTTP":
            order.append("answer")
        real_write(self, data)

    async def run() -> None:
        async with serving(way, before_bytes=lambda: order.append("flush")) as rig, rig.client() as client:
            for method, target, body in (("PUT", "a", b"x"), ("GET", "a", None), ("GET", "../b", None)):
                await client.ask(method, BLOBS + target, body)
            client.send(b"garbage\r\n\r\n")
            await client.reply()

    monkeypatch.setattr(transport, "write", write)
    asyncio.run(run())
    assert order == ["flush", "answer"] * 4


def test_both_ways_answer_with_the_same_bytes(way: str) -> None:
    """`way` is compared with the other one: every status line, header and body, but for date and request id."""

    async def replies(of: str) -> list[tuple[int, dict[str, str], bytes]]:
        battery: list[tuple[str, str, bytes | None, dict[str, str]]] = [
            ("PUT", BLOBS + "a", b"hello", {"content-type": "text/plain", "x-amberio-write-id": "w"}),
            ("PUT", BLOBS + "a", b"hello", {"x-amberio-write-id": "w"}),
            ("PUT", BLOBS + "a", b"x", {"If-None-Match": "*"}),
            ("PUT", BLOBS + "a", b"x", {"x-amberio-if-generation": "7"}),
            ("PUT", BLOBS + "empty", b"", {}),
            ("PUT", BLOBS + "big", bytes(LARGE_BYTES), {}),
            *(
                (method, BLOBS + name, None, headers)
                for method in ("GET", "HEAD")
                for name in ("a", "empty", "big", "missing", "..")
                for headers in ({}, {"Range": "bytes=1-2"}, {"Range": "bytes=99999999-"}, {"If-None-Match": "*"})
            ),
            ("GET", "/_/api/v1/blobs?limit=2", None, {}),
            ("GET", "/_/api/v1/blobs?limit=x", None, {}),
            ("GET", "/_/api/v1/healthz", None, {}),
            ("HEAD", "/_/api/v1/healthz", None, {}),
            ("GET", "/_/api/v1/nodes", None, {}),
            ("GET", "/_/api/v1/slots/resolve?path=a", None, {}),
            ("DELETE", BLOBS + "a", None, {"x-amberio-write-id": "d"}),
            ("DELETE", BLOBS + "a", None, {"x-amberio-write-id": "d"}),
            ("DELETE", BLOBS + "missing", None, {}),
            ("GET", BLOBS + "a", None, {}),
            ("PATCH", BLOBS + "a", b"x", {}),
            ("OPTIONS", "/nowhere", None, {}),
            ("GET", BLOBS + "a?version=1", None, {}),
        ]
        collected = []
        async with serving(of) as rig, rig.client() as client:
            for method, target, body, headers in battery:
                reply = await client.ask(method, target, body, headers)
                request_id = reply.headers["x-amberio-request-id"].encode()
                kept = {name: value for name, value in reply.headers.items() if name not in CHANGING}
                collected.append((reply.status, kept, reply.body.replace(request_id, b"ID")))
        return collected

    async def run() -> None:
        assert await replies(way) == await replies("tornado" if way == "direct" else "direct")

    asyncio.run(run())
