"""A guided swarm: what the runs of one generation reached decides what those of the next are.

A generation is run in parallel and told to the guide in the order of its seeds, so the same seeds make the same
scenarios however many processes there are.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tracegen.guide.steer import Guide
from tracegen.swarm.draw import draw
from tracegen.swarm.pool import Chunk, workers
from tracegen.swarm.trial import Outcome

GENERATION: Final = 16
CHUNK: Final = 4


def try_guided(
    seeds: Sequence[int],
    mutants: Sequence[str],
    keep: Path,
    jobs: int,
    want_every: int = 0,
    cluster: str | None = None,
) -> Iterator[Outcome]:
    """Try each seed as `swarm.pool.try_seeds` does, but with what the guide makes of it; in the seeds' order."""
    guide = Guide(draw, f"{seeds[0]}")
    wanted = frozenset(seeds[want_every - 1 :: want_every]) if want_every else frozenset()
    with workers(jobs, cluster) as try_chunks:
        for at in range(0, len(seeds), GENERATION):
            generation = seeds[at : at + GENERATION]
            scenarios = {seed: guide.next(seed) for seed in generation}
            slices = (tuple(generation[at : at + CHUNK]) for at in range(0, len(generation), CHUNK))
            chunks = [
                Chunk(
                    seeds=own,
                    mutants=tuple(mutants),
                    keep=keep,
                    wanted=wanted.intersection(own),
                    scenarios={seed: scenarios[seed] for seed in own},
                )
                for own in slices
            ]
            found = {outcome.seed: outcome for outcomes in try_chunks(chunks) for outcome in outcomes}
            for seed in generation:
                guide.tell(seed, scenarios[seed], found[seed].reached)
                yield found[seed]
