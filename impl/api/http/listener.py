"""The listening sockets: opens them, ticks the edge while they are open, drains its connections when asked to stop."""

import asyncio
import errno
import socket
import ssl
from typing import Final

from impl.api.http.connection import Connection
from impl.api.http.edge import SWEEP_S, Edge
from impl.errors import ConfigError

BACKLOG: Final = 1024
DRAIN_POLL_S: Final = 0.02


class Listener:
    """One open port, or one more for TLS; their connections share an Edge."""

    def __init__(self, edge: Edge, server: asyncio.Server) -> None:
        self._edge = edge
        self._servers = [server]
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    @property
    def port(self) -> int:
        """The port listened on (the one the system chose, if 0 was asked for)."""
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    async def add_tls(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Open another port, at which TLS is spoken. Raises ConfigError as `listen` does."""
        self._servers.append(await _open(self._edge, "tls_bind_addr", host, port, tls))

    async def drain(self, drain_s: float) -> int:
        """Stop accepting, let requests finish for `drain_s` seconds, cut the rest. How many were cut is returned."""
        edge = self._edge
        edge.draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(edge.connections):
            connection.drain()
        deadline_s = edge.clock.monotonic_s() + drain_s
        while edge.connections and edge.clock.monotonic_s() < deadline_s:
            await edge.clock.sleep(DRAIN_POLL_S)
        left = tuple(edge.connections)
        for connection in left:
            connection.abort()
        self._ticking.cancel()
        return len(left)

    async def _tick(self) -> None:
        while True:
            await self._edge.clock.sleep(SWEEP_S)
            self._edge.tick()


async def listen(edge: Edge, host: str, port: int) -> Listener:
    """Open a port. Raises ConfigError, with the address and what to do, if that cannot be done."""
    return Listener(edge, await _open(edge, "bind_addr", host, port, None))


async def _open(edge: Edge, name: str, host: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: Connection(edge),
            host,
            port,
            backlog=BACKLOG,
            reuse_address=True,
            reuse_port=False,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else edge.limits.header_s,
        )
    except socket.gaierror as error:
        raise ConfigError(f"{name} {host}:{port}: the host is not known ({error.strerror}); use an address") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = (
                f"is in use: another process listens there; stop it (`ss -ltnp 'sport = :{port}'`) or use another port"
            )
        elif error.errno == errno.EACCES:
            hint = "may not be opened by this user; use a port above 1023"
        elif error.errno == errno.EADDRNOTAVAIL:
            hint = "is no address of this machine; use one that is, or 0.0.0.0"
        else:
            hint = f"cannot be opened: {error.strerror}"
        raise ConfigError(f"{name} {host}:{port} {hint}") from None
