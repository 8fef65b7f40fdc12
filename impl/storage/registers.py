"""Every register of this node: steps decided on the event loop, made durable by one writer with group commit.

The loop knows the newest state of each path that is in flight, and keeps those read or written last in a bounded cache;
so a step is decided at once, without a disk. One writer thread takes all that has queued up while it was busy, commits
it with one fsync (WAL, synchronous=FULL), and the loop then publishes the whole group in order: events get their lines,
callers their answers. Nobody sees a state before it is on disk. If a commit fails, so does all that was decided on top.

A path is cold (a reader thread fetches it), in flight, or neither; never both, so a read cannot be overtaken.
Rows are `impl/storage/database.py`; rules are `impl/protocol/acceptor.py`.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec
import structlog

from impl.errors import AmberioError, ConfigError, DiskFailed, InternalError, Overloaded
from impl.model import VIRGIN, AcceptedPage, Head, Register, Rows, Unshipped, present, slot_of
from impl.protocol import events
from impl.protocol.acceptor import Step
from impl.protocol.rules import HONEST, Rules
from impl.storage import database
from impl.storage.backlog import Backlog
from impl.storage.cache import Cache
from impl.storage.digests import SlotDigests, counted
from impl.storage.membership import Claim, Disk, read_claim, write_claim
from impl.storage.metrics import StoreMetrics
from impl.storage.slotlets import Slotlet, path_hash, slotlets_of
from impl.storage.workers import Job, Reader, Writer
from impl.trace import Tracer

QUEUE_JOBS_MAX: Final = 8192
GROUP_JOBS_MAX: Final = 1024
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024

Decide = Callable[[Register], Step]
Found = Callable[[Register | AmberioError], None]
Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)
_encode_event = msgspec.json.Encoder().encode


class Committed(msgspec.Struct, frozen=True):
    """A step that is durable (or, not taken, changed nothing), with the id of its trace event."""

    found: Register
    register: Register
    taken: bool
    event_id: str


Done = Callable[[Committed | AmberioError], None]


class _Flight:
    """The jobs of one path between decision and publication. `newest` is None once one of them has failed."""

    __slots__ = ("after", "jobs", "newest", "readers")

    def __init__(self, newest: Register) -> None:
        self.newest: Register | None = newest
        self.jobs = 0
        self.readers: list[Found] = []
        self.after: list[Callable[[], None]] = []


class RegisterStore:
    """The registers of one disk, which may be all that its node has. All methods are for the event loop's thread.

    `disk` is the disk's number among those of its node, `counted` the start of the node that it counted last. When it
    has failed it answers nothing any more, and `when_failed` is called.
    """

    def __init__(
        self,
        file: Path,
        cache_bytes: int,
        rules: Rules = HONEST,
        vfs: str | None = None,
        log_pages_max: int | None = None,
        may_migrate: bool = True,
        is_tiered: Callable[[str], bool] = lambda _: False,
        slot_of: Callable[[str], int] = slot_of,
    ) -> None:
        """Open the database; raises ConfigError, DiskFull. Call `begin`, then `start`, before anything else.

        `vfs` and `log_pages_max` are the disk's (impl/doors.py); `may_migrate` allows data of an older format,
        `is_tiered` says which paths go to the archive; `slot_of` must be that of whoever calls `apply`.
        """
        self._file = file
        is_fsynced = not rules.skip_fsync
        self._connection = database.open_database(file, vfs=vfs, is_fsynced=is_fsynced, may_migrate=may_migrate)
        self._vfs = vfs
        self._log_pages_max = log_pages_max or database.WAL_PAGES_MAX
        self._rules = rules
        try:
            self.counted = database.get_number(self._connection, "incarnation")
            self.rounds = database.get_number(self._connection, "rounds")
        except apsw.Error as error:
            raise database.as_error(error) from error
        self.disk = 1
        self.incarnation = self.counted + 1
        self.metrics = StoreMetrics(self)
        self.failed = asyncio.Event()
        self.when_failed: Callable[[], None] = self.failed.set
        self.digests = SlotDigests()
        self._counter = ThreadPoolExecutor(1, "registers-counter")
        self._counting: asyncio.Future[dict[int, int]] | None = None
        self._is_closing = threading.Event()
        self.backlog = Backlog(is_tiered)
        self._is_tiered = is_tiered
        self.scan_bytes_max = database.SCAN_BYTES_MAX
        self._slot_of = slot_of
        # of each slot in which something was forgotten, how a path is found that has no row
        self._floors: dict[int, Register] = {}
        self._cache = Cache(cache_bytes)
        self._in_flight: dict[str, _Flight] = {}
        self._cold: dict[str, list[Found]] = {}
        self._known_since_start: set[str] | None = set() if rules.forget_promise_on_restart else None
        self._number = 0
        self._prune = 0
        self._queued_bytes = 0
        self._queued_jobs = 0
        self._outgoing: list[Job] = []
        self._is_scheduled = False
        self._is_committing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._tracer: Tracer
        self._loop: asyncio.AbstractEventLoop
        self._writer: Writer
        self._reader: Reader
        self._broken: AmberioError | None = None

    def claim(self) -> Claim:
        """What the disk says of itself."""
        try:
            return read_claim(self._connection)
        except apsw.Error as error:
            raise database.as_error(error) from error

    def be(self, disk: int, listed: Sequence[Disk], *, is_settled: bool) -> None:
        """This is that one of these disks, durably (membership.py)."""
        self.disk = disk
        try:
            write_claim(self._connection, disk, listed, is_settled=is_settled)
        except apsw.Error as error:
            raise database.as_error(error) from error

    @property
    def is_failed(self) -> bool:
        """Is it out of service?"""
        return self._broken is not None

    @property
    def health(self) -> Mapping[int, bool]:
        """Is it in service? By the disk's number."""
        return {self.disk: self._broken is None}

    def is_serving(self, slot: int) -> bool:
        """Is the disk of this slot in service?"""
        return self._broken is None

    def events_left(self) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
        """`durable_events`, of each disk by its number."""
        yield self.disk, self.durable_events()

    def durable_events(self) -> list[tuple[int, bytes]]:
        """The events, by number, that the last incarnation committed and may not have written to its trace.

        Raises ConfigError if the database is damaged.
        """
        try:
            return list(database.read_events(self._connection))
        except (apsw.Error, TypeError) as error:
            raise ConfigError(
                f"{self._file}: is damaged: {error}; restore it, or give the node an empty disk"
            ) from None

    def begin(self) -> None:
        """Count this start, and forget the events of the last one, whose trace is complete by now; raises DiskFull.

        Both at once: after a kill at any instant, the events in the database are those of the incarnation counted last.
        """

        def write() -> None:
            self._connection.execute("DELETE FROM events")
            database.set_number(self._connection, "incarnation", self.incarnation)

        try:
            database.commit(self._connection, write)
        except apsw.Error as error:
            raise database.as_error(error) from error

    def start(self, loop: asyncio.AbstractEventLoop, tracer: Tracer) -> None:
        """Begin to serve."""
        self._tracer = tracer
        self._loop = loop
        try:
            if self._vfs is not None:
                self.digests.load(counted(database.accepted(self._connection)))
            else:
                self._count(database.open_database(self._file, read_only=True))
            self.backlog.load(*database.unshipped_total(self._connection))
            self._floors = dict(database.floors(self._connection))
        except apsw.Error as error:
            raise database.as_error(error) from error
        self._writer = Writer(self._connection, self._rules, self._log_pages_max, self._is_tiered)
        self._reader = Reader(self._file, None if self._vfs is None else self._connection)

    def _count(self, connection: apsw.Connection) -> None:
        """Count what is accepted as of now, beside the serving: a million registers take seconds."""
        accepted = iter(database.accepted(connection))
        first = next(accepted, None)  # from here on the connection sees the database as it is before any commit of ours
        found = accepted if first is None else chain((first,), accepted)

        def count() -> dict[int, int]:
            try:
                return counted(found, self._is_closing.is_set)
            finally:
                connection.close()

        self._counting = self._loop.run_in_executor(self._counter, count)
        self._counting.add_done_callback(self._counted)

    def _counted(self, counting: asyncio.Future[dict[int, int]]) -> None:
        if self._is_closing.is_set() or counting.cancelled():
            return
        error = counting.exception()
        if error is None:
            self.digests.load(counting.result())
        else:
            self._stop_if_unknowable(_as_error(error))

    def prune_events(self, number: int, disk: int = 1) -> None:
        """The trace has every event of this disk up to this number: the next commit forgets them."""
        self._prune = number

    async def close(self) -> None:
        """Finish what is queued, then close the database."""
        self._is_closing.set()
        await self._idle.wait()
        if self._counting is not None:
            await asyncio.wait((self._counting,))
        self._counter.shutdown(wait=False)
        await self._writer.close(self._loop)
        await self._reader.close(self._loop)
        if self._broken is None:
            self._connection.close()
        else:
            self.abandon()  # to copy the log back now would trust a disk that has failed

    def abandon(self) -> None:
        """Let go of the database as it is, as a kill does; for a simulator, which must not wait for a collection."""
        with contextlib.suppress(apsw.ConnectionClosedError):
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close(True)

    @property
    def queued(self) -> tuple[int, int]:
        """Jobs and bytes between decision and publication."""
        return self._queued_jobs, self._queued_bytes

    @property
    def cache_size(self) -> tuple[int, int]:
        """Cached registers, and their bytes."""
        return self._cache.size

    def cached(self, path: str) -> Register | None:
        """The published register, if it is in memory."""
        return self._cache.get(path) if self._broken is None else None

    async def read(self, path: str) -> Register:
        """The published register (VIRGIN if nothing was ever promised), told to the trace; raises AmberioError."""
        register = self.cached(path)
        if register is None:
            answer: asyncio.Future[Register | AmberioError] = self._loop.create_future()
            self.read_then(path, _into(answer))
            found = await answer
            if isinstance(found, AmberioError):
                raise found
            register = found
        self._tracer.touch(path, register)
        return register

    def read_then(self, path: str, found: Found) -> None:
        """Call `found` with the published register, now or later."""
        if self._broken is not None:
            found(self._broken)
            return
        register = self._cache.get(path)
        if register is not None:
            found(register)
        elif (flight := self._in_flight.get(path)) is not None:
            flight.readers.append(found)
        else:
            self._read_cold(path, found)

    async def apply(self, path: str, slot: int, decide: Decide) -> Committed:
        """Take a step and wait until it is durable; raises DiskFull, DiskFailed, Overloaded, InternalError."""
        answer: asyncio.Future[Committed | AmberioError] = self._loop.create_future()
        self.apply_then(path, slot, decide, _into(answer))
        committed = await answer
        if isinstance(committed, AmberioError):
            raise committed
        return committed

    def apply_then(self, path: str, slot: int, decide: Decide, done: Done) -> None:
        """Take a step; `done` is called once, when it is durable or has failed."""
        if self._broken is not None:
            done(self._broken)
            return
        if self._queued_jobs >= QUEUE_JOBS_MAX or self._queued_bytes >= QUEUE_BYTES_MAX:
            done(Overloaded(f"{self._queued_jobs} writes wait for the disk already; slow down"))
            return
        flight = self._in_flight.get(path)
        if flight is None:
            self.read_then(path, lambda found: self._decide(path, slot, found, decide, done))
        elif flight.newest is None:
            flight.after.append(lambda: self.apply_then(path, slot, decide, done))
        else:
            self._decide(path, slot, flight.newest, decide, done)

    def _decide(self, path: str, slot: int, found: Register | AmberioError, decide: Decide, done: Done) -> None:
        if isinstance(found, AmberioError):
            done(found)
            return
        flight = self._in_flight.get(path)
        if flight is not None and flight.newest is not found:
            # another step was decided while this one waited for a cold read
            self.apply_then(path, slot, decide, done)
            return
        step = decide(found)
        # before the commit, as what is not written out by then may be lost, and the step's own event is not
        self._tracer.touch(path, found)
        if not step.taken and flight is None:
            event_id = self._tracer.emit(step.event) if step.event is not None else ""
            done(Committed(found, found, False, event_id))
            return
        job = Job(path, slot, found, step, done)
        if step.taken and step.event is not None and self._tracer.enabled:
            self._number += 1
            job.number, job.encoded = self._number, _encode_event(step.event)
        if flight is None:
            flight = self._in_flight[path] = _Flight(step.register)
        flight.newest = step.register
        flight.jobs += 1
        self._queued_jobs += 1
        self._queued_bytes += job.size_bytes
        self._outgoing.append(job)
        self._idle.clear()
        if not self._is_scheduled and not self._is_committing:
            self._is_scheduled = True
            self._loop.call_soon(self._commit_next)

    def _commit_next(self) -> None:
        """All steps decided since the last commit began are one group; what caused them is in the trace first."""
        self._is_scheduled = False
        self._is_committing = True
        self._tracer.flush()
        group, self._outgoing = self._outgoing[:GROUP_JOBS_MAX], self._outgoing[GROUP_JOBS_MAX:]
        committed = self._writer.commit(self._loop, group, self._prune)
        if self._rules.ack_before_commit:
            committed = self._loop.create_future()
            committed.set_result(0.0)
        committed.add_done_callback(lambda done: self._after_commit(group, done))

    def _after_commit(self, group: list[Job], committed: asyncio.Future[float]) -> None:
        self._is_committing = False
        error = committed.exception()
        if error is None:
            self._publish(group, committed.result())
            if self._writer.is_log_long:
                self._writer.copy_back(self._loop).add_done_callback(self._after_copy)
        else:
            self._refuse(group, error)
        if self._outgoing and not self._is_committing and not self._is_scheduled:
            self._commit_next()
        elif not self._queued_jobs:
            self._idle.set()

    def _after_copy(self, copied: asyncio.Future[None]) -> None:
        """A log that could not be copied back is as durable as before; it is tried again after the next commit."""
        cause = copied.exception()
        if cause is None:
            return
        error = _as_error(cause)
        log.warning("the log could not be copied back", error=str(error))
        self._stop_if_unknowable(error)

    def _publish(self, group: list[Job], commit_s: float) -> None:
        """The group is on disk: in order, write its events' lines and tell its callers."""
        self.metrics.committed(len(group), commit_s)
        for job in group:
            step = job.step
            event_id = ""
            if job.number:
                event_id = self._tracer.emit_durable(job.encoded, job.number, self.disk)
            elif step.event is not None:
                event_id = self._tracer.emit(step.event)
            if step.forgets and step.register.promised:
                floor = self._floors.get(job.slot, VIRGIN)
                self._floors[job.slot] = database.raised_floor(floor, step.register)
            if step.taken:
                self.digests.change(job.path, job.slot, job.found.accepted, step.register.accepted)
                self.backlog.change(job.path, job.found, step.register)
            if step.taken and not self._rules.cache_not_updated:
                self._cache.put(job.path, step.register)
            self._landed(job, step.register)
            job.done(Committed(job.found, step.register, step.taken, event_id))

    def _refuse(self, group: list[Job], cause: BaseException) -> None:
        """The group is not on disk, and nothing that was decided on top of it will be."""
        error = _as_error(cause)
        self._stop_if_unknowable(error)
        lost, self._outgoing = [*group, *self._outgoing], []
        for flight in self._in_flight.values():
            flight.newest = None
        for job in lost:
            self._landed(job, None)
            job.done(error)

    def _stop_if_unknowable(self, error: AmberioError) -> None:
        """What a failed fsync left behind is not knowable: nothing must be answered from memory any more."""
        if isinstance(error, InternalError) and self._broken is None:
            log.critical("the disk failed; it is out of service", file=str(self._file), error=str(error))
            self._broken = DiskFailed(f"{error}; it is out of service here, ask another node")
            self.when_failed()

    def _landed(self, job: Job, published: Register | None) -> None:
        self._queued_jobs -= 1
        self._queued_bytes -= job.size_bytes
        flight = self._in_flight[job.path]
        flight.jobs -= 1
        if flight.jobs == 0:
            del self._in_flight[job.path]
        if published is not None and flight.readers:
            readers, flight.readers = flight.readers, []
            for found in readers:
                found(published)
        if flight.jobs == 0:
            for found in flight.readers:
                self.read_then(job.path, found)
            for again in flight.after:
                again()

    def _read_cold(self, path: str, found: Found) -> None:
        waiting = self._cold.get(path)
        if waiting is not None:
            waiting.append(found)
            return
        if len(self._cold) >= QUEUE_JOBS_MAX:
            found(Overloaded(f"{len(self._cold)} reads wait for the disk already; slow down"))
            return
        self._cold[path] = [found]
        read = self._reader.ask(self._loop, lambda connection: database.read(connection, path))
        read.add_done_callback(lambda done: self._arrived(path, done))

    def _arrived(self, path: str, read: asyncio.Future[Register | None]) -> None:
        register: Register | AmberioError
        try:
            register = self._perhaps_forgotten(path, read.result() or self._without_row(path))
            self._cache.put(path, register)
        except apsw.Error as error:
            register = database.as_error(error)
        for found in self._cold.pop(path):
            found(register)

    def _without_row(self, path: str) -> Register:
        """What is known of a path that has no row; told to the trace, as other paths' steps have made it so."""
        floor = self._floors.get(self._slot_of(path), VIRGIN) if self._floors else VIRGIN
        if floor.promised:
            generation = floor.head.generation if floor.head else 0
            self._tracer.emit(events.Floor(path=path, ballot=floor.promised, generation=generation))
        return floor

    def _perhaps_forgotten(self, path: str, register: Register) -> Register:
        known = self._known_since_start
        if known is None or path in known:
            return register
        known.add(path)
        return msgspec.structs.replace(register, promised=register.accepted)

    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool = False) -> Rows:
        """Registers without bodies, of paths that start with `prefix` and follow `after`, by the paths' bytes."""
        bytes_max = self.scan_bytes_max
        return await self._ask_reader(
            lambda connection: database.scan(connection, prefix, after, limit, with_older, bytes_max)
        )

    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage:
        """What is accepted in these slots, of the next `limit` registers after a path; by the paths' bytes."""
        return await self._ask_reader(lambda connection: database.accepted_page(connection, slots, after, limit))

    async def unshipped(self, after: tuple[int, str], limit: int) -> list[Unshipped]:
        """The next registers that wait to be shipped, those written longest ago first; `after` is a time and a path."""
        return await self._ask_reader(lambda connection: database.unshipped(connection, after, limit))

    async def unsettled(self, after: str, limit: int) -> list[tuple[str, int]]:
        """The next paths, with what is archived of them, whose archived generation is not settled."""
        return await self._ask_reader(lambda connection: database.unsettled(connection, after, limit))

    async def imported_part(self, path: str, etag: str, part: int) -> str | None:
        """The digest of a piece of an imported body that was read before."""
        return await self._ask_reader(lambda connection: database.imported_part(connection, path, etag, part))

    async def keep_imported_part(self, path: str, etag: str, part: int, digest: str) -> None:
        """Remember the digest of a piece of an imported body."""
        await self._ask_writer(lambda connection: database.keep_imported_part(connection, path, etag, part, digest))

    async def registers_with_parts(self, after: str, limit: int) -> tuple[list[tuple[str, int, Register]], str | None]:
        """Of our next `limit` registers after a path, those whose head names parts: path, slot, register without body.

        And the path to go on after, None at the end.
        """
        return await self._ask_reader(lambda connection: database.registers_with_parts(connection, after, limit))

    async def bodies_page(
        self, after: str, limit: int, is_right: Callable[[str, Head], bool]
    ) -> tuple[list[str], int, int, str | None]:
        """Look at the inline bodies of our next `limit` registers after a path; see database.bodies_page."""
        return await self._ask_reader(lambda connection: database.bodies_page(connection, after, limit, is_right))

    async def recall(self, key: str) -> int:
        """A counter of this node that was remembered; 0 if it never was."""
        return await self._ask_reader(lambda connection: database.get_number(connection, key))

    async def remember(self, key: str, value: int) -> None:
        """Keep a counter of this node, durably; raises DiskFull, InternalError."""
        try:
            await self._writer.change(self._loop, lambda connection: database.set_number(connection, key, value))
        except apsw.Error as error:
            raise database.as_error(error) from error

    async def slotlets(self, slot: int, prefix_len: int) -> list[Slotlet]:
        """Digests of a slot's heads, by the first `prefix_len` hex digits of xxh3_64 of their paths; in order."""
        return await self._ask_reader(lambda connection: slotlets_of(database.of_slot(connection, slot), prefix_len))

    async def heads(self, slot: int, prefixes: Sequence[str]) -> list[tuple[str, Head]]:
        """The heads of a slot whose path's hash begins with one of `prefixes`."""
        wanted = tuple(prefixes)
        return await self._ask_reader(
            lambda connection: [
                (path, head)
                for path, register in database.of_slot(connection, slot)
                if (head := present(register.head)) is not None and path_hash(path).startswith(wanted)
            ]
        )

    async def _ask_reader(self, query: Callable[[apsw.Connection], Answer]) -> Answer:
        if self._broken is not None:
            raise self._broken
        try:
            return await self._reader.ask(self._loop, query)
        except apsw.Error as error:
            raise database.as_error(error) from error

    async def _ask_writer(self, change: Callable[[apsw.Connection], None]) -> None:
        if self._broken is not None:
            raise self._broken
        try:
            await self._writer.change(self._loop, change)
        except apsw.Error as error:
            raise database.as_error(error) from error

    async def reserve_rounds(self, count: int) -> int:
        """The first of `count` ballot rounds that nobody was ever given before, durably."""
        try:
            return await self._writer.reserve(self._loop, count)
        except apsw.Error as error:
            raise database.as_error(error) from error

    async def keep_rounds(self, last: int) -> None:
        """Make it durable here too that rounds up to `last` were given to somebody; raises DiskFull, InternalError."""
        if self._broken is not None:
            raise self._broken
        try:
            await self._writer.keep_rounds(self._loop, last)
        except apsw.Error as error:
            raise database.as_error(error) from error


def _as_error(cause: BaseException) -> AmberioError:
    return database.as_error(cause) if isinstance(cause, apsw.Error) else InternalError(f"the disk failed: {cause!r}")


def _into(answer: asyncio.Future[Answer]) -> Callable[[Answer], None]:
    """A callback that settles a future that somebody may have stopped waiting for."""

    def settle(found: Answer) -> None:
        if not answer.done():
            answer.set_result(found)

    return settle
