"""Simulated nodes that nobody tells that their disks are new find it out as real ones do, over their network."""

from pathlib import Path

import pytest

from tracegen import scenario as scenarios
from tracegen.backend.sim import cluster, session
from tracegen.backend.sim.node import SimNode
from tracegen.places import RunPlaces


def test_nodes_that_nobody_tells_that_their_disks_are_new_ask_each_other_and_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []

    class Asking(SimNode):
        async def start(self, is_new: bool = False) -> None:
            await super().start(is_new=False)
            reached.append(self.name)

    monkeypatch.setattr(cluster, "SimNode", Asking)
    scenario = scenarios.find("parts-collected")
    report = session.simulate(scenario, 1, RunPlaces(tmp_path / "run"))
    assert (report.problems, report.inadequate) == ([], [])
    assert set(reached) == set(scenario.cluster.node_ids)
