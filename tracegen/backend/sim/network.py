"""Simulated connections between nodes: streams that take time, stall, break, and lose the ends of each other.

A stream keeps its bytes in order, as TCP does. On the connections that carry the register protocol (control), frames
may besides be dropped, doubled or overtake each other: the protocol must not care, and real networks of other kinds do
all of that. What is between two nodes is a `Way`, one for each ordered pair; the harness changes it while a run lasts.
"""

import asyncio
import contextvars
import random
import struct
from collections.abc import Callable
from typing import Any, Final

from impl.cluster.door import Upgraded
from impl.errors import AmberioError
from tracegen.backend.sim.loop import SimLoop

HEADER: Final = struct.Struct("!IIB")
NEXT_S: Final = 1e-7
"""What is sent later on one stream arrives later, by at least this."""
DIAL_AGAIN_S: Final = 0.05
LATE_S: Final = 0.05
"""By how much a frame may come too late when others overtake it."""

Accept = Callable[[Upgraded, asyncio.Transport, bytes], None]


class Way:
    """From one node to another: how long bytes take, and what becomes of them. Probabilities are per control frame.

    `is_mute`: who speaks to an end that does not exist any more is not told so.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_cut = False
        self.is_stalled = False
        self.is_mute = False
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.drop = 0.0
        self.double = 0.0
        self.overtake = 0.0
        self.passed_bytes = 0
        self.mangled_frames = 0
        self.vanished_bytes = 0  # said to ends that do not exist any more
        self.held: list[tuple[Stream, bytes | None]] = []  # None: the end of what the stream's end had to say


class Hello:
    """The HTTP request with which a node asks to speak frames."""

    def __init__(self, text: bytes) -> None:
        head = text.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        self.method, self.path = head[0].split()[:2]
        pairs = [line.split(": ", 1) for line in head[1:]]
        self.headers = {name.lower().encode(): value.encode("latin-1") for name, value in pairs}


class Stream(asyncio.Transport):
    """One end of a connection. What is written here arrives at `other`, in the context of the node that has it."""

    def __init__(self, network: "SimNetwork", way: Way, context: contextvars.Context) -> None:
        super().__init__()
        self.other: Stream
        self.context = context
        self.is_control = False
        self.is_half_open = False
        self._network = network
        self._way = way
        self._protocol: asyncio.Protocol | None = None
        self._accept: Accept | None = None
        self._is_closed = False
        self._is_reading = True
        self._unread: list[bytes] = []
        self._free_at_s = 0.0
        self._writes = 0

    def join(self, protocol: asyncio.Protocol | None, accept: Accept | None) -> None:
        self._protocol, self._accept = protocol, accept

    # -- as the node's code sees it

    def write(self, data: Any) -> None:
        if self._is_closed:
            return
        self._writes += 1
        self._network.carry(self, self._way, bytes(data))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close at once; the other end hears of it unless the way there is stalled."""
        if self._is_closed:
            return
        self._is_closed = True
        self._network.ended(self, self._way)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        unread, self._unread = self._unread, []
        for data in unread:
            self.arrive(data)

    # -- as the network sees it

    @property
    def way(self) -> Way:
        return self._way

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def is_past_handshake(self) -> bool:
        return self._writes > 1

    def in_order_s(self, at_s: float) -> float:
        """The time at which the next bytes arrive, if they would take until `at_s`: never before earlier ones."""
        self._free_at_s = max(at_s, self._free_at_s + NEXT_S)
        return self._free_at_s

    def arrive(self, data: bytes) -> None:
        if self._is_closed:
            return
        if not self._is_reading:
            self._unread.append(data)
            return
        if self._protocol is None:
            self._upgrade(data)
        else:
            self._protocol.data_received(data)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone, and this end is told."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def forget(self) -> None:
        """The connection is gone, and this end is not told: its node is dead, or its word is lost."""
        self._is_closed = True

    def leave_half_open(self) -> None:
        """The other end is gone, and this one has not heard of it: what it says vanishes."""
        self.is_half_open = True

    def _upgrade(self, data: bytes) -> None:
        assert self._accept is not None
        hello = Hello(data)
        is_control = hello.headers.get(b"x-amberio-channel") == b"control"
        self.is_control = self.other.is_control = is_control
        try:
            self._accept(hello, self, b"")
        except AmberioError:
            self.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            self.abort()


class SimNetwork:
    """All ways and connections of a cluster."""

    def __init__(
        self,
        loop: SimLoop,
        names: tuple[str, ...],
        draw: random.Random,
        latency_s: tuple[float, float],
        bytes_per_s: float,
    ) -> None:
        pairs = [(source, target) for source in names for target in names if source != target]
        self.ways = {pair: Way(pair[1]) for pair in pairs}
        self._loop = loop
        self._draw = draw
        self._low_s = latency_s[0]
        self._span_s = latency_s[1] - latency_s[0]
        self._bytes_per_s = bytes_per_s
        self._listening: dict[str, tuple[Accept, contextvars.Context]] = {}
        self._dark: set[str] = set()
        self._ends: dict[tuple[str, str], list[Stream]] = {pair: [] for pair in pairs}
        self._probes: dict[tuple[str, str], list[asyncio.Future[None]]] = {pair: [] for pair in pairs}

    # -- nodes come and go

    def listen(self, name: str, accept: Accept, context: contextvars.Context) -> None:
        self._dark.discard(name)
        self._listening[name] = (accept, context)

    def unlisten(self, name: str) -> None:
        self._listening.pop(name, None)

    def bury(self, name: str, *, is_silent: bool) -> None:
        """A node is dead: those it was connected with are told, unless the whole machine is."""
        self.unlisten(name)
        if is_silent:
            self._dark.add(name)
        for (source, target), ends in self._ends.items():
            if name not in (source, target):
                continue
            for near in ends:
                dead, other = (near, near.other) if source == name else (near.other, near)
                if dead.is_closed:
                    continue
                dead.forget()
                if is_silent:
                    other.leave_half_open()
                else:
                    self.ended(dead, dead.way)
            ends.clear()

    # -- what nodes do

    def connections(self, source: str, target: str) -> list[Stream]:
        """The open connections that `source` made to `target`: the end at `source` of each."""
        open_ends = [end for end in self._ends[source, target] if not end.is_closed]
        self._ends[source, target] = open_ends
        return open_ends

    async def dial(self, source: str, target: str, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect; raises ConnectionRefusedError, or waits for as long as nobody answers."""
        way, back = self.ways[source, target], self.ways[target, source]
        await asyncio.sleep(self.latency_s(way))
        while way.is_stalled or back.is_stalled or target in self._dark:  # noqa: ASYNC110 # many things end this
            await asyncio.sleep(DIAL_AGAIN_S)
        listening = self._listening.get(target)
        if way.is_cut or listening is None:
            raise ConnectionRefusedError(f"{target} does not listen")
        accept, context = listening
        near = Stream(self, way, contextvars.copy_context())
        far = Stream(self, back, context)
        near.other, far.other = far, near
        protocol = factory()
        near.join(protocol, None)
        far.join(None, accept)
        self._ends[source, target].append(near)
        protocol.connection_made(near)

    def latency_s(self, way: Way) -> float:
        latency_s = self._low_s + self._span_s * self._draw.random()
        if way.delay_s:
            latency_s += way.delay_s + self._draw.uniform(0, way.jitter_s)
        return latency_s

    def carry(self, end: Stream, way: Way, data: bytes) -> None:
        """Bytes were written at one end."""
        if way.is_stalled:
            way.held.append((end, data))
            return
        if end.is_half_open:
            self._vanish(end, way, data)
            return
        way.passed_bytes += len(data)
        if (way.drop or way.double or way.overtake) and end.is_control and end.is_past_handshake:
            self._mangle(end, way, data)
            return
        takes_s = self.latency_s(way) + len(data) / self._bytes_per_s
        self._deliver(end.other, data, end.in_order_s(self._loop.time() + takes_s))

    def ended(self, end: Stream, way: Way) -> None:
        """One end was closed; the other hears of it after what was sent before."""
        if way.is_stalled:
            way.held.append((end, None))
            return
        if end.is_half_open:
            return
        at_s = end.in_order_s(self._loop.time() + self.latency_s(way))
        self._loop.call_at(at_s, end.other.lose, None, context=end.other.context)

    # -- what the harness does

    def open(self, source: str, target: str) -> None:
        """The way is as it should be; what a stall held arrives."""
        way = self.ways[source, target]
        way.is_cut = way.is_stalled = way.is_mute = False
        way.delay_s = way.jitter_s = way.drop = way.double = way.overtake = 0.0
        held, way.held = way.held, []
        for end, data in held:
            if data is None:
                self.ended(end, way)
            else:
                self.carry(end, way, data)

    def reset(self, source: str, target: str) -> int:
        """Break the connections that `source` made to `target`; both ends are told. How many there were."""
        broken = self.connections(source, target)
        error = ConnectionResetError("connection reset")
        for near in broken:
            for end in (near, near.other):
                self._loop.call_soon(end.lose, error, context=end.context)
        probes, self._probes[source, target] = self._probes[source, target], []
        for probe in probes:
            if not probe.done():
                probe.set_result(None)
        return len(broken) + len(probes)

    def probe(self, source: str, target: str) -> "asyncio.Future[None]":
        """A connection of the harness's own on which nobody speaks; done once it is reset."""
        probe: asyncio.Future[None] = self._loop.create_future()
        self._probes[source, target].append(probe)
        return probe

    def halve(self, source: str, target: str) -> int:
        """Of each connection that `source` made, one end is lost and the other does not hear of it; how many."""
        for way in (self.ways[source, target], self.ways[target, source]):
            way.is_mute = True
        halved = self.connections(source, target)
        error = TimeoutError("the connection is gone")
        for near in halved:
            lost, kept = (near, near.other) if self._draw.random() < 0.5 else (near.other, near)
            kept.leave_half_open()
            self._loop.call_soon(lost.lose, error, context=lost.context)
        return len(halved)

    def _deliver(self, end: Stream, data: bytes, at_s: float) -> None:
        self._loop.call_at(at_s, end.arrive, data, context=end.context)

    def _vanish(self, end: Stream, way: Way, data: bytes) -> None:
        """Bytes for an end that does not exist. A machine that is up says so; one that is not lets them vanish."""
        way.vanished_bytes += len(data)
        if way.target not in self._dark and not way.is_mute:
            at_s = self._loop.time() + 2 * self.latency_s(way)
            self._loop.call_at(at_s, end.lose, ConnectionResetError("connection reset"), context=end.context)

    def _mangle(self, end: Stream, way: Way, data: bytes) -> None:
        at = 0
        while at < len(data):
            length = HEADER.unpack_from(data, at)[0]
            frame = data[at : at + HEADER.size + length]
            at += len(frame)
            fate = self._draw.random()
            arrives_s = self._loop.time() + self.latency_s(way)
            if fate < way.drop:
                way.mangled_frames += 1
            elif fate < way.drop + way.overtake:
                way.mangled_frames += 1
                self._deliver(end.other, frame, arrives_s + self._draw.random() * LATE_S)
            else:
                self._deliver(end.other, frame, end.in_order_s(arrives_s))
                if fate < way.drop + way.overtake + way.double:
                    way.mangled_frames += 1
                    self._deliver(end.other, frame, arrives_s + self._draw.random() * 2 * LATE_S)
