"""Lossy links: a share of the packets vanishes, and TCP has to send them again. It bites when packets were dropped."""

from tracegen.nemesis.face import Scene, Seen, open_all
from tracegen.nemesis.powers import with_lossy_links


class Loss:
    """See `face.Nemesis`."""

    async def strike(self, scene: Scene) -> None:
        for link in scene.links:
            with_lossy_links(scene).lose(*link, scene.spec.drop_share)

    async def hold(self, scene: Scene) -> Seen:
        await scene.wait_out()
        lost = {link: with_lossy_links(scene).lost_packets(*link) for link in scene.links}
        told = (f"{source}>{target} lost {count} packets" for (source, target), count in lost.items())
        return Seen(bool(lost) and all(lost.values()), ", ".join(told))

    async def heal(self, scene: Scene) -> None:
        open_all(scene)
