"""The digests of slots: equal where the same is accepted, however it came to be, and not where something else is."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from impl.model import NO_BALLOT, Ballot
from impl.storage.digests import SlotDigests

SLOTS = 3
ballots = st.builds(Ballot, st.integers(1, 3), st.sampled_from(("n1", "n2")))
paths = st.sampled_from([(f"p{number}", number % SLOTS) for number in range(6)])
histories = st.lists(st.tuples(paths, ballots), max_size=40)


def lived(history: list[tuple[tuple[str, int], Ballot]]) -> tuple[SlotDigests, dict[tuple[str, int], Ballot]]:
    digests = SlotDigests()
    accepted: dict[tuple[str, int], Ballot] = {}
    for (path, slot), ballot in history:
        digests.change(path, slot, accepted.get((path, slot), NO_BALLOT), ballot)
        accepted[path, slot] = ballot
    return digests, accepted


@given(histories, st.randoms())
def test_what_was_lived_through_is_what_is_read_from_the_disk_in_any_order(
    history: list[tuple[tuple[str, int], Ballot]], random: Random
) -> None:
    digests, accepted = lived(history)
    rows = [(path, slot, ballot) for (path, slot), ballot in accepted.items()]
    random.shuffle(rows)
    loaded = SlotDigests()
    loaded.load([*rows, ("only promised", 0, NO_BALLOT)])
    assert loaded.all() == digests.all()


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
