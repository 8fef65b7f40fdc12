"""A slow disk: each piece of work on it takes longer, one after the other."""

from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import simulated


class SlowDisk:
    """See `face.Nemesis`. It bites when work of the node's was made to wait."""

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            disk = simulated(scene).disk(node)
            disk.delay_s, disk.jitter_s = scene.spec.delay_ms / 1000, scene.spec.delay_jitter_ms / 1000

    async def hold(self, scene: Scene) -> Seen:
        disks = {node: simulated(scene).disk(node) for node in scene.nodes}
        before = {node: disk.slowed for node, disk in disks.items()}
        await scene.wait_out()
        slowed = {node: disk.slowed - before[node] for node, disk in disks.items()}
        return Seen(all(slowed.values()), ", ".join(f"{node} waited {count} times" for node, count in slowed.items()))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            disk = simulated(scene).disk(node)
            disk.delay_s = disk.jitter_s = 0.0
