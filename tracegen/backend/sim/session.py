"""One simulated run from start to end: loop, disks and cluster are made, the run is carried out, everything is let go.

Same scenario, seed and mutants: same traces, same history, byte for byte. It blocks, and wants a thread of its own that
runs no event loop.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tracegen.backend.sim.cluster import SimCluster
from tracegen.backend.sim.loop import SimLoop, Stuck
from tracegen.backend.sim.node import EPOCH_MS
from tracegen.errors import HarnessError
from tracegen.history import RunClock
from tracegen.places import RunPlaces
from tracegen.report import RunReport
from tracegen.run import carry_out
from tracegen.scenario import Scenario

NAME: Final = "sim"
PATIENCE_S: Final = 300.0
"""What a run has beyond its load, in virtual seconds: whoever still waits then, waits for ever."""


def simulate(
    scenario: Scenario,
    seed: int,
    places: RunPlaces,
    *,
    mutants: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    must_live: bool = True,
) -> RunReport:
    """Make the run and write its directory; raises HarnessError when it cannot be made.

    What nobody caught in a node's code is among the report's problems. must_live: when all is healed, see that requests
    are answered and new writes succeed, in time.
    """
    loop = SimLoop(scenario.duration_s + PATIENCE_S)
    cluster = SimCluster(scenario.cluster, places, loop, str(seed), archive=scenario.archive, mutants=mutants)

    async def carry() -> RunReport:
        clock = RunClock(loop.time, EPOCH_MS)
        return await carry_out(
            scenario,
            seed,
            cluster,
            places,
            backend=NAME,
            mutants=mutants,
            say=say,
            clock=clock,
            under_way=cluster.under_way if must_live else None,
        )

    with _no_collection():
        try:
            return loop.run_until_complete(carry())
        except Stuck as error:
            raise HarnessError("\n".join([f"{scenario.name}, seed {seed}: {error}", *loop.errors])) from error
        finally:
            cluster.close()
            loop.let_go()


@contextmanager
def _no_collection() -> Iterator[None]:
    """When garbage is collected depends on what ran before, and collecting runs code: generators end, files close."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
