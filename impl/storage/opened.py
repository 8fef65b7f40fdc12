"""The database of one disk, opened: what the disk says of itself, which start of its node this is, does it serve."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import apsw
import structlog

from impl.errors import AmberioError, ConfigError, DiskFailed, InternalError
from impl.storage import database, lives
from impl.storage.membership import Claim, Disk, put_claim, read_claim, write_claim

log = structlog.get_logger(__name__)


class OpenedDisk:
    """A disk of a node. `disk` is its number among those of its node, `counted` the start of the node it counted last.

    When it has failed it answers nothing any more, and `when_failed` is called.
    """

    def __init__(self, file: Path, vfs: str | None, *, is_fsynced: bool, may_migrate: bool) -> None:
        self._file = file
        self._vfs = vfs
        self._connection = database.open_database(file, vfs=vfs, is_fsynced=is_fsynced, may_migrate=may_migrate)
        try:
            self.counted = database.get_number(self._connection, "incarnation")
            self.rounds = database.get_number(self._connection, "rounds")
            self.life = lives.own_life(self._connection)
            self.lives: Mapping[str, int] = lives.known_lives(self._connection)
            self.behind = lives.slots_behind(self._connection)
        except apsw.Error as error:
            raise database.as_error(error) from error
        self.disk = 1
        self.incarnation = lives.next_incarnation(self.counted, self.life)
        self.failed = asyncio.Event()
        self.when_failed: Callable[[], None] = self.failed.set
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
    def is_born(self) -> bool:
        """Does it know its life (lives.py)?"""
        return self.life > 0

    def is_lost(self, slot: int) -> bool:
        """Is what the node ever had in this slot not here? Of a node that is not born yet."""
        return not self.is_born

    def be_born(self, life: int, behind: Collection[int], listed: Sequence[Disk] | None = None) -> None:
        """Be of this life from now on, durably, without what the slots `behind` held; before `begin`.

        With `listed`, it is one of these disks from the same instant on (membership.py). Raises DiskFull.
        """

        def write() -> None:
            lives.begin_life(self._connection, life, behind)
            if listed is not None:
                put_claim(self._connection, self.disk, listed, is_settled=True)

        try:
            database.commit(self._connection, write)
        except apsw.Error as error:
            raise database.as_error(error) from error
        self.life = life
        self.behind |= frozenset(behind)
        self.incarnation = lives.next_incarnation(self.counted, life)

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

    def abandon(self) -> None:
        """Let go of the database as it is, as a kill does; for a simulator, which must not wait for a collection."""
        with contextlib.suppress(apsw.ConnectionClosedError):
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close(True)

    def _stop_if_unknowable(self, error: AmberioError) -> None:
        """What a failed fsync left behind is not knowable: nothing must be answered from memory any more."""
        if isinstance(error, InternalError) and self._broken is None:
            log.critical("the disk failed; it is out of service", file=str(self._file), error=str(error))
            self._broken = DiskFailed(f"{error}; it is out of service here, ask another node")
            self.when_failed()
