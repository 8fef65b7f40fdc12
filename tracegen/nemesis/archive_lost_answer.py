"""Lost answers of the archive: some requests are carried out, and who sent them does not hear of it."""

from tracegen.nemesis.archive import let_know, watch, ways
from tracegen.nemesis.face import Scene, Seen


class ArchiveLostAnswer:
    """See `face.Nemesis`. It bites when requests of the nodes met it."""

    async def strike(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.lose = scene.spec.share

    async def hold(self, scene: Scene) -> Seen:
        return await watch(scene, "lose")

    async def heal(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.lose = 0.0
        let_know(scene)
