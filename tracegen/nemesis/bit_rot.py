"""Bit rot: bits of parts on one node's disk flip. Nobody may be given these bytes; another replica has them right.

They stay so: the node itself has to notice, and to mend them.
"""

import asyncio
from typing import Final

from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import simulated

LOOK_AGAIN_S: Final = 0.05


class BitRot:
    """See `face.Nemesis`. It bites when parts on every disk were seen not to be what their names promise."""

    async def strike(self, scene: Scene) -> None:
        pass

    async def hold(self, scene: Scene) -> Seen:
        clock = asyncio.get_running_loop().time
        cluster = simulated(scene)
        seen = dict.fromkeys(scene.nodes, 0)
        while True:  # a node may not have a part yet, or get newer ones, which are more likely to be read
            for node in scene.nodes:
                digest = cluster.disk(node).rot()
                seen[node] += digest is not None and cluster.disk(node).is_rotten(digest)
            if clock() + LOOK_AGAIN_S >= scene.end_s:
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        await scene.wait_out()
        told = (f"{node} {count}" for node, count in seen.items())
        return Seen(all(seen.values()), "parts in which a bit flipped: " + ", ".join(told))

    async def heal(self, scene: Scene) -> None:
        pass
