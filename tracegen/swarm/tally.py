"""What a swarm came to, counted while it runs, and told as a table."""

import time
from collections import Counter
from typing import Final

import msgspec
from rich.table import Table

from tracegen.guide.coverage import never_reached, said
from tracegen.scenario import NEMESES
from tracegen.swarm.trial import Outcome
from tracegen.watch.reached import Reached

LINES_A_FAILURE: Final = 3


class Tally:
    """Counts outcomes, and TLC's word on some of them."""

    def __init__(self) -> None:
        self.runs = 0
        self.adequate = 0
        self.operations = 0
        self.events = 0
        self.failing: list[Outcome] = []
        self.judged = 0
        self.disagreements: list[str] = []
        self.unjudged: list[str] = []
        self.reached: set[Reached] = set()
        self._faults: Counter[str] = Counter()
        self._bit: Counter[str] = Counter()
        self._began_s = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.adequate += outcome.is_adequate
        self.operations += outcome.operations
        self.events += outcome.events
        self.reached |= outcome.reached
        self._faults.update(outcome.faults)
        self._bit.update(outcome.bit)
        if outcome.found:
            self.failing.append(outcome)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began_s

    @property
    def runs_a_minute(self) -> float:
        return 60 * self.runs / self.seconds if self.runs else 0.0

    def table(self) -> Table:
        """Faults by kind: how often each struck, and how often a probe saw it bite."""
        table = Table(box=None, pad_edge=False)
        for title in ("fault", "struck", "bit"):
            table.add_column(title, justify="left" if title == "fault" else "right")
        for nemesis in NEMESES:
            if self._faults[nemesis]:
                table.add_row(nemesis, f"{self._faults[nemesis]:,}", f"{self._bit[nemesis]:,}")
        return table

    def lines(self) -> list[str]:
        """The sums, a line each."""
        return [
            f"runs        {self.runs:,} in {self.seconds:.0f} s, {self.runs_a_minute:,.0f} a minute; "
            f"{self.adequate:,} with every fault seen to bite",
            f"operations  {self.operations:,}; {self.events:,} events",
            f"TLC         {self.judged:,} runs judged, {len(self.disagreements)} otherwise than in the loop"
            f"{f'; {len(self.unjudged)} without a verdict' if self.unjudged else ''}",
            f"reached     {len(self.reached):,} ways into actions of the spec; never {_listed(self.never_reached)}",
            f"failures    {len(self.failing):,}",
        ]

    @property
    def never_reached(self) -> list[str]:
        """Actions and branches of the spec that no run went through, though clients could bring them about."""
        return [said(branch) for branch in never_reached(self.reached)]

    def as_dict(self) -> dict[str, object]:
        """All of it, for machines."""
        return {
            "runs": self.runs,
            "adequate": self.adequate,
            "operations": self.operations,
            "events": self.events,
            "seconds": round(self.seconds, 1),
            "runs_a_minute": round(self.runs_a_minute),
            "faults": {name: {"struck": self._faults[name], "bit": self._bit[name]} for name in self._faults},
            "tlc": {"judged": self.judged, "disagreements": self.disagreements, "unjudged": self.unjudged},
            "reached": {"tuples": len(self.reached), "never": self.never_reached},
            "failures": [msgspec.structs.replace(outcome, reached=frozenset()) for outcome in self.failing],
        }


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none of its branches"


def told(outcome: Outcome) -> list[str]:
    """A failing seed in a few lines."""
    texts = [line for text in outcome.found[:LINES_A_FAILURE] for line in text.strip().splitlines()[-6:]]
    where = f"; kept in {outcome.kept}" if outcome.kept else ""
    return [f"seed {outcome.seed} FAILS, says the {' and the '.join(outcome.by) or 'harness'}{where}"] + [
        f"    {text}" for text in texts
    ]
