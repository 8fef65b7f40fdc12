"""The harness's own power, measured: every deliberate bug must be caught, and the unbroken node never accused.

A mutant is the real server with one rule of the protocol broken (`mutants` in its configuration). Each has a scenario
in which the broken rule matters, `mutant-<name>`; the same scenarios are then run with nothing broken.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final, Literal

from tracegen import scenario as scenarios
from tracegen.backend.choice import carry_out_on
from tracegen.checking import Checked, verify
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario

MUTANTS: Final = (
    "ack-before-quorum",
    "quorum-of-one",
    "forget-promise-on-restart",
    "accept-below-promise",
    "stale-local-read",
    "ignore-if-none-match",
    "ignore-write-id",
    "reuse-generation",
    "collect-tombstone-early",
    "collect-unsettled-tombstone",
    "floor-not-kept",
    "heal-by-wall-clock",
    "vote-after-disk-loss",
    "rejoin-from-one",
    "ack-write-through-early",
    "confirm-before-shipped",
    "evict-before-confirm",
    "evict-unsettled",
    "ship-old-over-new",
    "skip-fsync",
)
SEEDS_TRIED: Final = 3
"""A broken rule may not matter in one run: chance has a say in which messages meet. So many seeds are tried at most."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """One run of a mutant or of the honest node (`mutant` is None), and what came of it.

    `first_refused` is how soon an object's trace is refused: the number of its event, 0 if none is.
    """

    mutant: str | None
    scenario: str
    seed: int
    result: Literal["accepted", "refused", "unchecked"]
    caught_by: str
    events: int
    first_refused: int
    seconds: float
    why: str
    run: str

    @property
    def is_well(self) -> bool:
        return self.result == ("accepted" if self.mutant is None else "refused")


async def hunt(mutant: str, backend: str, runs: Path, say: Say) -> Trial:
    """Run a mutant until the checker catches it, with a few seeds at most; the last run."""
    trial: Trial | None = None
    for seed in range(1, SEEDS_TRIED + 1):
        trial = await _try(scenarios.find(f"mutant-{mutant}"), seed, mutant, backend, runs, say)
        if trial.is_well:
            break
    assert trial is not None
    return trial


async def honest(seeds: Sequence[int], backend: str, runs: Path, say: Say) -> AsyncIterator[Trial]:
    """The unbroken node: one run a seed, the scenarios of the mutants taking turns, and each of them at least once."""
    turns = cycle([scenarios.find(f"mutant-{mutant}") for mutant in MUTANTS])
    least = max(len(seeds), len(MUTANTS))
    for _, scenario, seed in zip(range(least), turns, cycle(seeds), strict=False):
        yield await _try(scenario, seed, None, backend, runs, say)


async def _try(scenario: Scenario, seed: int, mutant: str | None, backend: str, runs: Path, say: Say) -> Trial:
    places = RunPlaces(runs / f"{scenario.name}-{'broken' if mutant else 'honest'}-{seed}")
    shutil.rmtree(places.root, ignore_errors=True)
    broken = (mutant,) if mutant else ()
    try:
        report = await carry_out_on(backend, scenario, seed, places, mutants=broken, say=say)
        say("checking")
        checked = await verify(places)
    except HarnessError as error:
        return Trial(mutant, scenario.name, seed, "unchecked", "", 0, 0, 0.0, str(error), str(places.root))
    seconds = sum(report.stages.values()) + checked.seconds
    verdict = checked.verdict
    result, why = verdict.status, verdict.reasons or report.inadequate
    found_by = _caught_by(checked)
    if result == "accepted" and report.problems:
        # an honest node that falls over has done nothing wrong, and nothing right
        result, why = "unchecked" if mutant is None else "refused", report.problems
        found_by = "run"
    return Trial(
        mutant=mutant,
        scenario=scenario.name,
        seed=seed,
        result=result,
        caught_by=found_by,
        events=verdict.events,
        first_refused=min((refusal.position for refusal in verdict.refused), default=0),
        seconds=round(seconds, 1),
        why="; ".join(why),
        run=str(places.root),
    )


def _caught_by(checked: Checked) -> str:
    verdict = checked.verdict
    sides = [name for name, found in (("trace", verdict.refused), ("history", verdict.history)) if found]
    return " and ".join(sides)
