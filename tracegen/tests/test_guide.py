"""A guided swarm: what counts as reached, that variations are scenarios which can be outlived, and that it pays."""

import random
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker import manifest
from tracegen import scenario as scenarios
from tracegen.backend.sim.session import simulate
from tracegen.guide import coverage
from tracegen.guide.steer import FRESH_FIRST, Guide
from tracegen.guide.swarm import try_guided
from tracegen.guide.vary import VARIATIONS, Variation
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario
from tracegen.swarm.draw import OF_LINKS, draw, may_both_be
from tracegen.watch import events
from tracegen.watch.findings import look
from tracegen.watch.reached import reached, reached_in
from tracegen.writing import to_toml

SEEDS = st.integers(1, 5000)


# -- what is reached


def refused(**changed: object) -> events.Refuse:
    fields: dict[str, object] = {
        "node": "n1",
        "incarnation": 1,
        "seq": 2,
        "path": "a",
        "cause": ("n2.1.2",),
        "step": "accept",
        "ballot": (3, "n2"),
        "was_promised": (4, "n3"),
        "was_accepted": (2, "n2"),
        "was_generation": 1,
    }
    return events.Refuse(**{**fields, **changed})  # type: ignore[arg-type]


def test_a_tuple_says_action_branch_and_whose_ballots_were_there_before() -> None:
    assert reached(refused()) == ("Refuse", "accept", "other", "own", "1")
    assert reached(refused(step="prepare", was_accepted=None, was_generation=0)) == (
        "Refuse",
        "prepare",
        "other",
        "none",
        "0",
    )
    assert reached(refused(was_generation=7)) == reached(refused(was_generation=9))


def test_a_run_reaches_most_actions_and_what_it_does_not_is_told(tmp_path: Path) -> None:
    places = RunPlaces(tmp_path / "run")
    report = simulate(draw(2), 2, places)
    tuples = reached_in(events.load(places.traces))
    assert look(places, report).reached == tuples
    actions = {each[0] for each in tuples}
    assert {"Prepare", "Promise", "Propose", "Accept", "Acknowledge"} <= actions
    told = {coverage.said(branch) for branch in coverage.never_reached(tuples)}
    branches = {coverage.said(branch) for branch in coverage.branches_of(tuples)}
    assert not told & branches
    assert "Propose outcome=applied" in branches
    assert told == {coverage.said(branch) for branch in coverage.never_reached(())} - branches


def test_a_run_with_an_archive_forgets_what_is_deleted_there_for_good(tmp_path: Path) -> None:
    places = RunPlaces(tmp_path / "run")
    simulate(scenarios.find("archive-tombstones"), 1, places)
    assert coverage.branches_of(reached_in(events.load(places.traces))) >= coverage.WITH_AN_ARCHIVE


def test_the_branches_are_those_of_the_manifest_and_what_is_unreachable_is_among_them() -> None:
    spec = manifest.read(manifest.find())
    everything = {*coverage.never_reached(()), *coverage.UNREACHABLE}
    assert {action for action, _ in everything} | coverage.OF_THE_ARCHIVE == set(spec.kinds)
    assert ("Refuse", "step=prepare") in everything
    known = {
        (name, f"{field}={value}")
        for name, kind in spec.kinds.items()
        for field in kind.branches
        for value in spec.domains[kind.fields[field]].values
    }
    assert set(coverage.UNREACHABLE) <= known


# -- variations


def assert_can_be_outlived(scenario: Scenario) -> None:
    """It is a file that can be read, and no two faults are in each other's way."""
    parsed = scenarios.parse(tomllib.loads(to_toml(scenario)), scenario.path)
    assert parsed == scenario
    for at, one in enumerate(scenario.faults):
        assert all(may_both_be(one, other) for other in scenario.faults[at + 1 :])
        assert scenario.cluster.nodes > 1 or one.nemesis not in OF_LINKS
        assert one.nemesis != "bit_rot" or scenario.cluster.factor >= 3
    assert scenario.cluster.min_write_replicas > scenario.cluster.factor // 2


@pytest.mark.parametrize("way", VARIATIONS, ids=lambda way: way.__name__)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, other=SEEDS)
def test_a_variation_of_what_is_drawn_can_be_outlived_as_well(way: Variation, seed: int, other: int) -> None:
    chance = random.Random(seed)
    scenario = draw(seed)
    for _ in range(3):
        scenario = way(chance, scenario, draw(other))
        assert_can_be_outlived(scenario)


# -- steering


def drawn(seed: int) -> Scenario:
    return replace(draw(seed), name=f"drawn-{seed}")


def test_what_reaches_something_rare_is_varied_more_than_what_all_runs_reach() -> None:
    guide = Guide(drawn)
    common = frozenset({("Prepare", "first")})
    rare = common | {("Claim", "read")}
    for seed in range(1, 200):
        scenario = guide.next(seed)
        guide.tell(seed, scenario, rare if seed == 5 or "drawn-5" in scenario.says else common)
    told = [guide.next(seed).says for seed in range(200, 300)]
    assert sum("drawn-5" in says or "swarm" in says for says in told) > sum("drawn-1." in says for says in told)
    assert guide.reached == rare


def test_the_same_answers_make_the_same_scenarios() -> None:
    def followed(guide: Guide) -> list[Scenario]:
        made = []
        for seed in range(1, 40):
            made.append(guide.next(seed))
            guide.tell(seed, made[-1], {("Prepare", str(seed % 7))})
        return made

    assert followed(Guide(draw)) == followed(Guide(draw))


def test_it_begins_with_what_the_seeds_draw() -> None:
    guide = Guide(draw)
    for seed in range(1, FRESH_FIRST):
        scenario = guide.next(seed)
        assert scenario == draw(seed)
        guide.tell(seed, scenario, {("Prepare", str(seed))})


def test_a_guided_swarm_is_the_same_on_one_process_and_on_two(tmp_path: Path) -> None:
    seeds = range(1, 21)
    alone, together = (
        [(outcome.seed, outcome.found, outcome.events) for outcome in try_guided(seeds, (), tmp_path, jobs)]
        for jobs in (1, 2)
    )
    assert alone == together
    assert [seed for seed, _, _ in alone] == list(seeds)
    assert not any(found for _, found, _ in alone)


def world(scenario: Scenario) -> frozenset[tuple[str, ...]]:
    """Stands in for runs: what is seldom drawn is reached only where it was reached in part before."""
    counts = Counter(fault.nemesis for fault in scenario.faults)
    found: set[tuple[str, ...]] = {
        ("fault", name, str(count)) for name, most in counts.items() for count in range(1, most + 1)
    }
    found |= {("keys", str(keys)) for keys in range(1, scenario.workload.keys + 1)}
    found |= {("quorum", str(scenario.cluster.factor), str(scenario.cluster.min_write_replicas))}
    return frozenset(found)


def test_guidance_reaches_more_with_the_same_seeds() -> None:
    guide = Guide(draw)
    drawn_only: set[tuple[str, ...]] = set()
    for seed in range(1, 301):
        scenario = guide.next(seed)
        guide.tell(seed, scenario, world(scenario))
        drawn_only |= world(draw(seed))
    assert len(guide.reached) > 1.1 * len(drawn_only)
