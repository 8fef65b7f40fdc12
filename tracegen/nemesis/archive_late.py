"""Late writes to the archive: some are held back and arrive after a while, when later ones were done long ago.

Those that were held back arrive after the fault is over, too.
"""

from tracegen.nemesis.archive import watch, ways
from tracegen.nemesis.face import Scene, Seen


class ArchiveLate:
    """See `face.Nemesis`. It bites when requests of the nodes met it."""

    async def strike(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.late = scene.spec.share
            way.faults.late_s = scene.spec.late_s

    async def hold(self, scene: Scene) -> Seen:
        return await watch(scene, "late")

    async def heal(self, scene: Scene) -> None:
        for way in ways(scene):
            way.faults.late = 0.0
