"""A disk that is full or broken: nothing acknowledged is lost, nothing refused is there, nothing is guessed."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import apsw
import pytest

from impl.errors import AmberioError, ConfigError, DiskFailed, DiskFull, InternalError
from impl.model import VIRGIN, Register
from impl.storage import database
from impl.storage.registers import RegisterStore
from impl.storage.steps import Committed
from impl.storage.tests.rig import CACHE_BYTES, Remembering, accepting, disk_stalled, limit_pages, opened

BODY = bytes(20_000)


async def fill(store: RegisterStore, at_once: int, most: int) -> tuple[dict[str, Register], list[str]]:
    """Write new paths, some at a time, until the disk is full: what was acknowledged, and what was refused."""
    kept: dict[str, Register] = {}
    refused: list[str] = []
    for first in range(0, most, at_once):
        paths = [f"p{number}" for number in range(first, first + at_once)]
        answers = await asyncio.gather(
            *(store.apply(path, 1, accepting(path, 1, BODY)) for path in paths), return_exceptions=True
        )
        for path, answer in zip(paths, answers, strict=True):
            if isinstance(answer, Committed):
                kept[path] = answer.register
            else:
                assert isinstance(answer, DiskFull), answer
                refused.append(path)
        if refused:
            return kept, refused
    raise AssertionError("the disk never filled up")


def test_a_full_disk_fails_the_group_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    async def story() -> None:
        tracer = Remembering()
        async with opened(tmp_path, tracer) as store:
            limit_pages(store, 200)
            kept, refused = await fill(store, at_once=8, most=400)
            assert kept and refused
            for path in refused:
                assert await store.read(path) == VIRGIN
            limit_pages(store, 1 << 20)
            again = await store.apply(refused[0], 1, accepting(refused[0], 2))
            assert again.found == VIRGIN and again.taken
            kept[refused[0]] = again.register
        assert {str(event["path"]) for _, event in tracer.durable} == set(kept)
        async with opened(tmp_path) as store:
            assert {path: await store.read(path) for path in kept} == kept
            assert [path for path, _ in (await store.scan("", None, 1000)).registers] == sorted(kept)

    asyncio.run(story())


def test_what_was_decided_on_a_lost_state_is_lost_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            first = await store.apply("a", 1, accepting("a", 1))
            limit_pages(store, 2)
            with disk_stalled(tmp_path):
                doomed = [asyncio.ensure_future(store.apply("a", 1, accepting("a", 2, bytes(60_000))))]
                await asyncio.sleep(0.1)
                # small, and decided on the state that will not be: in a later group, where alone it would fit
                doomed.append(asyncio.ensure_future(store.apply("a", 1, accepting("a", 3))))
                doomed.append(asyncio.ensure_future(store.apply("a", 1, accepting("a", 2))))
            answers = await asyncio.gather(*doomed, return_exceptions=True)
            assert [type(answer) for answer in answers] == [DiskFull] * 3
            assert await store.read("a") == first.register
            after = await store.apply("a", 1, accepting("a", 2))
            assert after.taken and after.found == first.register
        async with opened(tmp_path) as store:
            assert await store.read("a") == after.register

    asyncio.run(story())


def test_steps_asked_for_while_a_failure_is_under_way_are_decided_on_the_durable_state(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            await store.apply("a", 1, accepting("a", 1))
            limit_pages(store, 2)
            answers: list[Committed | AmberioError] = []

            def ask_again(failed: Committed | AmberioError) -> None:
                answers.append(failed)
                store.apply_then("a", 1, accepting("a", 2), answers.append)

            with disk_stalled(tmp_path):
                store.apply_then("a", 1, accepting("a", 5, bytes(60_000)), ask_again)
                await asyncio.sleep(0.1)
                store.apply_then("a", 1, accepting("a", 6), answers.append)
            while len(answers) < 3:  # noqa: ASYNC110 - nothing here tells when the last callback has come
                await asyncio.sleep(0.01)
            assert [type(answer) for answer in answers] == [DiskFull, DiskFull, Committed]
            assert isinstance(answers[2], Committed) and answers[2].found.generation == 1

    asyncio.run(story())


def test_rounds_are_not_dealt_out_on_a_full_disk(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            first = await store.reserve_rounds(10)
            await fill_to_the_brim(store)
            with pytest.raises(DiskFull):
                await store.apply("new", 1, accepting("new", 1, BODY))
        async with opened(tmp_path) as store:
            assert await store.reserve_rounds(10) >= first + 10

    async def fill_to_the_brim(store: RegisterStore) -> None:
        limit_pages(store, 20)
        await fill(store, at_once=1, most=100)

    asyncio.run(story())


class FailingFile(apsw.VFSFile):
    """A file whose fsync fails while `FailingFile.broken` is set, and that knows what a power cut would take.

    While `database_full` is set, there is room in the log only.
    """

    broken = False
    database_full = False
    unsynced: ClassVar[set[str]] = set()

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._name = name if isinstance(name, str) else name.filename() if name is not None else ""

    def xWrite(self, data: bytes, offset: int) -> None:
        if FailingFile.database_full and not self._name.endswith("-wal"):
            raise apsw.FullError("no room in the database, as the test wants it")
        FailingFile.unsynced.add(self._name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if FailingFile.broken:
            raise apsw.IOError("fsync failed, as the test wants it")
        super().xSync(flags)
        FailingFile.unsynced.discard(self._name)


class FailingDisk(apsw.VFS):
    """The system's files, but for their fsync."""

    def __init__(self) -> None:
        super().__init__("failing", "unix")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return FailingFile(name, flags)


@pytest.fixture
def failing_disk() -> Iterator[type[FailingFile]]:
    usual = apsw.vfs_names()[0]
    disk = FailingDisk()
    apsw.set_default_vfs("failing")
    yield FailingFile
    FailingFile.broken = FailingFile.database_full = False
    apsw.set_default_vfs(usual)
    disk.unregister()


def test_after_a_failed_fsync_the_node_stops_rather_than_answer_from_memory(
    tmp_path: Path, failing_disk: type[FailingFile]
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            first = await store.apply("a", 1, accepting("a", 1))
            failing_disk.broken = True
            with pytest.raises(InternalError):
                await store.apply("a", 1, accepting("a", 2))
            failing_disk.broken = False
            assert store.failed.is_set()
            for path in ("a", "b"):
                with pytest.raises(DiskFailed):
                    await store.apply(path, 1, accepting(path, 3))
                with pytest.raises(DiskFailed):
                    await store.read(path)
                assert store.cached(path) is None
            with pytest.raises(DiskFailed):
                await store.scan("", None, 10)
        async with opened(tmp_path) as store:
            assert (await store.read("a")).generation in (1, 2)
            assert (await store.read("b")) == VIRGIN and first.taken

    asyncio.run(story())


def test_a_step_is_durable_though_the_log_cannot_be_copied_back(
    tmp_path: Path, failing_disk: type[FailingFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up between the two: nobody may be told that the step was lost."""
    monkeypatch.setattr(database, "WAL_PAGES_MAX", 1)

    async def story() -> None:
        tracer = Remembering()
        async with opened(tmp_path, tracer) as store:
            failing_disk.database_full = True
            steps = [await store.apply("a", 1, accepting("a", generation)) for generation in (1, 2, 3)]
            assert all(step.taken for step in steps) and len(tracer.durable) == 3
            failing_disk.database_full = False
            await store.apply("a", 1, accepting("a", 4))
            assert not store.failed.is_set()
        async with opened(tmp_path) as store:
            assert (await store.read("a")).generation == 4

    asyncio.run(story())


def test_a_power_cut_right_after_the_acknowledgement_would_take_nothing(
    tmp_path: Path, failing_disk: type[FailingFile]
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            failing_disk.unsynced.clear()
            left: list[set[str]] = []
            for generation in range(1, 4):
                with disk_stalled(tmp_path):
                    step = asyncio.ensure_future(store.apply("a", 1, accepting("a", generation)))
                    step.add_done_callback(lambda _: left.append(set(failing_disk.unsynced)))
                    await asyncio.sleep(0.01)
                assert (await step).taken
            assert left == [set()] * 3
            await store.reserve_rounds(5)
            assert not failing_disk.unsynced

    asyncio.run(story())


def test_a_damaged_table_of_events_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "registers.db"
    database.open_database(file).execute(
        "PRAGMA writable_schema=1; UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'events'"
    ).close()
    with pytest.raises(ConfigError, match=r"registers\.db: is damaged"):
        RegisterStore(file, CACHE_BYTES).durable_events()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; skipped where this process may not mount one."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = _mount(directory, "size=1m")
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def _mount(directory: Path, options: str) -> subprocess.CompletedProcess[str]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_system_without_room_is_a_full_disk_too(small_disk: Path) -> None:
    async def story() -> None:
        async with opened(small_disk) as store:
            kept, refused = await fill(store, at_once=4, most=200)
            _mount(small_disk, "remount,size=16m")
            again = await store.apply(refused[0], 1, accepting(refused[0], 1))
            assert again.taken and not store.failed.is_set()
        async with opened(small_disk) as store:
            assert {path: await store.read(path) for path in kept} == kept

    asyncio.run(story())
