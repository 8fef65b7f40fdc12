"""A slow archive: each request arrives later."""

import asyncio

from tracegen.nemesis.archive import behind, ways
from tracegen.nemesis.face import PATIENCE_S, Scene, Seen


class ArchiveSlow:
    """See `face.Nemesis`. It bites when a request like those of the nodes is seen to take as long."""

    async def strike(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.slow_s = scene.spec.delay_ms / 1000
            way.faults.slow_jitter_s = scene.spec.delay_jitter_ms / 1000

    async def hold(self, scene: Scene) -> Seen:
        archive, spec = behind(scene), scene.spec
        # room for a busy machine
        patience_s = 4 * PATIENCE_S + 2 * (spec.delay_ms + spec.delay_jitter_ms) / 1000
        crossings = await asyncio.gather(*(archive.try_way(node, patience_s) for node in scene.nodes))
        await scene.wait_out()
        bit = all(crossing.result == "answered" and crossing.took_ms >= spec.delay_ms for crossing in crossings)
        told = (
            f"{node} {crossing.result} {crossing.took_ms:.0f} ms"
            for node, crossing in zip(scene.nodes, crossings, strict=True)
        )
        return Seen(bit, ", ".join(told))

    async def heal(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.slow_s = way.faults.slow_jitter_s = 0.0
