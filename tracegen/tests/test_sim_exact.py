"""What a simulated client is told of a failure is exact: "not sent" only if no node ever saw the request."""

import json
from pathlib import Path

import pytest

from tracegen.backend.sim.session import simulate
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape, FaultSpec, Scenario, Workload

LOAD = Workload(
    clients_per_node=3, think_ms=2, keys=4, retries=0, roam=0.5, deadline_s=0.3, mix={"put": 4, "delete": 1}
)


def of_every_kind(seed: int, root: Path) -> RunPlaces:
    """A run in which nodes go away, stand still and come back all the time."""
    faults = tuple(
        FaultSpec(nemesis, at_s=0.3 + 0.5 * turn, for_s=0.4, target=f"n{turn % 3 + 1}")
        for turn, nemesis in enumerate(("kill", "power_cut", "pause", "restart"))
    )
    scenario = Scenario("exact", "says", "tests", 2.6, seed, ClusterShape(3, 3, 2), LOAD, faults, Path("exact.toml"))
    places = RunPlaces(root / str(seed))
    simulate(scenario, seed, places)
    return places


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_write_that_was_not_sent_is_in_no_trace(seed: int, tmp_path: Path) -> None:
    places = of_every_kind(seed, tmp_path)
    history = [json.loads(line) for line in places.history.read_text().splitlines()]
    seen = {
        json.loads(line).get("write_id") for file in places.traces.iterdir() for line in file.read_text().splitlines()
    }
    unsent = {each["write_id"] for each in history if each["outcome"] == "failed" and each["status"] is None}
    unsent.discard(None)  # reads
    lost = {each["write_id"] for each in history if each["outcome"] == "unknown"}
    answered = {each["write_id"] for each in history if each["outcome"] == "ok" and each["write_id"]}
    assert unsent and lost and answered
    assert not unsent & seen
    assert answered <= seen
    assert lost & seen, "what is unknown may have happened, and some of it did"
