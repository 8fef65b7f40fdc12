"""How soon is a deliberate bug found? Seed after seed is tried with the bug, until one shows it; and without any bug.

The bugs are those of `impl/protocol/rules.py`. Every seed draws a scenario of its own, the same for all of them, so
nothing is made for a bug to show in.
"""

import gc
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec

from tracegen.backend.sim.bugs import MUTANTS
from tracegen.swarm.pool import CHUNK_SEEDS, begin
from tracegen.swarm.trial import try_seed
from tracegen.watch.findings import By


class Hunt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one mutant. `seed` is the one that shows it, the `tried`th; None if none does.

    `events` were traced in all runs together. `first_refused` is the number of the first refused event in its object's
    trace, 0 where a history or the run itself told. `crashes` are what went wrong with the harness; a bug of its own.
    """

    mutant: str
    breaks: str
    where: str
    tried: int
    seed: int | None = None
    by: tuple[By, ...] = ()
    events: int = 0
    first_refused: int = 0
    seconds: float = 0.0
    why: str = ""
    run: str = ""
    crashes: tuple[str, ...] = ()


def hunt(mutant: str, seeds: Sequence[int], keep: Path) -> Hunt:
    """Try these seeds in order until one shows the mutant; the run that does is kept."""
    began_s = time.monotonic()
    shutil.rmtree(keep / mutant, ignore_errors=True)
    events = 0
    crashes: list[str] = []
    about = Hunt(mutant=mutant, breaks=MUTANTS[mutant].breaks, where=MUTANTS[mutant].where, tried=len(seeds))
    for tried, seed in enumerate(seeds, start=1):
        outcome = try_seed(seed, (mutant,), keep / mutant)
        events += outcome.events
        if tried % CHUNK_SEEDS == 0:
            gc.collect()  # a worker of the pool does so between its runs only
        if outcome.is_crash:
            crashes.append(f"seed {seed}: {outcome.found[0]}")
        elif outcome.found:
            about = msgspec.structs.replace(
                about,
                tried=tried,
                seed=seed,
                by=outcome.by,
                first_refused=outcome.first_refused,
                why=outcome.found[0],
                run=outcome.kept,
            )
            break
    seconds = round(time.monotonic() - began_s, 2)
    return msgspec.structs.replace(about, events=events, seconds=seconds, crashes=tuple(crashes))


def hunt_all(mutants: Iterable[str], seeds: Sequence[int], keep: Path, jobs: int) -> Iterator[Hunt]:
    """Hunt each of them, `jobs` at a time, in processes of their own; in the order in which they are done."""
    one = partial(hunt, seeds=seeds, keep=keep)
    if jobs == 1:
        yield from map(one, mutants)
        return
    with ProcessPoolExecutor(jobs, get_context("forkserver"), initializer=begin) as pool:
        hunting = [pool.submit(one, mutant) for mutant in mutants]
        try:
            for finished in as_completed(hunting):
                yield finished.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
