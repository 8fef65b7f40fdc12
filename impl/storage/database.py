"""The SQLite file with every register of a node: its rows, its errors. Blocking; for threads only.

Its tables, and what becomes of an older file, are `migrate.py`.

One database for all slots: a commit costs an fsync whatever is in it, so requests of all slots share one. Inline bodies
are the last column of their row, on overflow pages that a list or a digest never reads.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from impl.errors import AmberioError, ConfigError, DiskFull, InternalError
from impl.model import NO_BALLOT, VIRGIN, AcceptedPage, Ballot, Head, Register, Rows, Unshipped, vacant
from impl.storage.migrate import format_of, migrate

_PUT: Final = "INSERT OR REPLACE INTO registers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STATE: Final = "promised_round, promised_node, accepted_round, accepted_node, archived, is_settled, head"
_GET: Final = f"SELECT {_STATE}, body FROM registers WHERE path = ?"
_WITHOUT_BODY: Final = f"SELECT path, {_STATE} FROM registers "
_ACCEPTED: Final = "SELECT path, slot, accepted_round, accepted_node FROM registers"
WAL_PAGES_MAX: Final = 8000
"""Pages in the log before SQLite copies them back: 32 MiB, so that this rarely stands in a request's way."""
CACHE_KIB: Final = 16 * 1024
SCAN_BYTES_MAX: Final = 8 * 1024 * 1024
"""What the heads of one scan come to at most, as they are stored."""

_encode_head = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode

Row = tuple[str, int, int, str, int, str, bytes | None, bytes | None, int, bool, int | None, int | None]


def open_database(
    file: Path,
    *,
    read_only: bool = False,
    vfs: str | None = None,
    is_fsynced: bool = True,
    may_migrate: bool = True,
) -> apsw.Connection:
    """Open, and make if it is missing; one of an older format is migrated, if that is allowed.

    Raises ConfigError for a file that is no database of ours or has a format that it cannot have; DiskFull.
    Every connection to one file sees what was committed last (WAL); only one may write. With a `vfs` of somebody
    else's there is one connection only, as such a disk has no memory to share between two. No COMMIT copies the log
    back: `copy_back` does, so that an error says which of the two failed.
    """
    try:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(str(file), flags=flags, vfs=vfs)
    except apsw.Error as error:
        raise _unusable(file, error) from None
    try:
        if vfs is not None:
            connection.pragma("locking_mode", "exclusive")
        connection.set_busy_timeout(5000)
        connection.pragma("cache_size", -CACHE_KIB)
        if read_only:
            return connection
        seen = format_of(connection, file, may_migrate)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full" if is_fsynced else "off")
        connection.pragma("wal_autocheckpoint", 0)
        migrate(connection, file, seen, vfs)
    except apsw.Error as error:
        connection.close(True)
        raise _unusable(file, error) from None
    except AmberioError:
        connection.close(True)
        raise
    return connection


def _unusable(file: Path, error: apsw.Error) -> ConfigError:
    return ConfigError(f"{file}: cannot be used as a database: {error}; restore it or remove the data")


def as_error(error: BaseException) -> AmberioError:
    """An error of SQLite, or of a thread that uses it, in our terms. Only a full disk surely has changed nothing."""
    if isinstance(error, apsw.FullError):
        return DiskFull(f"the disk is full: {error}; nothing was written here")
    return InternalError(f"the disk failed: {error if isinstance(error, apsw.Error) else repr(error)}")


def row_of(path: str, slot: int, register: Register, is_tiered: bool = False) -> Row:
    """A register as a row; the body apart from the head. It waits to be shipped if its path goes to the archive."""
    head, (promised, accepted) = register.head, (register.promised, register.accepted)
    body = None
    encoded = None
    since_ms = size_bytes = None
    if head is not None and register.waits_for_archive(is_tiered):
        since_ms, size_bytes = head.updated_at_ms, head.size_bytes
    if head is not None:
        body = head.body
        encoded = _encode_head(head if body is None else without_body(head))
    return (
        path,
        slot,
        promised.round,
        promised.node,
        accepted.round,
        accepted.node,
        encoded,
        body,
        register.archived,
        register.is_settled,
        since_ms,
        size_bytes,
    )


def without_body(head: Head) -> Head:
    """The head without its inline body."""
    return Head(
        head.generation,
        head.deleted,
        head.etag,
        head.size_bytes,
        head.content_type,
        head.updated_at_ms,
        None,
        head.parts,
        head.recent,
        head.attributes,
        head.version,
        head.marker,
        head.older,
        head.is_imported,
    )


def commit(connection: apsw.Connection, write_all: Callable[[], None]) -> float:
    """Do `write_all` in one transaction that is on disk on return; how long its COMMIT took, in seconds.

    The time is measured for operators and decides nothing. On any error the transaction is rolled back, and raised.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        write_all()
        began_s = time.perf_counter()
        connection.execute("COMMIT")
        return time.perf_counter() - began_s
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def copy_back(connection: apsw.Connection) -> None:
    """Copy the log into the database, as far as no reader needs the old pages; an error changes nothing committed."""
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def write(connection: apsw.Connection, rows: list[Row], events: list[tuple[int, bytes]], prune: int) -> None:
    """Put rows and events, and forget the events up to number `prune`; within the caller's transaction."""
    connection.executemany(_PUT, rows)
    if events:
        # one row for the group: its numbers follow each other, and JSON has no line break
        lines = b"\n".join(event for _, event in events)
        connection.execute("INSERT INTO events VALUES (?, ?)", (events[-1][0], lines))
    if prune:
        connection.execute("DELETE FROM events WHERE number <= ?", (prune,))


def forget(connection: apsw.Connection, paths: Iterable[str], left: Iterable[tuple[int, Register]]) -> None:
    """Remove the rows of these paths, and raise slots' floors to what is left of them; within the caller's transaction.

    At once, so that no promise is ever on no disk.
    """
    connection.executemany("DELETE FROM registers WHERE path = ?", [(path,) for path in paths])
    for slot, register in left:
        raise_floor(connection, slot, register)


def raise_floor(connection: apsw.Connection, slot: int, left: Register) -> None:
    """This was left of a path of the slot; within the caller's transaction."""
    floor = next((floor for _, floor in floors(connection, slot)), VIRGIN)
    raised = raised_floor(floor, left)
    generation = raised.head.generation if raised.head else 0
    connection.execute(
        "INSERT OR REPLACE INTO floors VALUES (?, ?, ?, ?)",
        (slot, raised.promised.round, raised.promised.node, generation),
    )


def raised_floor(floor: Register, left: Register) -> Register:
    """The floor of a slot in which this was left of a path: the higher promise, and the more generations."""
    generations = [register.head.generation for register in (floor, left) if register.head is not None]
    return Register(max(floor.promised, left.promised), NO_BALLOT, vacant(max(generations, default=0)))


def floors(connection: apsw.Connection, slot: int | None = None) -> Iterator[tuple[int, Register]]:
    """Of each slot, or of one, in which something was forgotten: what is known of a path that has no row there."""
    where = "" if slot is None else f" WHERE slot = {slot}"
    for found, number, node, generation in connection.execute(f"SELECT * FROM floors{where}"):
        yield found, Register(Ballot(number, node), NO_BALLOT, vacant(generation))


def read_events(connection: apsw.Connection) -> Iterator[tuple[int, bytes]]:
    """The events that are kept, by number."""
    for last, lines in connection.execute("SELECT number, events FROM events ORDER BY number"):
        group = bytes(lines).split(b"\n")
        yield from enumerate(group, last - len(group) + 1)


def read(connection: apsw.Connection, path: str) -> Register | None:
    """The register of a path, None if there is no row."""
    for *state, body in connection.execute(_GET, (path,)):
        register = _register(*state)
        if body is None or register.head is None:
            return register
        return msgspec.structs.replace(register, head=msgspec.structs.replace(register.head, body=body))
    return None


def scan(
    connection: apsw.Connection,
    prefix: str,
    after: str | None,
    limit: int,
    with_older: bool = False,
    bytes_max: int = SCAN_BYTES_MAX,
) -> Rows:
    """Registers without bodies whose path starts with `prefix` and follows `after`, by their paths' bytes.

    They end early when their heads come to `bytes_max`. Versions before the current ones are there if `with_older`.
    """
    where, arguments = ["path >= ?"], [prefix]
    if after is not None and after >= prefix:
        where, arguments = ["path > ?"], [after]
    beyond = _beyond(prefix)
    if beyond is not None:
        where.append("path < CAST(? AS TEXT)")
    rows = connection.execute(
        f"{_WITHOUT_BODY} WHERE {' AND '.join(where)} ORDER BY path LIMIT ?",
        (*arguments, *([beyond] if beyond is not None else []), limit),
    )
    found: list[tuple[str, Register]] = []
    size_bytes = 0
    for row in rows:
        path, register = _unbodied(row)
        if register.head is not None and register.head.older and not with_older:
            register = msgspec.structs.replace(register, head=msgspec.structs.replace(register.head, older=()))
        found.append((path, register))
        size_bytes += len(row[7] or b"")
        if size_bytes >= bytes_max:
            return Rows(found, has_more=True)
    return Rows(found, has_more=len(found) >= limit)


def accepted(connection: apsw.Connection) -> Iterator[tuple[int, str]]:
    """Of each register in which something is accepted: its slot, and the ballot's round and node and the path."""
    return connection.execute(
        "SELECT slot, accepted_round || ' ' || accepted_node || ' ' || path FROM registers WHERE accepted_node <> ''"
    )


def accepted_page(connection: apsw.Connection, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage:
    """What is accepted in these slots, of the next `limit` registers of all slots; by their paths' bytes."""
    wanted = frozenset(slots)
    rows = list(connection.execute(f"{_ACCEPTED} WHERE path > ? ORDER BY path LIMIT ?", (after or "", limit)))
    ballots = [(path, Ballot(number, node)) for path, slot, number, node in rows if slot in wanted and node]
    return AcceptedPage(ballots, rows[-1][0] if len(rows) == limit else None)


def known_page(
    connection: apsw.Connection, slots: Collection[int], after: str | None, limit: int
) -> tuple[list[str], str | None]:
    """The paths in these slots of which there is a row, of the next `limit` registers; and where to go on."""
    wanted = frozenset(slots)
    rows = list(
        connection.execute(
            "SELECT path, slot FROM registers WHERE path > ? ORDER BY path LIMIT ?", (after or "", limit)
        )
    )
    return [path for path, slot in rows if slot in wanted], rows[-1][0] if len(rows) == limit else None


def unshipped(connection: apsw.Connection, after: tuple[int, str], limit: int) -> list[Unshipped]:
    """The next registers that wait to be shipped, those written longest ago first; `after` is a time and a path."""
    rows = connection.execute(
        "SELECT unshipped_since_ms, path, slot, unshipped_bytes FROM registers INDEXED BY unshipped "
        "WHERE unshipped_since_ms IS NOT NULL AND (unshipped_since_ms, path) > (?, ?) "
        "ORDER BY unshipped_since_ms, path LIMIT ?",
        (*after, limit),
    )
    return [Unshipped(*row) for row in rows]


def unshipped_total(connection: apsw.Connection) -> tuple[int, int]:
    """How many registers wait to be shipped, and their bytes."""
    for count, size_bytes in connection.execute(
        "SELECT COUNT(*), TOTAL(unshipped_bytes) FROM registers INDEXED BY unshipped "
        "WHERE unshipped_since_ms IS NOT NULL"
    ):
        return int(count), int(size_bytes)
    return 0, 0


def unsettled(connection: apsw.Connection, after: str, limit: int) -> list[tuple[str, int]]:
    """The next paths, with what is archived of them, whose archived generation is not settled."""
    rows = connection.execute(
        "SELECT path, archived FROM registers INDEXED BY unsettled "
        "WHERE archived > 0 AND is_settled = 0 AND path > ? ORDER BY path LIMIT ?",
        (after, limit),
    )
    return [(path, archived) for path, archived in rows]


def imported_part(connection: apsw.Connection, path: str, etag: str, part: int) -> str | None:
    """The digest of a piece of an imported body that was read before."""
    row = connection.execute(
        "SELECT digest FROM imported WHERE path = ? AND etag = ? AND part = ?", (path, etag, part)
    ).fetchone()
    return None if row is None else str(row[0])


def keep_imported_part(connection: apsw.Connection, path: str, etag: str, part: int, digest: str) -> None:
    """Remember it."""
    connection.execute("INSERT OR REPLACE INTO imported VALUES (?, ?, ?, ?)", (path, etag, part, digest))


def registers_with_parts(
    connection: apsw.Connection, after: str, limit: int
) -> tuple[list[tuple[str, int, Register]], str | None]:
    """Of the next `limit` registers after a path, those whose head names parts: path, slot, register without body.

    And the path to go on after, None at the end.
    """
    rows = list(
        connection.execute(
            f"SELECT path, slot, {_STATE} FROM registers WHERE path > ? ORDER BY path LIMIT ?", (after, limit)
        )
    )
    registers = ((path, slot, _register(*state)) for path, slot, *state in rows)
    found = [row for row in registers if row[2].head is not None and _names_parts(row[2].head)]
    return found, rows[-1][0] if len(rows) == limit else None


def _names_parts(head: Head) -> bool:
    return bool(head.parts) or any(version.parts for version in head.older)


def bodies_page(
    connection: apsw.Connection, after: str, limit: int, is_right: Callable[[str, Head], bool]
) -> tuple[list[str], int, int, str | None]:
    """Look at the inline bodies of the next `limit` registers after a path, as they lie on the disk.

    The paths of those that are not right; how many there were, of how many bytes; where to go on, None at the end.
    """
    rows = list(
        connection.execute(
            "SELECT path, head, body FROM registers WHERE path > ? ORDER BY path LIMIT ?", (after, limit)
        )
    )
    bodies = [(path, head, body) for path, head, body in rows if head is not None and body is not None]
    wrong = [
        path
        for path, head, body in bodies
        if not is_right(path, msgspec.structs.replace(_decode_head(head), body=body))
    ]
    size_bytes = sum(len(body) for _, _, body in bodies)
    return wrong, len(bodies), size_bytes, rows[-1][0] if len(rows) == limit else None


def of_slot(connection: apsw.Connection, slot: int) -> Iterator[tuple[str, Register]]:
    """Registers of one slot, without bodies, by their paths' bytes."""
    for row in connection.execute(f"{_WITHOUT_BODY} WHERE slot = ? ORDER BY path", (slot,)):
        yield _unbodied(row)


def _unbodied(row: Sequence[Any]) -> tuple[str, Register]:
    path, *state = row
    return path, _register(*state)


def _register(
    promised_round: int,
    promised_node: str,
    accepted_round: int,
    accepted_node: str,
    archived: int,
    is_settled: int,
    head: bytes | None,
) -> Register:
    """A register from the columns of _STATE."""
    promised, accepted = Ballot(promised_round, promised_node), Ballot(accepted_round, accepted_node)
    return Register(promised, accepted, None if head is None else _decode_head(head), archived, bool(is_settled))


def _beyond(prefix: str) -> bytes | None:
    """The first UTF-8 text, as bytes, after all that start with `prefix`; None if there is none.

    Valid UTF-8 has no byte 0xFF, so adding one to the last byte never needs a carry; the result need not be valid text
    for SQLite to compare with.
    """
    encoded = prefix.encode()
    return encoded[:-1] + bytes([encoded[-1] + 1]) if encoded else None


def get_number(connection: apsw.Connection, key: str) -> int:
    """A counter of the node; 0 before it was first set."""
    for (value,) in connection.execute("SELECT value FROM node WHERE key = ?", (key,)):
        return int(value)
    return 0


def set_number(connection: apsw.Connection, key: str, value: int) -> None:
    connection.execute("INSERT OR REPLACE INTO node VALUES (?, ?)", (key, value))
