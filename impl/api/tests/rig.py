"""Runs the HTTP face over a double of the node on a real socket, and talks to it in raw bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from impl.api.http.edge import Edge, HttpLimits, Upgrade
from impl.api.http.listener import Listener, listen
from impl.api.http.routes import HotRoutes, none_hot
from impl.api.http.tornado_seam import TornadoSeam
from impl.api.metrics import HttpMetrics, ProcessMetrics, metrics_route
from impl.api.native import NativeApi
from impl.api.tests.double import NodeDouble

WAIT_S = 10.0


class TestClock:
    """Real time, plus what the test adds; `sleep` is real but short, so that sweeps come often."""

    __test__ = False

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ms(self) -> int:
        return int((time.time() + self.ahead_s) * 1000)

    def monotonic_s(self) -> float:
        return time.monotonic() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class Reply(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes = b""


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request with Content-Length, and its reply."""
        self.send(request_bytes(method, target, body, headers))
        return await self.reply(method)

    async def reply(self, method: str = "GET") -> Reply:
        """The next reply. HEAD replies are known by `method`, for their length promises bytes that do not come."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S)
        status_line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        reply = Reply(int(status_line.split()[1]), {name.lower(): value for name, _, value in pairs})
        assert len(reply.headers) == len(pairs), f"a header came twice: {lines}"
        length = int(reply.headers.get("content-length", "0"))
        if method != "HEAD" and length:
            reply.body = await asyncio.wait_for(self.reader.readexactly(length), WAIT_S)
        return reply

    async def ends(self) -> bytes:
        """What comes until the server closes."""
        return await asyncio.wait_for(self.reader.read(), WAIT_S)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


class Rig:
    """The HTTP face, its node double, and its clock."""

    def __init__(self, edge: Edge, listener: Listener, node: NodeDouble, api: NativeApi, clock: TestClock) -> None:
        self.edge = edge
        self.listener = listener
        self.node = node
        self.api = api
        self.clock = clock

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        client = Client(reader, writer)
        try:
            yield client
        finally:
            await client.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true."""

        async def poll() -> None:
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)

        await asyncio.wait_for(poll(), WAIT_S)


@asynccontextmanager
async def serving(
    way: str,
    limits: HttpLimits | None = None,
    upgrades: dict[str, Upgrade] | None = None,
    before_bytes: Callable[[], None] = lambda: None,
) -> AsyncIterator[Rig]:
    """The face, with hot requests on the `direct` path or everything through `tornado`."""
    node, clock = NodeDouble(), TestClock()
    api, metrics = NativeApi(node), HttpMetrics()
    routes = (*api.routes(), metrics_route((metrics, ProcessMetrics())))
    edge = Edge(
        hot=HotRoutes(routes) if way == "direct" else none_hot,
        tornado=TornadoSeam(routes),
        observer=metrics,
        clock=clock,
        limits=limits or HttpLimits(),
        before_bytes=before_bytes,
        upgrades=upgrades or {},
        request_id_prefix="n1-7-",
    )
    metrics.watch(edge)
    listener = await listen(edge, "127.0.0.1", 0)
    try:
        yield Rig(edge, listener, node, api, clock)
    finally:
        node.gate.set()
        await listener.drain(0.2)


def request_bytes(method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
