"""Kept runs, later: judged with today's spec and checker, or made once more."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from tracegen import scenario as scenarios
from tracegen.backend.choice import carry_out_on
from tracegen.checking import Checked, Verdict, verify
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces, new_run
from tracegen.progress import Say
from tracegen.report import RunReport
from tracegen.shrink.recorded import report_of


@dataclass(frozen=True)
class Judged:
    """A run and what was said of it: by the checker, and by the run of itself. `was` is an earlier verdict."""

    run: str
    was: str
    now: str
    problems: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_same(self) -> bool:
        return self.was in ("", self.now)


def runs_below(paths: list[Path]) -> list[RunPlaces]:
    """The run directories that these are, or that lie in them. Raises HarnessError if there is none."""
    found = []
    for path in paths:
        inside = [path] if (path / "run.json").is_file() else sorted(file.parent for file in path.rglob("run.json"))
        if not inside:
            raise HarnessError(f"{path} is not the directory of a run, nor are there any in it")
        found += [RunPlaces(run) for run in inside]
    return found


async def judge_again(places: RunPlaces) -> Judged:
    """Have today's checker judge a kept run."""
    was = _verdict(places)
    checked = await verify(places)
    return Judged(str(places.root), was, checked.verdict.status, why=first_reason(checked))


async def run_again(places: RunPlaces, say: Say) -> tuple[Judged, RunPlaces]:
    """Run what a run was of: the same scenario, seed, backend, mutants; in a directory beside it."""
    report = report_of(places)
    was, problems = _verdict(places) or (await verify(places)).verdict.status, report.problems
    scenario = scenarios.load(places.scenario)
    again = new_run(places.root.parent, f"{places.root.name}-again")
    new = await carry_out_on(report.backend, scenario, report.seed, again, mutants=report.mutants, say=say)
    say("checking")
    checked = await verify(again)
    why = first_reason(checked)
    judged = Judged(str(again.root), told(was, problems), told(checked.verdict.status, new.problems), why=why)
    return judged, again


def told(status: str, problems: list[str]) -> str:
    """A verdict in a word or two: a run may be accepted, and something beside the protocol be wrong all the same."""
    return f"{status}, with problems" if problems and status == "accepted" else status


def first_reason(checked: Checked) -> str:
    """Why it is not accepted, in a line; nothing if it is."""
    verdict = checked.verdict
    for refusal in (*verdict.refused, *verdict.history):
        return f"{refusal.key}: {refusal.event or refusal.rule}"
    return verdict.reasons[0] if verdict.reasons else ""


def what_went_wrong(report: RunReport, checked: Checked) -> str:
    """Why a run is a failure, in a line; nothing if it is none. One that is no evidence is none."""
    if checked.verdict.status == "refused":
        return first_reason(checked)
    return report.problems[0] if report.problems else ""


def _verdict(places: RunPlaces) -> str:
    """What was said of it the last time, nothing if it was never judged."""
    try:
        return msgspec.json.decode(places.verdict.read_bytes(), type=Verdict).status
    except FileNotFoundError:
        return ""
    except msgspec.MsgspecError as error:
        raise HarnessError(f"{places.verdict} cannot be read: {error}") from error
