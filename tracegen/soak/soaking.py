"""Runs scenarios of seeds until the time is over; what fails is kept whole, the rest is counted."""

import shutil
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path
from typing import Literal

import msgspec

from tracegen import scenario as scenarios
from tracegen.backend.choice import can_do, carry_out_on
from tracegen.checking import verify
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.progress import Say
from tracegen.scenario import Scenario
from tracegen.soak.again import what_went_wrong
from tracegen.soak.draw import draw

Result = Literal["accepted", "failed", "no evidence", "not made"]


class Soaked(msgspec.Struct, frozen=True):
    """One run of a soak. `run` is where it was kept, nothing if it was not."""

    seed: int
    scenario: str
    result: Result
    why: str
    seconds: float
    run: str = ""


async def soak(
    backend: str, first_seed: int, seconds: float, runs: Path, mutants: Sequence[str], say: Say
) -> AsyncIterator[Soaked]:
    """One run after the other, of seeds in order, none begun when the time is over."""
    catalogue = [scenarios.find(name) for name in scenarios.names()]
    end_s = time.monotonic() + seconds
    for seed in count(first_seed):
        if time.monotonic() >= end_s:
            return
        yield await _one(backend, draw(seed, catalogue, lambda one: can_do(backend, one)), runs, mutants, say)


async def _one(backend: str, scenario: Scenario, runs: Path, mutants: Sequence[str], say: Say) -> Soaked:
    seed, start_s = scenario.seed, time.monotonic()
    places = RunPlaces(runs / f"{scenario.name}-{seed}")
    shutil.rmtree(places.root, ignore_errors=True)
    result: Result
    try:
        report = await carry_out_on(backend, scenario, seed, places, mutants=mutants, keep=True, say=say)
        say("checking")
        checked = await verify(places)
    except HarnessError as error:
        result, why = "not made", str(error).splitlines()[0]
    else:
        why = what_went_wrong(report, checked)
        result = "failed" if why else "accepted"
        if not why and checked.verdict.status != "accepted":
            result, why = "no evidence", "; ".join(report.inadequate or checked.verdict.reasons)
    is_kept = result in ("failed", "not made") and places.root.exists()
    if not is_kept:
        shutil.rmtree(places.root, ignore_errors=True)
    kept = str(places.root) if is_kept else ""
    return Soaked(seed, scenario.name, result, why, round(time.monotonic() - start_s, 1), kept)
