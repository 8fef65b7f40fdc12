"""kill -9: the process ends between two instructions; what it had not written is lost."""

import signal

from tracegen.nemesis.face import Scene, Seen


class Kill:
    """See `face.Nemesis`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            self._codes[node] = await scene.cluster.kill(node)

    async def hold(self, scene: Scene) -> Seen:
        await scene.wait_out()
        states = {node: scene.cluster.state(node) for node in scene.nodes}
        bit = all(states[node] == "gone" and self._codes[node] == -signal.SIGKILL for node in scene.nodes)
        return Seen(bit, ", ".join(f"{node} exit code {self._codes[node]}, {states[node]}" for node in scene.nodes))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            if scene.cluster.state(node) == "gone":
                await scene.cluster.start_node(node)
