"""Power cuts of real processes: the honest server keeps what it said, one that does not sync is caught by its trace."""

import asyncio
import os
from pathlib import Path

import pytest

from tracegen import scenario as scenarios
from tracegen.backend.choice import carry_out_on
from tracegen.checking import Checked, verify
from tracegen.disk.power import PoweredDisk
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.report import RunReport


@pytest.fixture(autouse=True)
def fuse(tmp_path: Path) -> None:
    """Skip where there is no FUSE, and say why."""
    disk = PoweredDisk(tmp_path / "platter", tmp_path / "mount", tmp_path / "log")

    async def try_it() -> None:
        try:
            await disk.mount()
        finally:
            await disk.unmount()

    try:
        asyncio.run(try_it())
    except HarnessError as error:
        pytest.skip(str(error))


def judged(places: RunPlaces, mutants: list[str]) -> tuple[RunReport, Checked]:
    async def story() -> tuple[RunReport, Checked]:
        scenario = scenarios.find("mutant-skip-fsync")
        return await carry_out_on("process", scenario, 1, places, mutants=mutants), await verify(places)

    return asyncio.run(story())


def test_the_honest_server_loses_nothing_with_its_power(tmp_path: Path) -> None:
    places = RunPlaces(tmp_path / "run")
    report, checked = judged(places, [])
    assert (report.inadequate, report.problems) == ([], [])
    assert checked.verdict.status == "accepted", checked.text
    assert not any(os.path.ismount(places.disks / node) for node in report.nodes)
    assert not places.disks.exists() and not places.platters.exists()


def test_a_server_that_does_not_sync_is_caught_by_its_trace(tmp_path: Path) -> None:
    _, checked = judged(RunPlaces(tmp_path / "run"), ["skip-fsync"])
    assert checked.verdict.status == "refused" and checked.verdict.refused
