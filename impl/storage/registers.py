"""Every register of this node: steps decided on the event loop, made durable by one writer with group commit.

The loop knows the newest state of each path that is in flight, and keeps those read or written last in a bounded cache;
so a step is decided at once, without a disk. One writer thread takes all that has queued up while it was busy, commits
it with one fsync (WAL, synchronous=FULL), and the loop then publishes the whole group in order: events get their lines,
callers their answers. Nobody sees a state before it is on disk. If a commit fails, so does all that was decided on top.

A path is cold (a reader thread fetches it), in flight, or neither; never both, so a read cannot be overtaken.
Rows are `impl/storage/database.py`; rules are `impl/protocol/acceptor.py`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec

from impl.errors import AmberioError, Overloaded
from impl.model import VIRGIN, Register, slot_of
from impl.protocol import events
from impl.protocol.rules import HONEST, Rules
from impl.storage import database, lives
from impl.storage.backlog import Backlog
from impl.storage.cache import Cache
from impl.storage.commits import GroupCommits
from impl.storage.digests import SlotDigests, counted
from impl.storage.metrics import StoreMetrics
from impl.storage.queries import Queries
from impl.storage.steps import Committed, Decide, Done, Found, Job
from impl.storage.workers import Counter, Reader, Writer
from impl.trace import Tracer

READS_MAX: Final = 8192
"""Cold paths that wait for the reader thread."""

Answer = TypeVar("Answer")
_encode_event = msgspec.json.Encoder().encode


class _Flight:
    """The jobs of one path between decision and publication. `newest` is None once one of them has failed."""

    __slots__ = ("after", "jobs", "newest", "readers")

    def __init__(self, newest: Register) -> None:
        self.newest: Register | None = newest
        self.jobs = 0
        self.readers: list[Found] = []
        self.after: list[Callable[[], None]] = []


class RegisterStore(Queries):
    """The registers of one disk, which may be all that its node has. All methods are for the event loop's thread."""

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
        super().__init__(file, vfs, is_fsynced=not rules.skip_fsync, may_migrate=may_migrate)
        self._log_pages_max = log_pages_max or database.WAL_PAGES_MAX
        self._rules = rules
        self.metrics = StoreMetrics(self)
        self.digests = SlotDigests()
        self._counter = Counter()
        self.backlog = Backlog(is_tiered)
        self._is_tiered = is_tiered
        self._slot_of = slot_of
        # of each slot in which something was forgotten, how a path is found that has no row
        self._floors: dict[int, Register] = {}
        self._cache = Cache(cache_bytes)
        self._in_flight: dict[str, _Flight] = {}
        self._cold: dict[str, list[Found]] = {}
        self._known_since_start: set[str] | None = set() if rules.forget_promise_on_restart else None
        self._number = 0
        self._commits = GroupCommits(rules, self._publish, self._refuse, self._stop_if_unknowable)
        self._tracer: Tracer

    def start(self, loop: asyncio.AbstractEventLoop, tracer: Tracer) -> None:
        """Begin to serve."""
        self._tracer = tracer
        self._loop = loop
        try:
            if self._vfs is not None:
                self.digests.load(counted(database.accepted(self._connection)))
            else:
                self._counter.start(loop, self._file, self.digests.load, self._not_counted)
            self.backlog.load(*database.unshipped_total(self._connection))
            self._floors = dict(database.floors(self._connection))
        except apsw.Error as error:
            raise database.as_error(error) from error
        self._writer = Writer(self._connection, self._rules, self._log_pages_max, self._is_tiered)
        self._reader = Reader(self._file, None if self._vfs is None else self._connection)
        self._commits.start(loop, self._writer, tracer.flush)

    def _not_counted(self, cause: BaseException) -> None:
        self._stop_if_unknowable(database.as_error(cause))

    def prune_events(self, number: int, disk: int = 1) -> None:
        """The trace has every event of this disk up to this number: the next commit forgets them."""
        self._commits.prune = number

    async def close(self) -> None:
        """Finish what is queued, then close the database."""
        await self._counter.close()
        await self._commits.idle()
        await self._writer.close(self._loop)
        await self._reader.close(self._loop)
        if self._broken is None:
            self._connection.close()
        else:
            self.abandon()  # to copy the log back now would trust a disk that has failed

    @property
    def queued(self) -> tuple[int, int]:
        """Jobs and bytes between decision and publication."""
        return self._commits.jobs, self._commits.size_bytes

    @property
    def cache_size(self) -> tuple[int, int]:
        """Cached registers, and their bytes."""
        return self._cache.size

    def cached(self, path: str) -> Register | None:
        """The published register, if it is in memory."""
        return self._cache.get(path) if self._broken is None else None

    def floors(self, slots: Collection[int]) -> list[tuple[int, Register]]:
        """Of those of the slots in which something was forgotten, what is known of a path that has no row."""
        return [(slot, self._floors[slot]) for slot in slots if slot in self._floors]

    async def caught_up(self, floors: Mapping[int, Register], back: events.Back) -> None:
        """These slots are not behind any more. Each floor is what the slot may have promised, of any of its paths.

        `back` is the event that says so, atomic with it. Raises DiskFull, DiskFailed, InternalError.
        """
        while self._commits.jobs:
            await self._commits.idle()  # events are numbered in the order of their commits
        numbered: list[tuple[int, bytes]] = []
        if self._tracer.enabled:
            self._number += 1
            numbered = [(self._number, _encode_event(back))]
            self._tracer.flush()

        def write(connection: apsw.Connection) -> None:
            lives.catch_up(connection, floors)
            database.write(connection, [], numbered, 0)

        await self._ask_writer(write)
        for number, encoded in numbered:
            self._tracer.emit_durable(encoded, number, self.disk)
        for slot, left in floors.items():
            self._floors[slot] = database.raised_floor(self._floors.get(slot, VIRGIN), left)
        self._cache.drop(lambda path: self._slot_of(path) in floors)  # what has no row is found anew, with the floor
        self.behind -= floors.keys()

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
        if self._commits.is_full:
            done(Overloaded(f"{self._commits.jobs} writes wait for the disk already; slow down"))
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
        self._commits.add(job)

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

    def _refuse(self, lost: list[Job], error: AmberioError) -> None:
        """These are not on disk; they are all that was decided on top of the first of them."""
        self._stop_if_unknowable(error)
        for flight in self._in_flight.values():
            flight.newest = None
        for job in lost:
            self._landed(job, None)
            job.done(error)

    def _landed(self, job: Job, published: Register | None) -> None:
        self._commits.left(job)
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
        if len(self._cold) >= READS_MAX:
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


def _into(answer: asyncio.Future[Answer]) -> Callable[[Answer], None]:
    """A callback that settles a future that somebody may have stopped waiting for."""

    def settle(found: Answer) -> None:
        if not answer.done():
            answer.set_result(found)

    return settle
