"""An outage of the archive, or of a node's way there: `reset` refuses connections, `stall` says nothing."""

import asyncio

from tracegen.nemesis.archive import behind, counts, let_know, ways
from tracegen.nemesis.face import PATIENCE_S, Scene, Seen


class ArchiveDown:
    """See `face.Nemesis`. It bites when a request like those of the nodes is seen to get no answer."""

    async def strike(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.outage = "refuses" if scene.spec.how == "reset" else "silent"

    async def hold(self, scene: Scene) -> Seen:
        archive = behind(scene)
        crossings = await asyncio.gather(*(archive.try_way(node, PATIENCE_S) for node in scene.nodes))
        before = counts(scene, "outage")
        await scene.wait_out()
        wanted = "broken" if scene.spec.how == "reset" else "stalled"
        told = (
            f"{node} {crossing.result} {crossing.took_ms:.0f} ms, {now - then} requests of its own"
            for node, crossing, now, then in zip(scene.nodes, crossings, counts(scene, "outage"), before, strict=True)
        )
        return Seen(all(crossing.result == wanted for crossing in crossings), "; ".join(told))

    async def heal(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.outage = None
        let_know(scene)
