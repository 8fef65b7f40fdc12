"""A node with an empty disk concludes nothing while those may be silent who know, and takes over what they have."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from impl.model import NO_BALLOT, Ballot, Head, Register, ReplicaSet, vacant
from impl.protocol.messages import State
from impl.protocol.rejoining import may_decide, on_rejoin

NODES = ("n1", "n2", "n3", "n4", "n5")
MINE = Ballot(10, "n1")


@st.composite
def groups(draw: st.DrawFn) -> ReplicaSet:
    nodes = tuple(draw(st.permutations(NODES))[: draw(st.integers(1, 5))])
    return ReplicaSet(nodes, draw(st.integers(len(nodes) // 2 + 1, len(nodes))))


@given(st.lists(groups(), min_size=1, max_size=4), st.sets(st.sampled_from(NODES[1:])))
def test_whoever_answered_is_in_every_quorum_that_the_node_may_have_voted_in(
    sets: list[ReplicaSet], answered: set[str]
) -> None:
    decided = may_decide(sets, "n1", answered)
    for group in sets:
        for quorum in combinations(group.nodes, group.write_quorum):
            if "n1" in quorum and len(quorum) > 1 and decided:
                assert answered & (set(quorum) - {"n1"}), (quorum, group)
    if not decided:
        silent = [
            group
            for group in sets
            if any(
                not answered & (set(quorum) - {"n1"})
                for quorum in combinations(group.nodes, group.write_quorum)
                if "n1" in quorum and len(quorum) > 1
            )
        ]
        assert silent, "it waits for no more than that"


def test_a_node_alone_waits_for_nobody_and_of_three_it_waits_for_both_others() -> None:
    assert may_decide([ReplicaSet(("n1",), 1)], "n1", ())
    of_three = [ReplicaSet(("n1", "n2", "n3"), 2)]
    assert may_decide(of_three, "n1", ("n2", "n3")) and not may_decide(of_three, "n1", ("n2",))


@st.composite
def promises(draw: st.DrawFn) -> dict[str, State]:
    """What others answered who promised one ballot."""
    rounds = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    return {f"n{2 + place}": _state(number) for place, number in enumerate(rounds)}


def _state(accepted: int) -> State:
    """Accepted in this round; in none, but so many generations were forgotten, if it is below 3."""
    if accepted < 3:
        return State(MINE, NO_BALLOT, vacant(accepted))
    return State(MINE, Ballot(accepted, "n2"), Head(accepted, False, "e", 1, "", 0, b"x", (), ()))


@given(promises(), st.integers(0, 3), st.booleans())
def test_a_replica_takes_over_the_highest_head_that_others_have_and_promises_as_they_did(
    states: dict[str, State], archived: int, is_settled: bool
) -> None:
    before = Register(NO_BALLOT, NO_BALLOT, None, archived, is_settled)
    step = on_rejoin(before, "p", MINE, states)
    assert step.taken and step.register.promised == MINE
    assert step.register.accepted == max(state.accepted for state in states.values())
    generations = [state.head.generation for state in states.values() if state.head]
    taken = step.register.head.generation if step.register.head else 0
    assert taken == max(generations, default=0), "also of what is forgotten"
    assert (step.register.archived, step.register.is_settled) == (archived, is_settled)
    again = on_rejoin(step.register, "p", Ballot(12, "n1"), states)
    assert not again.taken and again.register == step.register, "what it has by now may be newer than what was told"
