"""A register store on a real disk, steps to take in it, and a tracer that only remembers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import apsw
import msgspec

from impl.model import NO_BALLOT, Applied, Ballot, Head, Register
from impl.protocol import events
from impl.protocol.acceptor import on_accept, on_prepare
from impl.protocol.messages import Accept, Prepare
from impl.storage.database import open_database
from impl.storage.registers import RegisterStore
from impl.storage.steps import Decide
from impl.trace import Tracer

CACHE_BYTES = 1 << 20
WAIT_S = 10.0


class Remembering:
    """Numbers events as a trace file would, and keeps the durable ones with the number of their step."""

    enabled = True

    def __init__(self) -> None:
        self.durable: list[tuple[int, dict[str, object]]] = []
        self.touched: list[tuple[str, Register]] = []
        self._count = 0

    def emit(self, event: events.TraceEvent) -> str:
        self._count += 1
        return f"n1.1.{self._count}"

    def emit_durable(self, encoded: bytes, commit: int, disk: int = 1) -> str:
        self.durable.append((commit, msgspec.json.decode(encoded)))
        self._count += 1
        return f"n1.1.{self._count}"

    def touch(self, path: str, found: Register) -> None:
        self.touched.append((path, found))

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None

    def abandon(self) -> None:
        return None


@asynccontextmanager
async def opened(
    directory: Path, tracer: Tracer | None = None, cache_bytes: int = CACHE_BYTES
) -> AsyncIterator[RegisterStore]:
    """The store of a directory, closed cleanly at the end."""
    store = RegisterStore(directory / "registers.db", cache_bytes)
    store.begin()
    store.start(asyncio.get_running_loop(), tracer or Remembering())
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def disk_stalled(directory: Path) -> Iterator[None]:
    """While this lasts, the store's writer waits in the middle of its commit."""
    other = open_database(directory / "registers.db")
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def head(generation: int, body: bytes | None = b"x", deleted: bool = False) -> Head:
    """Some head; an etag that tells generations apart."""
    etag = None if deleted else f"etag{generation}"
    size_bytes = len(body) if body is not None else 0
    applied = Applied(f"w{generation}", generation, etag, size_bytes, deleted)
    return Head(generation, deleted, etag, size_bytes, "text/plain", 1_700_000_000_000, body, (), (applied,))


def accepting(path: str, round: int, body: bytes | None = b"x") -> Decide:
    """The step of an acceptor asked to accept generation `round` at that round."""
    return partial(on_accept, request=Accept(path, Ballot(round, "n1"), head(round, body), NO_BALLOT))


def preparing(path: str, round: int) -> Decide:
    """The step of an acceptor asked to promise a round."""
    return partial(on_prepare, request=Prepare(path, Ballot(round, "n1")))


def limit_pages(store: RegisterStore, more: int) -> None:
    """Let the database grow by so many pages and no further: a full disk, as SQLite tells it."""
    connection: apsw.Connection = store._connection
    used = int(connection.pragma("page_count"))
    connection.pragma("max_page_count", used + more)
