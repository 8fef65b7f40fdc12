"""The data directory: one process at a time, one format, and parts that are what their name says or are not served."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.doors import RealDisk
from impl.errors import BadBytes, ConfigError, DigestMismatch, DiskFull, InternalError, NeverWritten
from impl.storage.layout import Layout, Lock
from impl.storage.parts import PartStore
from impl.storage.registers import RegisterStore

PART = b"the bytes of a part" * 1000
DIGEST = hashlib.sha256(PART).hexdigest()
SLOT = 3


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    attempt = "import sys, pathlib\nfrom impl.storage.layout import Lock\nLock(pathlib.Path(sys.argv[1]))"
    refused = subprocess.run(
        [sys.executable, "-c", attempt, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1 and "ConfigError" in refused.stderr
    assert f"process {os.getpid()} uses this data directory" in refused.stderr
    lock.release()
    subprocess.run([sys.executable, "-c", attempt, str(tmp_path)], check=True)


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    attempt = "import os, sys, pathlib\nfrom impl.storage.layout import Lock\nlock = Lock(pathlib.Path(sys.argv[1]))\n"
    attempt += "os.abort()"
    ended = subprocess.run([sys.executable, "-c", attempt, str(tmp_path)], capture_output=True, check=False)
    assert ended.returncode < 0
    Lock(tmp_path).release()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file.*check disks"):
        Lock(tmp_path / "file" / "data")


def test_a_database_of_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    RegisterStore(file, 0)._connection.close()
    connection = apsw.Connection(str(file))
    connection.pragma("user_version", 77)
    connection.close()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"registers.db: has format 77, this version reads formats up to"):
        RegisterStore(file, 0)
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    file.write_bytes(b"somebody's diary" * 1000)
    with pytest.raises(ConfigError, match=r"registers.db: cannot be used as a database"):
        RegisterStore(file, 0)
    assert file.read_bytes() == b"somebody's diary" * 1000


def parts_of(directory: Path) -> PartStore:
    return PartStore(Layout(directory), RealDisk())


def file_of(directory: Path) -> Path:
    return Layout(directory).parts(SLOT) / DIGEST


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_part_comes_back_as_it_was_in_whatever_chunks_it_came(
    tmp_path_factory: pytest.TempPathFactory, chunks: Sequence[bytes]
) -> None:
    async def story() -> None:
        parts = parts_of(tmp_path_factory.getbasetemp() / "parts")
        digest = hashlib.sha256(b"".join(chunks)).hexdigest()
        await parts.put(SLOT, digest, chunks)
        assert await parts.get(SLOT, digest) == b"".join(chunks)
        assert await parts.put(SLOT, digest, chunks), "storing it again finds it there"
        await parts.close()

    asyncio.run(story())


def test_bytes_without_their_digest_are_refused_and_not_stored(tmp_path: Path) -> None:
    async def story() -> None:
        parts = parts_of(tmp_path)
        with pytest.raises(DigestMismatch):
            await parts.put(SLOT, DIGEST, [PART[:-1]])
        with pytest.raises(NeverWritten):
            await parts.get(SLOT, DIGEST)

    asyncio.run(story())
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize("rot", ["a bit flipped", "cut short", "longer"])
def test_a_rotten_part_is_never_served_and_moved_aside_and_can_be_written_anew(tmp_path: Path, rot: str) -> None:
    async def story() -> None:
        parts = parts_of(tmp_path)
        await parts.put(SLOT, DIGEST, [PART])
        rotten = {"a bit flipped": bytes([PART[0] ^ 1]) + PART[1:], "cut short": PART[:-1], "longer": PART + b"x"}[rot]
        file_of(tmp_path).write_bytes(rotten)
        with pytest.raises(BadBytes):
            await parts.get(SLOT, DIGEST)
        assert (tmp_path / "rotten" / DIGEST).read_bytes() == rotten
        with pytest.raises(NeverWritten):
            await parts.get(SLOT, DIGEST)
        assert not await parts.put(SLOT, DIGEST, [PART])
        assert await parts.get(SLOT, DIGEST) == PART
        counted = {family.name: family.samples[0].value for family in parts.collect()}
        assert counted["amberio_parts_rotten"] == 1

    asyncio.run(story())


def test_storing_a_part_over_a_rotten_one_heals_it(tmp_path: Path) -> None:
    async def story() -> None:
        parts = parts_of(tmp_path)
        await parts.put(SLOT, DIGEST, [PART])
        file_of(tmp_path).write_bytes(b"y" * len(PART))
        assert not await parts.put(SLOT, DIGEST, [PART]), "it was not there, only its name was"
        assert await parts.get(SLOT, DIGEST) == PART

    asyncio.run(story())


def test_a_write_that_was_torn_by_a_power_cut_is_no_part(tmp_path: Path) -> None:
    async def story() -> None:
        parts = parts_of(tmp_path)
        file_of(tmp_path).parent.mkdir(parents=True)
        file_of(tmp_path).with_name(f"{DIGEST}.0123abcd.tmp").write_bytes(PART[:100])
        with pytest.raises(NeverWritten):
            await parts.get(SLOT, DIGEST)
        assert not await parts.put(SLOT, DIGEST, [PART])
        assert await parts.get(SLOT, DIGEST) == PART

    asyncio.run(story())


class BrokenDisk(RealDisk):
    """Every write fails half way."""

    def __init__(self, number: int) -> None:
        self._error = OSError(number, os.strerror(number))

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        raise self._error


@pytest.mark.parametrize(("number", "error"), [(28, DiskFull), (122, DiskFull), (5, InternalError)])
def test_a_disk_that_takes_no_part_is_named_for_what_it_is(tmp_path: Path, number: int, error: type[Exception]) -> None:
    async def story() -> None:
        parts = PartStore(Layout(tmp_path), BrokenDisk(number))
        with pytest.raises(error):
            await parts.put(SLOT, DIGEST, [PART])

    asyncio.run(story())


def test_a_part_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        synced = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(f"fsync {synced.relative_to(tmp_path)}" if synced.is_dir() else "fsync file")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    RealDisk().write_durably(tmp_path / "slots/7/part", [PART])
    # a new directory is durable once its parent is
    assert steps == ["fsync .", "fsync slots", "fsync file", "rename", "fsync slots/7"]
