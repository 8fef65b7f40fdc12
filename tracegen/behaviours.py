"""Behaviours of the spec, made by TLC walking at random, as lists of steps for `backend/sim/drive.py` (feature V10)."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from checker.errors import CannotCheck
from checker.tlc import Tool, Walks, locate, run
from tracegen.errors import HarnessError

SPEC: Final = Path(__file__).resolve().parent.parent / "spec" / "tla"
MODULE: Final = "RegisterWalk"
LENGTH: Final = 60
SHOWN_MAX: Final = 10
_TRANSLATION: Final = str.maketrans({"{": "[", "}": "]"})
_WORDS: Final = {"<<": "[", ">>": "]", "TRUE": "true", "FALSE": "false"}
_WORD: Final = re.compile(r"<<|>>|TRUE|FALSE")


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One line of a walk."""

    tag: str
    level: int
    step: tuple[object, ...]
    after: tuple[tuple[int, int, tuple[int, bool, int, tuple[int, ...], tuple[tuple[int, bool, int], ...]]], ...]


def walk(tool: Tool, count: int, seed: int) -> Iterator[list[Told]]:
    """`count` behaviours of up to LENGTH steps; raises HarnessError when TLC cannot make them."""
    try:
        outcome = run(
            tool,
            SPEC / f"{MODULE}.tla",
            SPEC / f"{MODULE}.cfg",
            workers=1,
            heap_mb=1024,
            timeout_s=None,
            walks=Walks(count, LENGTH, seed),
        )
    except CannotCheck as error:
        raise HarnessError(str(error)) from None
    if outcome.error is not None:
        raise HarnessError(f"TLC could not walk: {outcome.error}")
    yield from read(outcome.printed)


def read(lines: list[str]) -> Iterator[list[Told]]:
    """The behaviours in what TLC printed. A state is said each time TLC looks for its successors: once will do."""
    decode = msgspec.json.Decoder(Told).decode
    behaviour: list[Told] = []
    last = ""
    for line in lines:
        if line == last or "step" not in line:
            continue
        last = line
        told = decode(_as_json(line))
        if told.level == 1 and behaviour:
            yield behaviour
            behaviour = []
        behaviour.append(told)
    if behaviour:
        yield behaviour


def _as_json(line: str) -> str:
    """A printed string of tuples, sets, numbers and texts, as JSON."""
    text = line.strip().removeprefix('"').removesuffix('"').replace('\\"', '"')
    return _WORD.sub(lambda match: _WORDS[match[0]], text.translate(_TRANSLATION))


def behaviours_command(
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many behaviours.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Where TLC begins to draw.")] = 1,
    mutant: Annotated[list[str] | None, typer.Option("--mutant", help="Break this rule of the server first.")] = None,
    tlc_jar: Annotated[Path | None, typer.Option("--tlc-jar", help="Use this TLC.", show_default="embedded")] = None,
) -> None:
    """Have TLC make behaviours of the spec, and drive the server's own code through each, state by state.

    \b
    Example: tracegen behaviours --count 5000

    \b
    Exit codes: 0 code and spec agree, 1 they part somewhere, 2 it could not be tried.
    """
    from tracegen.backend.sim.drive import Driver, Mismatch, WalkStep  # the one door to the server's code

    began_s = time.monotonic()
    done = steps = 0
    parted: list[str] = []
    try:
        driver = Driver(mutant or ())
        for behaviour in walk(locate(tlc_jar), count, seed):
            done, steps = done + 1, steps + len(behaviour)
            try:
                driver.follow([WalkStep(str(told.step[0]), told.step[1:], told.after) for told in behaviour])
            except Mismatch as mismatch:
                parted.append(f"behaviour {done} of seed {seed}: {mismatch}")
        driver.close()
    except (CannotCheck, HarnessError) as error:
        typer.echo(f"tracegen: {error}", err=True)
        raise typer.Exit(2) from None
    for line in parted[:SHOWN_MAX]:
        typer.echo(line)
    took_s = time.monotonic() - began_s
    verdict = "code and spec agree" if not parted else f"they part in {len(parted)} behaviours"
    typer.echo(f"{done:,} behaviours, {steps:,} steps, {took_s:.1f} s: {verdict}")
    raise typer.Exit(1 if parted else 0)
