"""Parts are collected while large objects come and go, and nothing that a client was told of is lost (B2)."""

from pathlib import Path

import pytest

from tracegen import scenario as scenarios
from tracegen.backend.sim import session
from tracegen.backend.sim.cluster import SimCluster
from tracegen.places import RunPlaces
from tracegen.swarm.trial import Outcome, try_seed

SCENARIO = scenarios.find("parts-collected")
SEEDS = range(1, 6)


def tried(seed: int, keep: Path, *mutants: str) -> Outcome:
    return try_seed(seed, mutants, keep, scenario=SCENARIO)


def test_what_no_head_names_is_collected_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: dict[str, int] = {}

    class Counted(SimCluster):
        async def stop(self) -> list[str]:
            for node in self.nodes:
                removed[node] = len(self.disk(node).removed)
            return await super().stop()

    monkeypatch.setattr(session, "SimCluster", Counted)
    report = session.simulate(SCENARIO, 1, RunPlaces(tmp_path / "run"))
    assert (report.problems, report.inadequate) == ([], [])
    assert len(removed) == SCENARIO.cluster.nodes and all(count > 0 for count in removed.values()), removed


@pytest.mark.parametrize("mutant", ["collect-older-versions", "collect-uploading", "collect-without-grace"])
def test_a_node_that_collects_too_much_is_found(mutant: str, tmp_path: Path) -> None:
    for seed in SEEDS:
        outcome = tried(seed, tmp_path, mutant)
        assert not outcome.is_crash, outcome.found
        if outcome.found:
            return
    pytest.fail(f"{len(SEEDS)} seeds do not show {mutant}")
