"""A throttling archive: some requests are refused with 503 SlowDown, and nothing is done."""

from tracegen.nemesis.archive import watch, ways
from tracegen.nemesis.face import Scene, Seen


class ArchiveThrottle:
    """See `face.Nemesis`. It bites when requests of the nodes met it."""

    async def strike(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.throttle = scene.spec.share

    async def hold(self, scene: Scene) -> Seen:
        return await watch(scene, "throttle")

    async def heal(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.throttle = 0.0
