"""Runs of S3 clients are replayed through the spec: on real processes and on simulated ones, with a node killed.

What clients were told of versions is judged with them, so a server that breaks a promise on versions is refused.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checker.history import check
from integration.judging import BIN, ROOT, run_of_processes, run_of_simulator
from tracegen.history import Operation
from tracegen.places import RunPlaces
from tracegen.watch import events

SCENARIO = "s3-versions"
PATIENCE_S = 400


def verified(run: Path) -> dict[str, Any]:
    command = [str(BIN / "checker"), "verify", str(run), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT)
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def history(run: Path) -> list[Operation]:
    return msgspec.json.Decoder(Operation).decode_lines(RunPlaces(run).history.read_bytes())


@pytest.fixture(scope="module", params=[run_of_processes, run_of_simulator], ids=["processes", "simulator"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path, str], Path] = request.param
    return make(tmp_path_factory.mktemp("s3") / "run", SCENARIO)


def test_a_run_of_s3_clients_with_versions_is_a_behaviour_of_the_spec(run: Path) -> None:
    verdict = verified(run)
    assert (verdict["status"], verdict["refused"], verdict["history"]) == ("accepted", [], [])


def test_clients_did_to_versions_what_s3_can_do_to_them(run: Path) -> None:
    told = [each for each in history(run) if each.outcome == "ok"]
    kinds = Counter(each.kind for each in told)
    assert kinds.keys() >= {"put", "mark", "delete", "tag", "copy", "get", "list", "list_versions"}
    assert {each.parts for each in told if each.kind == "put"} == {0, 1}
    assert {each.condition for each in told} >= {"absent", "etag_is"}
    named = [each for each in told if each.kind == "get" and each.of_version]
    assert {each.status for each in named} >= {200, 404}
    assert all(each.version == each.generation for each in told if each.versioned)


def test_the_traces_tell_of_versions_markers_and_amendments(run: Path) -> None:
    files = events.load(RunPlaces(run).traces)
    changes = [line for lines in files.values() for line in lines if isinstance(line, events.Claim | events.Propose)]
    applied = {(each.operation, each.versioned) for each in changes if each.outcome == "applied"}
    assert applied >= {("put", True), ("mark", True), ("delete", False), ("amend", False)}


@pytest.mark.parametrize("mutant", ["version-not-kept", "newest-version-deleted", "version-ignored"])
def test_clients_see_that_a_server_breaks_a_promise_on_versions(mutant: str, tmp_path: Path) -> None:
    run = run_of_simulator(tmp_path / "run", SCENARIO, mutants=[mutant])
    assert {fault.rule for fault in check(run)} & {"version-kept", "version-gone", "one-content"}


def test_what_only_clients_see_is_refused_though_the_spec_allows_the_traces(tmp_path: Path) -> None:
    verdict = verified(run_of_simulator(tmp_path / "run", SCENARIO, mutants=["version-ignored"]))
    assert (verdict["status"], verdict["refused"]) == ("refused", [])
    assert verdict["history"]
