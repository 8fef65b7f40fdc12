"""A database as the version left it that knew format 1: the bytes that lie on somebody's disk."""

from pathlib import Path
from typing import Final

import apsw

from impl.model import Applied, Ballot, Head, PartRef, Register, Version

FORMAT_1: Final = """
CREATE TABLE node (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE registers (
    path TEXT PRIMARY KEY, slot INTEGER NOT NULL,
    promised_round INTEGER NOT NULL, promised_node TEXT NOT NULL,
    accepted_round INTEGER NOT NULL, accepted_node TEXT NOT NULL,
    head BLOB, body BLOB
) WITHOUT ROWID;
CREATE TABLE events (number INTEGER PRIMARY KEY, events BLOB NOT NULL); -- number: that of the group's last event
"""
"""As the version wrote it that knew this format; not to be changed with ours."""
OLD_ROWS: Final = (
    (
        "photos/cat.jpg",
        959,
        1007,
        "n2",
        1006,
        "n1",
        "9d03c2a26533ce00011170aa696d6167652f6a706567cf0000018bcfe56803c09192d9406162616261626162616261626162"
        "6162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162"
        "ce008000009297a2773101a2653101c200c297a2773303a26533ce00011170c203c29192a161a16203c2919900c2a2653101"
        "aa746578742f706c61696ecf0000018bcfe56800c40178909192a16ba176",
        None,
    ),
    (
        "small",
        888,
        1007,
        "n2",
        1006,
        "n1",
        "9d01c2a16505aa746578742f706c61696ecf0000018bcfe56801c0909197a17701a16505c200c29000c290",
        b"hello",
    ),
    (
        "gone",
        1080,
        1007,
        "n2",
        1006,
        "n1",
        "9d02c3c000a0cf0000018bcfe56802c0909197a2773202c000c300c29000c290",
        None,
    ),
)
"""Rows that that version wrote."""
PART: Final = PartRef("ab" * 32, 8388608)
OLD_REGISTERS: Final = {
    "photos/cat.jpg": Head(
        3,
        False,
        "e3",
        70_000,
        "image/jpeg",
        1_700_000_000_003,
        None,
        (PART,),
        (Applied("w1", 1, "e1", 1, False), Applied("w3", 3, "e3", 70_000, False, 3)),
        (("a", "b"),),
        3,
        False,
        (Version(0, False, "e1", 1, "text/plain", 1_700_000_000_000, b"x", (), (("k", "v"),)),),
    ),
    "small": Head(1, False, "e", 5, "text/plain", 1_700_000_000_001, b"hello", (), (Applied("w", 1, "e", 5, False),)),
    "gone": Head(2, True, None, 0, "", 1_700_000_000_002, None, (), (Applied("w2", 2, None, 0, True),)),
}
Row = tuple[str, int, int, str, int, str, bytes | None, bytes | None]


def make_old(file: Path, rows: list[Row], *, is_log_left: bool = False, vfs: str | None = None) -> None:
    """A database as a node of format 1 leaves it; `is_log_left` after a kill, when its newest rows are in the log."""
    connection = apsw.Connection(str(file), vfs=vfs)
    if vfs is not None:
        connection.pragma("locking_mode", "exclusive")
    connection.pragma("journal_mode", "wal")
    connection.pragma("wal_autocheckpoint", 0)
    with connection:
        connection.execute(FORMAT_1)
        connection.pragma("user_version", 1)
    with connection:
        connection.execute("INSERT INTO node VALUES ('incarnation', 7), ('rounds', 3000)")
        connection.execute("INSERT INTO events VALUES (2, ?)", (b'{"event":"Accept"}\n{"event":"Prepare"}',))
        connection.executemany("INSERT INTO registers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    if is_log_left:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()


def old_rows() -> list[Row]:
    return [(*row[:6], bytes.fromhex(row[6]), row[7]) for row in OLD_ROWS]


def old_registers() -> dict[str, Register]:
    return {path: Register(Ballot(1007, "n2"), Ballot(1006, "n1"), head) for path, head in OLD_REGISTERS.items()}
