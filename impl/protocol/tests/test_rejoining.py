"""A node with an empty disk concludes nothing while those may be silent who know that it has lived."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from impl.model import ReplicaSet
from impl.protocol.rejoining import may_decide

NODES = ("n1", "n2", "n3", "n4", "n5")


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
