"""A node that is given hardly more memory than it has: the kernel takes its caches away, and then ends it (OOM)."""

from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import with_memory


class MemoryLimit:
    """See `face.Nemesis`. It bites when the node met its limit."""

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            await with_memory(scene).limit_memory(node, scene.spec.room_bytes)

    async def hold(self, scene: Scene) -> Seen:
        await scene.wait_out()
        cluster = with_memory(scene)
        met = {node: await cluster.memory_refusals(node) for node in scene.nodes}
        told = (f"{node} met its limit {count} times, {cluster.state(node)}" for node, count in met.items())
        return Seen(all(met.values()), ", ".join(told))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            await with_memory(scene).unlimit_memory(node)
            if scene.cluster.state(node) == "gone":
                await scene.cluster.start_node(node)
