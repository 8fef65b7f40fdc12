"""`tracegen soak`, `tracegen replay` and `tracegen rejudge`."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from tracegen import summary
from tracegen.backend.choice import check_backend
from tracegen.checking import ACCEPTED, REFUSED, UNCHECKED
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.progress import Progress
from tracegen.soak.again import Judged, judge_again, run_again, runs_below
from tracegen.soak.soaking import Soaked, soak

RUNS: Final = Path("runs") / "soak"


def soak_command(
    minutes: Annotated[float, typer.Option(min=0.1, max=7 * 24 * 60, help="No run begins after so long.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="The first; each run takes the next one.")] = 1,
    backend: Annotated[str, typer.Option(help="Where nodes run: process, docker or sim.")] = "process",
    runs: Annotated[Path, typer.Option("--runs", help="Where failing runs are kept.")] = RUNS,
    mutant: Annotated[
        list[str] | None, typer.Option("--mutant", help="Break this rule of the server on purpose (repeatable).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run and nothing else.")] = False,
) -> None:
    """Run random scenarios until the time is over, and keep each run whole in which something is wrong.

    A seed draws one of the scenarios that the backend can do, often with a fault of another one. A kept run has its
    traces, history, logs, configuration and disks, the scenario with its seed, and in run.json the image's digest.

    \b
    Example: tracegen soak --minutes 30 --backend docker

    \b
    Exit codes: 0 runs were accepted, and none failed; 1 some failed; 2 none came to a verdict.
    """
    with Progress("soak") as progress:
        try:
            check_backend(backend)
            done = asyncio.run(_soak(backend, seed, minutes * 60, runs, mutant or [], as_json, progress))
        except HarnessError as error:
            raise _mistake(error) from None
    results = Counter(one.result for one in done)
    if not as_json:
        spent_s = sum(one.seconds for one in done)
        typer.echo(", ".join(f"{number} {result}" for result, number in results.most_common()))
        typer.echo(f"{len(done)} runs in {spent_s:.0f} s: {3600 * len(done) / max(spent_s, 1):.0f} an hour")
    if results["failed"]:
        raise typer.Exit(REFUSED)
    raise typer.Exit(ACCEPTED if results["accepted"] else UNCHECKED)


def replay_command(
    run: Annotated[Path, typer.Argument(help="The directory of a run.")],
) -> None:
    """Run again what a run was of: same scenario, seed, schedule of faults, backend; and compare the verdicts.

    In the simulator the same happens again, event by event. Real nodes are only asked and broken alike: what comes of
    it is up to chance, too.

    \b
    Example: tracegen replay runs/soak/soak-kill-one-17

    \b
    Exit codes: 0 the verdict is the same; 1 it is another one; 2 it cannot be run again.
    """
    try:
        (places,) = runs_below([run])
        with Progress("replay") as progress:
            judged, again = asyncio.run(run_again(places, progress.say))
    except ValueError:
        raise _mistake(HarnessError(f"{run} has several runs in it; name one")) from None
    except HarnessError as error:
        raise _mistake(error) from None
    same = "the same" if judged.is_same else "another one"
    typer.echo(f"was {judged.was}, is {judged.now}: {same}" + (f" ({judged.why})" if judged.why else ""))
    typer.echo(summary.line("run", str(again.root)))
    raise typer.Exit(ACCEPTED if judged.is_same else REFUSED)


def rejudge_command(
    runs: Annotated[list[Path], typer.Argument(help="Directories of runs, or of many runs.")],
) -> None:
    """Judge kept runs again, with today's spec and checker.

    \b
    Example: tracegen rejudge runs/soak

    \b
    Exit codes: 0 every verdict is what it was, and what was never judged is accepted; 1 some verdict is another one;
    2 one cannot be judged.
    """
    try:
        judged = asyncio.run(_rejudge(runs_below(runs)))
    except HarnessError as error:
        raise _mistake(error) from None
    changed = [one for one in judged if not one.is_same or (not one.was and one.now != "accepted")]
    typer.echo(f"{len(judged)} runs, {len(changed)} with another verdict")
    raise typer.Exit(REFUSED if changed else ACCEPTED)


async def _soak(
    backend: str, seed: int, seconds: float, runs: Path, mutants: Sequence[str], as_json: bool, progress: Progress
) -> list[Soaked]:
    done = []
    began_s = time.monotonic()
    async for one in soak(backend, seed, seconds, runs, mutants, progress.say):
        done.append(one)
        left_s = max(0.0, seconds - (time.monotonic() - began_s))
        progress.label = f"soak, {len(done)} runs, {left_s / 60:.0f} min left"
        if as_json:
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
            sys.stdout.flush()
        else:
            why = f": {one.why}" if one.why else ""
            typer.echo(f"{one.seconds:5.1f} s  {one.result}  {one.scenario}, seed {one.seed}{why} {one.run}".rstrip())
    return done


async def _rejudge(found: list[RunPlaces]) -> list[Judged]:
    judged = []
    for places in found:
        one = await judge_again(places)
        judged.append(one)
        was = f"was {one.was}, is " if one.was else ""
        typer.echo(f"{one.run}: {was}{one.now}" + (f" ({one.why})" if one.why else ""))
    return judged


def _mistake(error: HarnessError) -> typer.Exit:
    typer.echo(f"tracegen: {error}", err=True)
    return typer.Exit(UNCHECKED)
