"""What simulated time costs: an idle cluster, and whole runs of about 200 operations on both cores.

`python -m ci.bench.simulator`. An idle second is one in which nodes only ask each other whether they are there.
"""

import os
import tempfile
import time
from pathlib import Path

from tracegen.backend.sim.cluster import SimCluster
from tracegen.backend.sim.loop import SimLoop
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape
from tracegen.swarm.pool import try_seeds

IDLE_S = 10.0
NODES = (1, 3, 7)
SEEDS = range(1, 501)


def main() -> None:
    """Print the cost of idle seconds for some sizes, then the runs that a minute has room for."""
    for count in NODES:
        print(f"{IDLE_S:g} simulated seconds, {count} idle nodes: {idle(count):.3f} s")
    jobs = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as keep:
        outcomes = try_seeds(SEEDS, (), Path(keep), jobs)
        operations, began_s, runs = 0, time.monotonic(), 0
        for outcome in outcomes:
            operations += outcome.operations
            runs += 1
        seconds = time.monotonic() - began_s
    print(f"{runs} runs of {operations / runs:.0f} operations on {jobs} processes: {60 * runs / seconds:,.0f} a minute")


def idle(count: int) -> float:
    """How many seconds of a processor go into IDLE_S of so many nodes without a client."""
    loop = SimLoop()
    with tempfile.TemporaryDirectory() as directory:
        places = RunPlaces(Path(directory) / "run")
        places.make()
        cluster = SimCluster(ClusterShape(count, count, count // 2 + 1), places, loop, "idle")
        loop.run_until_complete(cluster.start())
        began_s = time.process_time()
        loop.run_until_complete(loop.sleep(IDLE_S))
        seconds = time.process_time() - began_s
        loop.run_until_complete(cluster.stop())
        cluster.close()
        loop.let_go()
    return seconds


if __name__ == "__main__":
    main()
