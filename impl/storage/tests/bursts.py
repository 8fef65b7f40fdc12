"""What the storage machine asks of a store: steps of several paths at once, and what it hears of them."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Literal

import msgspec
from hypothesis import strategies as st

from impl.errors import AmberioError, DiskFull
from impl.model import Register
from impl.protocol.acceptor import Step as AcceptorStep
from impl.storage.registers import RegisterStore
from impl.storage.steps import Committed
from impl.storage.tests.rig import WAIT_S, Remembering, accepting, preparing

PATHS: Final = ("a", "a/b", "a/c", "b", "é", "\U0001f600")
BODIES: Final = (None, b"", b"x", b"y" * 5000)
SLOTS: Final = 2


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
Answer = Committed | Register | AmberioError


def slot_of(path: str) -> int:
    return PATHS.index(path) % SLOTS


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
