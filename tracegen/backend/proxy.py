"""Loopback TCP proxies, one per ordered pair of nodes: the network that the harness can break.

A node dials a peer through the proxy of the pair (its `routes`). A proxied connection is two `_Pipe`s, one a
direction. What happens to bytes is decided by the `LoopbackWire` of the direction in which they flow, so stalling one
wire stops requests one way and the answers to requests the other way, as a one-way network failure does. An open wire
without delay costs one Python call a chunk.
"""

import asyncio
import enum
import random
import socket
import struct
from collections import deque
from typing import Final, cast

HOST: Final = "127.0.0.1"
HELD_BYTES_MAX: Final = 1 << 20  # what a pipe holds before it stops reading from its source
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


def reset(transport: asyncio.BaseTransport) -> None:
    """End a connection so that the other side sees a reset, as from a machine that does not know it."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass  # the kernel closed it already
    cast(asyncio.Transport, transport).abort()


class LoopbackWire:
    """The way from `source` to `target`; see `face.Wire`."""

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.is_cut = False
        self.is_stalled = False
        self.delay_s = 0.0
        self.passed_bytes = 0
        self.pipes: set[_Pipe] = set()
        self.dialled: set[_Proxied] = set()
        self._jitter_s = 0.0
        self._draw = random.Random(f"{source}>{target}")

    @property
    def is_plain(self) -> bool:
        return not (self.is_stalled or self.delay_s)

    def open(self) -> None:
        self.is_cut = self.is_stalled = False
        self.delay_s = self._jitter_s = 0.0
        for pipe in tuple(self.pipes):
            pipe.pump()

    def cut(self) -> None:
        self.is_cut = True
        self.drop_connections()

    def stall(self) -> None:
        self.is_stalled = True

    def delay(self, delay_s: float, jitter_s: float, seed: str) -> None:
        self._draw = random.Random(f"{seed}/{self.source}>{self.target}")
        self.delay_s, self._jitter_s = delay_s, jitter_s

    def drop_connections(self) -> int:
        dropped = tuple(self.dialled)
        for proxied in dropped:
            proxied.reset()
        return len(dropped)

    def next_delay_s(self) -> float:
        return self.delay_s + self._draw.uniform(0, self._jitter_s) if self.delay_s else 0.0


class _Last(enum.Enum):
    """What may come after a pipe's bytes, and travels as they do."""

    END = "the source sends no more"
    RESET = "the source's connection broke"


class _Pipe:
    """One direction of a proxied connection: chunks in order, each not before its time, none while the wire stalls."""

    def __init__(self, wire: LoopbackWire, proxied: "_Proxied") -> None:
        self._wire = wire
        self._proxied = proxied
        self._held: deque[tuple[float, bytes | _Last]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._sink_is_full = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.is_at_end = False
        wire.pipes.add(self)

    def feed(self, chunk: bytes | _Last) -> None:
        if self.sink is not None and self.sink.is_closing():
            return
        if isinstance(chunk, bytes) and not self._held and self.sink is not None and self._wire.is_plain:
            self._pass_on(chunk)
            return
        last_due_s = self._held[-1][0] if self._held else 0.0
        due_s = max(last_due_s, self._loop.time() + self._wire.next_delay_s())
        self._held.append((due_s, chunk))
        self._held_bytes += _size_bytes(chunk)
        self._hold_source()
        self.pump()

    def pump(self) -> None:
        """Pass on what may go now; come back when the next chunk is due."""
        while self._held and self.sink is not None and not self.sink.is_closing() and not self._wire.is_stalled:
            due_s, chunk = self._held[0]
            if due_s > self._loop.time() and self._wire.delay_s:
                if self._timer is None:
                    self._timer = self._loop.call_at(due_s, self._due)
                return
            self._held.popleft()
            self._held_bytes -= _size_bytes(chunk)
            if isinstance(chunk, bytes):
                self._pass_on(chunk)
            elif chunk is _Last.RESET:
                self._proxied.reset()
            else:
                self._end(self.sink)
        self._hold_source()

    def sink_is_full(self, full: bool) -> None:
        self._sink_is_full = full
        self._hold_source()

    def close(self) -> None:
        self._wire.pipes.discard(self)
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, sink: asyncio.Transport) -> None:
        self.is_at_end = True
        try:
            sink.write_eof()
        except OSError:  # it broke, and nobody has read that yet
            self._proxied.reset()
        else:
            self._proxied.close_if_done()

    def _pass_on(self, chunk: bytes) -> None:
        assert self.sink is not None
        self._wire.passed_bytes += len(chunk)
        self.sink.write(chunk)

    def _due(self) -> None:
        self._timer = None
        self.pump()

    def _hold_source(self) -> None:
        if self.source is None or self.source.is_closing():
            return
        wanted = not self._sink_is_full and self._held_bytes < HELD_BYTES_MAX
        if self.source.is_reading() and not wanted:
            self.source.pause_reading()
        elif wanted and not self.source.is_reading():
            self.source.resume_reading()


def _size_bytes(chunk: bytes | _Last) -> int:
    return len(chunk) if isinstance(chunk, bytes) else 0


class _End(asyncio.Protocol):
    """One end of a proxied connection: what it sends goes into `outgoing`, `incoming` writes to it."""

    def __init__(self, proxied: "_Proxied", outgoing: _Pipe, incoming: _Pipe) -> None:
        self._proxied = proxied
        self._outgoing = outgoing
        self._incoming = incoming

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        self._outgoing.source = stream
        self._incoming.sink = stream
        self._proxied.joined(stream)
        self._incoming.pump()

    def data_received(self, data: bytes) -> None:
        self._outgoing.feed(data)

    def eof_received(self) -> bool:
        self._outgoing.feed(_Last.END)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._proxied.broken(self._outgoing)

    def pause_writing(self) -> None:
        self._incoming.sink_is_full(True)

    def resume_writing(self) -> None:
        self._incoming.sink_is_full(False)


class _Proxied:
    """One connection that a node dialled, and ours to its target."""

    def __init__(self, there: LoopbackWire, back: LoopbackWire, target: tuple[str, int]) -> None:
        self._there = there
        self._target = target
        self._forward = _Pipe(there, self)
        self._backward = _Pipe(back, self)
        self._transports: list[asyncio.Transport] = []
        self._connecting: asyncio.Task[None] | None = None
        self._is_over = False
        there.dialled.add(self)

    def accepted(self) -> asyncio.Protocol:
        """The protocol of the dialling node's end."""
        return _End(self, self._forward, self._backward)

    def joined(self, transport: asyncio.Transport) -> None:
        self._transports.append(transport)
        if self._is_over or self._there.is_cut:
            self.reset()
        elif self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def broken(self, outgoing: _Pipe) -> None:
        """One end is lost. The other hears of it over the wire, so not while that stalls."""
        if outgoing.sink is None:
            self.reset()
        else:
            outgoing.feed(_Last.RESET)

    def close_if_done(self) -> None:
        """Both have said all, and all has arrived."""
        if self._forward.is_at_end and self._backward.is_at_end:
            self._is_over = True
            self._there.dialled.discard(self)
            self._forward.close()
            self._backward.close()
            for transport in self._transports:
                transport.close()

    def reset(self) -> None:
        self._is_over = True
        self._there.dialled.discard(self)
        self._forward.close()
        self._backward.close()
        if self._connecting is not None:
            self._connecting.cancel()
        for transport in self._transports:
            reset(transport)

    async def _connect(self) -> None:
        host, port = self._target
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: _End(self, self._backward, self._forward), host, port
            )
        except OSError:
            self.reset()


class Proxy:
    """Listens where `source` dials `target`. `address` is set once it is open."""

    def __init__(self, there: LoopbackWire, back: LoopbackWire, target: tuple[str, int]) -> None:
        self._there = there
        self._back = back
        self._target = target
        self._server: asyncio.Server | None = None
        self.address = ("", 0)

    async def open(self, host: str = HOST) -> None:
        """Listen at this address of ours."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Proxied(self._there, self._back, self._target).accepted(), host, 0
        )
        self.address = self._server.sockets[0].getsockname()[:2]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._there.drop_connections()
