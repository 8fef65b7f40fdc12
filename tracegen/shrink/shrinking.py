"""From the directory of a failing run to a small scenario that still fails in the same way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from tracegen.errors import HarnessError
from tracegen.history import Operation
from tracegen.nemesis.inject import Injection
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario
from tracegen.shrink import story
from tracegen.shrink.attempts import Attempts
from tracegen.shrink.passes import renamed, smaller
from tracegen.shrink.recorded import recorded, report_of
from tracegen.watch.findings import Finding, look
from tracegen.writing import to_toml

BUDGET_S: Final = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shrunk:
    """A run before and after: how many operations and faults it had, what is left of it, and how it fails."""

    scenario: Scenario
    mutants: tuple[str, ...]
    findings: tuple[Finding, ...]
    story: tuple[str, ...]
    operations_before: int
    faults_before: int
    runs: int
    seconds: float


def shrink(places: RunPlaces, budget_s: float = BUDGET_S, say: Say = lambda _: None) -> Shrunk:
    """Make the run small, within about this time. Raises HarnessError when told again it does not fail."""
    began_s = time.monotonic()
    report = report_of(places)
    whole = recorded(places)
    original = look(places, report).found
    if not original:
        raise HarnessError(f"{places.root}: nothing is wrong with this run; there is nothing to make small")
    with Attempts(report.mutants, budget_s) as attempts:
        say(f"{len(whole.operations)} operations, done again")
        attempts.aim_at(original, report.seed)
        start = attempts.failing(whole)
        if start is None and attempts.fails_unbroken(whole):
            raise HarnessError(
                f"{places.root}: it fails without {', '.join(report.mutants)}, too; shrink a run without mutants"
            )
        if start is None:
            raise HarnessError(
                f"{places.root}: what it did does not fail when it is done again, operation by operation"
            )
        small = smaller(start, [finding.key for finding in original], attempts)
        small = attempts.failing(renamed(small)) or small
        last = RunPlaces(attempts.root / "last")
        findings = attempts.findings(small, last)
        story = _story(last, small) if last.run.exists() else []
        return Shrunk(
            scenario=replace(small, says=f"Shrunk: {findings[0].text}" if findings else small.says),
            mutants=report.mutants,
            findings=findings,
            story=tuple(story),
            operations_before=len(whole.operations),
            faults_before=len(whole.faults),
            runs=attempts.runs,
            seconds=round(time.monotonic() - began_s, 1),
        )


def shrunk_to_file(places: RunPlaces, budget_s: float = BUDGET_S, say: Say = lambda _: None) -> Shrunk:
    """Make the run small, and write what is left beside it."""
    shrunk = shrink(places, budget_s, say)
    write(shrunk, places.shrunk)
    return shrunk


def _story(places: RunPlaces, scenario: Scenario) -> list[str]:
    history = msgspec.json.Decoder(Operation).decode_lines(places.history.read_bytes())
    injections = msgspec.json.Decoder(Injection).decode_lines(places.faults.read_bytes())
    return story.tell(history, injections, report_of(places).load_from_us, scenario.key_prefix)


def write(shrunk: Shrunk, file: Path) -> None:
    """The file that tells it and does it again."""
    small = shrunk.scenario
    command = " ".join(("tracegen run", file.name, "--backend sim", *(f"--mutant {name}" for name in shrunk.mutants)))
    preface = [
        f"Shrunk from {small.name}: of {shrunk.operations_before} operations and {shrunk.faults_before} faults, "
        f"{len(small.operations)} and {len(small.faults)} are left.",
        f"To see it fail: {command}",
        "",
        *shrunk.story,
        "",
        *story.verdict(shrunk.findings),
        "",
    ]
    file.write_text(to_toml(small, preface), encoding="utf-8")
