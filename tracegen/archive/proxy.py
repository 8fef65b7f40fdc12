"""The way from one node to its archive, in HTTP, and what the harness can do to the requests on it.

A request is taken whole, its fate is drawn, and what is left of it goes on to the archive on a connection of its own.
So a request that was sent goes on when the node that sent it is killed, and one that is held back may arrive when
nobody waits for it any more.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, cast

import httptools

from tracegen.archive.face import Way
from tracegen.backend.proxy import HOST, reset

REQUEST_BYTES_MAX: Final = 128 * 1024 * 1024
"""Many times what a node sends at once: it uploads in parts."""
ANSWER_S: Final = 60.0
FASTEST_LATE: Final = 0.3
"""A late request is held back for this share of the time at least."""
WRITES: Final = ("PUT", "POST", "DELETE")
_OF_A_HOP: Final = (b"connection", b"keep-alive", b"expect", b"transfer-encoding", b"content-length")
_ERROR: Final = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message></Error>"

Fate = Literal["cut request", "cut answer", "throttle", "lose", "late"]


class Request:
    """A request of a node's, as it came."""

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    @property
    def is_write(self) -> bool:
        """Does it change what others see? Parts of uploads do not, nor does the beginning of one."""
        query = self.target.partition(b"?")[2]
        is_of_a_part = query.startswith(b"uploads") or b"partNumber=" in query
        is_abort = self.method == "DELETE" and b"uploadId=" in query
        return self.method in WRITES and not is_of_a_part and not is_abort

    @property
    def signed_at(self) -> datetime | None:
        """When its sender signed it, to the second."""
        told = next((value for name, value in self.headers if name.lower() == b"x-amz-date"), b"")
        try:
            return datetime.strptime(told.decode("latin-1"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None

    def forwarded(self) -> bytes:
        """Its bytes, for a connection that ends with the answer."""
        lines = [self.method.encode() + b" " + self.target + b" HTTP/1.1\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in self.headers if name.lower() not in _OF_A_HOP]
        lines.append(b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(self.body))
        return b"".join(lines) + self.body


class ArchiveProxy:
    """Listens where a node takes its archive to be: at `address`, which is set once it is open.

    `archive` is where that really answers. What was signed longer ago than `request_life_s` is refused, as S3 does
    after a quarter of an hour. `late` is how many requests are held back.
    """

    def __init__(self, node: str, archive: tuple[str, int], way: Way, request_life_s: float, seed: str) -> None:
        self.node = node
        self.way = way
        self.late = 0
        self.address = ("", 0)
        self._archive = archive
        self._life_s = request_life_s
        self._draw = random.Random(f"{seed}/archive/{node}")
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()
        self._working: set[asyncio.Task[None]] = set()

    async def open(self, host: str = HOST) -> None:
        """Listen at this address of ours."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), host, 0)
        self.address = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Let go of everything, also of what is on its way."""
        if self._server is not None:
            self._server.close()
        self.break_connections()
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    def break_connections(self, *, only_silent: bool = False) -> None:
        """Reset the node's connections, or only those on which it waits for what will not come."""
        for client in tuple(self._clients):
            if client.is_silent or not only_silent:
                client.end()

    # -- what becomes of a request

    def joined(self, client: "_Client") -> None:
        self._clients.add(client)
        if self.is_refusing():
            client.end()

    def is_refusing(self) -> bool:
        """Does an outage end a connection, or the first lines of a request, right here?"""
        is_refusing = self.way.faults.outage == "refuses"
        self.way.done["outage"] += is_refusing
        return is_refusing

    def left(self, client: "_Client") -> None:
        self._clients.discard(client)

    def take(self, request: Request, client: "_Client") -> None:
        """Have a request carried out, or not."""
        task = asyncio.get_running_loop().create_task(self._carry_out(request, client))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _carry_out(self, request: Request, client: "_Client") -> None:
        faults = self.way.faults
        fate, is_half = self._draw_fate(request), self._draw.random() < 0.5
        if faults.slow_s:
            self.way.done["slow"] += 1
            await asyncio.sleep(faults.slow_s + self._draw.uniform(0, faults.slow_jitter_s))
        if self._is_kept_away(client):
            return
        if fate is not None:
            self.way.done[fate.partition(" ")[0]] += 1
        match fate:
            case "throttle":
                client.answer(_failure(request, 503, "SlowDown", "please reduce your request rate"))
                return
            case "cut request":
                client.end()
                return
            case "late":
                if is_half:
                    client.end()
                await self._hold_back(self._draw.uniform(FASTEST_LATE, 1.0) * faults.late_s)
        answer = await self._ask(request)
        if self._is_kept_away(client):
            return
        if fate == "cut answer":
            client.answer(answer[: len(answer) // 2])
            client.end()
        elif fate == "lose" and (is_half or not faults.lose):
            client.end()  # also if the fault is over by now: nobody will tell it later
        elif fate == "lose":
            client.is_silent = True
        else:
            client.answer(answer)

    async def _hold_back(self, seconds: float) -> None:
        self.late += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.late -= 1

    def _draw_fate(self, request: Request) -> Fate | None:
        faults = self.way.faults
        shares: Sequence[tuple[float, Fate]] = (
            (faults.throttle, "throttle"),
            (faults.cut / 2, "cut request"),
            (faults.cut / 2, "cut answer"),
            (faults.lose, "lose"),
            (faults.late if request.is_write else 0.0, "late"),
        )
        chance = self._draw.random()
        for share, fate in shares:
            if chance < share:
                return fate
            chance -= share
        return None

    def _is_kept_away(self, client: "_Client") -> bool:
        """Does an outage end this here?"""
        outage = self.way.faults.outage
        if outage is not None:
            self.way.done["outage"] += 1
        if outage == "refuses":
            client.end()
        elif outage == "silent":
            client.is_silent = True
        return outage is not None

    async def _ask(self, request: Request) -> bytes:
        """Have the archive carry it out; the bytes of the answer, for a connection that stays open."""
        signed_at = request.signed_at
        if signed_at is not None and (datetime.now(UTC) - signed_at).total_seconds() > self._life_s:
            self.way.done["refused as old"] += 1
            return _failure(request, 403, "RequestTimeTooSkewed", "the request is too old")
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(*self._archive)
                try:
                    writer.write(request.forwarded())
                    answer = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            return _failure(request, 500, "InternalError", f"the archive does not answer: {error}")
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].lower() != b"connection"]
        return b"\r\n".join([status, *kept]) + b"\r\n\r\n" + body


def _failure(request: Request, status: int, code: str, why: str) -> bytes:
    content = _ERROR.format(code, why).encode()
    head = f"HTTP/1.1 {status} {code}\r\ncontent-type: application/xml\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + (b"" if request.method == "HEAD" else content)


class _Client(asyncio.Protocol):
    """One connection of the node's: one request at a time. `is_silent`: the answer that it waits for will not come."""

    def __init__(self, proxy: ArchiveProxy) -> None:
        self.is_silent = False
        self._proxy = proxy
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._proxy.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._proxy.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.end()

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        expected = any(name.lower() == b"expect" for name, _ in self._request.headers)
        if self._proxy.is_refusing():
            self.end()
        elif expected and self._proxy.way.faults.outage is None:
            self.answer(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._request.body += body
        if len(self._request.body) > REQUEST_BYTES_MAX:
            self.end()

    def on_message_complete(self) -> None:
        request, self._request = self._request, Request()
        self._proxy.take(request, self)

    def answer(self, answer: bytes) -> None:
        """Say it, if somebody still listens."""
        if self._transport is not None:
            self._transport.write(answer)

    def end(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            reset(self._transport)
