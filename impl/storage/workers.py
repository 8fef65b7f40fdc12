"""The threads that touch the registers' database.

They are executors of one thread each: the writer commits a group at a time, the reader and the counter have connections
of their own. They know SQL and nothing of the protocol; who may be in a group is decided on the event loop.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar

import apsw

from impl.protocol.rules import HONEST, Rules
from impl.storage import database
from impl.storage.digests import counted
from impl.storage.steps import Job

Answer = TypeVar("Answer")


class Writer:
    """Commits groups of steps, each with one fsync; copies the log back when that is long, between commits."""

    def __init__(
        self,
        connection: apsw.Connection,
        rules: Rules = HONEST,
        log_pages_max: int = database.WAL_PAGES_MAX,
        is_tiered: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._connection = connection
        self._rules = rules
        self._is_tiered = is_tiered
        self._log_pages = 0
        self._log_pages_max = log_pages_max
        connection.set_wal_hook(self._log_grew)
        self._thread = ThreadPoolExecutor(1, "registers-writer")

    def commit(self, loop: asyncio.AbstractEventLoop, group: Sequence[Job], prune: int) -> asyncio.Future[float]:
        """Make a group durable, and forget the events up to number `prune`; done with the seconds its COMMIT took.

        Fails with apsw.Error, and then nothing of the group is on disk.
        """
        return loop.run_in_executor(self._thread, self._commit, group, prune)

    def reserve(self, loop: asyncio.AbstractEventLoop, count: int) -> asyncio.Future[int]:
        """Done with the first of `count` ballot rounds that nobody was ever given, durably."""
        return loop.run_in_executor(self._thread, self._reserve, count)

    def change(self, loop: asyncio.AbstractEventLoop, write: Callable[[apsw.Connection], None]) -> asyncio.Future[None]:
        """Do `write` in a transaction of its own, durably; fails with apsw.Error."""
        return loop.run_in_executor(self._thread, self._change, write)

    def keep_rounds(self, loop: asyncio.AbstractEventLoop, last: int) -> asyncio.Future[None]:
        """Done when it is durable here that rounds up to `last` were given to somebody."""
        return loop.run_in_executor(self._thread, self._keep_rounds, last)

    @property
    def is_log_long(self) -> bool:
        """Is it time to copy the log back?"""
        return self._log_pages >= self._log_pages_max

    def copy_back(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Copy the log back; fails with apsw.Error, and what was committed stays committed."""
        return loop.run_in_executor(self._thread, database.copy_back, self._connection)

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until what is under way is done."""
        await loop.run_in_executor(self._thread, lambda: None)
        self._thread.shutdown()

    def _log_grew(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _commit(self, group: Sequence[Job], prune: int) -> float:
        # only the last state of each path is worth writing
        in_order = reversed(group) if self._rules.oldest_of_group_wins else group
        newest = {job.path: job for job in in_order if job.step.taken}
        if not newest:
            return 0.0
        kept = [job for job in newest.values() if not job.step.forgets]
        rows = [database.row_of(job.path, job.slot, job.step.register, self._is_tiered(job.path)) for job in kept]
        events = [(job.number, job.encoded) for job in group if job.number]
        left = [(job.slot, job.step.register) for job in group if job.step.forgets and job.step.register.promised]
        gone = [job.path for job in newest.values() if job.step.forgets]

        def write_all() -> None:
            database.write(self._connection, rows, events, prune)
            if gone or left:
                database.forget(self._connection, gone, left)

        return database.commit(self._connection, write_all)

    def _change(self, write: Callable[[apsw.Connection], None]) -> None:
        database.commit(self._connection, lambda: write(self._connection))

    def _reserve(self, count: int) -> int:
        first = database.get_number(self._connection, "rounds") + 1
        database.commit(self._connection, lambda: database.set_number(self._connection, "rounds", first + count - 1))
        return first

    def _keep_rounds(self, last: int) -> None:
        if database.get_number(self._connection, "rounds") < last:
            database.commit(self._connection, lambda: database.set_number(self._connection, "rounds", last))


class Reader:
    """Answers queries on a connection that sees what was committed last: the one given, or one of its own to `file`."""

    def __init__(self, file: Path, shared: apsw.Connection | None = None) -> None:
        self._shared = shared
        self._connection = shared or database.open_database(file, read_only=True)
        self._thread = ThreadPoolExecutor(1, "registers-reader")

    def ask(
        self, loop: asyncio.AbstractEventLoop, query: Callable[[apsw.Connection], Answer]
    ) -> asyncio.Future[Answer]:
        """Done with what `query` returns; fails with apsw.Error."""
        return loop.run_in_executor(self._thread, query, self._connection)

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until what is under way is done."""
        if self._shared is None:
            await loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()


class Counter:
    """Counts what is accepted beside the serving, once: a million registers take seconds."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "registers-counter")
        self._is_closing = threading.Event()
        self._counting: asyncio.Future[dict[int, int]] | None = None

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        file: Path,
        done: Callable[[dict[int, int]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Count what is accepted as of now; one of the two is told, unless it is closed before."""
        connection = database.open_database(file, read_only=True)
        accepted = iter(database.accepted(connection))
        first = next(accepted, None)  # from here on the connection sees the database as it is before any commit of ours
        found = accepted if first is None else chain((first,), accepted)

        def count() -> dict[int, int]:
            try:
                return counted(found, self._is_closing.is_set)
            finally:
                connection.close()

        def ended(counting: asyncio.Future[dict[int, int]]) -> None:
            if self._is_closing.is_set() or counting.cancelled():
                return
            error = counting.exception()
            if error is None:
                done(counting.result())
            else:
                failed(error)

        self._counting = loop.run_in_executor(self._thread, count)
        self._counting.add_done_callback(ended)

    async def close(self) -> None:
        """Give up what is not counted yet."""
        self._is_closing.set()
        if self._counting is not None:
            await asyncio.wait((self._counting,))
        self._thread.shutdown(wait=False)
