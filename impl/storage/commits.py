"""Group commit: what was decided while the writer was busy is made durable with one fsync, then published in order.

What caused a step is in the trace before the step is on the disk. If a commit fails, so does all that was decided on
top of it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from impl.errors import AmberioError
from impl.protocol.rules import Rules
from impl.storage import database
from impl.storage.steps import Job
from impl.storage.workers import Writer

QUEUE_JOBS_MAX: Final = 8192
GROUP_JOBS_MAX: Final = 1024
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024

log = structlog.get_logger(__name__)


class GroupCommits:
    """The queue of one disk's writer, once `start` has told it which that is.

    `publish` is given a group that is on the disk, and the seconds its COMMIT took; `refuse` all that never will be,
    and why. Both call `left` for each job. `warn` is given what went wrong between commits.
    """

    def __init__(
        self,
        rules: Rules,
        publish: Callable[[list[Job], float], None],
        refuse: Callable[[list[Job], AmberioError], None],
        warn: Callable[[AmberioError], None],
    ) -> None:
        self._rules = rules
        self._publish = publish
        self._refuse = refuse
        self._warn = warn
        self.prune = 0
        """Events up to this number are in the trace; the next commit forgets them."""
        self.jobs = 0
        self.size_bytes = 0
        self._outgoing: list[Job] = []
        self._is_scheduled = False
        self._is_committing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop: asyncio.AbstractEventLoop
        self._writer: Writer
        self._before: Callable[[], None]

    def start(self, loop: asyncio.AbstractEventLoop, writer: Writer, before: Callable[[], None]) -> None:
        """Begin to commit; `before` is called before each commit."""
        self._loop = loop
        self._writer = writer
        self._before = before

    @property
    def is_full(self) -> bool:
        """Do so many wait that no more must come?"""
        return self.jobs >= QUEUE_JOBS_MAX or self.size_bytes >= QUEUE_BYTES_MAX

    def add(self, job: Job) -> None:
        """Queue a step behind all that were decided before it."""
        self.jobs += 1
        self.size_bytes += job.size_bytes
        self._outgoing.append(job)
        self._idle.clear()
        if not self._is_scheduled and not self._is_committing:
            self._is_scheduled = True
            self._loop.call_soon(self._commit_next)

    def left(self, job: Job) -> None:
        """A job that was published or refused waits no more."""
        self.jobs -= 1
        self.size_bytes -= job.size_bytes

    async def idle(self) -> None:
        """Wait until nothing waits."""
        await self._idle.wait()

    def _commit_next(self) -> None:
        """All steps decided since the last commit began are one group."""
        self._is_scheduled = False
        self._is_committing = True
        self._before()
        group, self._outgoing = self._outgoing[:GROUP_JOBS_MAX], self._outgoing[GROUP_JOBS_MAX:]
        committed = self._writer.commit(self._loop, group, self.prune)
        if self._rules.ack_before_commit:
            committed = self._loop.create_future()
            committed.set_result(0.0)
        committed.add_done_callback(lambda done: self._after_commit(group, done))

    def _after_commit(self, group: list[Job], committed: asyncio.Future[float]) -> None:
        self._is_committing = False
        cause = committed.exception()
        if cause is None:
            self._publish(group, committed.result())
            if self._writer.is_log_long:
                self._writer.copy_back(self._loop).add_done_callback(self._after_copy)
        else:
            lost, self._outgoing = [*group, *self._outgoing], []
            self._refuse(lost, database.as_error(cause))
        if self._outgoing and not self._is_committing and not self._is_scheduled:
            self._commit_next()
        elif not self.jobs:
            self._idle.set()

    def _after_copy(self, copied: asyncio.Future[None]) -> None:
        """A log that could not be copied back is as durable as before; it is tried again after the next commit."""
        cause = copied.exception()
        if cause is None:
            return
        error = database.as_error(cause)
        log.warning("the log could not be copied back", error=str(error))
        self._warn(error)
