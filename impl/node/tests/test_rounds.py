"""Ballots never repeat: not between tasks that ask at once, not after a kill, not after another node's high round."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impl.model import NO_BALLOT, Ballot
from impl.node import rounds as rounds_module
from impl.node.rounds import Rounds


class Reserving:
    """The part of a store that Rounds needs, on a disk that takes its time (impl/storage/tests has the real one)."""

    def __init__(self) -> None:
        self.asked_to = 0
        self.durable_to = 0

    async def reserve_rounds(self, count: int) -> int:
        first, self.asked_to = self.asked_to + 1, self.asked_to + count
        durable_to = self.asked_to
        for _ in range(3):
            await asyncio.sleep(0)
        self.durable_to = durable_to
        return first

    def killed(self) -> None:
        """What was asked for and not durable is forgotten."""
        self.asked_to = self.durable_to


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "ROUNDS_BLOCK", 5)


lives = st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=8), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives)
def test_a_round_is_dealt_out_once_and_only_after_it_was_reserved(lives: list[list[int]]) -> None:
    store = Reserving()
    dealt: list[Ballot] = []

    async def live(asked: list[int]) -> None:
        rounds = Rounds("n1", store)  # type: ignore[arg-type]  # not a whole store
        await rounds.open()

        async def ask(above: int) -> None:
            ballot = await rounds.fresh(Ballot(above, "n2") if above else NO_BALLOT)
            assert ballot > Ballot(above, "n2") and ballot.node == "n1"
            assert ballot.round <= store.durable_to, "after a kill now, it would be dealt out again"
            dealt.append(ballot)

        await asyncio.gather(*map(ask, asked))

    for asked in lives:
        asyncio.run(live(asked))
        store.killed()
    assert len(set(dealt)) == len(dealt)
