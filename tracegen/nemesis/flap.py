"""A flapping link: down for a period, up for a period, and so on; whoever reconnects is cut off again."""

import asyncio
from typing import Final

from tracegen.nemesis.face import Scene, Seen, open_all, try_all

PROBE_S: Final = 0.15


class Flap:
    """See `face.Nemesis`. It bites when links were seen down in a down period and up in an up period."""

    async def strike(self, scene: Scene) -> None:
        self._down(scene)

    async def hold(self, scene: Scene) -> Seen:
        clock = asyncio.get_running_loop().time
        is_down, downs, ups = True, 0, 0
        while clock() < scene.end_s:
            turn_s = min(clock() + scene.spec.period_s, scene.end_s)
            crossings = await try_all(scene, scene.links, min(PROBE_S, scene.spec.period_s))
            answered = [crossing.result == "answered" for crossing in crossings]
            downs += is_down and not any(answered)
            ups += not is_down and all(answered)
            await asyncio.sleep(max(0.0, turn_s - clock()))
            is_down = not is_down
            if is_down:
                self._down(scene)
            else:
                open_all(scene)
        links = ", ".join(f"{source}>{target}" for source, target in scene.links)
        return Seen(downs > 0 and ups > 0, f"{links} seen down in {downs} periods and up in {ups}")

    async def heal(self, scene: Scene) -> None:
        open_all(scene)

    def _down(self, scene: Scene) -> None:
        for link in scene.links:
            wire = scene.cluster.wire(*link)
            if scene.spec.how == "reset":
                wire.cut()
            else:
                wire.stall()
