"""A process to kill: a store under load that says on its output what it has acknowledged.

    python -m impl.storage.tests.victim DIRECTORY [COMMITS]

It starts as a node does (impl/node/opening.py), trace included, and then writes to a few paths without end; or until it
has made so many commits, and then it dies at the worst moment: the last one is on disk, and nobody has been told.
"""

import asyncio
import os
import sys
import time
from functools import partial
from pathlib import Path

from impl.errors import AmberioError
from impl.model import NO_BALLOT, Ballot
from impl.protocol import events
from impl.protocol.acceptor import on_accept
from impl.protocol.messages import Accept
from impl.storage.registers import RegisterStore
from impl.storage.steps import Committed, Job
from impl.storage.tests.rig import head
from impl.trace import FileTrace, complete

NODE = "n1"
PATHS = tuple(f"p{number}" for number in range(20))
DATABASE = "registers.db"
FLUSH_EVERY = 7


async def serve(directory: Path, commits: int) -> None:
    store = Dying(directory / DATABASE, 10_000)
    store.commits_left = commits
    complete(directory, NODE, store.incarnation - 1, store.durable_events())
    store.begin()
    tracer = FileTrace(directory, NODE, store.incarnation, lambda: time.time_ns() // 1_000_000, store.prune_events)
    tracer.start("c1", (NODE,))
    store.start(asyncio.get_running_loop(), tracer)
    first = await store.reserve_rounds(1000)
    print("rounds", first, flush=True)
    for path in PATHS:
        write_next(store, tracer, path, (await store.read(path)).generation)
    await asyncio.Event().wait()


def write_next(store: RegisterStore, tracer: FileTrace, path: str, generation: int) -> None:
    """Write the next generation, as soon as the one before it is acknowledged."""
    generation += 1
    body = bytes(generation % 3000)
    request = Accept(path, Ballot(generation, NODE), head(generation, body), NO_BALLOT)

    def acknowledge(committed: Committed | AmberioError) -> None:
        assert isinstance(committed, Committed) and committed.taken
        # most events wait for a flush, as they may while nothing that they enable goes out: a kill finds many of them
        if generation % FLUSH_EVERY == 0:
            tracer.emit(events.Report(path=path, read="r", was_promised=None, was_accepted=None, was_generation=0))
            tracer.flush()
            print(path, generation, flush=True)
        write_next(store, tracer, path, generation)

    store.apply_then(path, 1, partial(on_accept, request=request), acknowledge)


class Dying(RegisterStore):
    """A store whose process ends between a commit and its publication."""

    commits_left = 0

    def _publish(self, group: list[Job], commit_s: float) -> None:
        self.commits_left -= 1
        if self.commits_left == 0:
            os._exit(9)
        super()._publish(group, commit_s)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else -1))
