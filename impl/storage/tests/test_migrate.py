"""An older database becomes one of our format with all that was in it, whatever interrupts it, or is left as it was."""

import itertools
import shutil
from collections import namedtuple
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.errors import ConfigError, DiskFull
from impl.model import NO_BALLOT, Applied, Ballot, Head, PartRef, Register, slot_of
from impl.storage import database, lives, migrate
from impl.storage.tests.old import make_old, old_registers, old_rows
from impl.storage.tests.power import PoweredDisk, Trouble


def format_of(file: Path) -> int:
    connection = apsw.Connection(str(file))
    found = int(connection.pragma("user_version"))
    connection.close()
    return found


def schema_of(connection: apsw.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def assert_all_there(connection: apsw.Connection, registers: dict[str, Register]) -> None:
    """All that the old database had is in this one."""
    for path, register in registers.items():
        assert database.read(connection, path) == register
    assert [path for path, _ in database.scan(connection, "", None, 1000).registers] == sorted(registers)
    assert database.get_number(connection, "incarnation") == 7
    assert database.get_number(connection, "rounds") == 3000
    assert (lives.own_life(connection), lives.known_lives(connection)) == (1, {}), "it was started, so it has lived"
    assert list(database.read_events(connection)) == [(1, b'{"event":"Accept"}'), (2, b'{"event":"Prepare"}')]


@pytest.mark.parametrize("is_log_left", [False, True])
def test_a_database_of_format_1_is_migrated_with_all_its_registers_and_a_whole_backup(
    tmp_path: Path, is_log_left: bool
) -> None:
    """Row B7."""
    file = tmp_path / "registers.db"
    make_old(file, old_rows(), is_log_left=is_log_left)
    connection = database.open_database(file)
    assert_all_there(connection, old_registers())
    assert connection.pragma("user_version") == migrate.FORMAT
    connection.close()

    # the backup is one file, and nothing that its version would not take
    backup = migrate.backup_of(file, 1)
    assert backup.read_bytes()[18:20] == b"\1\1", "its header says that there is no log"
    (tmp_path / "elsewhere").mkdir()
    alone = apsw.Connection(str(shutil.copy(backup, tmp_path / "elsewhere")), flags=apsw.SQLITE_OPEN_READONLY)
    assert alone.pragma("integrity_check") == "ok" and alone.pragma("user_version") == 1
    assert is_as_it_was(alone)
    assert sorted(str(name) for _, name, *_ in schema_of(alone)) == ["events", "node", "registers"]
    alone.close()


def is_as_it_was(backup: apsw.Connection) -> bool:
    """Does a backup have the very rows of the old database?"""
    return list(backup.execute("SELECT * FROM registers ORDER BY path")) == sorted(old_rows())


def test_a_new_database_has_exactly_the_schema_of_a_migrated_one(tmp_path: Path) -> None:
    make_old(tmp_path / "old.db", old_rows())
    old, new = (database.open_database(tmp_path / name) for name in ("old.db", "new.db"))
    assert schema_of(old) == schema_of(new)
    assert old.pragma("user_version") == new.pragma("user_version") == migrate.FORMAT
    assert not migrate.backup_of(tmp_path / "new.db", 0).exists()


def test_an_older_database_whose_node_never_started_has_no_life_yet(tmp_path: Path) -> None:
    make_old(tmp_path / "registers.db", [])
    old = apsw.Connection(str(tmp_path / "registers.db"))
    old.execute("DELETE FROM node")
    old.close()
    connection = database.open_database(tmp_path / "registers.db")
    assert lives.own_life(connection) == 0


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ballots = st.builds(Ballot, st.integers(0, 2**40), st.sampled_from(("n1", "n2")))
heads = st.builds(
    Head,
    generation=st.integers(1, 2**40),
    deleted=st.booleans(),
    etag=st.none() | texts,
    size_bytes=st.integers(0, 2**50),
    content_type=texts,
    updated_at_ms=st.integers(0, 2**45),
    body=st.none() | st.binary(max_size=9000),
    parts=st.lists(st.builds(PartRef, texts, st.integers(0, 2**40)), max_size=3).map(tuple),
    recent=st.lists(
        st.builds(Applied, texts, st.integers(1, 9), texts, st.integers(0, 9), st.booleans()), max_size=2
    ).map(tuple),
    attributes=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
)
registers = st.builds(Register, ballots, st.just(NO_BALLOT) | ballots, st.none() | heads)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(texts.filter(bool), registers, max_size=8), st.booleans())
def test_whatever_an_old_database_held_is_what_the_new_one_holds(
    tmp_path_factory: pytest.TempPathFactory, held: dict[str, Register], is_log_left: bool
) -> None:
    directory = tmp_path_factory.mktemp("old")
    rows = [database.row_of(path, slot_of(path), register)[:8] for path, register in held.items()]
    make_old(directory / "registers.db", rows, is_log_left=is_log_left)
    connection = database.open_database(directory / "registers.db")
    for path, register in held.items():
        assert database.read(connection, path) == register
    assert [path for path, _ in database.scan(connection, "", None, 1000).registers] == sorted(held)
    connection.close()
    shutil.rmtree(directory)


@pytest.mark.parametrize("trouble", ["kill", "power cut"])
def test_a_crash_at_any_write_leaves_the_old_format_or_the_new_one_and_a_start_finishes(
    tmp_path: Path, trouble: Trouble
) -> None:
    seen = set()
    for after_writes in itertools.count():
        directory = tmp_path / str(after_writes)
        directory.mkdir()
        file = directory / "registers.db"
        disk = PoweredDisk(directory)
        try:
            make_old(file, old_rows(), is_log_left=after_writes % 2 == 0)
            disk.strike(trouble, after_writes, seed=after_writes)
            database.open_database(file).close()
            is_over = not disk.is_dead
            disk.start_again()

            left = format_of(file)
            seen.add(left)
            if left == migrate.FORMAT:
                backup = apsw.Connection(str(migrate.backup_of(file, 1)))
                assert backup.pragma("integrity_check") == "ok" and backup.pragma("user_version") == 1
                assert is_as_it_was(backup)
                backup.close()
            connection = database.open_database(file)
            assert connection.pragma("user_version") == migrate.FORMAT
            assert_all_there(connection, old_registers())
            connection.close()
        finally:
            disk.close()
        if is_over:
            break
    assert seen == {1, migrate.FORMAT} and after_writes > 20


def test_a_backup_that_was_left_by_an_earlier_attempt_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    make_old(migrate.backup_of(file, 1), [])
    make_old(file, old_rows())
    database.open_database(file).close()
    backup = apsw.Connection(str(migrate.backup_of(file, 1)))
    assert is_as_it_was(backup)
    backup.close()


def test_what_is_no_backup_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    make_old(file, old_rows())
    migrate.backup_of(file, 1).write_bytes(b"somebody's diary" * 1000)
    with pytest.raises(ConfigError, match=r"format-1.backup: is in the way of the backup"):
        database.open_database(file)
    assert migrate.backup_of(file, 1).read_bytes() == b"somebody's diary" * 1000
    assert format_of(file) == 1


def test_without_room_for_a_backup_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "registers.db"
    make_old(file, old_rows())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 4096, 4096))
    with pytest.raises(DiskFull, match=r"no room for a backup.*4096 are free.*make room"):
        database.open_database(file)
    assert format_of(file) == 1 and not migrate.backup_of(file, 1).exists()


def test_an_older_format_is_refused_and_left_alone_if_nobody_wants_it_migrated(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    make_old(file, old_rows())
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"registers.db: has format 1, this version needs \d.*without --no-migrate"):
        database.open_database(file, may_migrate=False)
    assert file.read_bytes() == before and not migrate.backup_of(file, 1).exists()
    # to a database of today, and to one that is new, it makes no difference
    database.open_database(tmp_path / "new.db", may_migrate=False).close()
    database.open_database(tmp_path / "new.db", may_migrate=False).close()


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    other = apsw.Connection(str(file))
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"registers.db: is a database of something else: it has 'bookmarks'"):
        database.open_database(file)
    assert file.read_bytes() == before
