"""`tracegen sim`: thousands of seeds, each a simulated run of its own, looked at in the loop and judged by samples."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tracegen.checking import ACCEPTED, REFUSED, UNCHECKED, verify
from tracegen.errors import HarnessError
from tracegen.guide.swarm import try_guided
from tracegen.places import RunPlaces
from tracegen.progress import Progress as Line
from tracegen.seeds import parse_seeds
from tracegen.shrink.command import told as story_of
from tracegen.shrink.shrinking import shrunk_to_file
from tracegen.swarm.pool import try_seeds
from tracegen.swarm.tally import Tally, told
from tracegen.swarm.trial import Outcome

KEPT_MAX: Final = 50
"""Failing runs that are kept and judged by TLC; any more are counted."""
SHRUNK_MAX: Final = 3
"""Failing runs that are made small at once; `tracegen shrink` does so to any other."""


def sim_command(
    seeds: Annotated[str, typer.Option(help="Which seeds: 7, or 1..2000.")] = "1..200",
    jobs: Annotated[int | None, typer.Option(min=1, max=256, help="Processes.", show_default="one a core")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, not here: tcp://10.0.0.5:8786."
        ),
    ] = None,
    mutant: Annotated[
        list[str] | None, typer.Option("--mutant", help="Break this rule of the server on purpose (repeatable).")
    ] = None,
    keep: Annotated[Path, typer.Option(help="Where failing runs are kept, each in a directory of its seed.")] = Path(
        "runs/sim"
    ),
    tlc_every: Annotated[
        int, typer.Option(min=0, help="Have TLC judge every so manieth run, besides all that fail; 0: none at all.")
    ] = 50,
    guided: Annotated[
        bool,
        typer.Option("--guided", help="Vary the scenarios that reach what is new, instead of drawing each afresh."),
    ] = False,
    shrink: Annotated[
        bool,
        typer.Option(help="Make the first failing runs small: a scenario file that still fails, in their directory."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run whole clusters in virtual time, a new one for each seed: its own size, load, and mix of faults.

    Every run is looked at in the loop: its traces, its clients' history, and whether it lived when all was healed. A
    sample, and whatever fails, is judged by TLC too, and both must agree. Same seed, same run: `tracegen run
    runs/sim/17/scenario.toml --backend sim` repeats one.

    With --cluster, the seeds go to a Dask cluster: `dask scheduler`, and `dask
    worker ADDRESS` on each machine, all with this same Amberio and `distributed`
    installed. What a worker had that dies, another does again; the outcomes are
    the same. Runs that are kept come here, and TLC judges them here.

    \b
    Example: tracegen sim --seeds 1..2000 --jobs 2
             tracegen sim --seeds 1..100000 --cluster tcp://10.0.0.5:8786
             tracegen sim --seeds 1..50 --mutant quorum-of-one
             tracegen sim --seeds 1..2000 --guided

    \b
    Exit codes: 0 nothing was found (with --mutant: some seed shows it); 1 something was found, or TLC and the checks
    in the loop disagree (with --mutant: no seed shows it); 2 some run could not be made.
    """
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    try:
        chosen = parse_seeds(seeds)
        outcomes = _outcomes(chosen, tuple(mutant or ()), keep, jobs, tlc_every, cluster, is_guided=guided)
        tally = _swarm(outcomes, len(chosen), tlc_every, console)
        if shrink:
            _make_small(tally, console)
    except HarnessError as error:
        typer.echo(f"tracegen: {error}", err=True)
        raise typer.Exit(UNCHECKED) from None
    _say(tally, console, as_json=as_json)
    raise typer.Exit(_exit_code(tally, is_broken=bool(mutant)))


def _outcomes(
    seeds: Sequence[int],
    mutants: Sequence[str],
    keep: Path,
    jobs: int | None,
    tlc_every: int,
    cluster: str | None,
    *,
    is_guided: bool,
) -> Iterator[Outcome]:
    if not seeds:
        raise HarnessError("--seeds is empty; use a range such as 1..200")
    if cluster is not None and jobs is not None:
        raise HarnessError("--jobs is for the processes of this machine, --cluster for those of others; give one")
    used_jobs = min(jobs or os.cpu_count() or 1, len(seeds))
    trying = try_guided if is_guided else try_seeds
    return trying(seeds, mutants, keep, used_jobs, tlc_every, cluster)


def _swarm(outcomes: Iterator[Outcome], count: int, tlc_every: int, console: Console) -> Tally:
    tally = Tally()
    sample: list[Outcome] = []
    with _bar(count) as bar:
        for outcome in outcomes:
            tally.add(outcome)
            if outcome.found:
                _keep_or_drop(outcome, tally, sample, tlc_every)
                if len(tally.failing) <= KEPT_MAX:
                    console.print("\n".join(told(outcome)))
            elif outcome.kept:
                sample.append(outcome)
            bar(tally)
    with _bar(len(sample), "TLC") as bar:
        for outcome in sample:
            asyncio.run(_judge(outcome, tally))
            bar(tally)
    for line in tally.disagreements:
        console.print(line)
    return tally


def _say(tally: Tally, console: Console, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(tally.as_dict()).decode() + "\n")
    else:
        console.print(tally.table())
        console.print("\n".join(tally.lines()))


def _make_small(tally: Tally, console: Console) -> None:
    """Shrink the first failing runs; what cannot be done again is said, and stays as it is."""
    for outcome in [outcome for outcome in tally.failing if outcome.kept][:SHRUNK_MAX]:
        places = RunPlaces(Path(outcome.kept))
        with Line(f"shrinking seed {outcome.seed}") as progress:
            try:
                shrunk = shrunk_to_file(places, say=progress.say)
            except HarnessError as error:
                console.print(f"seed {outcome.seed} cannot be made small: {error}")
                continue
        console.print("\n".join(story_of(shrunk, places.shrunk)))


def _keep_or_drop(outcome: Outcome, tally: Tally, sample: list[Outcome], tlc_every: int) -> None:
    """A failing run is for TLC, too, unless there are too many, or there is nothing in it that TLC could say."""
    if len(tally.failing) > KEPT_MAX:
        shutil.rmtree(outcome.kept, ignore_errors=True)
    elif outcome.kept and tlc_every and {"trace", "history"} & set(outcome.by):
        sample.append(outcome)


async def _judge(outcome: Outcome, tally: Tally) -> None:
    """Have TLC judge a run that was kept, and hold its word against the checks in the loop."""
    places = RunPlaces(Path(outcome.kept))
    checked = await verify(places)
    status = checked.verdict.status
    if status == "unchecked" and not outcome.found:
        tally.unjudged.append(f"seed {outcome.seed}: {'; '.join(checked.verdict.reasons)}")
        return
    tally.judged += 1
    in_loop = "refused" if outcome.found else "accepted"
    if status == in_loop or (status == "unchecked" and not outcome.is_adequate):
        if not outcome.found:
            shutil.rmtree(places.root, ignore_errors=True)
        return
    tally.disagreements.append(f"seed {outcome.seed}: {in_loop} in the loop, {status} by TLC; kept in {outcome.kept}")


@contextmanager
def _bar(total: int, title: str = "runs") -> Iterator[Callable[[Tally], None]]:
    console = Console(stderr=True)
    said = TextColumn("{task.description}")
    columns = (TextColumn(f"{title:5}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), said)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        in_log = Line()

        def tell(tally: Tally) -> None:
            line = f"{tally.runs_a_minute:,.0f} runs a minute, {len(tally.failing)} failures"
            progress.update(task, advance=1, description=line)
            if not console.is_terminal:
                in_log.say(f"{title}: {progress.tasks[task].completed:.0f} of {total}, {line}")

        yield tell


def _exit_code(tally: Tally, *, is_broken: bool) -> int:
    if any(outcome.is_crash for outcome in tally.failing):
        return UNCHECKED
    is_found = bool(tally.failing)
    if tally.disagreements or is_found != is_broken:
        return REFUSED
    return ACCEPTED
