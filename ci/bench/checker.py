"""How fast the checker is: whole `checker verify` processes on synthetic honest traces of three sizes.

`python -m ci.bench.checker` prints a table; seconds are from start to exit, memory is the most that the process and its
JVMs held together. On other machines, or beside other work, read the figures as ratios.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.bench.traces import generate

SAMPLE_S = 0.05


@dataclass(frozen=True)
class Target:
    events: int
    seconds: float
    memory_gb: float | None


TARGETS = (Target(10_000, 2.5, None), Target(100_000, 8.0, 0.8), Target(1_000_000, 60.0, 2.0))


@dataclass(frozen=True)
class Measured:
    seconds: float
    cpu_s: float
    memory_gb: float
    verdict: dict[str, object]


def measure(run_dir: Path, arguments: list[str]) -> Measured:
    """One whole process, watched from outside."""
    before = _children_cpu_s()
    began = time.monotonic()
    command = [sys.executable, "-m", "checker", "verify", str(run_dir), "--json", *arguments]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process.pid))
            time.sleep(SAMPLE_S)
        seconds = time.monotonic() - began
        output.seek(0)
        verdict = json.loads(output.read())
    return Measured(seconds, _children_cpu_s() - before, peak / 1e9, verdict)


def _children_cpu_s() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tree_bytes(pid: int) -> int:
    """Resident memory of a process and all below it; pages of mapped files count once, for whoever maps them."""
    total, waiting = 0, [pid]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            statm = (folder / "statm").read_text().split()
            total += (int(statm[1]) - int(statm[2])) * 4096
            for task in (folder / "task").iterdir():
                waiting.extend(map(int, (task / "children").read_text().split()))
        except OSError:
            continue  # it ended just now
    return total


def main(argv: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", help="only these sizes")
    parser.add_argument("--events-a-path", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=1, help="take the fastest of so many")
    arguments, others = parser.parse_known_args(argv)
    print(
        _row(
            "events", "traces", "seconds", "target", "CPU s", "GB", "target", "states", "verdict; seconds of each stage"
        )
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for target in TARGETS:
            if arguments.events and target.events not in arguments.events:
                continue
            run_dir = Path(folder) / str(target.events)
            generate(run_dir, target.events, max(3, target.events // arguments.events_a_path))
            best = min((measure(run_dir, others) for _ in range(arguments.repeat)), key=lambda each: each.seconds)
            verdict = best.verdict
            print(
                _row(
                    f"{verdict['events']:,}",
                    f"{verdict['traces']:,}",
                    f"{best.seconds:.2f}",
                    f"{target.seconds:.1f}",
                    f"{best.cpu_s:.1f}",
                    f"{best.memory_gb:.2f}",
                    "" if target.memory_gb is None else f"{target.memory_gb:.1f}",
                    f"{verdict['distinct_states']:,}",
                    f"{verdict['status']}; {verdict['stages']}",
                ),
                flush=True,
            )


def _row(*cells: str) -> str:
    widths = (10, 7, 8, 7, 7, 5, 7, 10)
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False)) + f"  {cells[-1]}"


if __name__ == "__main__":
    main(sys.argv[1:])
