"""Connections to the archive that break in the middle of a body: of a request, or of an answer."""

from tracegen.nemesis.archive import watch, ways
from tracegen.nemesis.face import Scene, Seen


class ArchiveCut:
    """See `face.Nemesis`. It bites when requests of the nodes met it."""

    async def strike(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.cut = scene.spec.share

    async def hold(self, scene: Scene) -> Seen:
        return await watch(scene, "cut")

    async def heal(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.cut = 0.0
