"""`tracegen shrink`: a failing run in, a small scenario that fails in the same way out."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from tracegen import summary
from tracegen.backend.choice import carry_out_on
from tracegen.checking import ACCEPTED, UNCHECKED, verify
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.progress import Progress
from tracegen.shrink.shrinking import BUDGET_S, Shrunk, shrink, write

AGAIN: Final = "shrunk"


def shrink_command(
    run: Annotated[Path, typer.Argument(help="The directory of a run in which something is wrong.")],
    out: Annotated[
        Path | None, typer.Option(help="The scenario file to write.", show_default="RUN/shrunk.toml")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to look for something smaller.")] = BUDGET_S,
    check: Annotated[bool, typer.Option(help="Run what is left once more, and have TLC judge it.")] = True,
) -> None:
    """Make a failing run small: fewer operations, faults, nodes and keys, until what is left reads like a story.

    What the run's clients did and what was broken is done again on simulated nodes, less and less of it, as long as
    it fails in the same way. Also a run of real processes can be shrunk, if it fails on simulated ones, too.

    \b
    Example: tracegen sim --seeds 1..200
             tracegen shrink runs/sim-17

    \b
    Exit codes: 0 a small scenario was written, and TLC refuses it, too (if the trace is what is wrong);
    1 TLC accepts it, so the check in the loop and the spec disagree; 2 nothing is wrong with the run, or it cannot
    be done again.
    """
    try:
        places = RunPlaces(run)
        with Progress("shrinking") as progress:
            shrunk = shrink(places, seconds, progress.say)
        file = out or places.shrunk
        write(shrunk, file)
        typer.echo("\n".join(told(shrunk, file)))
        if check:
            raise typer.Exit(_confirm(shrunk, RunPlaces(run / AGAIN)))
    except HarnessError as error:
        typer.echo(f"tracegen: {error}", err=True)
        raise typer.Exit(UNCHECKED) from None


def told(shrunk: Shrunk, file: Path) -> list[str]:
    """What came of it, in a few lines."""
    small = shrunk.scenario
    return [
        f"{shrunk.operations_before:,} operations and {shrunk.faults_before} faults shrank to {len(small.operations)} "
        f"and {len(small.faults)}, on {small.cluster.nodes} nodes ({shrunk.runs} runs, {shrunk.seconds:.1f} s): {file}",
        "",
        *shrunk.story,
        *(f"{finding.by}: {finding.text}" for finding in shrunk.findings),
    ]


def _confirm(shrunk: Shrunk, places: RunPlaces) -> int:
    """Do it once more, for TLC; the exit code."""
    if places.root.exists():
        raise HarnessError(f"{places.root}: there is something already; remove it, or use --no-check")
    small = shrunk.scenario

    async def again() -> int:
        await carry_out_on("sim", small, small.seed, places, mutants=shrunk.mutants)
        checked = await verify(places)
        typer.echo("\n".join(summary.of_check(checked)))
        accuses = any(finding.by != "run" for finding in shrunk.findings)
        return 1 if accuses and checked.exit_code == ACCEPTED else 0

    return asyncio.run(again())
