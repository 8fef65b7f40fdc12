"""Nothing of many runs in containers stays: containers, networks, volumes, mounts, processes are counted.

`make containers` makes fifty of them, and prints the figures.
"""

import asyncio
import os
import time
from pathlib import Path

from tracegen.archive.shape import ArchiveShape
from tracegen.backend.choice import carry_out_on
from tracegen.backend.docker.engine import Mark, connect, left_by
from tracegen.checking import verify
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape, FaultSpec, Scenario, Workload
from tracegen.tests.engine import need_engine

RUNS = int(os.environ.get("CONTAINER_RUNS", "3"))
KINDS = (
    ("kill",),
    ("partition", "kill"),
    ("disk_full",),
    ("power_cut",),
    ("pause", "clock_jump"),
)


def scenario(number: int) -> Scenario:
    """A short one; they take turns."""
    faults = tuple(
        FaultSpec(nemesis, at_s=0.3 + 1.5 * turn, for_s=1.0, target="next")
        for turn, nemesis in enumerate(KINDS[number % len(KINDS)])
    )
    archive = ArchiveShape("s3", "write_back", request_life_s=3.0) if number % 2 else ArchiveShape()
    load = Workload(clients_per_node=4, keys=12, hot_keys=2)
    return Scenario(
        "short", "A short run.", "tests", 3.5, 1, ClusterShape(), load, faults, Path("short.toml"), archive=archive
    )


def mounts(root: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(root) in line]


def children() -> list[str]:
    """What this process has started and is still there."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_nothing_stays_of_many_runs(tmp_path: Path) -> None:
    need_engine()
    before = children()
    seconds, first_operations = [], []
    for number in range(RUNS):
        places = RunPlaces(tmp_path / str(number))
        began_s = time.monotonic()
        report = asyncio.run(carry_out_on("docker", scenario(number), number, places))
        checked = asyncio.run(verify(places))
        seconds.append(time.monotonic() - began_s)
        first_operations.append(report.load_from_us / 1e6)
        assert report.problems == [], report
        assert checked.verdict.status == ("accepted" if report.adequate else "unchecked"), checked.text
    first_operations.sort()
    print(
        f"\n{RUNS} runs with a verdict: {3600 * RUNS / sum(seconds):.0f} an hour; until the first operation "
        f"{first_operations[RUNS // 2]:.1f} s in the median, {first_operations[-1]:.1f} s at most"
    )
    assert left_by(connect(), harness=Mark().harness).count == 0
    assert mounts(tmp_path) == []
    assert children() == before
