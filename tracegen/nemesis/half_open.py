"""Half-open connections: one end is gone, and what the other one says vanishes without a word to it.

When the fault is over, the next thing that is said on such a connection is answered with a reset, as from a machine
that does not know it.
"""

from tracegen.nemesis.face import Scene, Seen, open_all
from tracegen.nemesis.powers import simulated


class HalfOpen:
    """See `face.Nemesis`. It bites when something was said to ends that do not exist any more."""

    def __init__(self) -> None:
        self._halved = 0

    async def strike(self, scene: Scene) -> None:
        self._halved = sum(simulated(scene).frames(*link).halve() for link in scene.links)

    async def hold(self, scene: Scene) -> Seen:
        ways = [simulated(scene).frames(*link) for link in scene.links]
        before = sum(way.vanished_bytes for way in ways)
        await scene.wait_out()
        vanished = sum(way.vanished_bytes for way in ways) - before
        return Seen(vanished > 0, f"{self._halved} connections half open, {vanished} bytes said to nobody")

    async def heal(self, scene: Scene) -> None:
        open_all(scene)
