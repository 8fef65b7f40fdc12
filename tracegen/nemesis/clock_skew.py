"""A wall clock that runs too fast or too slow: it goes wrong step by step, and is set right at the end."""

import asyncio

from tracegen.nemesis.clock_jump import seen_skew
from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import with_clocks


class ClockSkew:
    """See `face.Nemesis`. It bites when the node has written down a wrong time."""

    async def strike(self, scene: Scene) -> None:
        pass

    async def hold(self, scene: Scene) -> Seen:
        clock = asyncio.get_running_loop().time
        spec, began_s = scene.spec, clock()
        while (now_s := clock()) < scene.end_s:
            share = (now_s - began_s) / spec.for_s
            for node in scene.nodes:
                with_clocks(scene).set_skew_ms(node, spec.skew_ms * share)
            await asyncio.sleep(min(spec.period_s, scene.end_s - now_s))
        return await seen_skew(scene, abs(spec.skew_ms) / 10)

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            with_clocks(scene).set_skew_ms(node, 0.0)
