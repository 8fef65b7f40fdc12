"""Placement while a cluster changes: nodes come, go, grow and move between racks, and the table follows.

Model: the set of nodes, and the table that each such set had when it was first seen. That every slot has its replicas
and that failure domains hold is asked of each table alone; that moves are minimal, of each table and the one before.
"""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from impl.protocol.placement import Site, Table, place
from impl.protocol.tests.refuting import assert_refuted, walk

SLOTS = 64
FACTOR_MAX = 5
NODES_MAX = 16
Place = Callable[[Sequence[Site], int, int], Table]
Sets = list[set[str]]

racks = st.sampled_from(("r1", "r2", "r3", "r4"))
weights = st.sampled_from((0.25, 1.0, 1.5, 4.0))
factors = st.integers(1, FACTOR_MAX)


class PlacementMachine(RuleBasedStateMachine):
    """A cluster of up to 16 nodes in up to four racks, and its table of a few slots."""

    nodes = Bundle("nodes")

    def __init__(self, placing: Place = place) -> None:
        super().__init__()
        self.placing = placing
        self.sites: dict[str, Site] = {}
        self.factor = 3
        self.table: Table = ((),) * SLOTS
        self.seen: dict[tuple[frozenset[Site], int], Table] = {}
        self.joined = 0

    def place_anew(self) -> tuple[Sets, Sets]:
        """The table for the nodes there are now; the replica sets before and after."""
        before = [set(replicas) for replicas in self.table]
        self.table = self.placing(tuple(self.sites.values()), self.factor, SLOTS)
        return before, [set(replicas) for replicas in self.table]

    # -- what happens to a cluster

    @precondition(lambda self: len(self.sites) < NODES_MAX)
    @rule(target=nodes, rack=racks, weight=weights)
    def join(self, rack: str, weight: float) -> str:
        self.joined += 1
        name = f"n{self.joined}"
        was_short = len(self.sites) < self.factor
        self.sites[name] = Site(name, rack, weight)
        for before, after in zip(*self.place_anew(), strict=True):
            assert after - before <= {name}, "a node that joins moves nothing between others"
            assert len(before - after) == (0 if was_short or name not in after else 1), (
                "one goes for the one that comes"
            )
        return name

    @rule(name=consumes(nodes))
    def leave(self, name: str) -> None:
        del self.sites[name]
        for before, after in zip(*self.place_anew(), strict=True):
            assert before - after <= {name}, "what a node that leaves did not hold stays where it is"
            assert len(after - before) <= len(before - after)

    @rule(name=nodes, weight=weights)
    def grow_or_shrink(self, name: str, weight: float) -> None:
        site = self.sites[name]
        self.sites[name] = Site(name, site.rack, weight)
        for before, after in zip(*self.place_anew(), strict=True):
            if weight >= site.weight:
                assert after - before <= {name}, "a node that grows takes, and moves nothing between others"
            if weight <= site.weight:
                assert before - after <= {name}, "a node that shrinks gives, and nobody else does"

    @rule(name=nodes, rack=racks)
    def move_to_another_rack(self, name: str, rack: str) -> None:
        site = self.sites[name]
        self.sites[name] = Site(name, rack, site.weight)
        for before, after in zip(*self.place_anew(), strict=True):
            others = (after - before - {name}, before - after - {name})
            assert max(map(len, others)) <= 1, "at most one other comes and one other goes"
            assert rack != site.rack or before == after

    @rule(factor=factors)
    def replicate_more_or_less(self, factor: int) -> None:
        before, self.factor = self.table, factor
        self.place_anew()
        for old, new in zip(before, self.table, strict=True):
            shorter = min(len(old), len(new))
            assert old[:shorter] == new[:shorter], "the replicas that stay are those of the highest rank"

    @rule(name=nodes)
    def dwarf_the_others(self, name: str) -> None:
        """Asked, not done: how the table would look if this node were beyond all proportion, or nearly nothing."""
        site = self.sites[name]
        others = [other for other in self.sites.values() if other is not site]
        giant, dwarf = (Site(name, site.rack, site.weight * 2.0**power) for power in (60, -60))
        leaders = {replicas[0] for replicas in self.placing([giant, *others], self.factor, SLOTS)}
        assert leaders == {name}, "a share follows its weight"
        leaders = {replicas[0] for replicas in self.placing([dwarf, *others], self.factor, SLOTS)}
        assert name not in leaders or not others, "a share follows its weight"

    # -- what always holds

    @invariant()
    def every_slot_has_its_replicas(self) -> None:
        for replicas in self.table:
            assert len(set(replicas)) == len(replicas) == min(self.factor, len(self.sites))
            assert set(replicas) <= set(self.sites)

    @invariant()
    def failure_domains_hold_while_they_last(self) -> None:
        there_are = len({site.rack for site in self.sites.values()})
        for replicas in self.table:
            assert len({self.sites[name].rack for name in replicas}) == min(len(replicas), there_are)

    @invariant()
    def the_table_depends_on_nothing_but_the_nodes(self) -> None:
        """Not on how the cluster came to be so, not on the order in which nodes are named."""
        if self.sites:
            assert self.seen.setdefault((frozenset(self.sites.values()), self.factor), self.table) == self.table
            assert self.placing(tuple(reversed(self.sites.values())), self.factor, SLOTS) == self.table

    @invariant()
    def only_the_proportions_of_weights_count(self) -> None:
        halved = [Site(site.node_id, site.rack, site.weight / 2) for site in self.sites.values()]
        assert self.placing(halved, self.factor, SLOTS) == self.table


def test_a_cluster_that_changes_keeps_its_replicas_and_moves_no_more_than_it_must() -> None:
    walk(PlacementMachine, examples=60, steps=40)


# -- placements that are wrong in one way each, and must be noticed


def in_turn(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    """Round robin over the names: simple, fair, and everything moves when a node comes."""
    names = sorted(site.node_id for site in sites)
    count = min(factor, len(names))
    return tuple(tuple(names[(slot + turn) % len(names)] for turn in range(count)) for slot in range(total_slots))


def blind_to_racks(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    return place([Site(site.node_id, site.node_id, site.weight) for site in sites], factor, total_slots)


def blind_to_weights(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    return place([Site(site.node_id, site.rack) for site in sites], factor, total_slots)


def one_a_rack_only(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    """Stops when racks run out, though nodes have not."""
    there_are = len({site.rack for site in sites})
    return place(sites, min(factor, there_are), total_slots)


def by_order_of_names(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    """Each node scores by its place in the list."""
    numbered = [Site(str(index), site.rack, site.weight) for index, site in enumerate(sites)]
    table = place(numbered, factor, total_slots)
    return tuple(tuple(sites[int(name)].node_id for name in replicas) for replicas in table)


def with_weights_added(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    return place([Site(site.node_id, site.rack, site.weight + 1) for site in sites], factor, total_slots)


def hashed_with_the_cluster(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    """The hash takes in all the nodes' names, so each change of them shuffles all slots."""
    salt = hashlib.sha256("".join(sorted(site.node_id for site in sites)).encode()).hexdigest()
    salted = [Site(f"{salt}/{site.node_id}", site.rack, site.weight) for site in sites]
    return tuple(tuple(name.split("/")[1] for name in replicas) for replicas in place(salted, factor, total_slots))


@pytest.mark.parametrize(
    "wrong",
    [
        in_turn,
        blind_to_racks,
        blind_to_weights,
        one_a_rack_only,
        by_order_of_names,
        with_weights_added,
        hashed_with_the_cluster,
    ],
    ids=lambda wrong: wrong.__name__,
)
def test_a_wrong_placement_is_noticed(wrong: Place) -> None:
    assert_refuted(lambda: PlacementMachine(wrong), examples=300, steps=40)
