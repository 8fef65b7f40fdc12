"""A one-way failure: bytes pass from one node to another but not back, the case that time-outs alone explain badly.

With `stall` the answers are lost with the requests, so trying the links looks alike both ways. What tells the ways
apart is which bytes arrived: those of a request over the whole way do.
"""

from tracegen.nemesis.face import Scene, Seen, open_all, told, try_all


class OneWay:
    """See `face.Nemesis`."""

    async def strike(self, scene: Scene) -> None:
        for link in scene.links:
            wire = scene.cluster.wire(*link)
            if scene.spec.how == "reset":
                wire.cut()
            else:
                wire.stall()

    async def hold(self, scene: Scene) -> Seen:
        seen = await (_probe_cut(scene) if scene.spec.how == "reset" else _probe_stall(scene))
        await scene.wait_out()
        return seen

    async def heal(self, scene: Scene) -> None:
        open_all(scene)


async def _probe_cut(scene: Scene) -> Seen:
    back = tuple((b, a) for a, b in scene.links)
    crossings = await try_all(scene, scene.links + back)
    count = len(scene.links)
    bit = (
        count > 0
        and all(crossing.result == "broken" for crossing in crossings[:count])
        and all(crossing.result == "answered" for crossing in crossings[count:])
    )
    return Seen(bit, told(scene.links + back, crossings))


async def _probe_stall(scene: Scene) -> Seen:
    ways = (*scene.links, *((b, a) for a, b in scene.links))
    wires = [scene.cluster.wire(*way) for way in ways]
    before = [wire.passed_bytes for wire in wires]
    await try_all(scene, ways)
    passed = [wire.passed_bytes - was for wire, was in zip(wires, before, strict=True)]
    count = len(scene.links)
    bit = count > 0 and not any(passed[:count]) and all(passed[count:])
    return Seen(bit, "passed: " + ", ".join(f"{a}>{b} {size} bytes" for (a, b), size in zip(ways, passed, strict=True)))
