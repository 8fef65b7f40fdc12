"""A lean HTTP/1.1 client connection: one request at a time, kept open, parsed by httptools.

The harness shares its cores with the cluster it loads, so a client library's comfort is left out. It says exactly what
the history needs to know of a failure: was the request certainly never sent (NotSent), or may it have arrived (Lost)?
"""

import asyncio
from collections.abc import Sequence
from typing import cast

import httptools

from tracegen.backend.face import Answer
from tracegen.errors import Lost, NotSent


class _Wire(asyncio.Protocol):
    """Parses the answers of one TCP connection."""

    def __init__(self, host: str) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[Answer] | None = None
        self._host = host
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the answer is not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._fail(f"the connection broke: {exc or 'closed by the node'}")

    def on_message_begin(self) -> None:
        self._headers = {}
        self._body = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(Answer(status, self._headers, b"".join(self._body)))
        if not self._parser.should_keep_alive():
            self.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def _fail(self, why: str) -> None:
        self.close()
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(Lost(why))


class HttpConnection:
    """See `face.Connection`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._wire: _Wire | None = None

    async def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None, deadline_s: float
    ) -> Answer:
        sent = False
        try:
            async with asyncio.timeout(deadline_s):
                wire = await self._connected()
                wire.waiting = asyncio.get_running_loop().create_future()
                assert wire.transport is not None
                sent = True
                wire.transport.write(self._head(method, target, headers, body) + (body or b""))
                return await wire.waiting
        except TimeoutError:
            self.close()
            if sent:
                raise Lost(f"no answer within {deadline_s:g} s") from None
            raise NotSent(f"no connection within {deadline_s:g} s") from None
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _connected(self) -> _Wire:
        if self._wire is not None and self._wire.transport is not None:
            return self._wire
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: _Wire(self._host), self._host, self._port
            )
        except OSError as error:
            raise NotSent(f"cannot connect: {error}") from error
        if wire.transport is None:
            raise NotSent("the connection broke before anything was sent")
        self._wire = wire
        return wire

    def _head(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> bytes:
        lines = [f"{method} {target} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n"]
        lines.extend(f"{name}: {value}\r\n" for name, value in headers)
        if body is not None:
            lines.append(f"content-length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode()
