"""The machine loses its power: what its disk had not synced is gone or torn, and nobody is told that it is away."""

from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import with_power


class PowerCut:
    """See `face.Nemesis`."""

    def __init__(self) -> None:
        self._unsynced: dict[str, int] = {}

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            self._unsynced[node] = await with_power(scene).cut_power(node)

    async def hold(self, scene: Scene) -> Seen:
        await scene.wait_out()
        states = {node: scene.cluster.state(node) for node in scene.nodes}
        bit = all(state == "gone" for state in states.values())
        return Seen(bit, ", ".join(f"{node} {states[node]}, {self._unsynced[node]} writes unsynced" for node in states))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            if scene.cluster.state(node) == "gone":
                await scene.cluster.start_node(node)
