"""The answering end of the links between nodes: what each frame of a born node is answered. How links open: door.py."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Protocol

from impl.cluster import wire
from impl.cluster.door import Door, Gossip, Upgraded
from impl.cluster.link import Link, LinkCounters
from impl.cluster.lives import Lives
from impl.cluster.secret import Secret
from impl.cluster.wire import Frame, Kind
from impl.doors import Clock
from impl.errors import AmberioError
from impl.model import AcceptedPage, Ballot, Rows
from impl.protocol.messages import Failure, Reply, Request, Told

PARTS_AT_ONCE_MAX: Final = 4
"""Parts of one link that may be on their way to the disk; beyond, its socket is not read."""


class Registers(Protocol):
    """What of this node's registers other nodes may ask."""

    def handle(self, request: Request, respond: Callable[[Reply], None]) -> None: ...
    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool) -> Rows: ...
    def digests(self) -> Mapping[int, int]: ...
    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage: ...
    def told(self, told: Told) -> None: ...
    async def known(self, asked: wire.Known) -> wire.KnownPage: ...
    def failure(self, error: AmberioError) -> Failure: ...


class Parts(Protocol):
    async def put(self, slot: int, digest: str, chunks: list[bytes]) -> bool: ...
    async def get(self, slot: int, digest: str) -> bytes: ...


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
        lives: Lives,
        leave_earlier: Callable[[str, int], None],
    ) -> None:
        """`leave_earlier` drops what this node has asked, and was told, in lives of a node before the one it is in."""
        self._lives = lives
        self._leave_earlier = leave_earlier
        self.on_meet: Callable[[str, str, tuple[int, ...] | None], str] = lambda node, cause, slots: ""
        self._gossip = gossip
        self._ping_for = probe
        self.on_behind: Callable[[str, str, Ballot], None] = lambda path, source, accepted: None
        self._registers = registers
        self._parts = parts
        self._door = Door(gossip, cluster_id, secret, lives, clock, counters, before_bytes, self._received, on_dialled)
        self._parts_under_way: dict[Link, int] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}

    def upgrade(self, request: Upgraded, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take the connection over; raises Unauthorised for whom this node does not listen to (door.py)."""
        self._door.upgrade(request, transport, leftover)

    def close(self) -> None:
        """Hang up on everyone."""
        self._door.close()
        for task in self._tasks:
            task.cancel()

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
        elif kind is Kind.KNOWN:
            self._begin(link, request_id, self._known(link, request_id, wire.decode_known(payload)))
        elif kind is Kind.MEET:
            self._begin(link, request_id, self._meet(link, request_id, wire.decode_meet(payload)))
        elif kind is Kind.ASK_LIFE:
            self._door.answer_unborn(link, received)
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

    async def _known(self, link: Link, request_id: int, asked: wire.Known) -> None:
        link.send(Kind.KNOWN_PAGE, request_id, wire.encode(await self._registers.known(asked)))

    async def _meet(self, link: Link, request_id: int, said: wire.Meet) -> None:
        """A node has begun a new life: know it durably, then drop what was heard of earlier ones, then say so."""
        await self._lives.learn(said.node, said.life)
        self._door.hang_up_on_earlier(said.node, said.life)
        self._leave_earlier(said.node, said.life)
        link.send(Kind.MET, request_id, wire.encode(wire.Met(self.on_meet(said.node, said.cause, said.slots))))

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
        before = self._parts_under_way.pop(link, 0)
        now = before + more
        if now:
            self._parts_under_way[link] = now
        if (before >= PARTS_AT_ONCE_MAX) != (now >= PARTS_AT_ONCE_MAX):
            link.pause_receiving(now >= PARTS_AT_ONCE_MAX)

    def _begin(self, link: Link, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except AmberioError as error:
                link.send(Kind.FAILED, request_id, wire.encode(self._registers.failure(error)))

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
