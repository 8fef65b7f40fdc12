"""Each fault bites on a simulated cluster, the honest server outlives it; real processes refuse what is not theirs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tracegen import scenario as scenarios
from tracegen.archive.shape import ArchiveShape
from tracegen.backend.choice import check_backend
from tracegen.backend.sim.session import simulate
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.report import RunReport
from tracegen.scenario import (
    ARCHIVE_NEMESES,
    CONTAINER_NEMESES,
    MACHINE_NEMESES,
    NEMESES,
    ClusterShape,
    FaultSpec,
    Scenario,
    SizeRange,
    Workload,
)
from tracegen.watch import register

LOAD = Workload(
    clients_per_node=2,
    think_ms=15,
    keys=6,
    hot_keys=2,
    mix={"put": 10, "get": 10, "delete": 1, "list": 1, "put_if_match": 3},
    sizes=(SizeRange(4, 10, 500), SizeRange(1, 70_000, 90_000)),
)
ONE_FAULT = {
    "disk_full": FaultSpec("disk_full", at_s=0.4, for_s=1.0, target="n2", room_bytes=0),
    "drop": FaultSpec("drop", at_s=0.4, for_s=1.0, target="n2", period_s=0.3),
    "flap": FaultSpec("flap", at_s=0.4, for_s=1.5, target="n2"),
}


def scenario_of(*faults: FaultSpec, duration_s: float = 3.0) -> Scenario:
    return Scenario("one", "says", "tests", duration_s, 1, ClusterShape(3, 3, 2), LOAD, faults, Path("one.toml"))


def simulated(root: Path, *faults: FaultSpec, seed: int = 1) -> RunReport:
    return simulate(scenario_of(*faults), seed, RunPlaces(root))


@pytest.mark.parametrize("nemesis", [kind for kind in NEMESES if kind not in (*ARCHIVE_NEMESES, *CONTAINER_NEMESES)])
def test_each_fault_bites_and_the_cluster_outlives_it(nemesis: str, tmp_path: Path) -> None:
    fault = ONE_FAULT.get(nemesis, FaultSpec(nemesis, at_s=0.4, for_s=1.0, target="n2"))
    report = simulated(tmp_path / "run", fault)
    assert report.inadequate == [] and report.problems == []
    assert report.backend == "sim" and report.operations["ok"] > 100


@pytest.mark.parametrize("nemesis", ["kill", "power_cut"])
def test_a_node_may_be_struck_in_the_middle_of_a_write(nemesis: str, tmp_path: Path) -> None:
    report = simulated(tmp_path / "run", FaultSpec(nemesis, at_s=0.4, for_s=0.5, target="n1", when="mid_write"))
    assert report.inadequate == [] and report.problems == []


def test_a_node_whose_disk_fails_stops_itself_and_comes_back(tmp_path: Path) -> None:
    simulated(tmp_path / "run", FaultSpec("disk_error", at_s=0.4, for_s=1.0, target="n2"))
    (fault,) = [json.loads(line) for line in (tmp_path / "run" / "faults.ndjson").read_text().splitlines()]
    assert fault["probe"].endswith("errors, gone")
    assert (tmp_path / "run" / "traces" / "n2.2.ndjson").exists()


def test_a_clock_that_is_an_hour_off_changes_nothing_but_the_times_written(tmp_path: Path) -> None:
    jump = FaultSpec("clock_jump", at_s=0.4, for_s=2.0, target="n2", skew_ms=3_600_000.0)
    report = simulated(tmp_path / "run", jump)
    assert report.inadequate == [] and report.problems == []


@pytest.mark.parametrize("nemesis", [kind for kind in MACHINE_NEMESES if kind != "power_cut"])
def test_real_processes_refuse_what_befalls_machines(nemesis: str) -> None:
    scenario = scenario_of(FaultSpec(nemesis, at_s=0.4, for_s=1.0))
    with pytest.raises(HarnessError, match=f"one.toml uses {nemesis}: .* use --backend (docker or )?sim"):
        check_backend("process", scenario)
    check_backend("sim", scenario)


@pytest.mark.parametrize("nemesis", CONTAINER_NEMESES)
def test_a_simulation_refuses_what_takes_a_kernel(nemesis: str) -> None:
    scenario = scenario_of(FaultSpec(nemesis, at_s=0.4, for_s=1.0))
    with pytest.raises(HarnessError, match=f"one.toml uses {nemesis}: .* use --backend docker"):
        check_backend("sim", scenario)


@pytest.mark.parametrize("shape", ["bridge", "ring"])
def test_a_partition_may_have_the_shape_of_a_bridge_or_of_a_ring(shape: str, tmp_path: Path) -> None:
    target = "all" if shape == "ring" else "n3"
    fault = FaultSpec("partition", at_s=0.4, for_s=1.0, target=target, shape=shape)
    scenario = replace(scenario_of(fault), cluster=ClusterShape(5, 3, 2))
    report = simulate(scenario, 1, RunPlaces(tmp_path / "run"))
    assert report.inadequate == [] and report.problems == []


SLOWER = replace(LOAD, think_ms=50.0)
"""So that a few writes of a path come while the archive is about one of them."""


def archive_scenario(mode: str, *faults: FaultSpec) -> Scenario:
    archive = ArchiveShape("s3", mode, request_life_s=1.0)
    return replace(scenario_of(*faults, duration_s=2.0), archive=archive, workload=SLOWER)


@pytest.mark.parametrize(
    ("nemesis", "mode"),
    [
        ("archive_slow", "write_through"),
        ("archive_throttle", "write_back"),
        ("archive_lost_answer", "write_through"),
        ("archive_cut", "write_back"),
        ("archive_late", "write_back"),
    ],
)
def test_each_fault_of_the_archive_bites_and_the_archive_holds_what_it_should(
    nemesis: str, mode: str, tmp_path: Path
) -> None:
    fault = FaultSpec(nemesis, at_s=0.3, for_s=1.2, target="all", late_s=0.7)
    report = simulate(archive_scenario(mode, fault), 1, RunPlaces(tmp_path / "run"))
    assert report.problems == [] and report.inadequate == []
    held = [json.loads(line) for line in (tmp_path / "run" / "archive.ndjson").read_text().splitlines()]
    assert {"at_s", "key", "generation", "etag"} == held[0].keys()


def test_an_outage_of_the_archive_costs_no_write_back_a_failure(tmp_path: Path) -> None:
    fault = FaultSpec("archive_down", at_s=0.3, for_s=1.5, target="all")
    load = replace(SLOWER, mix={"put": 10, "get": 10})
    report = simulate(replace(archive_scenario("write_back", fault), workload=load), 1, RunPlaces(tmp_path / "run"))
    assert report.problems == [] and report.operations["failed"] == report.operations["unknown"] == 0


def test_an_outage_of_the_archive_leaves_no_write_through_acknowledged(tmp_path: Path) -> None:
    fault = FaultSpec("archive_down", at_s=0.3, for_s=1.5, target="all")
    load = replace(SLOWER, mix={"put": 10, "get": 10})
    simulate(replace(archive_scenario("write_through", fault), workload=load), 1, RunPlaces(tmp_path / "run"))
    (struck,) = [json.loads(line) for line in (tmp_path / "run" / "faults.ndjson").read_text().splitlines()]
    writes = [json.loads(line) for line in (tmp_path / "run" / "history.ndjson").read_text().splitlines()]
    during = [
        each
        for each in writes
        if each["kind"] == "put" and struck["start_us"] + 2e5 < each["invoke_us"] < struck["end_us"] - 5e5
    ]
    assert during and all(each["outcome"] == "unknown" or each["return_us"] > struck["end_us"] for each in during)


@pytest.mark.parametrize(
    ("mutant", "found"),
    [
        ("ack-write-through-early", "and the archive had only had"),
        ("ship-old-over-new", "the archive went back: "),
    ],
)
def test_the_last_look_at_the_archive_finds_what_a_mutant_did(mutant: str, found: str, tmp_path: Path) -> None:
    scenario = scenarios.find(f"mutant-{mutant}")
    faults = tuple(replace(fault, at_s=0.3, for_s=1.5) for fault in scenario.faults)
    report = simulate(
        replace(scenario, duration_s=2.0, faults=faults), 1, RunPlaces(tmp_path / "run"), mutants=(mutant,)
    )
    assert any(found in problem for problem in report.problems), report.problems


@pytest.mark.parametrize("mutant", ["confirm-before-shipped", "evict-unsettled", "collect-unsettled-tombstone"])
def test_the_traces_show_what_a_mutant_did_with_the_archive(mutant: str, tmp_path: Path) -> None:
    scenario = scenarios.find(f"mutant-{mutant}")
    honest, broken = RunPlaces(tmp_path / "honest"), RunPlaces(tmp_path / "broken")
    simulate(scenario, 1, honest)
    simulate(scenario, 1, broken, mutants=(mutant,))
    assert register.check(honest.traces) == []
    assert register.check(broken.traces) != []
