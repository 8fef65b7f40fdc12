"""Registers and parts on a real SQLite and real files, over restarts, kills, power cuts, full and failing disks.

What the store must answer is the model's to say (kept.py); here is what may happen to it.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

import apsw
import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from impl.errors import (
    AmberioError,
    BadBytes,
    ConfigError,
    DigestMismatch,
    DiskFailed,
    DiskFull,
    InternalError,
    NeverWritten,
)
from impl.model import Register
from impl.protocol.rules import HONEST, MUTANTS, Rules, broken
from impl.protocol.tests.refuting import assert_refuted, walk
from impl.storage.layout import Layout
from impl.storage.parts import PartStore
from impl.storage.registers import RegisterStore
from impl.storage.tests.bursts import PATHS, SLOTS, STEPS, Burst, Step, Telling
from impl.storage.tests.kept import KeptParts, KeptRegisters
from impl.storage.tests.power import PoweredDisk, Trouble
from impl.storage.tests.rig import CACHE_BYTES, disk_stalled, limit_pages
from impl.storage.uses import Part

MEMORY: Final = Path("/dev/shm")
QUICK: Final = MEMORY if os.access(MEMORY, os.W_OK) else None
"""Where the directories are made: what a power cut leaves is decided by the rig, so no fsync need wait."""
PARTS: Final = {
    (slot, hashlib.sha256(part).hexdigest()): part
    for slot, part in ((0, b""), (0, b"small"), (1, b"small"), (1, b"large" * 3000))
}
troubles = st.sampled_from(("power cut", "kill", "fsync fails"))
seeds = st.integers(0, 1 << 16)
keys = st.sampled_from(list(PARTS))


class StorageMachine(RuleBasedStateMachine):
    """One data directory, and the process that has it open."""

    def __init__(self, obeys: Rules = HONEST) -> None:
        super().__init__()
        self.obeys = obeys
        self.directory = Path(tempfile.mkdtemp(dir=QUICK))
        self.disk = PoweredDisk(self.directory)
        self.runner = asyncio.Runner()
        self.kept = KeptRegisters()
        self.kept_parts = KeptParts()
        self.parts: PartStore
        self.rounds = 0
        self.incarnation = 0
        self.is_open = False

    @initialize(
        cache_bytes=st.sampled_from((0, CACHE_BYTES)),
        log_pages_max=st.sampled_from((3, 20, None)),
        asked=st.lists(STEPS, min_size=1, max_size=8),
        trouble=troubles,
        after_writes=st.integers(0, 30),
        seed=seeds,
    )
    def begin(
        self,
        cache_bytes: int,
        log_pages_max: int | None,
        asked: list[Step],
        trouble: Trouble,
        after_writes: int,
        seed: int,
    ) -> None:
        """Each walk has had trouble once; most of them only later again."""
        self.cache_bytes, self.log_pages_max = cache_bytes, log_pages_max
        self.runner.run(self.open())
        self.run_into_trouble(trouble, asked, after_writes, seed, None, stalls=False)

    def teardown(self) -> None:
        with suppress(apsw.IOError):
            if self.is_open:
                self.runner.run(self.close())
        self.runner.close()
        self.disk.close()
        shutil.rmtree(self.directory)

    # -- registers

    @rule(asked=st.lists(STEPS, min_size=1, max_size=8), stalls=st.booleans(), is_traced=st.booleans())
    def take_steps(self, asked: list[Step], stalls: bool, is_traced: bool) -> None:
        assert not self.settle(self.play(asked, stalls))
        self.check()
        if is_traced:  # what was published has its line, and the next commit may forget it
            self.traced = max((number for number, _ in self.tracer.durable), default=0)
            self.store.prune_events(self.traced)

    @rule(
        prefix=st.sampled_from(("", "a", "a/", "b", "\U0001f600", "z")),
        after=st.sampled_from((None, "", "a", "a/b", "zz")),
        limit=st.integers(1, 7),
    )
    def scan(self, prefix: str, after: str | None, limit: int) -> None:
        found = self.runner.run(self.store.scan(prefix, after, limit))
        assert found == self.kept.scan(prefix, after, limit)

    @rule(slot=st.integers(0, SLOTS - 1))
    def heads_of_a_slot(self, slot: int) -> None:
        assert dict(self.runner.run(self.store.heads(slot, [""]))) == self.kept.heads(slot)

    @rule(count=st.integers(1, 50))
    def reserve_rounds(self, count: int) -> None:
        first = self.runner.run(self.store.reserve_rounds(count))
        assert first > self.rounds, "a round is given out once"
        self.rounds = first + count - 1

    # -- parts

    @rule(key=keys, at_once=st.integers(1, 3))
    def put_a_part(self, key: Part, at_once: int) -> None:
        async def put() -> list[bool]:
            chunks = [PARTS[key][:7], PARTS[key][7:]]
            return await asyncio.gather(*(self.parts.put(*key, chunks) for _ in range(at_once)))

        async def put_other_bytes() -> bool:
            try:
                return await self.parts.put(*key, [PARTS[key], b"!"])
            except DigestMismatch:
                return False

        assert not self.runner.run(put_other_bytes())
        self.kept_parts.used(key)
        reused = self.runner.run(put())
        assert all(reused) if self.kept_parts.is_whole.get(key) else not all(reused)
        self.kept_parts.is_whole[key] = True

    @rule(key=keys)
    def get_a_part(self, key: Part) -> None:
        whole = self.kept_parts.is_whole.get(key)
        assert self.part(key) == (PARTS[key] if whole else NeverWritten if whole is None else BadBytes)
        if not whole:
            assert self.part(key) == NeverWritten, "what has rotted is moved aside"
            self.kept_parts.is_whole.pop(key, None)

    @precondition(lambda self: any(PARTS[key] for key in self.kept_parts.whole))
    @rule(data=st.data(), is_read=st.booleans())
    def rot(self, data: st.DataObject, is_read: bool) -> None:
        key = data.draw(st.sampled_from([key for key in self.kept_parts.whole if PARTS[key]]))
        self.disk.rot(Layout(self.directory).parts(key[0]) / key[1])
        self.kept_parts.is_whole[key] = False
        if is_read:
            self.get_a_part(key)

    @rule(seen=st.sets(keys), named=st.sets(keys), now_s=st.floats(0, 9))
    def look_for_unused_parts(self, seen: set[Part], named: set[Part], now_s: float) -> None:
        wanted = self.kept_parts.seen(named - seen, seen, now_s)
        assert self.parts.uses.seen(named - seen, seen, now_s) == wanted

    @rule(key=keys)
    def hold_a_part(self, key: Part) -> None:
        missing = self.runner.run(self.parts.hold(key[0], [key[1]], [key[1]]))
        assert missing == ([] if self.kept_parts.hold(key) else [key[1]])

    @precondition(lambda self: self.kept_parts.held)
    @rule(data=st.data())
    def let_go_of_a_part(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.kept_parts.held)))
        self.parts.let_go(key[0], [key[1]])
        self.kept_parts.let_go(key)

    @rule(key=keys)
    def discard_a_part(self, key: Part) -> None:
        is_gone = self.runner.run(self.parts.discard(*key))
        assert is_gone == self.kept_parts.discard(key), "a part that is of use stays"
        assert self.runner.run(self.parts.names([key[0]])) == self.kept_parts.in_slot(key[0])

    # -- what happens to the process and its disk

    @rule()
    def restart(self) -> None:
        self.runner.run(self.close())
        self.runner.run(self.open())
        self.check()

    @rule(asked=st.lists(STEPS, min_size=1, max_size=8), more_pages=st.integers(0, 3), stalls=st.booleans())
    def fill_the_disk(self, asked: list[Step], more_pages: int, stalls: bool) -> None:
        """A group that finds no room is not there, nor is what was decided on top of it; then there is room again."""
        self.runner.run(self.limit(more_pages))
        refused = self.settle(self.play(asked, stalls))
        self.runner.run(self.limit(1 << 20))
        assert all(isinstance(error, DiskFull) for error in refused)
        self.check()

    @rule(
        trouble=troubles,
        asked=st.lists(STEPS, max_size=8),
        after_writes=st.integers(0, 30),
        seed=seeds,
        key=st.one_of(st.none(), keys),
        stalls=st.booleans(),
    )
    def run_into_trouble(
        self, trouble: Trouble, asked: list[Step], after_writes: int, seed: int, key: Part | None, stalls: bool
    ) -> None:
        self.disk.strike(trouble, after_writes, seed)
        if key is not None:
            self.runner.run(self.parts.put(*key, [PARTS[key]]))
            if not self.disk.is_dead:
                self.kept_parts.is_whole[key] = True
        before = dict(self.kept.registers)
        burst = self.play(asked, stalls)
        refused = self.settle(burst)
        assert all(isinstance(error, InternalError | DiskFailed) for error in refused)
        assert self.store.failed.is_set() or not refused, "who cannot know what is durable stops"
        with suppress(apsw.IOError):  # APSW passes on what its VFS said while SQLite copied the log back at last
            self.runner.run(self.close())
        self.disk.start_again()
        told, traced = self.tracer.durable, self.traced
        self.runner.run(self.open(is_known=False))
        self.kept.learn(burst, before, {path: self.register(path) for path in PATHS})
        left = {number: msgspec.json.decode(event, type=dict[str, object]) for number, event in self.events_left}
        self.kept.check_events(left, told, traced)
        self.kept.start()
        self.learn_part(key)
        self.check()
        self.check_parts()

    # -- how it is done

    async def open(self, *, is_known: bool = True) -> None:
        """`is_known` is what it will find there."""
        file = self.directory / "registers.db"
        try:
            self.store = RegisterStore(file, self.cache_bytes, self.obeys, None, self.log_pages_max)
        except ConfigError as error:
            raise AssertionError("what is left is a database") from error
        assert self.store.incarnation == self.incarnation + 1, "each start counts"
        self.incarnation += 1
        self.events_left = self.store.durable_events()
        self.store.begin()
        self.tracer, self.traced = Telling(lambda: self.disk.is_dead), 0
        if is_known:
            self.kept.start()
        self.store.start(asyncio.get_running_loop(), self.tracer)
        self.parts = PartStore(Layout(self.directory), self.disk, self.obeys)
        self.kept_parts.start()
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False
        await self.parts.close()
        await self.store.close()

    async def limit(self, more_pages: int) -> None:
        """On the writer's thread, which may still be copying the log back."""
        await asyncio.get_running_loop().run_in_executor(
            self.store._writer._thread, limit_pages, self.store, more_pages
        )

    def play(self, asked: list[Step], stalls: bool) -> Burst:
        async def run() -> Burst:
            burst = Burst(list(asked), self.store, lambda: self.disk.is_dead)
            await burst.run(disk_stalled(self.directory) if stalls else nullcontext())
            return burst

        return self.runner.run(run())

    def settle(self, burst: Burst) -> list[AmberioError]:
        """What was refused; the rest is in the model from then on."""
        return self.kept.settle(burst, self.disk.is_dead)

    def register(self, path: str) -> Register:
        """The published register; a database that cannot be read is no answer."""
        try:
            return self.runner.run(self.store.read(path))
        except InternalError as error:
            raise AssertionError("what is left is a database") from error

    def check(self) -> None:
        """What is kept is what is read."""
        assert {path: self.register(path) for path in PATHS} == {path: self.kept.of(path) for path in PATHS}

    def check_parts(self) -> None:
        for key in self.kept_parts.whole:
            assert self.part(key) == PARTS[key], "a part that was acknowledged is there"

    def part(self, key: Part) -> bytes | type[AmberioError]:
        """Its bytes, or the error that is said instead."""

        self.kept_parts.used(key)

        async def get() -> bytes | type[AmberioError]:
            try:
                return await self.parts.get(*key)
            except AmberioError as error:
                return type(error)

        return self.runner.run(get())

    def learn_part(self, key: Part | None) -> None:
        """A part that nobody was told of is there whole, or as it was before."""
        if key is None or self.kept_parts.is_whole.get(key):
            return
        before = BadBytes if key in self.kept_parts.is_whole else NeverWritten
        found = self.part(key)
        assert found in (PARTS[key], before)
        self.kept_parts.is_whole.pop(key, None)
        if found != before:
            self.kept_parts.is_whole[key] = True


def test_what_was_acknowledged_is_there_whatever_happens_to_process_and_disk() -> None:
    walk(StorageMachine, examples=80, steps=40)


@pytest.mark.parametrize("mutant", [name for name, said in MUTANTS.items() if "/storage/" in said.where])
def test_a_storage_that_breaks_its_word_is_noticed(mutant: str) -> None:
    assert_refuted(lambda: StorageMachine(broken((mutant,))), examples=300, steps=40)
