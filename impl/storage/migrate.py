"""The format of a node's database: what its tables are, said once, and how an older one becomes of this format.

Formats are numbered; `user_version` says which one a file has. FORMATS[n] is what makes format n + 1 of format n, and
a new database is made by all of them: so it has, to the letter, the schema of one that was migrated. To change the
schema, add a step; never edit one that was released.

An older database is copied to `registers.db.format-<n>.backup` first: complete, fsynced, read again and compared. Then
all steps and the new number are one transaction, so a crash at any instant leaves the old format or the new one, and
the next start does what is left. **A backup may be put back only while the node has not served since**: an acceptor
that goes back to an older state has forgotten promises. After that, the node is one that has lost its disk.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import structlog

from impl.errors import ConfigError, DiskFull

Step = Callable[[apsw.Connection], None]

_REGISTERS: Final = """
CREATE TABLE node (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE registers (
    path TEXT PRIMARY KEY, slot INTEGER NOT NULL,
    promised_round INTEGER NOT NULL, promised_node TEXT NOT NULL,
    accepted_round INTEGER NOT NULL, accepted_node TEXT NOT NULL,
    head BLOB, body BLOB
) WITHOUT ROWID;
CREATE TABLE events (number INTEGER PRIMARY KEY, events BLOB NOT NULL); -- number: that of the group's last event
"""
_TIERING: Final = """
ALTER TABLE registers ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registers ADD COLUMN is_settled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registers ADD COLUMN unshipped_since_ms INTEGER; -- NULL: there is nothing to ship
ALTER TABLE registers ADD COLUMN unshipped_bytes INTEGER;
CREATE INDEX unshipped ON registers (unshipped_since_ms, path, slot, unshipped_bytes)
    WHERE unshipped_since_ms IS NOT NULL;
CREATE INDEX unsettled ON registers (path, archived) WHERE archived > 0 AND is_settled = 0;
CREATE TABLE imported (
    path TEXT NOT NULL, etag TEXT NOT NULL, part INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (path, etag, part)
) WITHOUT ROWID;
"""
# Of each slot the highest promise, and the most generations, of all that was forgotten in it (spec: Floor).
_FORGETTING: Final = """
CREATE TABLE floors (
    slot INTEGER PRIMARY KEY, promised_round INTEGER NOT NULL, promised_node TEXT NOT NULL, generation INTEGER NOT NULL
);
"""

_DISKS: Final = """
CREATE TABLE disks (disk INTEGER PRIMARY KEY, node TEXT NOT NULL, weight REAL NOT NULL, life INTEGER NOT NULL);
"""
# `life` in the table of counters: how often the node was given an empty disk (impl/storage/lives.py).
_LIVES: Final = """
CREATE TABLE lives (node TEXT PRIMARY KEY, life INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE behind (slot INTEGER PRIMARY KEY);
INSERT INTO node SELECT 'life', 1 FROM node WHERE key = 'incarnation' AND value > 0;
"""


def _registers_only(connection: apsw.Connection) -> None:
    connection.execute(_REGISTERS)


def _with_tiering_and_disks(connection: apsw.Connection) -> None:
    connection.execute(_TIERING)
    connection.execute(_DISKS)


def _with_forgetting(connection: apsw.Connection) -> None:
    connection.execute(_FORGETTING)


def _with_lives(connection: apsw.Connection) -> None:
    """A node that was ever started is in its first life: before this format none had a second one."""
    connection.execute(_LIVES)


FORMATS: Final[tuple[Step, ...]] = (_registers_only, _with_tiering_and_disks, _with_forgetting, _with_lives)
"""What makes each format of the one before, beginning with an empty file; within the caller's transaction."""
FORMAT: Final = len(FORMATS)
"""The format that this version reads and writes."""
SPARE_BYTES: Final = 16 * 1024 * 1024
"""What a disk must have free beside the copy: the transaction of the steps, and a start."""

log = structlog.get_logger(__name__)


def format_of(connection: apsw.Connection, file: Path, may_migrate: bool = True) -> int:
    """The format that a database has, 0 if it is new. Changes nothing, not even how the file is written.

    Raises ConfigError for a format that is newer than ours, for an older one if an operator does not want it migrated,
    and for a database of something else; apsw.Error.
    """
    seen = int(connection.pragma("user_version"))
    if not 0 <= seen <= FORMAT:
        raise ConfigError(
            f"{file}: has format {seen}, this version reads formats up to {FORMAT}; start the version that wrote it, "
            "or a newer one"
        )
    if seen == 0:
        for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 1"):
            raise ConfigError(f"{file}: is a database of something else: it has {name!r}; check disks[].path")
    elif seen < FORMAT and not may_migrate:
        raise ConfigError(
            f"{file}: has format {seen}, this version needs {FORMAT}; start it without --no-migrate to migrate the "
            "data, of which a backup is kept, or start the version that wrote it"
        )
    return seen


def migrate(connection: apsw.Connection, file: Path, seen: int, vfs: str | None = None) -> None:
    """Bring the database from the format `seen` to FORMAT. Nobody else may have it open.

    Raises DiskFull if there is no room for the backup, ConfigError if it cannot be made: nothing is changed then;
    apsw.Error if the disk fails.
    """
    if seen == FORMAT:
        return
    if seen:
        backup = backup_of(file, seen)
        log.info("migrating the data, after a backup", file=str(file), of=seen, to=FORMAT, backup=str(backup))
        back_up(connection, backup, vfs)
    with connection:
        for step in FORMATS[seen:]:
            step(connection)
        connection.pragma("user_version", FORMAT)
    if seen:
        log.info("migrated the data", file=str(file), format=FORMAT)


def backup_of(file: Path, number: int) -> Path:
    """Where the copy of a database is kept that had this format."""
    return file.with_name(f"{file.name}.format-{number}.backup")


def back_up(connection: apsw.Connection, to: Path, vfs: str | None = None) -> None:
    """Copy the database, durably, over what an earlier attempt has left there.

    Raises DiskFull, ConfigError if something else is in the way or the copy is not what it was made of; apsw.Error.
    """
    _need_room(connection, to, vfs)
    try:
        copy = _open(to, vfs)
        # one transaction: whatever is there already stays whole until all of the copy is on disk
        with copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(-1)
        copy.close()
        # it is marked as one with a log beside it, as what it was made of is; from here it is one file and no more
        copy = _open(to, vfs)
        copy.pragma("journal_mode", "delete")
        copy.close()
        if vfs is None:
            _sync(to)
            _sync(to.parent)
        _compare(connection, to, vfs)
    except apsw.FullError:
        raise _no_room(to) from None
    except apsw.NotADBError:
        raise ConfigError(f"{to}: is in the way of the backup, and no database; move it elsewhere") from None


def _open(file: Path, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(file), vfs=vfs)
    if vfs is not None:
        connection.pragma("locking_mode", "exclusive")
    connection.pragma("synchronous", "extra")
    return connection


def _need_room(connection: apsw.Connection, to: Path, vfs: str | None) -> None:
    if vfs is not None:
        return  # a disk of somebody else's says itself when it is full
    size_bytes = int(connection.pragma("page_count")) * int(connection.pragma("page_size"))
    if to.exists():
        size_bytes += to.stat().st_size  # kept until the new copy is whole
    free_bytes = shutil.disk_usage(to.parent).free
    if free_bytes < size_bytes + SPARE_BYTES:
        raise _no_room(to, f"{size_bytes + SPARE_BYTES} bytes are needed, {free_bytes} are free")


def _no_room(to: Path, why: str = "the disk is full") -> DiskFull:
    return DiskFull(f"{to}: no room for a backup, so the data is not migrated: {why}; nothing was changed; make room")


def _compare(connection: apsw.Connection, to: Path, vfs: str | None) -> None:
    copy = _open(to, vfs)
    try:
        verdict = str(copy.pragma("quick_check"))
        same = verdict == "ok" and all(
            copy.execute(query).fetchall() == connection.execute(query).fetchall()
            for query in (
                "PRAGMA user_version",
                "SELECT type, name, sql FROM sqlite_master ORDER BY name",
                "SELECT count(*) FROM registers",
                "SELECT * FROM node",
            )
        )
    finally:
        copy.close()
    if not same:
        raise ConfigError(
            f"{to}: the backup is not what it was made of ({verdict}), so the data is not migrated; check the disk"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
