"""A disk knows which life its node is in, what was lost with the one before, and the lives of the others."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.model import NO_BALLOT, TOTAL_SLOTS, VIRGIN, Ballot, Register, slot_of, vacant
from impl.protocol import events
from impl.storage.lives import INCARNATIONS, next_incarnation
from impl.storage.registers import RegisterStore
from impl.storage.tests.rig import Remembering, accepting, opened


def test_an_empty_disk_is_unborn_and_a_life_that_it_was_given_outlives_restarts(tmp_path: Path) -> None:
    store = RegisterStore(tmp_path / "registers.db", 0)
    assert not store.is_born and store.is_lost(7) and (store.life, store.incarnation) == (0, 1)
    store.be_born(3, (5, 7))
    told = (store.life, store.behind, store.incarnation)
    assert store.is_born and told == (3, {5, 7}, 2 * INCARNATIONS + 1)
    store.abandon()
    again = RegisterStore(tmp_path / "registers.db", 0)
    assert (again.life, again.behind, again.incarnation) == told
    again.abandon()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=5))
def test_no_start_of_a_later_life_has_the_number_of_an_earlier_one(lives: list[tuple[int, int]]) -> None:
    numbers: list[int] = []
    life = 0
    for gap, starts in lives:
        life += gap
        counted = 0  # the disk is empty
        for _ in range(starts):
            counted = next_incarnation(counted, life)
            numbers.append(counted)
    assert numbers == sorted(set(numbers))
    assert next_incarnation(0, 0) == next_incarnation(0, 1) == 1


def test_what_is_known_of_another_nodes_life_is_durable_and_only_rises(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            for life in (1, 3, 2):
                await store.learn("n2", life)
            await store.learn("n3", 1)
            assert store.lives == {"n2": 3, "n3": 1}
        async with opened(tmp_path) as store:
            assert store.lives == {"n2": 3, "n3": 1}

    asyncio.run(story())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_a_slot_that_is_caught_up_promises_no_less_than_was_promised_before(
    tmp_path_factory: pytest.TempPathFactory, floor: int, lower: int, is_read_before: bool
) -> None:
    directory = tmp_path_factory.mktemp("caught-up")
    slot = slot_of("lost")
    expected = Register(Ballot(max(floor, lower), "n2"), NO_BALLOT, vacant(4))

    async def story() -> None:
        store = RegisterStore(directory / "registers.db", 1 << 20)
        store.be_born(2, (slot, slot + 1))
        store.abandon()
        tracer = Remembering()
        async with opened(directory, tracer) as store:
            await store.apply("lost", slot, accepting("lost", 20))
            if is_read_before:
                assert await store.read(other_of(slot)) == VIRGIN
            for promised in (floor, lower):
                floors = {slot: Register(Ballot(promised, "n2"), NO_BALLOT, vacant(4))}
                await store.caught_up(floors, events.Back(read="q", counted=(), slots=(slot,), total_slots=TOTAL_SLOTS))
            assert store.behind == {slot + 1}
            assert await store.read(other_of(slot)) == expected
            assert (await store.read("lost")).accepted == Ballot(20, "n1"), "a path that has a row is as it was"
        async with opened(directory) as store:
            assert store.behind == {slot + 1} and await store.read(other_of(slot)) == expected

    asyncio.run(story())


def other_of(slot: int) -> str:
    """Another path of a slot."""
    return next(path for path in (f"other/{n}" for n in range(100_000)) if slot_of(path) == slot)
