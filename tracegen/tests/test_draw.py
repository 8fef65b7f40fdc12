"""What seeds draw: always a sound scenario that heals, always the same, and over many seeds everything there is."""

import dataclasses
import itertools
import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tracegen import scenario as scenarios
from tracegen.operations import KINDS
from tracegen.scenario import ARCHIVE_NEMESES, CONTAINER_NEMESES, NEMESES, FaultSpec
from tracegen.schedule import plan
from tracegen.swarm import draw_archive
from tracegen.swarm.draw import OF_LINKS, OF_NODES, QUIET_S, draw, may_both_be
from tracegen.writing import to_toml

SEEDS = st.integers(0, 2**32)
MANY = range(1000)


@given(SEEDS)
def test_whatever_is_drawn_is_a_scenario_that_a_file_could_hold(seed: int) -> None:
    drawn = draw(seed)
    read = scenarios.parse(tomllib.loads(to_toml(drawn)), Path("drawn.toml"))
    assert dataclasses.replace(read, path=drawn.path) == drawn


@given(SEEDS)
def test_a_seed_draws_the_same_again(seed: int) -> None:
    assert draw(seed) == draw(seed)


@given(SEEDS)
def test_every_fault_is_over_before_the_load_is(seed: int) -> None:
    drawn = draw(seed)
    assert all(fault.at_s > 0 and fault.ends_s < drawn.duration_s for fault in drawn.faults)
    assert all(fault.nodes for fault in plan(drawn, seed))
    assert all(fault.links for fault in plan(drawn, seed) if fault.spec.nemesis in OF_LINKS)


@given(SEEDS)
def test_no_two_faults_heal_each_other(seed: int) -> None:
    def spans(faults: list[FaultSpec]) -> list[tuple[float, float]]:
        return sorted((fault.at_s, fault.ends_s) for fault in faults)

    drawn = draw(seed)
    groups = [[fault for fault in drawn.faults if fault.nemesis in OF_LINKS]]
    groups += [
        [fault for fault in drawn.faults if fault.nemesis in OF_NODES and node in fault.target.split("+")]
        for node in drawn.cluster.node_ids
    ]
    for faults in groups:
        ordered = spans(faults)
        assert all(after[0] - before[1] > QUIET_S - 1e-6 for before, after in itertools.pairwise(ordered))


@given(SEEDS)
def test_a_write_quorum_always_holds_a_majority(seed: int) -> None:
    shape = draw(seed).cluster
    assert 1 <= shape.factor <= min(5, shape.nodes) and shape.factor < 2 * shape.min_write_replicas
    assert shape.min_write_replicas <= shape.factor


def test_bits_rot_only_where_there_are_two_copies_of_a_part() -> None:
    rotting = [drawn for drawn in map(draw, MANY) if any(fault.nemesis == "bit_rot" for fault in drawn.faults)]
    assert rotting
    for drawn in rotting:
        assert drawn.cluster.min_write_replicas >= 2
        assert sum(fault.nemesis == "bit_rot" for fault in drawn.faults) == 1


@given(SEEDS)
def test_an_archive_changes_nothing_else_and_its_faults_are_ones_that_a_file_could_hold(seed: int) -> None:
    was = draw_archive.SHARE
    try:
        draw_archive.SHARE = 0.0  # type: ignore[misc]  # a constant, of all but this test
        without = draw(seed)
        draw_archive.SHARE = 1.0  # type: ignore[misc]
        drawn = draw(seed)
    finally:
        draw_archive.SHARE = was  # type: ignore[misc]
    read = scenarios.parse(tomllib.loads(to_toml(drawn)), Path("drawn.toml"))
    assert dataclasses.replace(read, path=drawn.path) == drawn
    others = tuple(fault for fault in drawn.faults if fault.nemesis not in ARCHIVE_NEMESES)
    assert dataclasses.replace(drawn, archive=without.archive, faults=others) == without
    assert all(may_both_be(one, other) for one, other in itertools.combinations(drawn.faults, 2))
    assert all(0 < fault.at_s < fault.ends_s < drawn.duration_s for fault in drawn.faults)


def test_a_thousand_seeds_draw_everything_there_is() -> None:
    drawn = [draw(seed) for seed in MANY]
    every = {*OF_NODES, *OF_LINKS, *ARCHIVE_NEMESES, "disk_lost"}
    assert {fault.nemesis for one in drawn for fault in one.faults} == every
    assert set(NEMESES) - {*CONTAINER_NEMESES} == every
    assert {kind for one in drawn for kind in one.workload.mix} == set(KINDS)
    assert {one.cluster.nodes for one in drawn} == {1, 2, 3, 4, 5, 6, 7}
    assert {one.cluster.factor for one in drawn} == {1, 2, 3, 4, 5}
    assert {len(one.faults) for one in drawn} == set(range(8)), "up to four, and three of the archive"
    assert any(one.workload.sizes[-1].max_bytes > 65_536 for one in drawn)
