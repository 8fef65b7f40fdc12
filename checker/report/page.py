"""Puts the page together: what the templates show, in the order of their sections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from checker.coverage import ALL
from checker.report import closeup, timeline
from checker.report.evidence import Evidence, TraceEvent, gather
from checker.report.picture import Picture
from checker.verdict import HistoryFault, Refusal, Verdict

SHOWN_MAX: Final = 20  # refusals, and faults of the history, that the page tells in full
DRAWN_MAX: Final = 8  # of them, those with a picture


@dataclass(frozen=True, slots=True)
class Count:
    name: str
    value: str
    beside: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a reader takes away after ten seconds."""

    status: str
    sentence: str
    counts: list[Count]


@dataclass(frozen=True, slots=True)
class RefusalItem:
    refusal: Refusal
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class FaultItem:
    fault: HistoryFault
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class CoverageRow:
    action: str
    count: int
    taken: list[tuple[str, int]]
    never: list[str]


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    seconds: float


def write(verdict: Verdict, run_dir: Path, out_file: Path) -> None:
    """Write the report of a verdict on the run in `run_dir`, whatever of it can be read."""
    out_file.write_text(render(verdict, run_dir), encoding="utf-8")


def render(verdict: Verdict, run_dir: Path) -> str:
    """The page as a string."""
    evidence = gather(run_dir)
    refusals, marks = _refusals(verdict, evidence)
    suspects = {name for fault in verdict.history for name in fault.operations}
    environment = Environment(
        loader=PackageLoader("checker", "report"),
        autoescape=select_autoescape(default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    started_ms = evidence.run.started_ms
    return environment.get_template("report.html.j2").render(
        verdict=verdict,
        run=evidence.run,
        started=datetime.fromtimestamp(started_ms / 1000, UTC).strftime("%-d %B %Y, %H:%M UTC") if started_ms else "",
        summary=summarize(verdict, evidence),
        refusals=refusals,
        refusals_left=len(verdict.refused) - len(refusals),
        faults=_faults(verdict, evidence),
        faults_left=max(len(verdict.history) - SHOWN_MAX, 0),
        timeline=timeline.draw(evidence, marks, suspects),
        timeline_says=_timeline_says(evidence, verdict),
        injected=evidence.faults,
        coverage=_coverage(verdict),
        stages=[Stage(name, seconds) for name, seconds in verdict.stages.items() if name != "total"],
    )


def summarize(verdict: Verdict, evidence: Evidence) -> Summary:
    """The verdict in words and in a few numbers."""
    bad_states = verdict.distinct_states != verdict.expected_states
    operations = evidence.run.operations
    told = [f"{operations[name]:,} {name}" for name in ("ok", "failed", "unknown") if operations.get(name)]
    bit = sum(fault.bit for fault in evidence.faults)
    counts = [
        Count(
            "traces refused",
            f"{len(verdict.refused):,}",
            f"of {verdict.traces:,}",
            "bad" if verdict.refused else "good",
        ),
        Count("history faults", f"{len(verdict.history):,}", "", "bad" if verdict.history else "good"),
        Count("events replayed", f"{verdict.events:,}"),
        Count("operations", f"{operations.get('total', len(evidence.operations)):,}", ", ".join(told)),
        Count(
            "faults that bit", str(bit), f"of {len(evidence.faults)}", "" if bit == len(evidence.faults) else "unsure"
        ),
        Count(
            "states found",
            f"{verdict.distinct_states:,}",
            f"of {verdict.expected_states:,} expected",
            "unsure" if bad_states and not verdict.refused else "",
        ),
        Count("canary", "refused" if verdict.canary else "not refused", "", "" if verdict.canary else "unsure"),
        Count("collision chance", verdict.collision or "unknown"),
    ]
    return Summary(
        verdict.status.capitalize() if verdict.status != "unchecked" else "Could not check", _sentence(verdict), counts
    )


def _sentence(verdict: Verdict) -> str:
    if verdict.status == "accepted":
        return (
            f"Everything that the nodes recorded is a behaviour of {verdict.spec}, "
            "and everything that clients were told is linearizable."
        )
    if verdict.status == "unchecked":
        return "There is no verdict on this run."
    wrong = []
    if verdict.refused:
        first = verdict.refused[0]
        many = f"{len(verdict.refused)} of {verdict.traces} traces are" if len(verdict.refused) > 1 else "One trace is"
        wrong.append(
            f"{many} no behaviour of {verdict.spec}: {'first' if len(verdict.refused) > 1 else 'see'} "
            f"{first.key} at {first.action} {first.event}."
        )
    if verdict.history:
        many = f"{len(verdict.history)} answers" if len(verdict.history) > 1 else "One answer"
        wrong.append(f"{many} to clients cannot be explained: {verdict.history[0].key}, {verdict.history[0].rule}.")
    return " ".join(wrong)


def _refusals(verdict: Verdict, evidence: Evidence) -> tuple[list[RefusalItem], list[TraceEvent]]:
    """The refusals to tell, and the refused events for the timeline."""
    items, marks = list[RefusalItem](), list[TraceEvent]()
    for number, refusal in enumerate(verdict.refused[:SHOWN_MAX]):
        picture = None
        if number < DRAWN_MAX:
            events = evidence.events_of(refusal.key)
            picture = closeup.draw_refusal(events, refusal.event, evidence.nodes())
            marks += [event for event in events if event.id == refusal.event]
        items.append(RefusalItem(refusal, picture))
    return items, marks


def _faults(verdict: Verdict, evidence: Evidence) -> list[FaultItem]:
    items = []
    for number, fault in enumerate(verdict.history[:SHOWN_MAX]):
        picture = None
        if number < DRAWN_MAX:
            about = [each for each in evidence.operations if each.path == fault.key or each.id in fault.operations]
            picture = closeup.draw_history_fault(about, frozenset(fault.operations))
        items.append(FaultItem(fault, picture))
    return items


def _timeline_says(evidence: Evidence, verdict: Verdict) -> str:
    drawn = len(timeline.choose(evidence.operations, ()))
    parts = [
        "Faults are bands over the nodes they hit; each tick is an event of a node, each bar an operation of a client."
    ]
    if drawn < len(evidence.operations):
        parts.append(f"Of {len(evidence.operations):,} operations about {drawn:,} are drawn, evenly over time.")
    if len(evidence.events) < verdict.events:
        parts.append(f"Of {verdict.events:,} events {len(evidence.events):,} are.")
    return " ".join(parts)


def _coverage(verdict: Verdict) -> Sequence[CoverageRow]:
    rows = []
    for action, branches in verdict.coverage.items():
        named = [(name, count) for name, count in branches.items() if name != ALL]
        rows.append(
            CoverageRow(
                action=action,
                count=branches.get(ALL, 0),
                taken=[(name, count) for name, count in named if count],
                never=[name for name, count in named if not count],
            )
        )
    return rows
