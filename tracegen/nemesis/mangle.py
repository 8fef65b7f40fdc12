"""Links that lose, double and reorder frames, as a network of datagrams would: the protocol must not care."""

from tracegen.nemesis.face import Scene, Seen, open_all
from tracegen.nemesis.powers import simulated


class Mangle:
    """See `face.Nemesis`. It bites when frames were mangled."""

    async def strike(self, scene: Scene) -> None:
        spec = scene.spec
        for link in scene.links:
            simulated(scene).frames(*link).mangle(spec.drop_share, spec.double_share, spec.overtake_share)

    async def hold(self, scene: Scene) -> Seen:
        ways = [simulated(scene).frames(*link) for link in scene.links]
        before = sum(way.mangled_frames for way in ways)
        await scene.wait_out()
        mangled = sum(way.mangled_frames for way in ways) - before
        return Seen(mangled > 0, f"{mangled} frames mangled on {len(ways)} links")

    async def heal(self, scene: Scene) -> None:
        open_all(scene)
