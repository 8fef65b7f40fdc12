"""Many seeds on many processes, of this machine or of a cluster: bounded work in flight, outcomes as they come."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Final

from tracegen.errors import HarnessError
from tracegen.scenario import Scenario
from tracegen.swarm.trial import Outcome, try_seed

CHUNK_SEEDS: Final = 10
"""Seeds that a process runs before it tells of them, and collects their garbage."""
CHUNKS_WAITING: Final = 2
"""Chunks for each process, with the one it works on."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Seeds that one process tries one after the other, each with its own scenario if that is given.

    What is kept goes below `keep`. Of the `wanted` ones the runs are kept whatever came of them.
    """

    seeds: Sequence[int]
    mutants: Sequence[str]
    keep: Path
    wanted: frozenset[int] = frozenset()
    scenarios: Mapping[int, Scenario] = field(default_factory=dict)


TryChunks = Callable[[Iterable[Chunk]], Iterator[list[Outcome]]]
"""Tries chunks beside each other, and gives the outcomes of each when it is done, in no particular order."""


def try_seeds(
    seeds: Sequence[int],
    mutants: Sequence[str],
    keep: Path,
    jobs: int,
    want_every: int = 0,
    cluster: str | None = None,
) -> Iterator[Outcome]:
    """Try each seed, and tell of each in no particular order. With one job, in this process.

    The runs of about every `want_every`th seed are kept, whatever came of them. `cluster` is the address of a Dask
    scheduler, whose workers do it instead. Raises HarnessError when a process dies, or the cluster cannot do it.
    """
    wanted = frozenset(seeds[want_every - 1 :: want_every]) if want_every else frozenset()
    slices = (tuple(seeds[at : at + CHUNK_SEEDS]) for at in range(0, len(seeds), CHUNK_SEEDS))
    chunks = (Chunk(seeds=own, mutants=tuple(mutants), keep=keep, wanted=wanted.intersection(own)) for own in slices)
    with workers(jobs, cluster) as try_chunks:
        for outcomes in try_chunks(chunks):
            yield from outcomes


@contextmanager
def workers(jobs: int, cluster: str | None = None) -> Iterator[TryChunks]:
    """Who tries chunks: this process, so many others, or a Dask cluster. Raises HarnessError when they cannot."""
    if cluster is not None:
        from tracegen.swarm.cluster import cluster_workers

        with cluster_workers(cluster) as try_chunks:
            yield try_chunks
        return
    if jobs == 1:
        yield partial(map, try_chunk)
        return
    pool = ProcessPoolExecutor(jobs, get_context("forkserver"), initializer=begin)
    try:
        yield partial(_in_pool, pool, jobs * CHUNKS_WAITING)
    except BrokenProcessPool:
        raise HarnessError(
            "a process of the swarm died, out of memory perhaps; try fewer --jobs, or --jobs 1"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _in_pool(pool: ProcessPoolExecutor, running_max: int, chunks: Iterable[Chunk]) -> Iterator[list[Outcome]]:
    to_do = iter(chunks)
    running: set[Future[list[Outcome]]] = set()
    while True:
        running.update(pool.submit(try_chunk, chunk) for chunk in islice(to_do, running_max - len(running)))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for finished in done:
            yield finished.result()


def begin() -> None:
    """In a new process: Ctrl-C is for the one that started it, whose end is its own; what is imported is no garbage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.collect()
    gc.freeze()
    gc.disable()


def _end_with_parent() -> None:
    """Also where that one is killed, and could not end its pool."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def try_chunk(chunk: Chunk) -> list[Outcome]:
    """Try the seeds of a chunk, in their order; then collect their garbage."""
    outcomes = []
    is_due = False
    for seed in chunk.seeds:
        is_due = is_due or seed in chunk.wanted
        outcome = try_seed(seed, chunk.mutants, chunk.keep, is_wanted=is_due, scenario=chunk.scenarios.get(seed))
        is_due = is_due and not outcome.kept  # an inadequate run is no evidence: the next one has to stand in
        outcomes.append(outcome)
    gc.collect()
    return outcomes
