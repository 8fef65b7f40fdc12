"""A disk that fills up: what is there stays readable, nothing new fits until there is room again."""

from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import with_fillable_disks


class DiskFull:
    """See `face.Nemesis`. It bites when the disk has refused writes."""

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            with_fillable_disks(scene).disk(node).leave_room(scene.spec.room_bytes)

    async def hold(self, scene: Scene) -> Seen:
        disks = {node: with_fillable_disks(scene).disk(node) for node in scene.nodes}
        before = {node: disk.refused() for node, disk in disks.items()}
        await scene.wait_out()
        refused = {node: disk.refused() - before[node] for node, disk in disks.items()}
        return Seen(
            all(refused.values()), ", ".join(f"{node} refused {count} writes" for node, count in refused.items())
        )

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            with_fillable_disks(scene).disk(node).leave_room(None)
