"""Registers and parts on a real SQLite and real files, over restarts, kills, power cuts, full and failing disks.

Model: one dict for each, path -> register and digest -> part. While all is well the store answers as the dict does, and
each step finds what the one before it on its path left. After trouble a path has what was acknowledged, or something
that was asked for after it; and the events that are kept say the same as the registers do.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

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
from impl.model import VIRGIN, Ballot, Register, Rows
from impl.protocol.acceptor import Step as AcceptorStep
from impl.protocol.rules import HONEST, MUTANTS, Rules, broken
from impl.protocol.tests.refuting import assert_refuted, walk
from impl.storage.database import without_body
from impl.storage.layout import Layout
from impl.storage.parts import PartStore
from impl.storage.registers import RegisterStore
from impl.storage.steps import Committed
from impl.storage.tests.power import PoweredDisk, Trouble
from impl.storage.tests.rig import CACHE_BYTES, WAIT_S, Remembering, accepting, disk_stalled, limit_pages, preparing

MEMORY: Final = Path("/dev/shm")
QUICK: Final = MEMORY if os.access(MEMORY, os.W_OK) else None
"""Where the directories are made: what a power cut leaves is decided by the rig, so no fsync need wait."""
PATHS: Final = ("a", "a/b", "a/c", "b", "é", "\U0001f600")
BODIES: Final = (None, b"", b"x", b"y" * 5000)
SLOTS: Final = 2
PARTS: Final = {
    (slot, hashlib.sha256(part).hexdigest()): part
    for slot, part in ((0, b""), (0, b"small"), (1, b"small"), (1, b"large" * 3000))
}


class Step(msgspec.Struct, frozen=True):
    """What is asked of a path: a read, or a step of its acceptor."""

    path: str
    what: Literal["accept", "prepare", "read"]
    round: int
    body: int

    def decide(self, found: Register) -> AcceptorStep:
        if self.what == "accept":
            return accepting(self.path, self.round, BODIES[self.body])(found)
        return preparing(self.path, self.round)(found)


STEPS: Final = st.builds(
    Step,
    st.sampled_from((*PATHS[:2] * 3, *PATHS)),
    st.sampled_from(("accept", "accept", "prepare", "read")),
    st.integers(1, 20),
    st.integers(0, len(BODIES) - 1),
)
troubles = st.sampled_from(("power cut", "kill", "fsync fails"))
seeds = st.integers(0, 1 << 16)
Key = tuple[int, str]
keys = st.sampled_from(list(PARTS))
Answer = Committed | Register | AmberioError


def slot_of(path: str) -> int:
    return PATHS.index(path) % SLOTS


def unbodied(register: Register) -> Register:
    if register.head is None:
        return register
    return Register(register.promised, register.accepted, without_body(register.head))


class Burst:
    """Steps asked for at once, then a read of each of their paths; what finds no room is asked for once more.

    `heard` has the answers as they came, while there was anybody to hear them.
    """

    def __init__(self, asked: list[Step], store: RegisterStore, is_dead: Callable[[], bool]) -> None:
        self.asked = asked
        self.heard: list[tuple[Step, Answer]] = []
        self._store = store
        self._is_dead = is_dead
        self._unanswered: set[int] = set()
        self._may_ask_again = len(asked)
        self._over = asyncio.Event()

    async def run(self, stall: AbstractContextManager[None]) -> None:
        """The reads are asked for when all steps are decided; while the disk stalls, if it does, none is durable."""
        reads = [Step(path, "read", 0, 0) for path in sorted({step.path for step in self.asked})]
        with stall:
            for step in self.asked:
                self._ask(step)
            while self._store.queued[0] < sum(step.what != "read" for step in self._open()):  # noqa: ASYNC110
                await asyncio.sleep(0)  # cold reads come back one by one, and nobody tells
            for step in reads:
                self._ask(step)
        while self._unanswered:
            self._over.clear()
            await asyncio.wait_for(self._over.wait(), WAIT_S)

    def _open(self) -> list[Step]:
        return [step for step in self.asked if id(step) in self._unanswered]

    def _ask(self, step: Step) -> None:
        self._unanswered.add(id(step))
        hear = partial(self._hear, step)
        if step.what == "read":
            self._store.read_then(step.path, hear)
        else:
            self._store.apply_then(step.path, slot_of(step.path), step.decide, hear)

    def _hear(self, step: Step, answer: Answer) -> None:
        if not self._is_dead():
            self.heard.append((step, answer))
        self._unanswered.discard(id(step))
        if isinstance(answer, DiskFull) and self._may_ask_again:
            self._may_ask_again -= 1
            again = msgspec.structs.replace(step)
            self.asked.append(again)
            self._ask(again)
        self._over.set()


class Telling(Remembering):
    """A trace that ends when the power does."""

    def __init__(self, is_dead: Callable[[], bool]) -> None:
        super().__init__()
        self._is_dead = is_dead

    def emit_durable(self, encoded: bytes, commit: int, disk: int = 1) -> str:
        return "" if self._is_dead() else super().emit_durable(encoded, commit, disk)


class StorageMachine(RuleBasedStateMachine):
    """One data directory, and the process that has it open."""

    def __init__(self, obeys: Rules = HONEST) -> None:
        super().__init__()
        self.obeys = obeys
        self.directory = Path(tempfile.mkdtemp(dir=QUICK))
        self.disk = PoweredDisk(self.directory)
        self.runner = asyncio.Runner()
        self.kept: dict[str, Register] = {}
        self.parts_kept: dict[Key, bool] = {}  # False: rotten
        self.unused: dict[Key, float] = {}
        self.held: Counter[Key] = Counter()
        self.at_start: dict[str, Register] = {}
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
        wanted = [
            (path, unbodied(register))
            for path, register in sorted(self.kept.items(), key=lambda item: item[0].encode())
            if path.startswith(prefix) and (after is None or path.encode() > after.encode())
        ]
        found = self.runner.run(self.store.scan(prefix, after, limit))
        assert found == Rows(wanted[:limit], has_more=len(wanted) >= limit)

    @rule(slot=st.integers(0, SLOTS - 1))
    def heads_of_a_slot(self, slot: int) -> None:
        wanted = {
            path: unbodied(register).head
            for path, register in self.kept.items()
            if register.head is not None and slot_of(path) == slot
        }
        assert dict(self.runner.run(self.store.heads(slot, [""]))) == wanted

    @rule(count=st.integers(1, 50))
    def reserve_rounds(self, count: int) -> None:
        first = self.runner.run(self.store.reserve_rounds(count))
        assert first > self.rounds, "a round is given out once"
        self.rounds = first + count - 1

    # -- parts

    @rule(key=keys, at_once=st.integers(1, 3))
    def put_a_part(self, key: Key, at_once: int) -> None:
        async def put() -> list[bool]:
            chunks = [PARTS[key][:7], PARTS[key][7:]]
            return await asyncio.gather(*(self.parts.put(*key, chunks) for _ in range(at_once)))

        async def put_other_bytes() -> bool:
            try:
                return await self.parts.put(*key, [PARTS[key], b"!"])
            except DigestMismatch:
                return False

        assert not self.runner.run(put_other_bytes())
        self.unused.pop(key, None)
        reused = self.runner.run(put())
        assert all(reused) if self.parts_kept.get(key) else not all(reused)
        self.parts_kept[key] = True

    @rule(key=keys)
    def get_a_part(self, key: Key) -> None:
        whole = self.parts_kept.get(key)
        assert self.part(key) == (PARTS[key] if whole else NeverWritten if whole is None else BadBytes)
        if not whole:
            assert self.part(key) == NeverWritten, "what has rotted is moved aside"
            self.parts_kept.pop(key, None)

    @precondition(lambda self: any(PARTS[key] for key, whole in self.parts_kept.items() if whole))
    @rule(data=st.data(), is_read=st.booleans())
    def rot(self, data: st.DataObject, is_read: bool) -> None:
        whole = sorted(key for key, whole in self.parts_kept.items() if whole and PARTS[key])
        key = data.draw(st.sampled_from(whole))
        self.disk.rot(Layout(self.directory).parts(key[0]) / key[1])
        self.parts_kept[key] = False
        if is_read:
            self.get_a_part(key)

    @rule(seen=st.sets(keys), named=st.sets(keys), now_s=st.floats(0, 9))
    def look_for_unused_parts(self, seen: set[Key], named: set[Key], now_s: float) -> None:
        for key in named - seen:
            self.unused.pop(key, None)
        for key in seen - self.held.keys():
            self.unused.setdefault(key, now_s)
        wanted = {key: since_s for key, since_s in self.unused.items() if key in seen}
        assert self.parts.uses.seen(named - seen, seen, now_s) == wanted

    @rule(key=keys)
    def hold_a_part(self, key: Key) -> None:
        missing = self.runner.run(self.parts.hold(key[0], [key[1]], [key[1]]))
        assert missing == ([] if key in self.parts_kept else [key[1]])
        self.held[key] += 1
        self.unused.pop(key, None)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go_of_a_part(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.parts.let_go(key[0], [key[1]])
        self.held -= Counter([key])

    @rule(key=keys)
    def discard_a_part(self, key: Key) -> None:
        """Only what was seen unused goes, and not if anybody has put, read or held it since."""
        is_gone = self.runner.run(self.parts.discard(*key))
        assert is_gone == (key in self.unused and key in self.parts_kept), "a part that is of use stays"
        self.unused.pop(key, None)
        if is_gone:
            del self.parts_kept[key]
        found = self.runner.run(self.parts.names([key[0]]))
        assert found == sorted(kept for kept in self.parts_kept if kept[0] == key[0])

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
        self, trouble: Trouble, asked: list[Step], after_writes: int, seed: int, key: Key | None, stalls: bool
    ) -> None:
        self.disk.strike(trouble, after_writes, seed)
        if key is not None:
            self.runner.run(self.parts.put(*key, [PARTS[key]]))
            if not self.disk.is_dead:
                self.parts_kept[key] = True
        before = dict(self.kept)
        burst = self.play(asked, stalls)
        refused = self.settle(burst)
        assert all(isinstance(error, InternalError | DiskFailed) for error in refused)
        assert self.store.failed.is_set() or not refused, "who cannot know what is durable stops"
        with suppress(apsw.IOError):  # APSW passes on what its VFS said while SQLite copied the log back at last
            self.runner.run(self.close())
        self.disk.start_again()
        told, at_start, traced = self.tracer.durable, self.at_start, self.traced
        self.runner.run(self.open())
        self.learn_registers(burst, before)
        self.at_start = dict(self.kept)
        self.check_events(told, at_start, traced)
        self.learn_part(key)
        self.check()
        self.check_parts()

    # -- how it is done

    async def open(self) -> None:
        file = self.directory / "registers.db"
        try:
            self.store = RegisterStore(file, self.cache_bytes, self.obeys, None, self.log_pages_max)
        except ConfigError as error:
            raise AssertionError("what is left is a database") from error
        assert self.store.incarnation == self.incarnation + 1, "each start counts"
        self.incarnation += 1
        self.events_left = self.store.durable_events()
        self.store.begin()
        self.tracer, self.traced, self.at_start = Telling(lambda: self.disk.is_dead), 0, dict(self.kept)
        self.store.start(asyncio.get_running_loop(), self.tracer)
        self.parts = PartStore(Layout(self.directory), self.disk, self.obeys)
        self.unused, self.held = {}, Counter()  # nobody remembers them over a restart
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
        """Take what was answered over into the model, in the order in which it came; what was refused."""
        waiting = {path: [step for step in burst.asked if step.path == path and step.what != "read"] for path in PATHS}
        published = {path: [self.kept.get(path, VIRGIN)] for path in PATHS}
        refused: list[AmberioError] = []
        for step, answer in burst.heard:
            if isinstance(answer, Register):
                continue
            if isinstance(answer, AmberioError):
                refused.append(answer)
            if step.what != "read":
                place = next(place for place, other in enumerate(waiting[step.path]) if other is step)
                del waiting[step.path][place]
                assert place == 0 or answer in refused, "the steps of a path are answered in order"
            if isinstance(answer, AmberioError):
                continue
            found = self.kept.get(step.path, VIRGIN)
            wanted = step.decide(found)
            assert (answer.found, answer.register, answer.taken) == (found, wanted.register, wanted.taken)
            if answer.taken:
                self.kept[step.path] = answer.register
                published[step.path].append(answer.register)
        for step, answer in burst.heard:
            if isinstance(answer, Register) and not self.disk.is_dead:
                assert answer in published[step.path], "nobody sees a state before it is on disk"
        return refused

    def register(self, path: str) -> Register:
        """The published register; a database that cannot be read is no answer."""
        try:
            return self.runner.run(self.store.read(path))
        except InternalError as error:
            raise AssertionError("what is left is a database") from error

    def check(self) -> None:
        """What is kept is what is read."""
        assert {path: self.register(path) for path in PATHS} == {path: self.kept.get(path, VIRGIN) for path in PATHS}

    def check_parts(self) -> None:
        for key, whole in self.parts_kept.items():
            assert not whole or self.part(key) == PARTS[key], "a part that was acknowledged is there"

    def part(self, key: Key) -> bytes | type[AmberioError]:
        """Its bytes, or the error that is said instead."""

        self.unused.pop(key, None)

        async def get() -> bytes | type[AmberioError]:
            try:
                return await self.parts.get(*key)
            except AmberioError as error:
                return type(error)

        return self.runner.run(get())

    def learn_registers(self, burst: Burst, before: dict[str, Register]) -> None:
        """A path has what was acknowledged, or what was asked for later; and what was read of it, it still has."""
        for path in PATHS:
            chain = [before.get(path, VIRGIN)]
            for step in burst.asked:
                if step.path == path and step.what != "read":
                    chain.append(step.decide(chain[-1]).register)
            left = self.register(path)
            heard = [self.kept.get(path, VIRGIN)]
            heard += [got for step, got in burst.heard if step.path == path and isinstance(got, Register)]
            assert left in chain, "nothing is there that nobody asked for"
            last = len(chain) - 1 - chain[::-1].index(left)
            assert all(chain.index(register) <= last for register in heard), "what was answered outlives trouble"
            if left != VIRGIN:
                self.kept[path] = left

    def check_events(
        self, told: list[tuple[int, dict[str, object]]], at_start: dict[str, Register], traced: int
    ) -> None:
        """The events that were written or are kept say what the registers say."""
        left = {number: msgspec.json.decode(event, type=dict[str, object]) for number, event in self.events_left}
        assert list(left) == sorted(left)
        assert all(left[number] == event for number, event in told if number > traced), (
            "an event was forgotten too soon"
        )
        last = {event["path"]: event for _, event in sorted({**dict(told), **left}.items())}
        for path in PATHS:
            register = self.kept.get(path, VIRGIN)
            if path not in last:
                assert register == at_start.get(path, VIRGIN)
                continue
            ballot = msgspec.convert(last[path]["ballot"], Ballot)
            assert ballot == (register.accepted if last[path]["event"] == "Accept" else register.promised)

    def learn_part(self, key: Key | None) -> None:
        """A part that nobody was told of is there whole, or as it was before."""
        if key is None or self.parts_kept.get(key):
            return
        before = BadBytes if key in self.parts_kept else NeverWritten
        found = self.part(key)
        assert found in (PARTS[key], before)
        self.parts_kept.pop(key, None)
        if found != before:
            self.parts_kept[key] = True


def test_what_was_acknowledged_is_there_whatever_happens_to_process_and_disk() -> None:
    walk(StorageMachine, examples=80, steps=40)


@pytest.mark.parametrize("mutant", [name for name, said in MUTANTS.items() if "/storage/" in said.where])
def test_a_storage_that_breaks_its_word_is_noticed(mutant: str) -> None:
    assert_refuted(lambda: StorageMachine(broken((mutant,))), examples=300, steps=40)
