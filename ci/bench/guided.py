"""Does guidance pay? Tuples reached against seeds spent, drawn at random and guided, with the same budget.

`python -m ci.bench.guided` prints the curve. A tuple is an action with its branch and the class of the state before it
(`tracegen.watch.reached.py`); full coverage is what the random seeds reach in all. Each side has a process of its own.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tracegen.backend.sim.session import simulate
from tracegen.guide.steer import Guide
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario
from tracegen.swarm.draw import draw
from tracegen.watch import events
from tracegen.watch.reached import Reached, reached_in

SEEDS = 2000
MARKS = (10, 20, 50, 100, 200, 300, 500, 750, 1000, 1250, 1500, 2000)


@dataclass
class Curve:
    """What the first n seeds reached, for each n: how many tuples in all, and of which is new."""

    firsts: dict[Reached, int] = field(default_factory=dict)
    """Tuple -> how many seeds it took."""
    operations: list[int] = field(default_factory=list)
    """Of all runs so far, by seeds."""

    def tell(self, tuples: frozenset[Reached], operations: int) -> None:
        self.operations.append(operations + (self.operations[-1] if self.operations else 0))
        for each in tuples:
            self.firsts.setdefault(each, len(self.operations))

    def count(self, seeds: int) -> int:
        return sum(first <= seeds for first in self.firsts.values())

    def seeds_for(self, count: int) -> int | None:
        """How many seeds it took to reach so many tuples."""
        firsts = sorted(self.firsts.values())
        return firsts[count - 1] if len(firsts) >= count else None


def run(scenario: Scenario, seed: int, places: RunPlaces) -> tuple[frozenset[Reached], int]:
    """What one run reached, and how many operations it had."""
    shutil.rmtree(places.root, ignore_errors=True)
    report = simulate(scenario, seed, places)
    return reached_in(events.load(places.traces)), report.operations["total"]


def measure(guided: bool, seeds: int, first_seed: int) -> Curve:
    curve, guide = Curve(), Guide(draw, str(first_seed))
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(first_seed, first_seed + seeds):
            scenario = guide.next(seed) if guided else draw(seed)
            tuples, operations = run(scenario, seed, RunPlaces(Path(directory) / "run"))
            guide.tell(seed, scenario, tuples)
            curve.tell(tuples, operations)
            if len(curve.operations) in MARKS:
                side = "guided" if guided else "random"
                print(f"{side}: {len(curve.operations)} seeds, {len(curve.firsts)} tuples", file=sys.stderr, flush=True)
    return curve


def table(random: Curve, guided: Curve) -> list[str]:
    lines = ["   seeds   random   guided   thousand operations (random, guided)"]
    for seeds in MARKS:
        if seeds <= len(random.operations):
            spent = [curve.operations[seeds - 1] / 1000 for curve in (random, guided)]
            lines.append(f"{seeds:8}{random.count(seeds):9}{guided.count(seeds):9}   {spent[0]:.0f}, {spent[1]:.0f}")
    everything = len(random.firsts)
    seeds = len(random.operations)
    lines.append("")
    for share in (0.9, 0.95, 0.99, 1.0):
        goal = round(share * everything)
        needs = [str(curve.seeds_for(goal) or f"more than {seeds}") for curve in (random, guided)]
        lines.append(f"{share:4.0%} of {everything} tuples: {needs[0]} random seeds, {needs[1]} guided seeds")
    missed = sorted(random.firsts.keys() - guided.firsts.keys())
    half = sum(guided.firsts.get(each, seeds + 1) <= seeds // 2 for each in random.firsts)
    lines.append(f"({everything} is what {seeds} random seeds reach)")
    lines.append(
        f"of just these, {half} are reached by {seeds // 2} guided seeds, {everything - len(missed)} by {seeds}"
    )
    lines.append(f"guided seeds reach {len(guided.firsts.keys() - random.firsts.keys())} that no random seed does")
    return lines


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    given = parser.parse_args(arguments)
    with ProcessPoolExecutor(2, get_context("forkserver")) as pool:
        sides = [pool.submit(measure, guided, given.seeds, given.first) for guided in (False, True)]
        random, guided = (side.result() for side in sides)
    print("\n".join(table(random, guided)))


if __name__ == "__main__":
    main(sys.argv[1:])
