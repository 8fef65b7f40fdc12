"""A wall clock that jumps, and jumps back when somebody sets it right. Nothing may be ordered or timed by it."""

from tracegen.nemesis.face import Scene, Seen
from tracegen.nemesis.powers import with_clocks


class ClockJump:
    """See `face.Nemesis`. It bites when the node has written down a wrong time."""

    async def strike(self, scene: Scene) -> None:
        for node in scene.nodes:
            with_clocks(scene).set_skew_ms(node, scene.spec.skew_ms)

    async def hold(self, scene: Scene) -> Seen:
        await scene.wait_out()
        return await seen_skew(scene, abs(scene.spec.skew_ms) / 2)

    async def heal(self, scene: Scene) -> None:
        for node in scene.nodes:
            with_clocks(scene).set_skew_ms(node, 0.0)


async def seen_skew(scene: Scene, least_ms: float) -> Seen:
    """Whether the nodes' own stamps are wrong by so much."""
    stamped = {node: await with_clocks(scene).stamped_skew_ms(node) for node in scene.nodes}
    bit = all(skew_ms is not None and abs(skew_ms) >= least_ms for skew_ms in stamped.values())
    told = (
        f"{node} {'wrote no time' if skew_ms is None else f'wrote a time that is {skew_ms:+,.0f} ms off'}"
        for node, skew_ms in stamped.items()
    )
    return Seen(bit, ", ".join(told))
