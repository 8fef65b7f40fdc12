"""SIGSTOP: the process stands still with its connections open, as in a long collection or a frozen machine.

When it goes on it does not know that time went by: what it was about to send is sent then.
"""

import asyncio
from typing import Final

from tracegen.nemesis.face import Scene, Seen

SETTLE_S: Final = 0.02  # the kernel stops a process soon, not at once


class Pause:
    """See `face.Nemesis`."""

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            scene.cluster.pause(node)

    async def hold(self, scene: Scene) -> Seen:
        await asyncio.sleep(SETTLE_S)
        first = [scene.cluster.state(node) for node in scene.nodes]
        await scene.wait_out()
        last = [scene.cluster.state(node) for node in scene.nodes]
        told = (f"{node} {a} to {b}" for node, a, b in zip(scene.nodes, first, last, strict=True))
        return Seen({*first, *last} == {"paused"}, "state from first to last: " + ", ".join(told))

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            scene.cluster.resume(node)
