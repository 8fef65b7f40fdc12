"""What all connections of one listening socket share: limits, routes, counters, the coarse clock, the set of them."""

import itertools
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from impl.api.http.exchange import Answer, Operation, Request, error_answer
from impl.errors import AmberioError

if TYPE_CHECKING:
    import asyncio

    from impl.api.http.connection import Connection

SWEEP_S: Final = 1.0


class HttpLimits(msgspec.Struct, frozen=True):
    """Bounds on what one client may make us hold or wait for. Sizes in bytes, times in seconds."""

    header_bytes_max: int = 32 * 1024
    request_line_bytes_max: int = 8 * 1024
    object_bytes_max: int = 5 * 1024**4
    connections_max: int = 4096
    requests_max: int = 1024
    idle_s: float = 75.0
    header_s: float = 20.0
    body_stall_s: float = 30.0
    write_stall_s: float = 60.0
    slow_bytes_min: int = 16 * 1024


class Clock(Protocol):
    """The part of the clock door that this room needs."""

    def now_ms(self) -> int: ...
    def monotonic_s(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Observer(Protocol):
    """Is told of every answered request; `impl/api/metrics.py` counts, the access log samples."""

    def answered(self, request: Request, operation: str, status: int, latency_s: float, sent_bytes: int) -> None: ...


class TornadoSeam(Protocol):
    """Everything that is not hot goes through here (`impl/api/http/tornado_seam.py`)."""

    def start(self, connection: "Connection", request: Request) -> None: ...


Hot = Callable[[Request], Operation | None]
Refusal = Callable[[Request, AmberioError], Answer]
Upgrade = Callable[[Request, "asyncio.Transport", bytes], None]


def refusal_in_json(request: Request, error: AmberioError) -> Answer:
    """The form of errors where no API has another."""
    return error_answer(error, request.request_id)


class Edge:
    """Shared state of the connections of one node's HTTP face.

    `hot` resolves a request that takes the direct path (None: it goes through Tornado). `before_bytes` runs before any
    byte of an answer leaves: the trace events that the answer rests on must be out by then. `upgrades` maps a path to
    who takes over the transport after an HTTP Upgrade on it. `refusal` is what to answer when this layer itself
    refuses a request.
    """

    def __init__(
        self,
        *,
        hot: Hot,
        tornado: TornadoSeam,
        observer: Observer,
        clock: Clock,
        limits: HttpLimits,
        before_bytes: Callable[[], None],
        upgrades: Mapping[str, Upgrade],
        request_id_prefix: str,
        refusal: Refusal = refusal_in_json,
    ) -> None:
        self.hot = hot
        self.tornado = tornado
        self.observer = observer
        self.clock = clock
        self.limits = limits
        self.before_bytes = before_bytes
        self.upgrades = upgrades
        self.refusal = refusal
        self.connections: set[Connection] = set()
        self.in_flight = 0
        self.draining = False
        self.now_s = 0.0
        self.common_headers = ""
        self._request_ids = itertools.count(1)
        self._request_id_prefix = request_id_prefix
        self.tick()

    def next_request_id(self) -> str:
        return f"{self._request_id_prefix}{next(self._request_ids):x}"

    def tick(self) -> None:
        """Once every SWEEP_S: move the coarse clock and the Date header on, and look for clients that stall."""
        self.now_s = self.clock.monotonic_s()
        self.common_headers = f"Date: {formatdate(self.clock.now_ms() / 1000, usegmt=True)}\r\nServer: amberio\r\n"
        for connection in tuple(self.connections):
            connection.check_deadlines()
