"""Two nodes' links on real sockets: peers that ask, and a server with doubles behind it that answers at will."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from impl.cluster import wire
from impl.cluster.link import LinkCounters
from impl.cluster.liveness import Liveness
from impl.cluster.lives import Lives
from impl.cluster.peers import Peers, Who
from impl.cluster.secret import Secret
from impl.cluster.serving import PeerServer
from impl.cluster.wire import Hello
from impl.doors import Network, RealClock, RealNetwork, RealRandom
from impl.errors import AmberioError, NeverWritten
from impl.model import NO_BALLOT, AcceptedPage, Rows
from impl.protocol.messages import Failure, Read, Reply, Request, State, Told

CLUSTER = "c0ffee"
SECRET = Secret("0123456789abcdef")
WAIT_S = 10.0


class RegistersDouble:
    """Answers a question by its path: "now"; "hold" and "late", when the test says so; "never"."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: list[Callable[[], None]] = []
        self.rows = Rows([], False)
        self.told_of: list[Told] = []

    def handle(self, request: Request, respond: Callable[[Reply], None]) -> None:
        self.asked.append(request.path)
        assert isinstance(request, Read)
        reply = State(NO_BALLOT, NO_BALLOT, None, request.read)
        if request.path == "now":
            respond(reply)
        elif request.path != "never":
            self.held.append(lambda: respond(reply))

    def release(self) -> None:
        held, self.held = self.held, []
        for respond in held:
            respond()

    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool) -> Rows:
        return self.rows

    def digests(self) -> Mapping[int, int]:
        return {}

    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage:
        return AcceptedPage([], None)

    def told(self, told: Told) -> None:
        self.told_of.append(told)

    async def known(self, asked: wire.Known) -> wire.KnownPage:
        return wire.KnownPage("", [], None, [])

    def failure(self, error: AmberioError) -> Failure:
        return Failure("not_found" if isinstance(error, NeverWritten) else "io_error", str(error))


class KnownDouble:
    """What a node's disk knows of lives; `gate` holds what is to be learnt while unset."""

    def __init__(self, life: int = 1, **lives: int) -> None:
        self.life = life
        self.is_born = life > 0
        self.lives = dict(lives)
        self.gate = asyncio.Event()
        self.gate.set()

    async def learn(self, node: str, life: int) -> None:
        await self.gate.wait()
        self.lives[node] = max(life, self.lives.get(node, 0))


class PartsDouble:
    """Parts in a dict; `gate` holds every write while unset."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def put(self, slot: int, digest: str, chunks: list[bytes]) -> bool:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        self.parts[digest] = b"".join(chunks)
        return False

    async def get(self, slot: int, digest: str) -> bytes:
        if digest not in self.parts:
            raise NeverWritten(f"no part {digest}")
        return self.parts[digest]


class Upgrade:
    """The request that a node dials with."""

    def __init__(self, head: bytes) -> None:
        request_line, *lines = head.split(b"\r\n")
        self.method, self.path = request_line.decode().split(" ")[:2]
        self.headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


class Front(asyncio.Protocol):
    """The little of HTTP that an upgrade needs (the real one is impl/api/http)."""

    def __init__(self, server: PeerServer) -> None:
        self._server = server
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, leftover = self._received.partition(b"\r\n\r\n")
        if end:
            try:
                self._server.upgrade(Upgrade(head), self._transport, leftover)
            except AmberioError:
                self._transport.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                self._transport.close()


class Answering:
    """The node that answers, on a port of its own; it may stop and start again."""

    def __init__(self) -> None:
        self.registers = RegistersDouble()
        self.parts = PartsDouble()
        self.dialled: list[str] = []
        self.known = KnownDouble()
        self.left: list[tuple[str, int]] = []
        self.port = 0
        self.incarnation = 1
        self._listening: asyncio.Server
        self.server: PeerServer

    async def start(self) -> None:
        self.server = PeerServer(
            Liveness(Hello("n2", self.incarnation), ("n1",), RealClock()),
            CLUSTER,
            SECRET,
            self.registers,
            self.parts,
            RealClock(),
            LinkCounters(),
            lambda: None,
            self.dialled.append,
            self.probed,
            Lives(self.known),
            lambda node, life: self.left.append((node, life)),
        )
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Front(self.server), "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def probed(self, node: str) -> bool:
        """Whom this one reaches for others: nobody."""
        return False

    async def stop(self) -> None:
        self._listening.close()
        self.server.close()
        await self._listening.wait_closed()
        self.incarnation += 1


def peers_of(
    port: int,
    secret: Secret = SECRET,
    cluster: str = CLUSTER,
    before_bytes: Callable[[], None] = lambda: None,
    network: Network | None = None,
    known: KnownDouble | None = None,
) -> Peers:
    """The asking node's peers, with one other node, which is on `port`."""
    addresses = {"n2": ("127.0.0.1", port)}
    return Peers(
        Who("n1", 1, cluster),
        addresses,
        secret,
        RealClock(),
        RealRandom(),
        network or RealNetwork(),
        LinkCounters(),
        before_bytes,
        Liveness(Hello("n1", 1), addresses, RealClock()),
        Lives(known or KnownDouble()),
    )


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peers, Answering]]:
    """Peers that have reached the answering node."""
    answering = Answering()
    await answering.start()
    peers = peers_of(answering.port)
    peers.open()
    try:
        await until(lambda: is_up(peers))
        yield peers, answering
    finally:
        await peers.close()
        await answering.stop()


def is_up(peers: Peers) -> bool:
    """Are both connections there?"""
    return all(channel["n2"]._link is not None for channel in (peers._control, peers._bulk))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""

    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), WAIT_S)


def read(path: str, name: str) -> Read:
    return Read(path, name)
