"""The deliberate bugs: each has its place and its promise, and the swarm finds it without a scenario made for it."""

from pathlib import Path

import pytest

from tracegen.backend.sim.mutants import MUTANTS
from tracegen.mutants import MUTANTS as OF_REAL_PROCESSES
from tracegen.swarm.hunt import hunt, hunt_all

ROOT = Path(__file__).parents[2]
SEEDS = range(1, 11)

BY_TRACE = ("accept-below-promise", "oldest-of-group-wins", "refused-but-written", "version-not-kept")
BY_HISTORY = ("list-skips-unsettled", "etag-of-previous", "retry-new-write-id")
BY_RUN = ("range-off-by-one", "part-not-fsynced", "parts-of-one")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_asked_about_where_it_is_said_to_be(name: str) -> None:
    mutant = MUTANTS[name]
    field = name.replace("-", "_")
    assert f"rules.{field}" in (ROOT / mutant.where).read_text()
    assert mutant.breaks


def test_there_are_as_many_as_were_asked_for_and_each_breaks_a_promise_of_its_own() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.breaks for mutant in MUTANTS.values()}) == len(MUTANTS)
    assert set(OF_REAL_PROCESSES) <= MUTANTS.keys()


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *((name, "trace") for name in BY_TRACE),
        *((name, "history") for name in BY_HISTORY),
        *((name, "run") for name in BY_RUN),
    ],
)
def test_a_mutant_is_found_within_a_few_seeds_by_the_side_that_can_see_it(name: str, side: str, tmp_path: Path) -> None:
    found = hunt(name, SEEDS, tmp_path)
    assert found.crashes == ()
    assert found.seed is not None and found.seed == SEEDS[found.tried - 1]
    assert side in found.by
    assert (Path(found.run) / "history.ndjson").is_file()


def test_a_hunt_comes_to_the_same_in_another_process(tmp_path: Path) -> None:
    name = "promise-lower"
    here = hunt(name, SEEDS, tmp_path / "here")
    [there] = hunt_all([name], SEEDS, tmp_path / "there", jobs=2)
    assert (there.seed, there.events, there.first_refused, there.why) == (
        here.seed,
        here.events,
        here.first_refused,
        here.why,
    )
