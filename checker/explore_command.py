"""`checker explore`: from where the traces of a run ended, search on through the spec."""

import os
import random
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from checker import manifest as manifests
from checker import tlc
from checker.errors import CannotCheck
from checker.explore import End, Ends, Explored, ends_of, explore


def explore_command(
    run: Annotated[Path, typer.Argument(help="The run directory: traces/*.ndjson.")],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="What to explore by.", show_default="the one in spec/")
    ] = None,
    states: Annotated[int, typer.Option(min=1, help="About so many distinct states in all.")] = 100_000,
    ends: Annotated[int, typer.Option(min=1, help="From so many end states at most, drawn at random.")] = 20,
    seed: Annotated[int, typer.Option(help="What to draw the end states from.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="TLC's workers.", show_default="one a core")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for each TLC, at most.")] = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    tlc_jar: Annotated[Path | None, typer.Option("--tlc-jar", help="The tla2tools.jar to use.")] = None,
) -> None:
    """Let TLC go on from where a run's traces ended: what could have happened next, and would it have been right?

    Fewer end states are each searched deeper. Example: checker explore runs/latest --ends 1 --states 500000

    Exit codes: 0 nothing is violated; 1 an invariant is; 2 could not check.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    try:
        tool = tlc.locate(tlc_jar)
        spec = manifests.read(manifest or manifests.find())
        with console.status("replay …") as status:
            found = ends_of(tool, spec, run, timeout_s=timeout_s)
            chosen = _chosen(found, ends, seed)
            status.update(f"explore from {len(chosen)} end states …")
            explored = explore(
                tool,
                spec,
                found,
                chosen,
                states=states,
                workers=workers or os.cpu_count() or 1,
                timeout_s=timeout_s,
            )
    except CannotCheck as error:
        typer.echo(f"could not check: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        sys.stdout.write(msgspec.json.encode(explored).decode() + "\n")
    else:
        _summarize(console, found, chosen, explored)
    raise typer.Exit(0 if explored.violated is None else 1)


def _chosen(found: Ends, count: int, seed: int) -> list[End]:
    if not found.ends:
        raise CannotCheck("every trace of the run is refused, so there is no end state to go on from: checker verify")
    return found.ends if len(found.ends) <= count else random.Random(seed).sample(found.ends, count)


def _summarize(console: Console, found: Ends, chosen: list[End], explored: Explored) -> None:
    if explored.violated is not None:
        console.print(f"{explored.violated} is violated, from the end of {explored.key!r}:\n", markup=False)
        for state in explored.behaviour:
            console.print(state + "\n", markup=False)
    if found.refused:
        console.print(f"note: {len(found.refused)} traces were refused and have no end state", markup=False)
    says = "nothing is violated" if explored.violated is None else f"{explored.violated} is violated"
    console.print(
        f"{explored.distinct:,} distinct states from {len(chosen)} of {len(found.ends)} end states in "
        f"{explored.seconds:.1f} s: {says}",
        markup=False,
    )
