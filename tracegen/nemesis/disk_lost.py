"""A disk dies with its machine, and an empty one takes its place: all that the node held and promised is gone."""

from tracegen.nemesis.face import Scene, Seen


class DiskLost:
    """See `face.Nemesis`."""

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            await scene.cluster.kill(node)
            self._lost[node] = await scene.cluster.lose_disk(node)

    async def hold(self, scene: Scene) -> Seen:
        await scene.wait_out()
        states = {node: scene.cluster.state(node) for node in scene.nodes}
        bit = all(state == "gone" and self._lost[node] > 0 for node, state in states.items())
        return Seen(bit, ", ".join(f"{node} {state}, {self._lost[node]} files lost" for node, state in states.items()))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            if scene.cluster.state(node) == "gone":
                await scene.cluster.start_node(node)
