"""Shrinking: what is left of a failing run is small, fails in the same way again, and only because of the bug."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tracegen import scenario as scenarios
from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape, ModeRule
from tracegen.backend.sim.session import simulate
from tracegen.cli import app
from tracegen.errors import HarnessError
from tracegen.history import Operation
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape, FaultSpec, Scenario, SizeRange, Workload
from tracegen.shrink.attempts import way
from tracegen.shrink.passes import plainer_archive
from tracegen.shrink.recorded import recorded, report_of
from tracegen.shrink.shrinking import shrink, write
from tracegen.watch.findings import look

MIX = {"put": 40.0, "get": 30.0, "delete": 8.0, "put_replay": 15.0, "put_if_match": 8.0, "get_range": 4.0, "list": 2.0}
SCENARIO = Scenario(
    name="stirred",
    says="A bit of everything.",
    group="",
    duration_s=1.5,
    seed=1,
    cluster=ClusterShape(5, 3, 2),
    workload=Workload(
        clients_per_node=2,
        think_ms=15.0,
        keys=6,
        hot_keys=2,
        roam=0.5,
        mix=MIX,
        sizes=(SizeRange(9, 0, 900), SizeRange(1, 66_000, 70_000)),
    ),
    faults=(
        FaultSpec("kill", 0.3, 0.2, target="next", times=3, every_s=0.4, jitter_s=0.05),
        FaultSpec("delay", 0.2, 0.9, target="all", delay_ms=3.0),
    ),
    path=Path("stirred.toml"),
)
OPERATIONS_MAX = 12
FAULTS_MAX = 2

Failing = Callable[[str], RunPlaces]


@pytest.fixture
def failing(tmp_path: Path) -> Failing:
    """Makes a run with a mutant in which something is found, with the first seed that shows it."""

    def make(mutant: str) -> RunPlaces:
        for seed in range(1, 20):
            places = RunPlaces(tmp_path / f"{mutant}-{seed}")
            report = simulate(SCENARIO, seed, places, mutants=(mutant,))
            if look(places, report).found:
                return places
        raise AssertionError(f"{mutant} shows with no seed")

    return make


@pytest.mark.parametrize("mutant", ["ignore-write-id", "promise-forgets-accepted", "forget-promise-on-restart"])
def test_a_mutant_shrinks_to_a_file_that_fails_again_in_the_same_way(
    mutant: str, failing: Failing, tmp_path: Path
) -> None:
    places = failing(mutant)
    ways = set(map(way, look(places, report_of(places)).found))
    shrunk = shrink(places)
    assert len(shrunk.scenario.operations) <= OPERATIONS_MAX
    assert len(shrunk.scenario.faults) <= FAULTS_MAX
    file = tmp_path / "small.toml"
    write(shrunk, file)
    small = scenarios.load(file)
    assert replace(small, path=Path()) == replace(shrunk.scenario, path=Path())
    for number in (1, 2):
        again = RunPlaces(tmp_path / f"again-{number}")
        found = look(again, simulate(small, small.seed, again, mutants=(mutant,))).found
        assert found[0] == shrunk.findings[0]
        assert ways.intersection(map(way, found))
    unbroken = RunPlaces(tmp_path / "unbroken")
    assert look(unbroken, simulate(small, small.seed, unbroken)).found == ()


def asked(places: RunPlaces) -> list[tuple[object, ...]]:
    history = msgspec.json.Decoder(Operation).decode_lines(places.history.read_bytes())
    mine = [each for each in history if not each.client.startswith("final-")]
    return sorted(
        (each.client, each.op, each.kind, each.path, each.condition, each.span or (), _written_bytes(each))
        for each in mine
        if each.kind == "put" or each.condition == "none"
    )


def _written_bytes(operation: Operation) -> int:
    """What a put asks to write; what a read brings is no part of the question."""
    return operation.size_bytes or 0 if operation.kind == "put" else 0


def test_a_recorded_run_asks_for_the_same_when_it_is_done_again(tmp_path: Path) -> None:
    first, second = RunPlaces(tmp_path / "first"), RunPlaces(tmp_path / "second")
    simulate(replace(SCENARIO, faults=()), 7, first)
    told = recorded(first)
    simulate(told, 7, second)
    assert len(asked(first)) > 100
    known = set(asked(first))
    assert sum(each in known for each in asked(second)) > 0.9 * len(known)
    again = {(each.client, each.op) for each in recorded(second).operations}
    assert {(each.client, each.op) for each in told.operations} <= again


def test_an_archive_that_does_not_matter_is_shrunk_away_and_one_that_does_is_made_plainer() -> None:
    rules = (ModeRule("stirred/k", "none"),)
    archive = ArchiveShape("s3", "write_back", rules, 9, 9, settings={"a": 1})
    scenario = replace(SCENARIO, archive=archive, faults=())
    assert plainer_archive(scenario, lambda candidate: candidate).archive == NO_ARCHIVE

    def evicts(candidate: Scenario) -> Scenario | None:
        return candidate if candidate.archive.evict_above_bytes else None

    assert plainer_archive(scenario, evicts).archive == ArchiveShape("s3", "write_back", evict_above_bytes=9)
    away = replace(scenario, faults=(FaultSpec("archive_down", 0.1, 0.2),))
    assert plainer_archive(away, lambda candidate: candidate).archive == ArchiveShape("s3", "write_back")


def test_a_run_with_nothing_wrong_cannot_be_shrunk(tmp_path: Path) -> None:
    places = RunPlaces(tmp_path / "well")
    simulate(replace(SCENARIO, faults=(), duration_s=1.0), 1, places)
    with pytest.raises(HarnessError, match="nothing is wrong with this run"):
        shrink(places)


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["shrink", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not the directory of a run" in result.output


def test_the_command_tells_the_story_and_tlc_refuses_it_too(failing: Failing) -> None:
    places = failing("generation-skips")
    result = CliRunner().invoke(app, ["shrink", str(places.root)])
    assert result.exit_code == 0, result.output
    assert "asks" in result.output
    assert "REFUSED" in result.output
    text = (places.root / "shrunk.toml").read_text()
    assert text.startswith("# Shrunk from stirred-")
    assert "--mutant generation-skips" in text
