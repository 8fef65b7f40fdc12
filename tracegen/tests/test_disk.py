"""A disk that loses its power: what was synced stays, what was not is gone; without FUSE, and through it."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tracegen.disk.platter import Platter
from tracegen.disk.power import PoweredDisk
from tracegen.errors import HarnessError


class Disk:
    """What a test does to a disk, with and without FUSE."""

    def __init__(self, root: Path, cut: Callable[[], int]) -> None:
        self.root = root
        self.cut = cut

    def write(self, name: str, content: bytes, *, sync: bool, offset: int = 0) -> None:
        handle = os.open(self.root / name, os.O_RDWR | os.O_CREAT)
        os.pwrite(handle, content, offset)
        if sync:
            os.fsync(handle)
        os.close(handle)

    def sync_directory(self, name: str = ".") -> None:
        handle = os.open(self.root / name, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    powered = PoweredDisk(tmp_path / "platter", tmp_path / "mount", tmp_path / "log", write_back_s=3600)
    with asyncio.Runner() as runner:
        try:
            runner.run(powered.mount())
        except HarnessError as error:
            pytest.skip(str(error))
        yield Disk(tmp_path / "mount", lambda: runner.run(powered.cut()))
        runner.run(powered.unmount())
    assert not os.path.ismount(tmp_path / "mount")


def test_what_was_synced_stays_and_what_was_written_after_it_is_gone(disk: Disk) -> None:
    disk.write("file", b"0123456789", sync=True)
    disk.write("file", b"AB", sync=False, offset=3)
    disk.write("file", b"more", sync=False, offset=10)
    assert disk.read("file") == b"012AB56789more"
    assert disk.cut() == 2
    assert disk.read("file") == b"0123456789"


def test_bytes_that_were_overwritten_twice_come_back_as_they_were_synced(disk: Disk) -> None:
    disk.write("file", b"one", sync=True)
    disk.write("file", b"two", sync=False)
    disk.write("file", b"six", sync=False)
    disk.cut()
    assert disk.read("file") == b"one"


def test_a_file_that_was_cut_short_without_a_sync_is_whole_again(disk: Disk) -> None:
    disk.write("file", b"0123456789", sync=True)
    os.truncate(disk.root / "file", 4)
    disk.cut()
    assert disk.read("file") == b"0123456789"


def test_a_new_file_is_there_once_it_or_its_directory_is_synced(disk: Disk) -> None:
    disk.write("lost", b"x", sync=False)
    disk.write("synced", b"x", sync=True)
    disk.write("named", b"x", sync=False)
    disk.sync_directory()
    disk.write("lost-too", b"x", sync=False)
    disk.cut()
    assert sorted(file.name for file in disk.root.iterdir()) == ["lost", "named", "synced"]
    assert (disk.read("named"), disk.read("synced")) == (b"", b"x")


def test_a_rename_lasts_when_its_directory_is_synced(disk: Disk) -> None:
    disk.write("old", b"old", sync=True)
    disk.write("new", b"new", sync=True)
    disk.sync_directory()
    (disk.root / "new").rename(disk.root / "old")
    assert disk.read("old") == b"new"
    disk.cut()
    assert (disk.read("old"), disk.read("new")) == (b"old", b"new")
    (disk.root / "new").rename(disk.root / "old")
    disk.sync_directory()
    disk.cut()
    assert disk.read("old") == b"new" and not (disk.root / "new").exists()


def test_a_second_name_of_a_file_lasts_when_its_directory_is_synced(disk: Disk) -> None:
    disk.write("file", b"x", sync=True)
    os.link(disk.root / "file", disk.root / "kept")
    disk.sync_directory()
    os.link(disk.root / "file", disk.root / "lost")
    disk.cut()
    assert sorted(file.name for file in disk.root.iterdir()) == ["file", "kept"]


def test_what_was_removed_without_a_sync_comes_back(disk: Disk) -> None:
    (disk.root / "below").mkdir()
    disk.write("below/file", b"x", sync=True)
    disk.sync_directory("below")
    disk.sync_directory()
    (disk.root / "below/file").unlink()
    disk.cut()
    assert disk.read("below/file") == b"x"


WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("pragma journal_mode = wal")
connection.execute("create table kept (number integer)")
connection.execute("pragma wal_checkpoint(truncate)")
connection.execute(f"pragma synchronous = {sys.argv[2]}")
for number in range(20):
    connection.execute("insert into kept values (?)", (number,))
os._exit(0)
"""


@pytest.mark.parametrize(("synchronous", "left"), [("full", 20), ("off", 0)])
def test_sqlite_loses_no_commit_unless_it_does_not_sync(disk: Disk, synchronous: str, left: int) -> None:
    file = disk.root / "registers.db"
    subprocess.run([sys.executable, "-c", WRITER, str(file), synchronous], check=True)
    disk.cut()
    again = sqlite3.connect(file)
    assert again.execute("select count(*) from kept").fetchone() == (left,)
    again.close()


def test_nothing_is_remembered_of_what_is_durable(tmp_path: Path) -> None:
    platter = Platter(tmp_path / "disk", tmp_path / "aside")
    (tmp_path / "disk").mkdir()
    for number in range(100):
        path = tmp_path / "disk" / f"{number}.tmp"
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        platter.made(path)
        platter.write(handle, b"x" * 1000, 0)
        platter.sync(handle, path)
        os.close(handle)
        platter.rename(path, path.with_suffix(""))
        platter.sync_directory(path.parent)
    assert (platter._before, platter._changes, list((tmp_path / "aside").iterdir())) == ({}, [], [])
    assert platter.cut() == 0


def test_what_lay_about_for_a_while_is_written_back(tmp_path: Path) -> None:
    platter = Platter(tmp_path / "disk", tmp_path / "aside")
    (tmp_path / "disk").mkdir()
    file = tmp_path / "disk" / "file"
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    platter.made(file)
    platter.write(handle, b"old", 0)
    platter.write_back()
    platter.write(handle, b"new", 0)
    os.close(handle)
    platter.hold()
    platter.write_back()  # is put off, as the power is about to be cut
    assert platter.cut() == 1
    assert file.read_bytes() == b"old"
