"""A guided swarm: what the runs of one generation reached decides what those of the next are.

A generation is run in parallel and told to the guide in the order of its seeds, so the same seeds make the same
scenarios however many processes there are.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tracegen.errors import HarnessError
from tracegen.guide.steer import Guide
from tracegen.swarm.draw import draw
from tracegen.swarm.pool import begin, try_chunk
from tracegen.swarm.trial import Outcome

GENERATION: Final = 16
CHUNK: Final = 4


def try_guided(
    seeds: Sequence[int], mutants: Sequence[str], keep: Path, jobs: int, want_every: int = 0
) -> Iterator[Outcome]:
    """Try each seed as `swarm.pool.try_seeds` does, but with what the guide makes of it; in the seeds' order."""
    guide = Guide(draw, f"{seeds[0]}")
    wanted = frozenset(seeds[want_every - 1 :: want_every]) if want_every else frozenset()
    pool = ProcessPoolExecutor(jobs, get_context("forkserver"), initializer=begin) if jobs > 1 else None
    try:
        with pool or nullcontext():
            for at in range(0, len(seeds), GENERATION):
                generation = seeds[at : at + GENERATION]
                scenarios = {seed: guide.next(seed) for seed in generation}
                chunks = [tuple(generation[at : at + CHUNK]) for at in range(0, len(generation), CHUNK)]
                tasks = [
                    (chunk, tuple(mutants), keep, wanted & set(chunk), {seed: scenarios[seed] for seed in chunk})
                    for chunk in chunks
                ]
                done = [pool.submit(try_chunk, *task) for task in tasks] if pool else []
                found = [future.result() for future in done] if pool else [try_chunk(*task) for task in tasks]
                for outcome in (outcome for chunk in found for outcome in chunk):
                    guide.tell(outcome.seed, scenarios[outcome.seed], outcome.reached)
                    yield outcome
    except BrokenProcessPool:
        raise HarnessError("a process of the swarm died, out of memory perhaps; try fewer --jobs") from None
