"""How small does a failing run become, and how soon? Each deliberate bug, in the first seed that shows it.

`python -m ci.bench.shrinking` prints a table. Seconds are of a clock; CPU seconds are what counts where others work on
the same machine.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tracegen.backend.sim.bugs import MUTANTS
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.shrink.shrinking import BUDGET_S, Shrunk, shrink
from tracegen.swarm.trial import try_seed

OPERATIONS_MAX = 12
FAULTS_MAX = 2
SHARE = 0.9


@dataclass(frozen=True)
class Row:
    mutant: str
    seed: int | None
    shrunk: Shrunk | None
    cpu_s: float
    why: str = ""

    @property
    def is_small(self) -> bool:
        if self.shrunk is None or self.shrunk.seconds > BUDGET_S + 1:
            return False
        small = self.shrunk.scenario
        return len(small.operations) <= OPERATIONS_MAX and len(small.faults) <= FAULTS_MAX

    def __str__(self) -> str:
        if self.shrunk is None:
            return f"{self.mutant:30}{self.seed or '-':>5}   {self.why}"
        small = self.shrunk.scenario
        operations = f"{self.shrunk.operations_before} -> {len(small.operations)}"
        faults = f"{self.shrunk.faults_before} -> {len(small.faults)}"
        shape = f"{small.cluster.nodes} nodes"
        return (
            f"{self.mutant:30}{self.seed:>5}{operations:>14}{faults:>9}   {shape:9}{self.shrunk.runs:>5}"
            f"{self.shrunk.seconds:>9.1f}{self.cpu_s:>7.1f}{'' if self.is_small else '   TOO BIG, OR TOO LATE'}"
        )


def measure(mutant: str, seeds: int) -> Row:
    """Find the first seed that shows the mutant, and shrink it."""
    room = Path(tempfile.mkdtemp(prefix="amberio-bench-"))
    try:
        for seed in range(1, seeds + 1):
            outcome = try_seed(seed, (mutant,), room)
            if not outcome.found:
                continue
            if not outcome.kept:
                return Row(mutant, seed, None, 0.0, f"nothing to shrink: {outcome.found[0][:80]}")
            began_s = time.process_time()
            try:
                shrunk = shrink(RunPlaces(Path(outcome.kept)))
            except HarnessError as error:
                return Row(mutant, seed, None, time.process_time() - began_s, str(error)[:80])
            return Row(mutant, seed, shrunk, time.process_time() - began_s)
        return Row(mutant, None, None, 0.0, f"not shown by {seeds} seeds")
    finally:
        shutil.rmtree(room, ignore_errors=True)


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many are tried for each mutant")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", help="only this mutant (repeatable)")
    given = parser.parse_args(arguments)
    titles = ("operations", "faults", "on", "runs", "seconds", "CPU s")
    print("{:30}{:>5}{:>14}{:>9}   {:9}{:>5}{:>9}{:>7}".format("mutant", "seed", *titles))
    rows = []
    with ProcessPoolExecutor(given.jobs, get_context("forkserver")) as pool:
        for row in pool.map(partial(measure, seeds=given.seeds), given.only or list(MUTANTS)):
            rows.append(row)
            print(row, flush=True)
    small = sum(row.is_small for row in rows)
    print(
        f"\n{small} of {len(rows)} have shrunk to {OPERATIONS_MAX} operations and {FAULTS_MAX} faults at most, "
        f"in {BUDGET_S:g} s each"
    )
    if small < SHARE * len(rows):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
