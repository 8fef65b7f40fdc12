"""The check in the loop: it accepts what a cluster did, and refuses just what TLC refuses, at the same event."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from checker import manifest as manifests
from checker import tlc
from checker.load import load
from checker.order import linear_extension
from checker.replay import Replay
from checker.split import by_key
from tracegen import scenario as scenarios
from tracegen.backend.sim.session import simulate
from tracegen.places import RunPlaces
from tracegen.tests.corruption import Line, Retelling, can_be_ordered, corrupted, stories
from tracegen.watch import events, register

NODES = ("n1", "n2", "n3")
STORIES = 160
REFUSED_AT_LEAST = 60
EVENTS_MAX = 120


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunPlaces]:
    """Three simulated runs with kills, restarts and a partition."""
    made = []
    for name in ("rolling-restarts", "kill-one", "minority-partition"):
        scenario = scenarios.find(name)
        places = RunPlaces(tmp_path_factory.mktemp(name))
        simulate(replace(scenario, workload=replace(scenario.workload, think_ms=40.0)), 5, places)
        made.append(places)
    return made


def test_what_a_cluster_did_is_accepted(runs: list[RunPlaces]) -> None:
    for places in runs:
        assert register.check(places.traces) == []
        kinds = {type(line) for lines in events.load(places.traces).values() for line in lines}
        assert kinds >= {events.Claim, events.Propose, events.Promise, events.Accept, events.Read, events.Acknowledge}


def refused_by_tlc(run: Path) -> dict[str, str]:
    """What the checker refuses, by TLC or for its causes: each path, and its first refused event."""
    manifest = manifests.read(manifests.find())
    traces = load(run, manifest)
    refused: dict[int, int] = {}
    with Replay(manifest, traces, tlc.locate(None), jvms=1) as replay:
        replay.start(by_key(traces, linear_extension(traces)))
        replayed = replay.finish()
        assert replayed.troubles == []
        for key, place in replayed.refused.items():
            assert place is not None
            refused[key] = place
        for key, fault in replay.cause_faults.items():
            refused[key] = min(fault.position, refused.get(key, fault.position))
        return {traces.keys[key]: traces.id(replay.behaviour(key)[place]) for key, place in refused.items()}


def asked_twice(honest: list[list[Line]]) -> list[Line]:
    """A story in which a question of a read arrives twice, and is answered twice."""
    story = next(story for story in honest if any(line["event"] == "Report" for line in story))
    place = next(place for place, line in enumerate(story) if line["event"] == "Report")
    return [*story[: place + 1], dict(story[place]), *story[place + 1 :]]


def test_what_it_refuses_tlc_refuses_at_the_same_event_and_only_that(runs: list[RunPlaces], tmp_path: Path) -> None:
    draw = random.Random("corruption")
    honest = stories(runs[0].root, EVENTS_MAX)
    retelling = Retelling(NODES)
    wrong: dict[str, str] = {}
    for attempt in range(STORIES):
        what, lines = corrupted(draw.choice(honest), draw)
        if can_be_ordered(lines):
            wrong[str(attempt)] = what
            retelling.tell(str(attempt), lines)
    retelling.tell("asked twice", asked_twice(honest))
    traces = retelling.write(tmp_path / "run")
    fast = {violation.key: violation.event for violation in register.check(traces)}
    slow = refused_by_tlc(tmp_path / "run")
    differ = [(what, fast.get(key), slow.get(key)) for key, what in wrong.items() if fast.get(key) != slow.get(key)]
    assert differ == []
    assert "asked twice" not in fast.keys() | slow.keys()
    assert REFUSED_AT_LEAST <= len(fast) < len(wrong)
