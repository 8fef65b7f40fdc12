"""Whole runs in containers: what a run says, what TLC says of it, and that nothing of it stays."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tracegen import scenario as scenarios
from tracegen.backend.choice import carry_out_on
from tracegen.backend.docker.engine import Mark, connect, left_by, runs_there
from tracegen.checking import verify
from tracegen.nemesis.inject import Injection
from tracegen.places import RunPlaces
from tracegen.tests.engine import need_engine

REMOVED_S = 30.0


@pytest.fixture(autouse=True)
def engine() -> None:
    need_engine()


def test_a_run_with_a_partition_a_kill_and_an_archive_is_accepted_and_leaves_nothing(tmp_path: Path) -> None:
    scenario = scenarios.find("archive-partition-and-kill")
    places = RunPlaces(tmp_path / "run")

    async def story() -> None:
        report = await carry_out_on("docker", scenario, 1, places)
        assert (report.adequate, report.problems) == (True, []), report
        assert report.backend == "docker"
        assert report.versions["image"].startswith("sha256:")
        checked = await verify(places)
        assert checked.verdict.status == "accepted", checked.text

    asyncio.run(story())
    faults = msgspec.json.Decoder(Injection).decode_lines(places.faults.read_bytes())
    assert [fault.nemesis for fault in faults] == ["partition", "kill"]
    assert "n1>n2 broken" in faults[0].probe
    assert all('"event":"serving"' in places.log(node).read_text() for node in report_nodes(places))
    assert left_by(connect(), harness=Mark().harness).count == 0


def report_nodes(places: RunPlaces) -> list[str]:
    return [log.stem for log in places.root.glob("logs/n*.log")]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A harness with a run under way, and the run's mark at the engine."""
    before = set(runs_there(connect()))
    command = [sys.executable, "-m", "tracegen", "run", "quiet", "--backend", "docker", "--out", str(tmp_path / "run")]
    harness = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        end_s = time.monotonic() + 60
        while not (new := set(runs_there(connect())) - before) or not _serves(tmp_path / "run"):
            assert time.monotonic() < end_s and harness.poll() is None, harness.communicate()[0]
            time.sleep(0.1)
        yield harness, new.pop()
    finally:
        harness.kill()
        harness.communicate()


def _serves(run: Path) -> bool:
    return any((run / "traces").glob("*.ndjson")) if run.is_dir() else False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_nothing_stays_of_a_run_whose_harness_is_ended(
    started: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    harness, run = started
    assert left_by(connect(), run).count >= 7, "six containers and their network"
    os.kill(harness.pid, number)
    harness.wait(timeout=60)
    end_s = time.monotonic() + REMOVED_S
    while left_by(connect(), run).count and time.monotonic() < end_s:
        time.sleep(0.2)
    assert left_by(connect(), run).count == 0
