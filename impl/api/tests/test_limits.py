"""What bounds a client: sizes, numbers and times; and what happens to everybody when the node stops."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from impl.api.http.body import HIGH_BYTES
from impl.api.http.edge import HttpLimits
from impl.api.tests.rig import WAIT_S, Client, Reply, Rig, chunked, request_bytes, serving
from impl.model import INLINE_BODY_BYTES_MAX

BLOBS = "/_/api/v1/blobs/"
HEALTH = "/_/api/v1/healthz"
LARGE_BYTES = 2 * INLINE_BODY_BYTES_MAX
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
    return reply.status, msgspec.json.decode(reply.body)["error"]["code"]


# -- sizes


def padded(header_bytes: int) -> bytes:
    """A request whose headers have so many bytes, as we count them: names, values, and four for each line."""
    used = len("Host") + len("t") + 4 + len("x-pad") + 4
    pad = "p" * (header_bytes - used)
    return f"GET {HEALTH} HTTP/1.1\r\nHost: t\r\nx-pad: {pad}\r\n\r\n".encode()


def test_headers_up_to_their_bound_are_read_and_beyond_it_refused(way: str) -> None:
    limits = HttpLimits(header_bytes_max=2000)

    async def story(rig: Rig, client: Client) -> None:
        client.send(padded(2000))
        assert (await client.reply()).status == 200
        client.send(padded(2001))
        assert refusal(await client.reply()) == (431, "HeaderTooLarge")
        assert await client.ends() == b""

    tell(way, story, limits)


def test_many_short_headers_are_bounded_like_a_long_one(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(f"GET {HEALTH} HTTP/1.1\r\nHost: t\r\n".encode() + b"a: b\r\n" * 6000 + b"\r\n")
        assert refusal(await client.reply()) == (431, "HeaderTooLarge")

    tell(way, story)


def test_a_header_line_without_an_end_is_bounded_too(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(f"GET {HEALTH} HTTP/1.1\r\nHost: t\r\nx-pad: ".encode())
        for _ in range(200):
            client.send(b"p" * 1000)
            await asyncio.sleep(0)
        assert refusal(await client.reply()) == (431, "HeaderTooLarge")

    tell(way, story)


def test_a_long_url_is_refused(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("GET", HEALTH + "?" + "q" * 9000))
        assert refusal(await client.reply()) == (400, "InvalidArgument")

    tell(way, story)


def test_a_body_over_its_bound_is_refused_before_it_is_sent(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("PUT", BLOBS + "a", None, {"Content-Length": "100001"}))
        assert refusal(await client.reply()) == (413, "TooLarge")
        assert not rig.node.calls

    tell(way, story, HttpLimits(object_bytes_max=100_000))


def test_a_chunked_body_over_its_bound_is_refused_when_it_gets_there(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        head = b"PUT /_/api/v1/blobs/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head + chunked([bytes(100_000)]))
        assert (await client.reply()).status == 201
        client.send(head + chunked([bytes(60_000), bytes(40_001)]))
        assert (await client.reply()).status == 413
        assert rig.node.heads["a"].generation == 1

    tell(way, story, HttpLimits(object_bytes_max=100_000))


def test_a_client_sends_no_faster_than_its_body_is_read(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.node.gate.clear()
        size_bytes = 64 * 1024 * 1024
        client.send(request_bytes("PUT", BLOBS + "a", bytes(size_bytes)))
        await asyncio.sleep(0.2)
        (connection,) = rig.edge.connections
        stream = connection._reader.stream
        assert stream is not None
        # what the parser had in hand when the bound was passed comes on top
        assert stream.received_bytes <= HIGH_BYTES + 512 * 1024
        rig.node.gate.set()
        assert (await client.reply()).status == 201
        assert rig.node.heads["a"].size_bytes == size_bytes

    tell(way, story)


# -- numbers


def test_too_many_connections_are_told_to_slow_down(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        assert (await client.ask("GET", HEALTH)).status == 200
        async with rig.client() as second, rig.client() as third:
            assert (await second.ask("GET", HEALTH)).status == 200
            reply = await third.reply()
            assert refusal(reply) == (503, "SlowDown")
            assert (reply.headers["retry-after"], reply.headers["x-amberio-outcome"]) == ("1", "failed")
        await rig.until(lambda: len(rig.edge.connections) == 1)
        async with rig.client() as fourth:
            assert (await fourth.ask("GET", HEALTH)).status == 200

    tell(way, story, HttpLimits(connections_max=2))


def test_too_many_requests_at_once_are_told_to_slow_down_and_nothing_is_done(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.node.gate.clear()
        async with rig.client() as second, rig.client() as third:
            client.send(request_bytes("PUT", BLOBS + "a", b"1"))
            second.send(request_bytes("PUT", BLOBS + "b", b"1"))
            await rig.until(lambda: len(rig.node.calls) == 2)
            reply = await third.ask("PUT", BLOBS + "c", b"1")
            assert (reply.status, reply.headers["x-amberio-outcome"], reply.headers["retry-after"]) == (
                503,
                "failed",
                "1",
            )
            assert len(rig.node.calls) == 2
            rig.node.gate.set()
            assert {(await client.reply()).status, (await second.reply()).status} == {201}
            assert (await third.ask("PUT", BLOBS + "c", b"1")).status == 201, "the connection goes on"

    tell(way, story, HttpLimits(requests_max=2))


# -- times


async def later(rig: Rig, seconds: float) -> None:
    """Let the edge see that so much time has passed."""
    rig.clock.ahead_s += seconds
    rig.edge.tick()
    await asyncio.sleep(0)


def test_headers_that_do_not_come_end_the_request(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(f"GET {HEALTH} HTTP/1.1\r\nHost:".encode())
        await rig.until(lambda: any(connection._reader.in_head for connection in rig.edge.connections))
        await later(rig, 15)
        client.send(b" t\r\n")  # a byte now and then does not help
        await asyncio.sleep(0.02)
        await later(rig, 6)
        assert refusal(await client.reply()) == (408, "RequestTimeout")

    tell(way, story)


@pytest.mark.parametrize("size_bytes", [10, LARGE_BYTES], ids=["small", "large"])
def test_a_body_that_stops_coming_ends_the_request_and_writes_nothing(way: str, size_bytes: int) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("PUT", BLOBS + "a", bytes(size_bytes))[:-1])
        await rig.until(lambda: any(connection._reader.in_body for connection in rig.edge.connections))
        await asyncio.sleep(0.02)
        await later(rig, 29)
        assert not client.reader._buffer  # type: ignore[attr-defined]
        await later(rig, 22)
        assert refusal(await client.reply()) == (408, "RequestTimeout")
        assert not rig.node.heads

    tell(way, story)


def test_a_slow_body_that_keeps_coming_is_read_to_its_end(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        whole = request_bytes("PUT", BLOBS + "a", bytes(LARGE_BYTES))
        for at in range(0, len(whole), 30_000):
            client.send(whole[at : at + 30_000])
            await asyncio.sleep(0.01)
            await later(rig, 25)
        assert (await client.reply()).status == 201

    tell(way, story)


def test_a_connection_without_requests_ends_without_a_word(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        assert (await client.ask("GET", HEALTH)).status == 200
        await later(rig, 70)
        assert len(rig.edge.connections) == 1
        await later(rig, 6)
        assert await client.ends() == b""

    tell(way, story)


def test_a_request_that_takes_long_here_is_not_the_clients_fault(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.node.gate.clear()
        client.send(request_bytes("PUT", BLOBS + "a", bytes(8 * HIGH_BYTES)))  # so much that we stop reading it
        await rig.until(lambda: bool(rig.node.calls))
        await asyncio.sleep(0.02)
        await later(rig, 1000)
        rig.node.gate.set()
        assert (await client.reply()).status == 201

    tell(way, story)


def test_a_client_that_does_not_read_its_answer_is_cut_off(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        await client.ask("PUT", BLOBS + "a", bytes(64 * 1024 * 1024))
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(request_bytes("GET", BLOBS + "a"))
        await rig.until(lambda: any(connection._writing_paused for connection in rig.edge.connections))
        await later(rig, 59)
        assert rig.edge.connections
        await later(rig, 61)
        await rig.until(lambda: not rig.edge.connections and rig.edge.in_flight == 0)
        assert rig.node.bodies_closed == 1

    tell(way, story)


class TricklingTransport:
    """What the system says of a client that takes its answer bit by bit."""

    def __init__(self) -> None:
        self.unsent_bytes = 100_000
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(("bytes_a_second", "is_cut"), [(1, True), (15, True), (20, False)])
def test_a_client_that_takes_its_answer_bit_by_bit_must_take_enough(
    way: str, bytes_a_second: int, is_cut: bool
) -> None:
    async def story(rig: Rig, client: Client) -> None:
        (connection,) = rig.edge.connections
        transport, connection._transport = connection._transport, TricklingTransport()  # type: ignore[assignment]
        trickling = connection._transport
        assert isinstance(trickling, TricklingTransport)
        connection.pause_writing()
        for _ in range(130):
            trickling.unsent_bytes -= bytes_a_second
            await later(rig, 1)
        assert trickling.is_aborted == is_cut
        connection._transport = transport
        connection.resume_writing()

    tell(way, story, HttpLimits(slow_bytes_min=1000))


@pytest.mark.parametrize(("bytes_a_second", "is_cut"), [(1, True), (30, True), (40, False)])
def test_a_body_that_comes_bit_by_bit_must_come_fast_enough(way: str, bytes_a_second: int, is_cut: bool) -> None:
    async def story(rig: Rig, client: Client) -> None:
        whole = request_bytes("PUT", BLOBS + "a", bytes(LARGE_BYTES))
        client.send(whole[:200])
        await rig.until(lambda: any(connection._reader.in_body for connection in rig.edge.connections))
        (connection,) = rig.edge.connections
        stream = connection._reader.stream
        assert stream is not None
        await rig.until(lambda: stream.waited_for)
        await later(rig, 0)
        sent = stream.received_bytes
        for _ in range(65):
            client.send(bytes(bytes_a_second))
            sent += bytes_a_second
            await rig.until(lambda: stream.received_bytes == sent)  # noqa: B023
            await later(rig, 1)
            if not stream.waited_for:
                break
        if is_cut:
            reply = await client.reply()
            assert refusal(reply) == (408, "RequestTimeout") and b"fewer than 1000 bytes" in reply.body
            assert not rig.node.heads
        else:
            client.send(bytes(LARGE_BYTES - sent))
            assert (await client.reply()).status == 201

    tell(way, story, HttpLimits(slow_bytes_min=1000))


def test_a_client_that_goes_on_sending_what_was_refused_is_cut_off(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        client.send(request_bytes("PUT", BLOBS + "a", None, {"Content-Length": "100001"}))
        assert refusal(await client.reply()) == (413, "TooLarge")
        for _ in range(14):
            assert len(rig.edge.connections) == 1
            (connection,) = rig.edge.connections
            before_s = connection._progress_s
            await later(rig, 1)
            client.send(b"more")
            await rig.until(lambda: connection._progress_s > before_s)  # noqa: B023
        await later(rig, 1.5)
        assert connection._transport.is_closing()

    tell(way, story, HttpLimits(object_bytes_max=100_000))


def test_a_client_that_reads_slowly_is_not_cut_off(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        size_bytes = 8 * 1024 * 1024
        await client.ask("PUT", BLOBS + "a", bytes(size_bytes))
        client.send(request_bytes("GET", BLOBS + "a"))
        await client.reader.readuntil(b"\r\n\r\n")
        left = size_bytes
        while left:
            left -= len(await asyncio.wait_for(client.reader.readexactly(min(left, 512 * 1024)), WAIT_S))
            await later(rig, 55)
        assert (await client.ask("GET", HEALTH)).status == 200

    tell(way, story)


# -- the end


def test_a_node_that_stops_finishes_what_was_asked_and_lets_nobody_in(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        async with rig.client() as idle, rig.client() as second:
            assert (await idle.ask("GET", HEALTH)).status == 200
            rig.node.gate.clear()
            client.send(request_bytes("PUT", BLOBS + "a", b"1"))
            second.send(request_bytes("PUT", BLOBS + "b", bytes(LARGE_BYTES)))
            await rig.until(lambda: len(rig.node.calls) == 2)
            port = rig.listener.port
            draining = asyncio.ensure_future(rig.listener.drain(5.0))
            assert await idle.ends() == b""
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)
            assert not draining.done()
            rig.node.gate.set()
            for writer in (client, second):
                reply = await writer.reply()
                assert (reply.status, reply.headers["connection"]) == (201, "close")
            assert await draining == 0

    tell(way, story)


def test_a_node_that_stops_says_so_to_those_who_ask_for_its_health(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.api.draining = True
        reply = await client.ask("GET", HEALTH)
        assert reply.status == 503 and "draining" in msgspec.json.decode(reply.body)["error"]["message"]

    tell(way, story)


def test_a_request_that_does_not_end_in_time_is_cut_when_the_node_stops(way: str) -> None:
    async def story(rig: Rig, client: Client) -> None:
        rig.node.gate.clear()
        client.send(request_bytes("PUT", BLOBS + "a", b"1"))
        await rig.until(lambda: bool(rig.node.calls))
        assert await rig.listener.drain(0.05) == 1
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reader.readexactly(1)

    tell(way, story)
