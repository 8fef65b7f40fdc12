"""A request's body while it arrives: bounded memory, with back-pressure down to the socket."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from impl.errors import AmberioError, BodyCutShort, TooLarge

HIGH_BYTES: Final = 1024 * 1024
LOW_BYTES: Final = 256 * 1024


class WholeBody:
    """A body that is here already, read as one that arrives."""

    def __init__(self, body: bytes) -> None:
        self.size_bytes: int | None = len(body)
        self._rest = body

    async def read(self) -> bytes:
        """All of it, and then b""."""
        rest, self._rest = self._rest, b""
        return rest


class BodyStream:
    """The bytes of one body, in order. One reader.

    `size_bytes` is the announced length, None for a chunked body. The connection feeds it; above HIGH_BYTES unread
    it calls `on_full(True)` (stop reading the socket), below LOW_BYTES `on_full(False)`. `on_wanted` is called at the
    first read: that is when a waiting client is told `100 Continue`.
    """

    def __init__(
        self,
        size_bytes: int | None,
        limit_bytes: int,
        on_full: Callable[[bool], None],
        on_wanted: Callable[[], None] | None = None,
    ) -> None:
        self.size_bytes = size_bytes
        self.received_bytes = 0
        self.ended = False
        self._limit_bytes = limit_bytes
        self._on_full = on_full
        self._on_wanted = on_wanted
        self._pieces: deque[bytes] = deque()
        self._unread_bytes = 0
        self._full = False
        self._failure: AmberioError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waited_for(self) -> bool:
        """Is somebody waiting for bytes that the client has not sent?"""
        return self._waiter is not None

    @property
    def continue_owed(self) -> bool:
        """Does the client still wait for `100 Continue` before it sends the body?"""
        return self._on_wanted is not None

    async def read(self) -> bytes:
        """The next bytes; b"" at the end.

        Raises BodyCutShort when the client went away first, RequestTimeout when it stalled, TooLarge when a body of
        unannounced size passes the limit.
        """
        if self._on_wanted is not None:
            wanted, self._on_wanted = self._on_wanted, None
            wanted()
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        self._unread_bytes -= len(piece)
        if self._full and self._unread_bytes < LOW_BYTES:
            self._full = False
            self._on_full(False)
        return piece

    async def read_all(self, limit_bytes: int) -> bytes:
        """The whole body. Raises TooLarge above `limit_bytes`, and what `read` raises."""
        pieces = []
        size_bytes = 0
        while piece := await self.read():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                raise TooLarge(f"the body has more than the {limit_bytes} bytes allowed here")
            pieces.append(piece)
        return b"".join(pieces)

    def feed(self, piece: bytes) -> None:
        """Bytes from the socket. After a failure they are dropped."""
        self.received_bytes += len(piece)
        if self._failure is not None:
            return
        if self.received_bytes > self._limit_bytes:
            self.fail(
                TooLarge(f"the body has more than the {self._limit_bytes} bytes allowed (limits.object_bytes_max)")
            )
            return
        self._pieces.append(piece)
        self._unread_bytes += len(piece)
        if not self._full and self._unread_bytes > HIGH_BYTES:
            self._full = True
            self._on_full(True)
        self._wake()

    def feed_end(self) -> None:
        """The body is complete."""
        self.ended = True
        self._wake()

    def fail(self, error: AmberioError | None = None) -> None:
        """The rest will not come; whoever reads gets `error` once the bytes that did arrive are dropped."""
        if self.ended or self._failure is not None:
            return
        self._failure = error or BodyCutShort(self._cut_text())
        self._pieces.clear()
        self._unread_bytes = 0
        if self._full:
            self._full = False
            self._on_full(False)
        self._wake()

    def _cut_text(self) -> str:
        promised = "an unannounced number of" if self.size_bytes is None else str(self.size_bytes)
        return f"the body ended after {self.received_bytes} of {promised} bytes; nothing was written"

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
