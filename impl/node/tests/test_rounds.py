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

    def __init__(self, life: int = 1) -> None:
        self.life = life
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


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 3), lives), min_size=1, max_size=4))
def test_no_two_lives_of_a_node_share_a_ballot_though_each_begins_on_an_empty_disk_and_climbs_above_others(
    told: list[tuple[int, list[list[int]]]],
) -> None:
    dealt: dict[int, list[Ballot]] = {}
    life = 0

    async def live(store: Reserving, asked: list[int]) -> None:
        rounds = Rounds("n1", store)  # type: ignore[arg-type]  # not a whole store
        await rounds.open()
        for above in asked:
            ballot = await rounds.fresh(Ballot(above, "n2"))
            assert ballot > Ballot(above, "n2") and ballot.round <= store.durable_to
            dealt[store.life].append(ballot)

    for gap, starts in told:
        life += gap
        dealt[life] = []
        store = Reserving(life)
        for asked in starts:
            asyncio.run(live(store, asked))
            store.killed()
    for ballots in dealt.values():
        assert ballots == sorted(set(ballots)), "they rise within a life"
    assert len({ballot for ballots in dealt.values() for ballot in ballots}) == sum(map(len, dealt.values()))
