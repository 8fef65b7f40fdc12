"""The answering end of the links between nodes: takes over an upgraded HTTP connection and serves frames on it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Protocol

from impl.cluster import wire
from impl.cluster.link import Link, LinkCounters
from impl.cluster.secret import PROOF, TIME, Secret
from impl.cluster.wire import Frame, Kind
from impl.doors import Clock
from impl.errors import AmberioError, Unauthorised
from impl.model import AcceptedPage, Ballot, Rows
from impl.protocol.messages import Failure, Reply, Request, Told

TARGET: Final = "/internal/v1/rpc"
UPGRADE: Final = "amberio-rpc/1"
PARTS_AT_ONCE_MAX: Final = 4
"""Parts of one link that may be on their way to the disk; beyond, its socket is not read."""


class Upgraded(Protocol):
    """The HTTP request that asked for the upgrade."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]: ...


class Registers(Protocol):
    """What of this node's registers other nodes may ask."""

    def handle(self, request: Request, respond: Callable[[Reply], None]) -> None: ...
    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool) -> Rows: ...
    def digests(self) -> Mapping[int, int]: ...
    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage: ...
    def told(self, told: Told) -> None: ...
    def failure(self, error: AmberioError) -> Failure: ...


class Parts(Protocol):
    async def put(self, slot: int, digest: str, chunks: list[bytes]) -> bool: ...
    async def get(self, slot: int, digest: str) -> bytes: ...


class Gossip(Protocol):
    """What this node knows of who lives (liveness.py)."""

    def pulse(self) -> bytes: ...
    def heard(self, payload: bytes) -> None: ...


class PeerServer:
    """Answers other nodes."""

    def __init__(
        self,
        gossip: Gossip,
        cluster_id: str,
        secret: Secret,
        registers: Registers,
        parts: Parts,
        clock: Clock,
        counters: LinkCounters,
        before_bytes: Callable[[], None],
        on_dialled: Callable[[str], None],
        probe: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._on_dialled = on_dialled
        self._gossip = gossip
        self._ping_for = probe
        self.on_behind: Callable[[str, str, Ballot], None] = lambda path, source, accepted: None
        self._cluster_id = cluster_id
        self._secret = secret
        self._registers = registers
        self._parts = parts
        self._clock = clock
        self._counters = counters
        self._before_bytes = before_bytes
        self._links: dict[Link, int] = {}
        self._dialled: dict[tuple[str, str], Link] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}

    def upgrade(self, request: Upgraded, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take the connection over; raises Unauthorised for a stranger or a node of another cluster."""
        self._secret.check(request.method, TARGET, request.headers, self._clock.now_ms())
        cluster_id = request.headers.get(b"x-amberio-cluster", b"").decode("latin-1")
        if cluster_id != self._cluster_id:
            raise Unauthorised(f"this node is of cluster {self._cluster_id}, the caller of {cluster_id[:40]!r}")
        time, proof = (request.headers[name].decode("latin-1") for name in (TIME, PROOF))
        transport.write(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n"
            f"{PROOF.decode()}: {self._secret.proof('101', time, proof)}\r\n\r\n".encode()
        )
        link = Link(self._clock, self._counters, self._before_bytes, self._received, self._lost)
        self._links[link] = 0
        node, channel = (
            request.headers.get(name, b"").decode("latin-1") for name in (b"x-amberio-node", b"x-amberio-channel")
        )
        # a node keeps one connection for each channel: what is left of an earlier one is half open, and nobody else
        # would ever tell us so
        earlier = self._dialled.pop((node, channel), None)
        if earlier is not None:
            earlier.close("the node has dialled anew")
        self._dialled[node, channel] = link
        transport.set_protocol(link)
        link.opened(transport, leftover)
        self._on_dialled(node)

    def close(self) -> None:
        """Hang up on everyone."""
        for link in tuple(self._links):
            link.close("this node stops")
        for task in self._tasks:
            task.cancel()

    def _lost(self, link: Link, reason: str) -> None:
        self._links.pop(link, None)
        for dialler in [dialler for dialler, kept in self._dialled.items() if kept is link]:
            del self._dialled[dialler]

    def _received(self, link: Link, received: Frame) -> None:
        kind, request_id, payload, chunks = received
        if kind is Kind.ASK:
            self._registers.handle(wire.decode_ask(payload), partial(self._answer, link, request_id))
        elif kind is Kind.PING:
            self._gossip.heard(payload)
            link.send(Kind.PONG, request_id, self._gossip.pulse())
        elif kind is Kind.PROBE:
            self._begin(link, request_id, self._probe(link, request_id, wire.decode_probed(payload).node))
        elif kind is Kind.SCAN:
            self._begin(link, request_id, self._scan(link, request_id, wire.decode_scan(payload)))
        elif kind is Kind.DIGESTS:
            self._begin(link, request_id, self._digests(link, request_id))
        elif kind is Kind.ACCEPTED:
            self._begin(link, request_id, self._accepted(link, request_id, wire.decode_accepted(payload)))
        elif kind is Kind.TOLD:
            self._registers.told(wire.decode_told(payload))
        elif kind is Kind.BEHIND:
            said = wire.decode_behind(payload)
            self.on_behind(said.path, said.source, said.accepted)
            link.send(Kind.HEARD, request_id, b"")
        elif kind is Kind.PUT_PART:
            self._busy(link, 1)
            self._begin(link, request_id, self._put(link, request_id, wire.decode_part(payload), chunks))
        elif kind is Kind.GET_PART:
            self._busy(link, 1)
            self._begin(link, request_id, self._get(link, request_id, wire.decode_part(payload)))
        else:
            raise wire.BadFrame(f"a {kind.name} that answers nothing")

    def _answer(self, link: Link, request_id: int, reply: Reply) -> None:
        link.send(Kind.ANSWER, request_id, wire.encode(reply))

    async def _probe(self, link: Link, request_id: int, node: str) -> None:
        link.send(Kind.PROBED, request_id, wire.encode(wire.Probed(node, await self._ping_for(node))))

    async def _scan(self, link: Link, request_id: int, scan: wire.Scan) -> None:
        rows = await self._registers.scan(scan.prefix, scan.after, scan.limit, scan.with_older)
        link.send(Kind.ROWS, request_id, wire.encode(rows))

    async def _digests(self, link: Link, request_id: int) -> None:
        link.send(Kind.DIGESTED, request_id, wire.encode(wire.Digests(dict(self._registers.digests()))))

    async def _accepted(self, link: Link, request_id: int, asked: wire.Accepted) -> None:
        page = await self._registers.accepted_page(asked.slots, asked.after, asked.limit)
        link.send(Kind.BALLOTS, request_id, wire.encode(page))

    async def _put(self, link: Link, request_id: int, header: wire.PartHeader, chunks: list[bytes]) -> None:
        try:
            reused = await self._parts.put(header.slot, header.digest, chunks)
        finally:
            self._busy(link, -1)
        link.send(Kind.STORED, request_id, wire.encode(wire.Stored(reused)))

    async def _get(self, link: Link, request_id: int, asked: wire.PartHeader) -> None:
        try:
            part = await self._parts.get(asked.slot, asked.digest)
            header = wire.PartHeader(asked.slot, asked.digest, len(part))
            await link.send_part(Kind.PART_FOLLOWS, request_id, wire.encode(header), wire.pieces(part))
        finally:
            self._busy(link, -1)

    def _busy(self, link: Link, more: int) -> None:
        """Count the link's parts on their way, and stop reading it while there are too many."""
        if link not in self._links:
            return
        was_full = self._links[link] >= PARTS_AT_ONCE_MAX
        self._links[link] += more
        is_full = self._links[link] >= PARTS_AT_ONCE_MAX
        if was_full != is_full:
            link.pause_receiving(is_full)

    def _begin(self, link: Link, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except AmberioError as error:
                link.send(Kind.FAILED, request_id, wire.encode(self._registers.failure(error)))

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
