"""Where the links that other nodes dial come in: who may, which of them are open, and what the unborn may ask.

A node that does not know yet which life it is in (impl/node/birth.py) has this door only, and lets in only others that
do not know either; what they ask each other, born nodes answer too.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from impl.cluster import wire
from impl.cluster.link import Link, LinkCounters
from impl.cluster.lives import Lives
from impl.cluster.secret import PROOF, TIME, Secret
from impl.cluster.wire import Frame, Kind
from impl.doors import Clock
from impl.errors import AmberioError, NotReady, Unauthorised

TARGET: Final = "/internal/v1/rpc"
UPGRADE: Final = "amberio-rpc/1"
LIFE: Final = "x-amberio-life"

log = structlog.get_logger(__name__)


class Upgraded(Protocol):
    """The HTTP request that asked for the upgrade."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]: ...


class Gossip(Protocol):
    """What this node knows of who lives (liveness.py)."""

    def pulse(self) -> bytes: ...
    def heard(self, payload: bytes) -> None: ...


@dataclass(frozen=True)
class Dialler:
    """Who has opened a link; life 0 is that of a node that is not born yet."""

    node: str
    channel: str
    life: int


class Door:
    """Takes over upgraded connections.

    `on_frame` gets what born nodes say, if any may come in; `on_dialled` is told of the link of each that serves, and
    of each while this one does not.
    """

    def __init__(
        self,
        gossip: Gossip,
        cluster_id: str,
        secret: Secret,
        lives: Lives,
        clock: Clock,
        counters: LinkCounters,
        before_bytes: Callable[[], None],
        on_frame: Callable[[Link, Frame], None] | None,
        on_dialled: Callable[[str], None],
    ) -> None:
        self._gossip = gossip
        self._cluster_id = cluster_id
        self._secret = secret
        self._lives = lives
        self._clock = clock
        self._counters = counters
        self._before_bytes = before_bytes
        self._on_frame = on_frame or self.answer_unborn
        self._is_unborn = on_frame is None
        self._on_dialled = on_dialled
        self._links: dict[Link, Dialler] = {}
        self._opening: dict[asyncio.Task[None], None] = {}

    def upgrade(self, request: Upgraded, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take the connection over.

        Raises Unauthorised for a stranger, a node of another cluster or an earlier disk of one; NotReady for a node
        that is born while this one is not.
        """
        self._secret.check(request.method, TARGET, request.headers, self._clock.now_ms())
        dialler = self._dialler(request.headers)
        time, proof = (request.headers[name].decode("latin-1") for name in (TIME, PROOF))
        answer = (
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n"
            f"{LIFE}: {self._lives.own}\r\n{PROOF.decode()}: {self._secret.proof('101', time, proof)}\r\n\r\n"
        ).encode()
        if not self._lives.is_unheard_of(dialler.node, dialler.life):
            self._open(dialler, transport, answer, leftover)
            return
        transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._learn_and_open(dialler, transport, answer, leftover))
        self._opening[task] = None
        task.add_done_callback(self._opening.pop)

    def dialler(self, link: Link) -> Dialler | None:
        """Who has opened it; None if it is gone."""
        return self._links.get(link)

    def hang_up_on_earlier(self, node: str, life: int) -> None:
        """Hear no more of what a node says in a life before this one."""
        for link, dialler in tuple(self._links.items()):
            if dialler.node == node and dialler.life < life:
                link.close(f"it is of life {dialler.life}, and {node} is in its life {life}")

    def close(self) -> None:
        """Hang up on everyone."""
        for link in tuple(self._links):
            link.close("this node stops")
        for task in self._opening:
            task.cancel()

    def answer_unborn(self, link: Link, received: Frame) -> None:
        """Answer what a node may ask that is not born yet."""
        kind, request_id, payload, _ = received
        if kind is Kind.PING:  # what it has heard is no news: it does not serve
            link.send(Kind.PONG, request_id, self._gossip.pulse())
        elif kind is Kind.ASK_LIFE:
            life = self._lives.of(wire.decode_ask_life(payload).node)
            link.send(Kind.LIFE, request_id, wire.encode(wire.Life(life)))
        else:
            raise wire.BadFrame(f"a {kind.name} of a node that is not born yet")

    def _dialler(self, headers: Mapping[bytes, bytes]) -> Dialler:
        cluster_id, node, channel, life = (
            headers.get(name, b"").decode("latin-1")
            for name in (b"x-amberio-cluster", b"x-amberio-node", b"x-amberio-channel", LIFE.encode())
        )
        if cluster_id != self._cluster_id:
            raise Unauthorised(f"this node is of cluster {self._cluster_id}, the caller of {cluster_id[:40]!r}")
        dialler = Dialler(node, channel, life_of(life))
        self._lives.admit(node, dialler.life)
        if dialler.life and (self._is_unborn or not self._lives.own):  # also when it knows its life, but closes first
            raise NotReady("this node asks the others whether its disk is new; until it knows, it serves nobody")
        return dialler

    async def _learn_and_open(
        self, dialler: Dialler, transport: asyncio.Transport, answer: bytes, leftover: bytes
    ) -> None:
        try:
            await self._lives.learn(dialler.node, dialler.life)
        except AmberioError as error:
            log.warning("refused a link", peer=dialler.node, text=str(error))
            transport.abort()
            return
        if not transport.is_closing():
            self._open(dialler, transport, answer, leftover)
            transport.resume_reading()

    def _open(self, dialler: Dialler, transport: asyncio.Transport, answer: bytes, leftover: bytes) -> None:
        transport.write(answer)
        on_frame = self._on_frame if dialler.life else self.answer_unborn
        link = Link(self._clock, self._counters, self._before_bytes, on_frame, self._lost)
        # a node keeps one connection for each channel: what is left of an earlier one is half open, and nobody else
        # would ever tell us so
        for earlier, kept in tuple(self._links.items()):
            if (kept.node, kept.channel) == (dialler.node, dialler.channel):
                earlier.close("the node has dialled anew")
        self._links[link] = dialler
        transport.set_protocol(link)
        link.opened(transport, leftover)
        if dialler.life or not self._lives.own:
            self._on_dialled(dialler.node)

    def _lost(self, link: Link, reason: str) -> None:
        self._links.pop(link, None)


def life_of(header: str | None) -> int:
    """The life that a node tells as a link opens; raises Unauthorised if it tells none."""
    if header is None or not (header.isascii() and header.isdigit()):
        raise Unauthorised(f"the other node does not tell its life ({LIFE}); start this version of Amberio there")
    return int(header)
