"""Does a scenario still fail in the same way? Simulated, and looked at with the checks in the loop.

What one operation less changes is also who is first where: every latency after it is drawn anew. So a scenario is
tried with a few seeds, and fails if it does with one of them. They are the same few each time, so that the same
scenario always gives the same answer.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tracegen.errors import HarnessError
from tracegen.operations import WITH_BODY, Listed
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario
from tracegen.watch.findings import Finding, look

Way = tuple[str, str]
"""How a run fails: which check says so, and which rule is broken."""

CHEAP_OPERATIONS: Final = 60
SEEDS_MAX: Final = 8
SEEDS_OF_DEAR: Final = 2
_DETAILS: Final = re.compile(r"\bn\d+\b|\d+|'[^']*'|\"[^\"]*\"")


def way(finding: Finding) -> Way:
    """The finding without its values: no numbers, no names of nodes and paths."""
    if finding.by == "run":
        return "run", _DETAILS.sub("", finding.text)[:60]
    return finding.by, _DETAILS.sub("", finding.rule.partition(": ")[0])


class Attempts:
    """Runs of smaller and smaller scenarios, in a directory of their own, until the time is up.

    The time is this process's own, so that what comes out does not depend on who else is at work.
    """

    def __init__(self, mutants: Sequence[str], budget_s: float) -> None:
        self._mutants = tuple(mutants)
        self._end_s = time.process_time() + budget_s
        self.root = Path(tempfile.mkdtemp(prefix="amberio-shrink-"))
        self._same: frozenset[Way] = frozenset()
        self._must_live = True
        self._seeds: list[int] = []
        self.runs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def is_over(self) -> bool:
        return time.process_time() >= self._end_s

    def aim_at(self, findings: Sequence[Finding], seed: int) -> None:
        """From now on a scenario fails if it fails in one of these ways, with this seed or one of the next few."""
        self._same = frozenset(map(way, findings))
        # writes that only see whether the cluster lives are no part of a story about anything else
        self._must_live = all(finding.by == "run" for finding in findings)
        self._seeds = list(range(seed, seed + SEEDS_MAX))

    def try_as_often_as_needed(self, scenario: Scenario) -> None:
        """Take from now on as few seeds as this scenario allows: what fails with all of them needs one, no luck."""
        if len(scenario.operations) > CHEAP_OPERATIONS:
            return
        seeds = range(scenario.seed, scenario.seed + SEEDS_MAX)
        failing = [seed for seed in seeds if self._fails(replace(scenario, seed=seed))]
        enough = 1 if len(failing) == SEEDS_MAX else min(SEEDS_MAX, 2 * SEEDS_MAX // max(1, len(failing)))
        self._seeds = [*failing, *(seed for seed in seeds if seed not in failing)][:enough]

    def findings(
        self, scenario: Scenario, places: RunPlaces | None = None, *, unbroken: bool = False
    ) -> tuple[Finding, ...]:
        """All that is found in a run of this scenario with its seed. The run is kept if it is given a place.

        unbroken: without the mutants.
        """
        used = places or RunPlaces(self.root / "run")
        shutil.rmtree(used.root, ignore_errors=True)
        self.runs += 1
        from tracegen.backend.sim.session import simulate  # brings the server's code, which the command line needs not

        try:
            mutants = () if unbroken else self._mutants
            report = simulate(scenario, scenario.seed, used, mutants=mutants, must_live=self._must_live)
            return look(used, report).found
        except HarnessError as error:
            return (Finding("run", "", "cannot be run", str(error)),)

    def failing(self, scenario: Scenario) -> Scenario | None:
        """The scenario with a seed with which it still fails in the same way; None if there is none, or no time.

        With a mutant, it must be the mutant that fails: a smaller cluster may be one that nobody could keep right.
        """
        if not scenario.operations or not _can_be_told(scenario.operations):
            return None
        are_few = len(scenario.operations) <= CHEAP_OPERATIONS
        seeds = self._seeds if are_few else self._seeds[:SEEDS_OF_DEAR]
        for seed in sorted(seeds, key=lambda seed: seed != scenario.seed):
            if self.is_over:
                return None
            tried = replace(scenario, seed=seed)
            if self._fails(tried) and not self.fails_unbroken(tried):
                return tried
        return None

    def fails_unbroken(self, scenario: Scenario) -> bool:
        """Is it not the mutant at all?"""
        return bool(self._mutants and self.findings(scenario, unbroken=True))

    def _fails(self, scenario: Scenario) -> bool:
        return not self._same.isdisjoint(map(way, self.findings(scenario)))


def _can_be_told(operations: Sequence[Listed]) -> bool:
    """What is sent again was sent before; else no file could say it."""
    sent: set[tuple[str, int]] = set()
    for each in operations:
        if each.kind == "put_replay" and (each.client, each.again) not in sent:
            return False
        if each.kind in WITH_BODY:
            sent.add((each.client, each.op))
    return True
