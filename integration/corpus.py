"""Writes the whole corpus as one run, for `checker weaken`: corrupted traces, forgeries, and the honest ones.

    python -m integration.corpus runs/corpus
    checker weaken runs/corpus

The traces are those of a simulated run, so they are the same each time.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from integration.corruptions import SHORT, corpus
from integration.forgeries import CLUSTER, forgeries
from integration.judging import WITH_KILLS, Behaviour, behaviours, run_of_simulator, write
from integration.stories import honest_stories
from integration.tiering_forgeries import tiering_forgeries

SEED: Final = 3


def whole_corpus(folder: Path) -> Path:
    """Write it into a run directory, which must not be there."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        simulated = behaviours(run_of_simulator(Path(scratch) / "run", WITH_KILLS, seed=SEED))
    sources = [*simulated, *(story.told() for story in honest_stories())]
    copies: list[tuple[str, Behaviour]] = []
    copies += [(f"honest {source.path}", source.copy()) for source in sources if len(source) <= SHORT]
    copies += [(f"{number:03} {each.name}", each.behaviour) for number, each in enumerate(corpus(sources))]
    copies += [(each.name, each.behaviour) for each in (*forgeries(simulated), *tiering_forgeries())]
    return write(folder, copies, CLUSTER)


def main(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    whole_corpus(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
