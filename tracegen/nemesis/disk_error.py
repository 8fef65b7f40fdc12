"""A disk that fails (EIO): reads, writes and syncs. The node must stop itself rather than answer from memory.

What a failed sync was to make durable may be there or not. When the disk is well again, the node is started anew.
"""

import asyncio

from tracegen.errors import HarnessError
from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import SimulatedCluster, simulated


class DiskError:
    """See `face.Nemesis`. It bites when calls of the node have failed; it has stopped then, if one was a write."""

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            simulated(scene).disk(node).is_failing = True

    async def hold(self, scene: Scene) -> Seen:
        cluster = simulated(scene)
        before = {node: cluster.disk(node).refusals for node in scene.nodes}
        await scene.wait_out()
        failed = {node: cluster.disk(node).refusals - before[node] for node in scene.nodes}
        told = (f"{node} had {count} errors, {cluster.state(node)}" for node, count in failed.items())
        return Seen(all(failed.values()), ", ".join(told))

    async def heal(self, scene: Scene) -> None:
        """All disks are well again at once; what has stopped, or is about to, is started when it has."""
        cluster = simulated(scene)
        for node in scene.nodes:
            cluster.disk(node).is_failing = False
        await asyncio.gather(*(self._bring_back(cluster, node) for node in scene.nodes))

    async def _bring_back(self, cluster: SimulatedCluster, node: str) -> None:
        """Start a node that has stopped, unless its disk fails again by now: that fault brings it back then."""
        await cluster.settle(node)
        disk = cluster.disk(node)
        if cluster.state(node) != "gone" or disk.is_failing:
            return
        try:
            await cluster.start_node(node)
        except HarnessError:
            if not disk.is_failing:
                raise
