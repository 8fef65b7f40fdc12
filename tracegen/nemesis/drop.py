"""Dropped connections: every period all connections of the links are reset, and may be made anew at once."""

import asyncio
from typing import Final

from tracegen.nemesis.face import Scene, Seen

OPENING_S: Final = 0.03  # time for the probe's own connection to stand
RESET_S: Final = 1.0


class Drop:
    """See `face.Nemesis`. It bites when nodes had connections, and one of the probe's own was seen reset."""

    async def strike(self, scene: Scene) -> None:
        pass

    async def hold(self, scene: Scene) -> Seen:
        clock = asyncio.get_running_loop().time
        times, of_nodes, resets_seen = 0, 0, 0
        while clock() < scene.end_s:
            turn_s = min(clock() + scene.spec.period_s, scene.end_s)
            probe = asyncio.create_task(scene.cluster.is_link_reset(*scene.links[0], RESET_S))
            await asyncio.sleep(OPENING_S)
            of_nodes += sum(scene.cluster.wire(*link).drop_connections() for link in scene.links) - 1
            times += 1
            resets_seen += await probe
            await asyncio.sleep(max(0.0, turn_s - clock()))
        text = f"{of_nodes} connections of nodes reset in {times} turns, {resets_seen} of the probe's own"
        return Seen(of_nodes > 0 and resets_seen == times, text)

    async def heal(self, scene: Scene) -> None:
        pass
