"""A partition: no byte passes between the nodes hit and the others, either way.

`reset` breaks connections, so that both sides know at once; `stall` says nothing, and what was held back arrives late.
"""

from tracegen.nemesis.face import Scene, Seen, open_all, told, try_all


class Partition:
    """See `face.Nemesis`."""

    async def strike(self, scene: Scene) -> None:
        for link in scene.links:
            wire = scene.cluster.wire(*link)
            if scene.spec.how == "reset":
                wire.cut()
            else:
                wire.stall()

    async def hold(self, scene: Scene) -> Seen:
        crossings = await try_all(scene, scene.links)
        await scene.wait_out()
        wanted = "broken" if scene.spec.how == "reset" else "stalled"
        # a dead node would look cut off too
        alive = all(scene.cluster.state(node) == "running" for link in scene.links for node in link)
        bit = alive and bool(crossings) and all(crossing.result == wanted for crossing in crossings)
        return Seen(bit, told(scene.links, crossings) + ("" if alive else "; but not every node runs"))

    async def heal(self, scene: Scene) -> None:
        open_all(scene)
