"""A whole run over stub nodes: what its directory holds, and when it does not count as evidence."""

import asyncio
import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from tracegen.backend.process import ProcessCluster
from tracegen.errors import HarnessError
from tracegen.nemesis.inject import Injection
from tracegen.places import RunPlaces, new_run
from tracegen.report import Evidence, RunReport, reasons_against
from tracegen.run import carry_out
from tracegen.scenario import ClusterShape, FaultSpec, Scenario, Workload
from tracegen.tests.stub import STUB

SHAPE = ClusterShape(2, 2, 2)
PAUSE = FaultSpec("pause", at_s=0.2, for_s=0.3, target="n1")


def scenario_of(*faults: FaultSpec, workload: Workload | None = None) -> Scenario:
    load = workload or Workload(clients_per_node=2, keys=4, deadline_s=0.4, mix={"put": 1, "get": 2, "list": 0.2})
    return Scenario("small", "says", "tests", 1.0, 5, SHAPE, load, faults, Path("small.toml"))


def run_on_stubs(scenario: Scenario, root: Path) -> RunReport:
    places = RunPlaces(root)
    cluster = ProcessCluster(places, scenario.cluster, command=STUB)
    return asyncio.run(carry_out(scenario, 5, cluster, places))


def test_a_run_directory_holds_what_the_checker_reads(tmp_path: Path) -> None:
    report = run_on_stubs(scenario_of(PAUSE), tmp_path / "one")
    root = tmp_path / "one"
    on_file = json.loads((root / "run.json").read_text())
    assert msgspec.convert(on_file, RunReport) == report
    assert on_file["id"] == "one" and on_file["seed"] == 5 and on_file["nodes"] == ["n1", "n2"]
    assert on_file["replication"] == {"factor": 2, "min_write_replicas": 2}
    operations = [json.loads(line) for line in (root / "history.ndjson").read_text().splitlines()]
    assert len(operations) == report.operations["total"] > 20
    assert {"final-n1", "final-n2", "n1-0", "n2-1"} <= {operation["client"] for operation in operations}
    (fault,) = [json.loads(line) for line in (root / "faults.ndjson").read_text().splitlines()]
    assert fault["nemesis"] == "pause" and fault["nodes"] == ["n1"] and fault["bit"] and fault["overlapping"] > 0
    assert {file.name for file in (root / "config").iterdir()} == {"n1.yaml", "n2.yaml"}
    assert {file.name for file in (root / "logs").iterdir()} == {"n1.log", "n2.log"}
    assert not (root / "disks").exists()
    assert set(report.stages) == {"start", "load", "final reads", "stop"}


def test_a_run_whose_nodes_leave_no_trace_is_not_adequate(tmp_path: Path) -> None:
    report = run_on_stubs(scenario_of(), tmp_path)
    assert not report.adequate
    assert report.inadequate == ["n1 left no trace", "n2 left no trace"]


def test_an_open_loop_keeps_its_rate(tmp_path: Path) -> None:
    workload = Workload(clients_per_node=4, keys=4, loop="open", rate_per_s=100.0, mix={"get": 1})
    report = run_on_stubs(scenario_of(workload=workload), tmp_path)
    assert 60 <= report.operations["total"] - 2 * 5 <= 140  # less the final reads: 4 keys and a list from each node


def test_a_cluster_that_cannot_start_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBERIO_STUB_EXIT", "3")
    with pytest.raises(HarnessError, match="exit code 3"):
        run_on_stubs(scenario_of(), tmp_path)


def test_a_new_run_never_takes_the_place_of_another(tmp_path: Path) -> None:
    first = new_run(tmp_path, "demo-1")
    first.make()
    assert first.root.name == "demo-1"
    assert new_run(tmp_path, "demo-1").root.name == "demo-1-2"


INJECTION = Injection(
    name="kill-1", nemesis="kill", nodes=("n1",), links=(), start_us=0, end_us=9, probe="seen", bit=True, overlapping=50
)
EVIDENCE = Evidence((INJECTION,), {"ok": 500}, 100, frozenset({"n1", "n2"}), ("n1", "n2"))


def test_a_run_with_faults_that_bit_and_operations_and_traces_is_adequate() -> None:
    assert reasons_against(EVIDENCE) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"injections": (msgspec.structs.replace(INJECTION, bit=False),)}, "kill-1 did not bite: seen"),
        ({"injections": (msgspec.structs.replace(INJECTION, overlapping=49),)}, "kill-1 overlapped only 49"),
        ({"outcomes": {"ok": 3, "failed": 97}}, "only 3 of 100 operations succeeded"),
        ({"writes_acknowledged": 0}, "no write was acknowledged"),
        ({"traced_nodes": frozenset({"n1"})}, "n2 left no trace"),
    ],
)
def test_each_thing_that_is_missing_makes_a_run_inadequate(change: dict[str, object], reason: str) -> None:
    (line,) = reasons_against(dataclasses.replace(EVIDENCE, **change))  # type: ignore[arg-type]
    assert line.startswith(reason)
