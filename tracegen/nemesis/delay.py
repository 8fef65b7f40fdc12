"""Slow links: bytes arrive later, in order."""

from tracegen.nemesis.face import PATIENCE_S, Scene, Seen, open_all, told, try_all


class Delay:
    """See `face.Nemesis`."""

    async def strike(self, scene: Scene) -> None:
        spec = scene.spec
        for link in scene.links:
            scene.cluster.wire(*link).delay(spec.delay_ms / 1000, spec.delay_jitter_ms / 1000, scene.seed)

    async def hold(self, scene: Scene) -> Seen:
        spec = scene.spec
        # there and back, and room for a busy machine
        patience_s = PATIENCE_S + 4 * (spec.delay_ms + spec.delay_jitter_ms) / 1000
        crossings = await try_all(scene, scene.links, patience_s)
        await scene.wait_out()
        bit = bool(crossings) and all(
            crossing.result == "answered" and crossing.took_ms >= spec.delay_ms for crossing in crossings
        )
        return Seen(bit, told(scene.links, crossings))

    async def heal(self, scene: Scene) -> None:
        open_all(scene)
