"""Soaks: what seeds draw, what is kept of a failing run, and what is said of it later."""

import asyncio
import itertools
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tracegen import scenario as scenarios
from tracegen.backend.choice import BACKENDS, can_do
from tracegen.cli import app
from tracegen.soak.draw import MUTANTS, draw, may_meet
from tracegen.soak.soaking import Soaked, _one
from tracegen.writing import to_toml

CATALOGUE = [scenarios.find(name) for name in scenarios.names()]
SEEDS = range(200)


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_seed_draws_could_stand_in_a_file_and_the_backend_can_do_it(backend: str) -> None:
    for seed in SEEDS:
        drawn = draw(seed, CATALOGUE, partial(can_do, backend))
        read = scenarios.parse(tomllib.loads(to_toml(drawn)), Path("drawn.toml"))
        assert replace(read, path=drawn.path) == drawn
        assert can_do(backend, drawn) and drawn.group != MUTANTS


def test_seeds_draw_most_of_the_catalogue_crossed_and_not_and_each_the_same_again() -> None:
    drawn = [draw(seed, CATALOGUE, partial(can_do, "process")) for seed in SEEDS]
    assert drawn == [draw(seed, CATALOGUE, partial(can_do, "process")) for seed in SEEDS]
    whole = {f"soak-{one.name}": len(one.faults) for one in CATALOGUE}
    crossed = [one for one in drawn if len(one.faults) > whole[one.name]]
    assert len({one.name for one in drawn}) >= 18
    assert len(SEEDS) / 4 < len(crossed) < len(SEEDS) * 3 / 4
    for one in crossed:
        *others, more = one.faults
        assert all(may_meet(more, other) for other in others)


def test_faults_of_one_sort_that_overlap_are_not_joined() -> None:
    sorts = [fault for one in CATALOGUE for fault in one.faults]
    for one, other in itertools.combinations(sorts, 2):
        if may_meet(one, other) and one.nemesis == other.nemesis:
            assert one.ends_s < other.at_s or other.ends_s < one.at_s


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    """A run of a broken server, as a soak makes it."""
    scenario = scenarios.find("mutant-quorum-of-one")
    runs = tmp_path_factory.mktemp("soak")
    return asyncio.run(_one("sim", scenario, runs, ["quorum-of-one"], lambda _: None))


def test_a_failing_run_is_kept_whole(failed: Soaked) -> None:
    assert (failed.result, failed.scenario, failed.seed) == ("failed", "mutant-quorum-of-one", 1)
    kept = Path(failed.run)
    assert {"run.json", "scenario.toml", "history.ndjson", "faults.ndjson", "verdict.json"} <= {
        file.name for file in kept.iterdir()
    }
    assert list((kept / "traces").glob("*.ndjson"))


def test_a_run_that_is_accepted_is_counted_and_not_kept(tmp_path: Path) -> None:
    done = asyncio.run(_one("sim", scenarios.find("quiet"), tmp_path, [], lambda _: None))
    assert (done.result, done.run, list(tmp_path.iterdir())) == ("accepted", "", [])


def test_a_kept_run_is_refused_again_and_another_verdict_than_before_is_told(failed: Soaked) -> None:
    assert said("rejudge", str(Path(failed.run).parent))[0] == 0, "it is refused as it was"
    verdict = Path(failed.run) / "verdict.json"
    verdict.write_bytes(verdict.read_bytes().replace(b'"refused"', b'"accepted"', 1))
    code, text = said("rejudge", failed.run)
    assert code == 1
    assert "was accepted, is refused" in text
    assert "1 runs, 1 with another verdict" in text


def test_a_replay_of_a_simulated_run_comes_to_the_same_verdict(failed: Soaked) -> None:
    code, text = said("replay", failed.run)
    assert code == 0, text
    assert "was refused, is refused: the same" in text


def test_what_is_no_run_cannot_be_replayed(tmp_path: Path) -> None:
    assert said("replay", str(tmp_path)) == (
        2,
        f"tracegen: {tmp_path} is not the directory of a run, nor are there any in it\n",
    )
