"""The asking end of the links between nodes: two connections to every other node, kept up, and what is sent on them.

One connection carries the register protocol and pings, the other one parts and pages of lists, so that a small question
never waits behind 8 MiB. Every question has a deadline and exactly one answer: a reply or an error. Nothing is sent
again here; the protocol above knows what a retry means.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import msgspec
import structlog

from impl.cluster import wire
from impl.cluster.door import LIFE, TARGET, UPGRADE, life_of
from impl.cluster.link import Link, LinkCounters
from impl.cluster.liveness import Liveness, PeerStatus
from impl.cluster.lives import Lives
from impl.cluster.secret import PROOF, TIME, Secret
from impl.cluster.wire import Frame, Kind
from impl.doors import Clock, Network, Random
from impl.errors import AmberioError, DiskFull, NeverWritten, Overloaded, PeerError, Unauthorised
from impl.model import AcceptedPage, Ballot, Rows
from impl.protocol.liveness import VOUCH_S, Probe
from impl.protocol.messages import Failure, Reply, Request, Told

PENDING_MAX: Final = 8192
"""Questions to one node that may wait for an answer."""
SWEEP_S: Final = 0.05
PING_S: Final = 1.0
SILENCE_S: Final = {"control": 3.0, "bulk": 20.0}
"""A connection on which nothing came for so long, though asked, is given up; parts may have to wait for a disk."""
HANDSHAKE_S: Final = 2.0
RECONNECT_FIRST_S: Final = 0.02
RECONNECT_MOST_S: Final = 1.0
HANDSHAKE_BYTES_MAX: Final = 8192

OnReply = Callable[[str, Reply | AmberioError], None]
_OnAnswer = Callable[[Frame | AmberioError], None]

log = structlog.get_logger(__name__)


class Who(msgspec.Struct, frozen=True):
    """What this node says of itself when it dials."""

    node_id: str
    incarnation: int
    cluster_id: str


class Peers:
    """Asks the other nodes. `addresses` says where each is dialled: host and port."""

    def __init__(
        self,
        who: Who,
        addresses: Mapping[str, tuple[str, int]],
        secret: Secret,
        clock: Clock,
        random: Random,
        network: Network,
        counters: LinkCounters,
        before_bytes: Callable[[], None],
        liveness: Liveness,
        lives: Lives,
    ) -> None:
        self._who = who
        self._clock = clock
        self._lives = lives
        self._liveness = liveness
        liveness.on_news = self._ping_all
        context = _Context(who, secret, clock, random, network, counters, before_bytes, liveness, lives)
        self._control = {node: _Channel(node, address, "control", context) for node, address in addresses.items()}
        self._bulk = {node: _Channel(node, address, "bulk", context) for node, address in addresses.items()}
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to dial."""
        channels = (*self._control.values(), *self._bulk.values())
        self._tasks = [asyncio.get_running_loop().create_task(channel.keep()) for channel in channels]
        self._tasks.append(asyncio.get_running_loop().create_task(self._watch()))

    async def close(self) -> None:
        """Hang up; whoever waits for an answer gets an error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in (*self._control.values(), *self._bulk.values()):
            channel.hang_up("this node stops")

    def start(self, nodes: Sequence[str], request: Request, timeout_s: float, on_reply: OnReply) -> None:
        """Ask each of `nodes`; `on_reply` is called exactly once for each, now or within `timeout_s`."""
        payload = wire.encode(request)
        deadline_s = self._clock.monotonic_s() + timeout_s
        for node in nodes:
            self._control[node].ask(Kind.ASK, payload, deadline_s, partial(_replied, on_reply, node))

    async def ask(self, node: str, request: Request, timeout_s: float) -> Reply | AmberioError:
        """Ask one node, and wait for its answer."""
        reply: asyncio.Future[Reply | AmberioError] = asyncio.get_running_loop().create_future()

        def told(_: str, answer: Reply | AmberioError) -> None:
            if not reply.done():  # whoever asked may have been cancelled meanwhile
                reply.set_result(answer)

        self.start((node,), request, timeout_s, told)
        return await reply

    async def put_part(self, node: str, slot: int, digest: str, chunks: Sequence[bytes], timeout_s: float) -> None:
        """Have a node keep a part; returns when it is on its disk. Raises DiskFull, PeerError."""
        header = wire.PartHeader(slot, digest, sum(map(len, chunks)))
        await self._bulk[node].converse(Kind.PUT_PART, wire.encode(header), timeout_s, chunks)

    async def get_part(self, node: str, slot: int, digest: str, timeout_s: float) -> list[bytes]:
        """The bytes of a part as a node sent them, not yet checked. Raises NeverWritten, PeerError."""
        header = wire.PartHeader(slot, digest, 0)
        return (await self._bulk[node].converse(Kind.GET_PART, wire.encode(header), timeout_s))[3]

    async def scan(
        self, node: str, prefix: str, after: str | None, limit: int, with_older: bool, timeout_s: float
    ) -> Rows:
        """A node's own registers, without bodies, that start with `prefix` and follow `after`; raises PeerError."""
        payload = wire.encode(wire.Scan(prefix, after, limit, with_older))
        answer = await self._bulk[node].converse(Kind.SCAN, payload, timeout_s)
        return wire.decode_rows(answer[2])

    async def digests(self, node: str, timeout_s: float) -> dict[int, int]:
        """The digest of each of a node's slots in which something is accepted; raises PeerError."""
        answer = await self._bulk[node].converse(Kind.DIGESTS, b"", timeout_s)
        return wire.decode_digests(answer[2]).digests

    async def accepted(
        self, node: str, slots: list[int], after: str | None, limit: int, timeout_s: float
    ) -> AcceptedPage:
        """What a node has accepted in these slots, of its next `limit` registers after a path; raises PeerError."""
        payload = wire.encode(wire.Accepted(slots, after, limit))
        answer = await self._bulk[node].converse(Kind.ACCEPTED, payload, timeout_s)
        return wire.decode_ballots(answer[2])

    def tell(self, nodes: Sequence[str], told: Told) -> None:
        """Tell each of `nodes` what needs no answer; who cannot be reached does not hear it."""
        payload = wire.encode(told)
        for node in nodes:
            self._control[node].say(Kind.TOLD, payload)

    async def say_behind(self, node: str, path: str, source: str, accepted: Ballot, timeout_s: float) -> None:
        """Tell a node that it has not accepted what another one has, at this ballot; raises PeerError."""
        await self._bulk[node].converse(Kind.BEHIND, wire.encode(wire.Behind(path, source, accepted)), timeout_s)

    async def ask_life(self, node: str, timeout_s: float) -> int:
        """The last life of this node that another one knows of, 0 if none; raises PeerError."""
        payload = wire.encode(wire.AskLife(self._who.node_id))
        return wire.decode_life((await self._control[node].converse(Kind.ASK_LIFE, payload, timeout_s))[2]).life

    async def meet(self, node: str, life: int, cause: str, slots: tuple[int, ...] | None, timeout_s: float) -> str:
        """Have a node know durably that this one is in this life, and drop what it heard of earlier ones.

        The id of its event that says so; meeting again does no harm. Raises PeerError.
        """
        payload = wire.encode(wire.Meet(self._who.node_id, life, cause, slots))
        return wire.decode_met((await self._control[node].converse(Kind.MEET, payload, timeout_s))[2]).event

    async def known(self, node: str, asked: wire.Known, timeout_s: float) -> wire.KnownPage:
        """A page of the paths that a node knows; raises PeerError."""
        answer = await self._bulk[node].converse(Kind.KNOWN, wire.encode(asked), timeout_s)
        return wire.decode_known_page(answer[2])

    def leave_earlier(self, node: str, life: int) -> None:
        """Hang up on a node in any life before this one; whoever waits for an answer of it gets an error."""
        for channels in (self._control, self._bulk):
            if node in channels:
                channels[node].leave_earlier(life)

    def heard_from(self, node: str) -> None:
        """A node has dialled us, so it can be dialled."""
        for channels in (self._control, self._bulk):
            if node in channels:
                channels[node].is_back()

    async def probe(self, node: str) -> bool:
        """Ping a node for another one that cannot reach it: does it answer?"""
        if node not in self._control:
            return False
        try:
            await self._control[node].converse(Kind.PING, self._liveness.pulse(), VOUCH_S)
        except AmberioError:
            return False
        return True

    def statuses(self) -> dict[str, PeerStatus]:
        """How each of the other nodes looks from here; one that only others reach is a suspect here."""
        return {node: channel.status() for node, channel in self._control.items()}

    def _ping_all(self) -> None:
        now_s = self._clock.monotonic_s()
        for channel in self._control.values():
            channel.ping(now_s)

    def _ask_others(self, probe: Probe) -> None:
        """Have others ping a node that this one cannot reach."""
        payload = wire.encode(wire.Probed(probe.node))
        deadline_s = self._clock.monotonic_s() + VOUCH_S

        def told(answer: Frame | AmberioError) -> None:
            if isinstance(answer, AmberioError) or answer[0] is not Kind.PROBED:
                return
            if wire.decode_probed(answer[2]).is_reached:
                self._liveness.vouched(probe.node)

        for other in probe.through:
            self._control[other].ask(Kind.PROBE, payload, deadline_s, told)

    async def _watch(self) -> None:
        """Let questions time out, and notice connections that have gone silent."""
        ping_s = 0.0
        while True:
            await self._clock.sleep(SWEEP_S)
            now_s = self._clock.monotonic_s()
            is_ping_due = now_s >= ping_s
            if is_ping_due:
                ping_s = now_s + PING_S
            for channel in (*self._control.values(), *self._bulk.values()):
                channel.sweep(now_s)
                if is_ping_due:
                    channel.ping(now_s)
            for probe in self._liveness.tick():
                if self._lives.own:  # nobody looks for others on behalf of the unborn
                    self._ask_others(probe)


class _Context(msgspec.Struct, frozen=True):
    """What all channels share."""

    who: Who
    secret: Secret
    clock: Clock
    random: Random
    network: Network
    counters: LinkCounters
    before_bytes: Callable[[], None]
    liveness: Liveness
    lives: Lives


class _Channel:
    """One kept connection to one node, and the questions that wait for their answers on it."""

    def __init__(self, node: str, address: tuple[str, int], name: str, context: _Context) -> None:
        self._node = node
        self._address = address
        self._name = name
        self._context = context
        self._link: Link | None = None
        self._life = 0
        self._lost: asyncio.Event = asyncio.Event()
        self._is_back: asyncio.Event = asyncio.Event()
        self._pending: dict[int, tuple[float, _OnAnswer]] = {}
        self._last_id = 0

    def ask(self, kind: Kind, payload: bytes, deadline_s: float, on_answer: _OnAnswer) -> int | None:
        """Send a question; None if it cannot even be sent, and then the error has been told already."""
        link = self._link
        if link is None:
            on_answer(PeerError(f"{self._node} cannot be reached at {self._address[0]}:{self._address[1]}"))
            return None
        if len(self._pending) >= PENDING_MAX:
            on_answer(Overloaded(f"{len(self._pending)} questions to {self._node} wait for an answer already"))
            return None
        request_id = self._next_id()
        self._pending[request_id] = (deadline_s, on_answer)
        if kind is not Kind.PUT_PART:
            link.send(kind, request_id, payload)
        return request_id

    async def converse(
        self, kind: Kind, payload: bytes, timeout_s: float, chunks: Sequence[bytes | memoryview] = ()
    ) -> Frame:
        """Ask and wait; the answer's frame. Raises AmberioError."""
        answer: asyncio.Future[Frame | AmberioError] = asyncio.get_running_loop().create_future()

        def settle(received: Frame | AmberioError) -> None:
            if not answer.done():
                answer.set_result(received)

        link = self._link
        request_id = self.ask(kind, payload, self._context.clock.monotonic_s() + timeout_s, settle)
        if kind is Kind.PUT_PART and request_id is not None and link is not None:
            sending = asyncio.ensure_future(link.send_part(kind, request_id, payload, chunks))
            # a node that stops reading must not hold the part for longer than the answer may take
            await asyncio.wait((sending, answer), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                sending.cancel()
        received = await answer
        if isinstance(received, AmberioError):
            raise received
        if received[0] is Kind.FAILED:
            raise _as_error(self._node, wire.decode_failure(received[2]))
        return received

    def say(self, kind: Kind, payload: bytes) -> None:
        """Send what needs no answer, if there is a connection."""
        if self._link is not None:
            self._link.send(kind, 0, payload)

    def status(self) -> PeerStatus:
        seen, link = self._context.liveness.status(self._node), self._link
        is_silent = link is None or self._context.clock.monotonic_s() - link.heard_s > 2 * PING_S
        return PeerStatus("suspect", seen.incarnation) if is_silent and seen.status == "healthy" else seen

    def sweep(self, now_s: float) -> None:
        """Answer the questions whose time is over."""
        if not self._pending:
            return
        late = [request_id for request_id, (deadline_s, _) in self._pending.items() if deadline_s <= now_s]
        for request_id in late:
            # the answer to one question may have been the end of others
            waiting = self._pending.pop(request_id, None)
            if waiting is not None:
                waiting[1](PeerError(f"{self._node} did not answer in time"))

    def ping(self, now_s: float) -> None:
        """Ask whether the other side is there, and give it up if it has not said a word for long."""
        link = self._link
        if link is None:
            return
        if now_s - link.heard_s > SILENCE_S[self._name] and not link.waiting_bytes:
            link.close("it is silent")
            return
        link.send(Kind.PING, 0, self._context.liveness.pulse())

    def is_back(self) -> None:
        """The node has just dialled us: dial it now, if we wait to."""
        if self._link is None:
            self._is_back.set()

    def leave_earlier(self, life: int) -> None:
        """Hang up if it was dialled in a life before this one."""
        if self._link is not None and self._life < life:
            self._link.close(f"it was in its life {self._life}, and is in its life {life}")

    def hang_up(self, reason: str) -> None:
        if self._link is not None:
            self._link.close(reason)
        self._fail_all(reason)

    async def keep(self) -> None:
        """Dial, stay connected, dial again; for ever."""
        backoff_s = RECONNECT_FIRST_S
        while True:
            try:
                await self._dial()
            except (OSError, AmberioError, TimeoutError) as error:
                log.debug("cannot reach node", peer=self._node, channel=self._name, error=str(error) or repr(error))
            else:
                backoff_s = RECONNECT_FIRST_S
                log.info("connected", peer=self._node, channel=self._name)
                await self._lost.wait()
            wait_s = backoff_s * (0.5 + self._context.random.uniform())
            backoff_s = min(2 * backoff_s, RECONNECT_MOST_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._is_back.wait()
                backoff_s = RECONNECT_FIRST_S
            except TimeoutError:
                pass
            self._is_back.clear()

    async def _dial(self) -> None:
        """Connect and shake hands; raises OSError, TimeoutError, PeerError."""
        context = self._context
        done: asyncio.Future[tuple[asyncio.Transport, bytes, int]] = asyncio.get_running_loop().create_future()
        now_ms = context.clock.now_ms()
        headers = context.secret.headers("GET", TARGET, now_ms)
        expected = context.secret.proof("101", headers[TIME.decode()], headers[PROOF.decode()])
        lines = [
            f"GET {TARGET} HTTP/1.1",
            f"Host: {self._address[0]}",
            "Connection: Upgrade",
            f"Upgrade: {UPGRADE}",
            f"x-amberio-cluster: {context.who.cluster_id}",
            f"x-amberio-node: {context.who.node_id}",
            f"x-amberio-channel: {self._name}",
            f"{LIFE}: {context.lives.own}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        hello = "\r\n".join([*lines, "", ""]).encode()
        handshake = _Handshake(hello, expected, done)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await context.network.dial(lambda: handshake, *self._address)
                transport, leftover, life = await done
                context.lives.admit(self._node, life)
                if context.lives.is_unheard_of(self._node, life):
                    await context.lives.learn(self._node, life)
                if transport.is_closing():
                    # its end went to the handshake, which was over: the link would never hear of it
                    raise PeerError("it closed the connection right after the handshake")
        except BaseException:
            handshake.abandon()
            raise
        link = Link(context.clock, context.counters, context.before_bytes, self._received, self._gone)
        self._lost = asyncio.Event()
        self._link, self._life = link, life
        transport.set_protocol(link)
        link.opened(transport, leftover)
        self.ping(context.clock.monotonic_s())

    def _received(self, link: Link, received: Frame) -> None:
        if received[0] is Kind.PONG:
            self._context.liveness.heard(received[2])
        waiting = self._pending.pop(received[1], None)
        if waiting is not None:  # else it is too late: the asker has been told so
            waiting[1](received)

    def _gone(self, link: Link, reason: str) -> None:
        log.info("connection lost", peer=self._node, channel=self._name, reason=reason)
        self._link = None
        self._context.liveness.lost(self._node)
        self._lost.set()
        self._fail_all(reason)

    def _fail_all(self, reason: str) -> None:
        pending, self._pending = self._pending, {}
        for _, on_answer in pending.values():
            on_answer(PeerError(f"the connection to {self._node} is gone: {reason}"))

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF_FFFF + 1
            if self._last_id not in self._pending:
                return self._last_id


class _Handshake(asyncio.Protocol):
    """Asks for the upgrade, and checks that the other side knows the secret too."""

    def __init__(
        self, hello: bytes, expected: str, done: "asyncio.Future[tuple[asyncio.Transport, bytes, int]]"
    ) -> None:
        self._hello = hello
        self._expected = expected
        self._done = done
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, which is not asyncio's
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, leftover = self._received.partition(b"\r\n\r\n")
        if not end and len(self._received) < HANDSHAKE_BYTES_MAX:
            return
        if self._done.done():
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        if not end or status.split()[1:2] != ["101"]:
            self._done.set_exception(PeerError(f"it does not take us in: {status[:100]}"))
        elif headers.get(PROOF.decode()) != self._expected:
            self._done.set_exception(PeerError("it does not know the cluster's secret"))
        else:
            assert self._transport is not None
            try:
                self._done.set_result((self._transport, leftover, life_of(headers.get(LIFE))))
            except Unauthorised as error:
                self._done.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(PeerError("it closed the connection during the handshake"))

    def abandon(self) -> None:
        """Nobody waits for this any more."""
        if self._done.done() and not self._done.cancelled():
            self._done.exception()  # seen: an error that came too late to be raised
        if self._transport is not None:
            self._transport.abort()


def _replied(on_reply: OnReply, node: str, received: Frame | AmberioError) -> None:
    reply: Reply | AmberioError
    try:
        reply = received if isinstance(received, AmberioError) else wire.decode_answer(received[2])
    except msgspec.DecodeError as error:
        reply = PeerError(f"{node} answered what cannot be read: {error}")
    on_reply(node, reply)


def _as_error(node: str, failure: Failure) -> AmberioError:
    """What another node could not do, as an error of ours."""
    kinds: dict[str, Any] = {"disk_full": DiskFull, "overloaded": Overloaded, "not_found": NeverWritten}
    error: AmberioError = kinds.get(failure.reason, PeerError)(f"{node}: {failure.detail}")
    return error
