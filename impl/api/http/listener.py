"""The listening socket: opens it, ticks the edge while it is open, and drains its connections when asked to stop."""

import asyncio
import errno
import socket
from typing import Final

from impl.api.http.connection import Connection
from impl.api.http.edge import SWEEP_S, Edge
from impl.errors import ConfigError

BACKLOG: Final = 1024
DRAIN_POLL_S: Final = 0.02


class Listener:
    """One open port, whose connections share an Edge."""

    def __init__(self, edge: Edge, server: asyncio.Server) -> None:
        self._edge = edge
        self._server = server
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    @property
    def port(self) -> int:
        """The port listened on (the one the system chose, if 0 was asked for)."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def drain(self, drain_s: float) -> int:
        """Stop accepting, let requests finish for `drain_s` seconds, cut the rest. How many were cut is returned."""
        edge = self._edge
        edge.draining = True
        self._server.close()
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
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: Connection(edge), host, port, backlog=BACKLOG, reuse_address=True, reuse_port=False
        )
    except socket.gaierror as error:
        raise ConfigError(
            f"bind_addr {host}:{port}: the host is not known ({error.strerror}); use an address"
        ) from None
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
        raise ConfigError(f"bind_addr {host}:{port} {hint}") from None
    return Listener(edge, server)
