"""The digests of slots: equal where the same is accepted, however it came to be, and not where something else is."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.errors import NotReady
from impl.model import NO_BALLOT, Ballot
from impl.storage.digests import SlotDigests, counted

SLOTS = 3
ballots = st.builds(Ballot, st.integers(1, 3), st.sampled_from(("n1", "n2")))
paths = st.sampled_from([(f"p{number}", number % SLOTS) for number in range(6)])
histories = st.lists(st.tuples(paths, ballots), max_size=40)


Accepted = dict[tuple[str, int], Ballot]


def on_disk(accepted: Accepted, random: Random) -> dict[int, int]:
    """What is counted of a disk that has these registers, in any order."""
    rows = [(slot, f"{ballot.round} {ballot.node} {path}") for (path, slot), ballot in accepted.items()]
    random.shuffle(rows)
    return counted(rows)


def lived(
    history: list[tuple[tuple[str, int], Ballot]], loaded_after: int = 0, random: Random | None = None
) -> tuple[SlotDigests, Accepted]:
    """A node that lived through this; it started after `loaded_after` steps, and has counted its disk at the end."""
    digests = SlotDigests()
    accepted: Accepted = {}
    for (path, slot), ballot in history[:loaded_after]:
        accepted[path, slot] = ballot
    at_start = on_disk(accepted, random or Random(0))
    for (path, slot), ballot in history[loaded_after:]:
        digests.change(path, slot, accepted.get((path, slot), NO_BALLOT), ballot)
        accepted[path, slot] = ballot
    digests.load(at_start)
    return digests, accepted


@given(histories, st.integers(0, 40), st.randoms())
def test_what_was_lived_through_is_what_is_read_from_the_disk_whenever_that_is_counted(
    history: list[tuple[tuple[str, int], Ballot]], loaded_after: int, random: Random
) -> None:
    whole, accepted = lived(history)
    assert lived(history, loaded_after, random)[0].all() == whole.all()
    restarted = SlotDigests()
    restarted.load(on_disk(accepted, random))
    assert restarted.all() == whole.all()


def test_nothing_is_told_before_the_disk_is_counted() -> None:
    digests = SlotDigests()
    digests.change("p", 1, NO_BALLOT, Ballot(1, "n1"))
    with pytest.raises(NotReady):
        digests.all()


@given(histories, histories)
def test_two_nodes_have_one_digest_of_a_slot_just_if_they_have_accepted_the_same_there(
    one: list[tuple[tuple[str, int], Ballot]], other: list[tuple[tuple[str, int], Ballot]]
) -> None:
    first, accepted = lived(one)
    second, accepted_there = lived(other)
    for slot in range(SLOTS):
        here = {path: ballot for (path, at), ballot in accepted.items() if at == slot}
        there = {path: ballot for (path, at), ballot in accepted_there.items() if at == slot}
        assert (first.all().get(slot, 0) == second.all().get(slot, 0)) == (here == there)
