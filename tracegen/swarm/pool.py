"""Many seeds on the processes of this machine: bounded work in flight, outcomes as they come."""

import gc
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tracegen.errors import HarnessError
from tracegen.scenario import Scenario
from tracegen.swarm.trial import Outcome, try_seed

CHUNK_SEEDS: Final = 10
"""Seeds that a process runs before it tells of them, and collects their garbage."""
NOTHING_GIVEN: Final[Mapping[int, Scenario]] = {}
CHUNKS_WAITING: Final = 2
"""Chunks for each process, with the one it works on."""


def try_seeds(
    seeds: Sequence[int], mutants: Sequence[str], keep: Path, jobs: int, want_every: int = 0
) -> Iterator[Outcome]:
    """Try each seed, and tell of each in no particular order. With one job, in this process.

    The runs of about every `want_every`th seed are kept, whatever came of them. Raises HarnessError when a process
    dies.
    """
    wanted = set(seeds[want_every - 1 :: want_every]) if want_every else set()
    chunks = [tuple(seeds[at : at + CHUNK_SEEDS]) for at in range(0, len(seeds), CHUNK_SEEDS)]
    tasks = iter([(chunk, tuple(mutants), keep, frozenset(wanted & set(chunk))) for chunk in chunks])
    if jobs == 1:
        for task in tasks:
            yield from try_chunk(*task)
        return
    pool = ProcessPoolExecutor(jobs, get_context("forkserver"), initializer=begin)
    try:
        running: set[Future[list[Outcome]]] = set()
        while True:
            for task in tasks:
                running.add(pool.submit(try_chunk, *task))
                if len(running) >= jobs * CHUNKS_WAITING:
                    break
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for finished in done:
                yield from finished.result()
    except BrokenProcessPool:
        raise HarnessError(
            "a process of the swarm died, out of memory perhaps; try fewer --jobs, or --jobs 1"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def begin() -> None:
    """In a new process: Ctrl-C is for the one that started it; what is imported is never garbage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.disable()


def try_chunk(
    seeds: Sequence[int],
    mutants: Sequence[str],
    keep: Path,
    wanted: frozenset[int],
    scenarios: Mapping[int, Scenario] = NOTHING_GIVEN,
) -> list[Outcome]:
    """Some seeds, one after the other, each with its own scenario if that is given; then collect their garbage."""
    outcomes = []
    is_due = False
    for seed in seeds:
        is_due = is_due or seed in wanted
        outcome = try_seed(seed, mutants, keep, is_wanted=is_due, scenario=scenarios.get(seed))
        is_due = is_due and not outcome.kept  # an inadequate run is no evidence: the next one has to stand in
        outcomes.append(outcome)
    gc.collect()
    return outcomes
