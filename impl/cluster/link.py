"""One connection between two nodes, seen from either end: frames out in batches, frames in, silence noticed.

What frames mean is `peers.py` (who asks) and `serving.py` (who answers).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from impl.cluster.wire import BadFrame, Frame, Frames, Kind, frame
from impl.doors import Clock

QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes that may wait for a node that does not read; beyond, the connection is given up."""


class LinkCounters:
    """What went over the links of a node."""

    def __init__(self) -> None:
        self.sent: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self.received: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self.sent_bytes = 0
        self.received_bytes = 0


class Link(asyncio.Protocol):
    """Sends and receives frames. `before_bytes` runs before any byte leaves: trace events must be out by then."""

    def __init__(
        self,
        clock: Clock,
        counters: LinkCounters,
        before_bytes: Callable[[], None],
        on_frame: Callable[["Link", Frame], None],
        on_lost: Callable[["Link", str], None],
    ) -> None:
        self.heard_s = clock.monotonic_s()
        self.is_open = False
        self._clock = clock
        self._counters = counters
        self._before_bytes = before_bytes
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._frames = Frames()
        self._out: list[bytes] = []
        self._is_scheduled = False
        self._is_in_part = False
        self._part_turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self._writable.set()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport

    def opened(self, transport: asyncio.Transport, leftover: bytes) -> None:
        """The connection now speaks frames; `leftover` came with the end of the handshake."""
        self._transport = transport
        transport.set_write_buffer_limits(1024 * 1024)
        self.is_open = True
        if leftover:
            self.data_received(leftover)

    def send(self, kind: Kind, request_id: int, payload: bytes) -> None:
        """Send a frame with others of this turn of the event loop; dropped if the link is gone."""
        if not self.is_open:
            return
        self._counters.sent[kind] += 1
        self._out.append(frame(kind, request_id, payload))
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    async def send_part(self, kind: Kind, request_id: int, header: bytes, chunks: Sequence[bytes | memoryview]) -> None:
        """Send a frame and the part that follows it, as fast as the other side reads; other frames wait."""
        async with self._part_turn:
            self.send(kind, request_id, header)
            self._flush()
            self._is_in_part = True
            try:
                for chunk in chunks:
                    if not self._writable.is_set():
                        await self._writable.wait()
                    if not self.is_open:
                        return
                    self._counters.sent_bytes += len(chunk)
                    self._transport.write(chunk)
            except asyncio.CancelledError:
                # the other side waits for bytes that will not come: nothing else can be said on this link
                self._out.clear()
                self.close("a part was given up half way")
                raise
            finally:
                self._is_in_part = False
            self._flush()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the other side has not taken yet."""
        return self._transport.get_write_buffer_size() if self.is_open else 0

    def pause_receiving(self, paused: bool) -> None:
        if not self.is_open or self._transport.is_closing():
            return
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self, reason: str) -> None:
        """Give the connection up; `on_lost` is told."""
        if self.is_open:
            self._flush()
            self.is_open = False
            self._writable.set()
            self._transport.abort()
            self._on_lost(self, reason)

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._is_in_part:
            return
        if not self._out or not self.is_open:
            self._out.clear()
            return
        self._before_bytes()
        joined = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._counters.sent_bytes += len(joined)
        self._transport.write(joined)
        if self._transport.get_write_buffer_size() > QUEUE_BYTES_MAX:
            self.close("the other side does not read")

    def data_received(self, data: bytes) -> None:
        self.heard_s = self._clock.monotonic_s()
        self._counters.received_bytes += len(data)
        try:
            for received in self._frames.feed(data):
                self._counters.received[received[0]] += 1
                self._on_frame(self, received)
        except (BadFrame, msgspec.DecodeError) as error:
            self.close(f"it does not speak our protocol: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        if self.is_open:
            self.is_open = False
            self._writable.set()
            self._on_lost(self, str(error) if error else "it closed the connection")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
