"""All that can be said against a run without TLC, at full speed: its traces, its clients' history, and the run itself.

An honest cluster gives no finding on any seed. TLC judges whatever gives one, and a sample of the rest.
"""

from dataclasses import dataclass
from typing import Literal

from checker import history
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.report import RunReport
from tracegen.watch import events, register
from tracegen.watch.reached import Reached, reached_in

By = Literal["trace", "history", "run"]


@dataclass(frozen=True)
class Finding:
    """Something that must not be. `by` is who says so: the acceptors' rules, the clients' history, or the run itself.

    `position` is that of the refused event among its path's, from 1; 0 where no event is refused.
    """

    by: By
    key: str
    rule: str
    text: str
    position: int = 0


@dataclass(frozen=True)
class Findings:
    """What was found in one run, how many events its traces have, and what they reached."""

    found: tuple[Finding, ...]
    events: int
    reached: frozenset[Reached] = frozenset()

    @property
    def by(self) -> tuple[By, ...]:
        """Who found something, in the order of the checks."""
        sides: tuple[By, ...] = ("trace", "history", "run")
        return tuple(side for side in sides if any(finding.by == side for finding in self.found))

    @property
    def first_refused(self) -> int:
        """How soon an object's trace is refused: the number of its event, 0 if none is."""
        return min((finding.position for finding in self.found if finding.position), default=0)


def look(places: RunPlaces, report: RunReport) -> Findings:
    """Look at a run that is over."""
    found, count, tuples = _in_traces(places)
    faults = history.check(places.root)
    found += [Finding("history", fault.key, fault.rule, fault.text) for fault in faults]
    found += [Finding("run", "", "problem", problem) for problem in report.problems]
    return Findings(tuple(found), count, tuples)


def _in_traces(places: RunPlaces) -> tuple[list[Finding], int, frozenset[Reached]]:
    try:
        files = events.load(places.traces)
        violations = register.judge(files)
    except HarnessError as error:
        # traces that cannot be read or ordered are no evidence of anything, so they count against the run
        return [Finding("trace", "", "order", str(error))], 0, frozenset()
    count = sum(map(len, files.values()))
    found = [Finding("trace", each.key, each.rule, str(each), each.position) for each in violations]
    return found, count, reached_in(files)
