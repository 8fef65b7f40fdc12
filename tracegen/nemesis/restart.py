"""A gentle restart: SIGTERM, the node drains and ends by itself, stays away for a while, and comes back."""

from tracegen.nemesis.face import Scene, Seen


class Restart:
    """See `face.Nemesis`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            self._codes[node] = await scene.cluster.terminate(node)

    async def hold(self, scene: Scene) -> Seen:
        states = {node: scene.cluster.state(node) for node in scene.nodes}
        await scene.wait_out()
        bit = all(states[node] == "gone" and self._codes[node] == 0 for node in scene.nodes)
        return Seen(bit, ", ".join(f"{node} exit code {self._codes[node]}, {states[node]}" for node in scene.nodes))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            if scene.cluster.state(node) == "gone":
                await scene.cluster.start_node(node)
