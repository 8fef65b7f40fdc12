"""A run in ten seconds' reading. Pure: reports in, lines out."""

from collections.abc import Iterator, Sequence
from typing import Final

from tracegen.checking import Checked
from tracegen.nemesis.inject import Injection
from tracegen.places import RunPlaces
from tracegen.report import RunReport

WIDTH: Final = 11
PROBLEMS_SHOWN: Final = 5
REFUSALS_SHOWN: Final = 3


def of_run(report: RunReport, injections: Sequence[Injection]) -> list[str]:
    """What was run, what was broken, and whether it is evidence."""
    counts, copies = report.operations, report.replication
    lines = [
        line("scenario", f"{report.scenario}, seed {report.seed}: {report.says}"),
        line(
            "nodes",
            f"{' '.join(report.nodes)}; {copies['factor']} replicas, {copies['min_write_replicas']} must have a write",
        ),
        line(
            "operations",
            f"{counts['total']:,} in {report.duration_s:g} s: {counts['ok']:,} ok, {counts['failed']:,} failed, "
            f"{counts['unknown']:,} unknown",
        ),
    ]
    if "links" in report.versions:
        lines.append(line("links", report.versions["links"]))
    if report.mutants:
        lines.append(line("mutants", f"{', '.join(report.mutants)}: broken on purpose"))
    titles = ["faults", *[""] * len(injections)]
    load_us = report.load_from_us  # the times of a person begin with the load
    lines += [line(title, _fault(injection, load_us)) for title, injection in zip(titles, injections, strict=False)]
    lines += [line("problem", problem) for problem in report.problems[:PROBLEMS_SHOWN]]
    lines += [line("inadequate", reason) for reason in report.inadequate]
    return lines


def of_check(checked: Checked) -> list[str]:
    """What the checker says."""
    verdict = checked.verdict
    lines = [line("events", f"{verdict.events:,} of {verdict.traces:,} objects replayed through the spec")]
    match verdict.status:
        case "accepted":
            lines.append(line("verdict", "accepted: all that happened is a behaviour of the spec"))
        case "refused":
            lines.append(line("verdict", f"REFUSED: {_refusals(checked)}"))
            lines += [line("", text) for text in _reasons(checked)]
        case "unchecked":
            lines.append(line("verdict", "none: " + ("; ".join(verdict.reasons) or checked.text.strip())))
    return lines


def of_time(report: RunReport, checked: Checked | None, places: RunPlaces) -> list[str]:
    """Where the time went, and where to look further."""
    stages = dict(report.stages)
    if checked is not None:
        stages["verify"] = checked.seconds
    told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in stages.items())
    lines = [line("time", f"{told}; {sum(stages.values()):.1f} s in all")]
    if checked is not None and places.html.exists():
        lines.append(line("report", str(places.html)))
    else:
        lines.append(line("run", str(places.root)))
    return lines


def line(title: str, text: str) -> str:
    """A line of a summary, or as many as the text has."""
    indented = text.replace("\n", "\n" + " " * WIDTH)
    return f"{title:{WIDTH}}{indented}"


def _fault(injection: Injection, load_us: int) -> str:
    hit = ", ".join(injection.nodes)
    span = f"{(injection.start_us - load_us) / 1e6:.1f} to {(injection.end_us - load_us) / 1e6:.1f} s"
    if not injection.bit:
        return f"{injection.nemesis} {hit}, {span}: DID NOT BITE: {injection.probe}"
    return f"{injection.nemesis} {hit}, {span}, during {injection.overlapping:,} operations: {injection.probe}"


def _refusals(checked: Checked) -> str:
    verdict = checked.verdict
    parts = []
    if verdict.refused:
        parts.append(f"{len(verdict.refused)} objects did what the spec does not allow")
    if verdict.history:
        parts.append(f"clients saw {len(verdict.history)} times what no correct store shows")
    return ", ".join(parts) or "see the report"


def _reasons(checked: Checked) -> Iterator[str]:
    for refusal in (*checked.verdict.refused, *checked.verdict.history)[:REFUSALS_SHOWN]:
        first = refusal.text.strip().splitlines()[:1]
        yield f"{refusal.key}: {refusal.event or refusal.rule}: {first[0] if first else ''}"
