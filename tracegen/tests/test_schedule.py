"""What a seed makes of a fault schedule: always the same, always within its bounds, and every node's turn."""

import dataclasses
import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tracegen.scenario import NEMESES, ClusterShape, FaultSpec, Scenario, Workload
from tracegen.schedule import OF_LINKS, plan

SEEDS = st.integers(0, 2**32)
TARGETS = ("random", "next", "minority", "n2")


@st.composite
def fault_specs(draw: st.DrawFn) -> FaultSpec:
    for_s, jitter_s = draw(st.floats(0.1, 3)), draw(st.floats(0, 2))
    return FaultSpec(
        nemesis=draw(st.sampled_from(NEMESES)),
        at_s=draw(st.floats(0, 5)),
        for_s=for_s,
        jitter_s=jitter_s,
        target=draw(st.sampled_from(TARGETS)),
        times=draw(st.integers(1, 4)),
        every_s=for_s + 2 * jitter_s + draw(st.floats(0, 2)),
        direction=draw(st.sampled_from(("in", "out"))),
    )


def scenario_of(faults: list[FaultSpec], nodes: int = 3) -> Scenario:
    shape = ClusterShape(nodes, nodes, nodes // 2 + 1)
    return Scenario("x", "says", "group", 60.0, 1, shape, Workload(), tuple(faults), Path("x.toml"))


@given(st.lists(fault_specs(), max_size=4), SEEDS)
def test_a_seed_makes_the_same_schedule_every_time(faults: list[FaultSpec], seed: int) -> None:
    assert plan(scenario_of(faults), seed) == plan(scenario_of(faults), seed)


@given(st.lists(fault_specs(), max_size=4), SEEDS, st.integers(2, 7))
def test_faults_come_in_order_and_are_over_when_the_file_says(faults: list[FaultSpec], seed: int, nodes: int) -> None:
    planned = plan(scenario_of(faults, nodes), seed)
    assert len(planned) == sum(fault.times for fault in faults)
    assert [fault.start_s for fault in planned] == sorted(fault.start_s for fault in planned)
    for fault in planned:
        assert fault.start_s >= 0
        assert fault.end_s <= max(fault.spec.ends_s, fault.spec.for_s) + 1e-6
        assert set(fault.nodes) <= {f"n{number}" for number in range(1, nodes + 1)} and fault.nodes


@given(fault_specs(), SEEDS)
def test_the_injections_of_one_fault_do_not_overlap(spec: FaultSpec, seed: int) -> None:
    # a fault that would begin before the load begins with it, and so may come nearer to its next injection
    planned = plan(scenario_of([dataclasses.replace(spec, at_s=spec.at_s + spec.jitter_s)]), seed)
    for earlier, later in itertools.pairwise(planned):
        assert earlier.end_s <= later.start_s + 1e-6


@given(st.lists(fault_specs(), min_size=1, max_size=3), fault_specs(), SEEDS)
def test_one_fault_more_in_a_file_moves_no_other(faults: list[FaultSpec], more: FaultSpec, seed: int) -> None:
    before = plan(scenario_of(faults), seed)
    after = plan(scenario_of([*faults, more]), seed)
    assert set(before) <= set(after)


@given(fault_specs(), SEEDS, st.integers(2, 7))
def test_links_cross_the_cut_and_processes_have_none(spec: FaultSpec, seed: int, nodes: int) -> None:
    for fault in plan(scenario_of([spec], nodes), seed):
        if spec.nemesis not in OF_LINKS:
            assert fault.links == ()
            continue
        assert all((a in fault.nodes) != (b in fault.nodes) for a, b in fault.links)
        cut = len(fault.nodes) * (nodes - len(fault.nodes))
        if spec.nemesis == "one_way":
            assert len(fault.links) == cut
            assert all((a in fault.nodes) == (spec.direction == "out") for a, _ in fault.links)
        else:
            assert set(fault.links) == {(b, a) for a, b in fault.links}
            assert len(set(fault.links)) == 2 * cut


@given(SEEDS)
def test_next_hits_every_node_before_it_hits_one_twice(seed: int) -> None:
    spec = FaultSpec("kill", 0.0, 1.0, target="next", times=3, every_s=2.0)
    assert {fault.nodes[0] for fault in plan(scenario_of([spec]), seed)} == {"n1", "n2", "n3"}


@given(SEEDS, st.integers(2, 9))
def test_a_minority_leaves_a_majority(seed: int, nodes: int) -> None:
    (fault,) = plan(scenario_of([FaultSpec("partition", 0.0, 1.0, target="minority")], nodes), seed)
    assert len(fault.nodes) * 2 < nodes or nodes == 2


def test_seeds_between_them_hit_every_node() -> None:
    spec = FaultSpec("kill", 0.0, 1.0)
    assert {plan(scenario_of([spec]), seed)[0].nodes[0] for seed in range(30)} == {"n1", "n2", "n3"}


def test_a_coordinator_is_only_known_when_the_cluster_runs() -> None:
    (fault,) = plan(scenario_of([FaultSpec("kill", 0.0, 1.0, target="coordinator")]), 1)
    assert fault.nodes == () and fault.links == ()


def test_a_bridge_is_all_that_joins_two_halves() -> None:
    spec = FaultSpec("partition", 0.0, 1.0, target="n2", shape="bridge")
    (fault,) = plan(scenario_of([spec], 5), 1)
    left, right = ("n1", "n3"), ("n4", "n5")
    assert set(fault.links) == {(a, b) for a in left for b in right} | {(b, a) for a in left for b in right}


@given(st.integers(4, 9))
def test_in_a_ring_each_node_reaches_the_one_before_and_the_one_after_it(nodes: int) -> None:
    (fault,) = plan(scenario_of([FaultSpec("partition", 0.0, 1.0, target="all", shape="ring")], nodes), 1)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    for at, node in enumerate(names):
        reached = {other for other in names if other != node and (node, other) not in fault.links}
        assert reached == {names[at - 1], names[(at + 1) % nodes]}
