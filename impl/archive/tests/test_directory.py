"""A directory as the archive: whole objects whatever a crash interrupts, nothing left over, and rot is seen."""

import asyncio
import errno
import hashlib
import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.archive.bucket import ALWAYS, Condition
from impl.archive.directory import open_directory
from impl.archive.retries import Limits
from impl.archive.tests.rig import Chance, Clock
from impl.archive.tree import About, Tree
from impl.doors import RealClock, RealDisk, RealRandom
from impl.errors import (
    ArchiveChanged,
    ArchiveCorrupted,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnavailable,
    NotInArchive,
)

MEMORY = Path("/dev/shm")
QUICK = MEMORY if os.access(MEMORY, os.W_OK) else None
LIMITS = Limits(part_bytes=100, attempts_max=1, failures_max=1000)
CRASHED = 9


def opened(root: Path) -> Tree:
    tree = Tree(root, RealDisk(), RealRandom())
    tree.open()
    return tree


def put(tree: Tree, key: str, *bodies: bytes, condition: Condition = ALWAYS) -> str:
    """An object of these parts; its etag."""
    parts = tuple(tree.keep(key, body, hashlib.sha256(body).hexdigest()) for body in bodies)
    etag = hashlib.sha256(b"".join(bodies)).hexdigest()
    try:
        tree.commit(About(key, etag, 1, "text/plain", {}, parts), condition)
    except ArchiveError:
        tree.drop(key, parts)
        raise
    return etag


def body_of(tree: Tree, key: str) -> bytes | None:
    try:
        return tree.read(key, 0, 10_000, None)[1]
    except NotInArchive:
        return None


def leftovers(root: Path) -> list[str]:
    """Files and directories that no object needs."""
    tree = opened(root)
    needed: set[Path] = set()
    for each in tree.page("", None, 1000).objects:
        about = tree.about(each.key)
        directory, stem = tree._at(each.key)
        needed |= {directory / f"{stem}=m", *(directory / f"{stem}=b.{part.token}" for part in about.parts)}
    below = (root / "objects").rglob("*")
    found = {path for path in below if path not in needed and (path.is_file() or not any(path.iterdir()))}
    notes = {path for path in (root / "notes").rglob("*") if path.parent != tree._mine and path != tree._mine}
    tree.close()
    return sorted(str(path.relative_to(root)) for path in found | notes)


# -- crashes

A, B, C = b"first" * 20, b"second" * 20, b"third" * 20
STORY: Sequence[tuple[str, tuple[bytes, ...] | None]] = (
    ("a", (A,)),
    ("a", (B, C)),
    ("deep/er/b", (A, B)),
    ("a", None),
    ("deep/er/b", (C,)),
    ("deep/er/b", None),
)


def live_until(root: Path, calls: int) -> int:
    """Play the story in a child that dies at its n-th call of the system; how many of its steps it had finished."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        left = itertools.count(calls, -1)

        def count(event: str, _: object) -> None:
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and next(left) == 0:
                os._exit(CRASHED)

        try:
            sys.addaudithook(count)
            tree = opened(root)
            for key, bodies in STORY:
                if bodies is None:
                    tree.delete(key, None)
                else:
                    put(tree, key, *bodies)
                os.write(writing, b".")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        steps = len(told.read())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, CRASHED), f"the child failed at call {calls}"
    return steps if status else -1


def states(steps: int) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {"a": None, "deep/er/b": None}
    for key, bodies in STORY[:steps]:
        found[key] = None if bodies is None else b"".join(bodies)
    return found


def test_a_crash_at_any_call_leaves_objects_whole_and_nothing_else() -> None:
    crashes = 0
    for calls in range(1000):
        with tempfile.TemporaryDirectory(dir=QUICK) as directory:
            root = Path(directory)
            steps = live_until(root, calls)
            if steps < 0:
                break
            crashes += 1
            tree = opened(root)
            found = {key: body_of(tree, key) for key in ("a", "deep/er/b")}
            tree.close()
            assert found in (states(steps), states(steps + 1)), f"crashed at call {calls}, after {steps} steps"
            assert leftovers(root) == [], f"crashed at call {calls}, after {steps} steps"
    assert crashes > 80, "the story was not interrupted everywhere"


def test_who_lives_is_not_swept_up_after(tmp_path: Path) -> None:
    one = opened(tmp_path)
    part = one.keep("a", A, hashlib.sha256(A).hexdigest())
    other = opened(tmp_path)
    one.commit(About("a", "etag", 1, "text/plain", {}, (part,)), ALWAYS)
    assert body_of(other, "a") == A
    one.close()
    other.close()
    assert leftovers(tmp_path) == []


# -- several at once


def test_of_many_that_replace_one_object_each_sees_the_one_before(tmp_path: Path) -> None:
    trees = [opened(tmp_path) for _ in range(2)]
    put(trees[0], "n", b"0")
    wins: list[int] = []

    def count(tree: Tree) -> None:
        for _ in range(30):
            about, body = tree.read("n", 0, 100, None)
            try:
                put(tree, "n", b"%d" % (int(body) + 1), condition=Condition(if_match=about.etag))
            except ArchiveChanged:
                continue
            wins.append(int(body) + 1)

    threads = [threading.Thread(target=count, args=(tree,)) for tree in trees * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(1, len(wins) + 1)) and len(wins) >= 30
    assert body_of(trees[0], "n") == b"%d" % len(wins)
    for tree in trees:
        tree.close()
    assert leftovers(tmp_path) == []


def test_readers_see_one_object_or_the_other_while_it_is_replaced_and_deleted(tmp_path: Path) -> None:
    tree = opened(tmp_path)
    bodies = [(letter * 100, letter * 50) for letter in (b"x", b"y")]
    is_over = threading.Event()
    faults: list[object] = []

    def read() -> None:
        while not is_over.is_set():
            try:
                body = body_of(tree, "a/b")
            except ArchiveUnavailable:
                continue
            except ArchiveError as error:
                faults.append(error)
                return
            if body not in (None, b"x" * 150, b"y" * 150):
                faults.append(body)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        put(tree, "a/b", *bodies[turn % 2])
        if turn % 3 == 0:
            tree.delete("a/b", None)
    is_over.set()
    for reader in readers:
        reader.join()
    tree.close()
    assert faults == []


# -- rot, and disks that fail


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7), st.integers(0, 140))
def test_a_flipped_bit_anywhere_is_seen_by_whole_reads_and_by_ranges(at: int, bit: int, start: int) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK) as directory:
        tree = opened(Path(directory))
        put(tree, "a", b"x" * 100, b"y" * 50)
        files = sorted(path for path in (Path(directory) / "objects").iterdir())
        content = b"".join(file.read_bytes() for file in files)
        at %= len(content)
        for file in files:
            size_bytes = file.stat().st_size
            if at < size_bytes:
                rotten = bytearray(file.read_bytes())
                rotten[at] ^= 1 << bit
                file.write_bytes(rotten)
                break
            at -= size_bytes
        with pytest.raises(ArchiveCorrupted):
            tree.read("a", 0, 150, None)
        try:
            assert tree.read("a", start, 150, None)[1] == (b"x" * 100 + b"y" * 50)[start:]
        except ArchiveCorrupted:
            pass
        put(tree, "a", b"anew")
        assert body_of(tree, "a") == b"anew"
        tree.close()


def test_a_part_that_is_gone_is_corruption_and_not_a_missing_object(tmp_path: Path) -> None:
    tree = opened(tmp_path)
    put(tree, "a", A)
    next((tmp_path / "objects").glob("*=b.*")).unlink()
    with pytest.raises(ArchiveCorrupted):
        body_of(tree, "a")
    tree.delete("a", None)
    tree.close()
    assert leftovers(tmp_path) == []


class FailingDisk(RealDisk):
    """Fails to write with this error, once it is told."""

    def __init__(self) -> None:
        self.errno: int | None = None

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        if self.errno is not None:
            raise OSError(self.errno, os.strerror(self.errno))
        super().write_durably(file, chunks, is_fsynced=is_fsynced)


@pytest.mark.parametrize(
    ("number", "kind"),
    ((errno.ENOSPC, ArchiveRefused), (errno.EROFS, ArchiveRefused), (errno.EIO, ArchiveUnavailable)),
)
def test_a_disk_that_fails_is_the_operators_or_passes(number: int, kind: type[ArchiveError], tmp_path: Path) -> None:
    async def story() -> None:
        disk = FailingDisk()
        archive = await open_directory(tmp_path, RealClock(), RealRandom(), LIMITS, disk)
        await archive.put("a", A)
        disk.errno = number
        for body in (b"small", B):
            with pytest.raises(kind):
                await archive.put("a", body)
        disk.errno = None
        fetched = await archive.get("a")
        assert b"".join([piece async for piece in fetched.chunks]) == A
        await archive.close()

    asyncio.run(story())
    assert leftovers(tmp_path) == []


def test_a_put_that_is_refused_leaves_no_part_behind(tmp_path: Path) -> None:
    async def story() -> None:
        archive = await open_directory(tmp_path, RealClock(), RealRandom(), LIMITS)
        await archive.put("a", A)
        for body in (b"small", B):
            with pytest.raises(ArchiveChanged):
                await archive.put("a", body, if_absent=True)
        # at once, and not only when the next one sweeps
        assert len(list((tmp_path / "objects").iterdir())) == 2
        assert [path.name for path in next((tmp_path / "notes").iterdir()).iterdir()] == ["lock"]
        await archive.close()

    asyncio.run(story())


# -- what is no archive


def test_what_is_no_archive_is_refused_and_left_alone(tmp_path: Path) -> None:
    strange, other, missing = tmp_path / "strange", tmp_path / "other", tmp_path / "missing"
    strange.mkdir()
    (strange / "thesis.tex").write_text("my life's work")
    other.mkdir()
    (other / "format").write_text("amberio archive 99\n")
    for root, says in ((strange, "thesis.tex"), (other, "another format"), (missing, "no directory")):
        with pytest.raises(ArchiveRefused, match=says):
            asyncio.run(open_directory(root, Clock(), Chance()))
    assert [path.name for path in strange.iterdir()] == ["thesis.tex"] and not missing.exists()
