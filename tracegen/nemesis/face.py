"""What a nemesis is, and what it is given."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tracegen.backend.face import Cluster, Crossing
from tracegen.scenario import FaultSpec
from tracegen.schedule import Link

PATIENCE_S: Final = 0.3  # a request over a stalled link is given up after this


@dataclass(frozen=True)
class Seen:
    """What a probe saw while the fault lasted, and whether that is the fault biting."""

    bit: bool
    text: str


@dataclass(frozen=True)
class Scene:
    """One injection: whom it hits, how, and until when (seconds of the event loop's clock)."""

    cluster: Cluster
    spec: FaultSpec
    nodes: tuple[str, ...]
    links: tuple[Link, ...]
    end_s: float
    seed: str

    async def wait_out(self) -> None:
        """Sleep until the fault's time is over."""
        await asyncio.sleep(max(0.0, self.end_s - asyncio.get_running_loop().time()))


class Nemesis(Protocol):
    """One kind of fault. `heal` is called even if `strike` or `hold` failed half-way."""

    async def strike(self, scene: Scene) -> None: ...

    async def hold(self, scene: Scene) -> Seen:
        """Probe that the fault bites, and let it last until `scene.end_s`."""
        ...

    async def heal(self, scene: Scene) -> None: ...


async def try_all(scene: Scene, links: Sequence[Link], patience_s: float = PATIENCE_S) -> list[Crossing]:
    """Try these links at once, in their order."""
    return await asyncio.gather(*(scene.cluster.try_link(*link, patience_s) for link in links))


def told(links: Sequence[Link], crossings: Sequence[Crossing]) -> str:
    """`n1>n2 broken 1 ms, n2>n1 stalled 300 ms`: what trying links came to."""
    return ", ".join(
        f"{source}>{target} {crossing.result} {crossing.took_ms:.0f} ms"
        for (source, target), crossing in zip(links, crossings, strict=True)
    )


def open_all(scene: Scene) -> None:
    for link in scene.links:
        scene.cluster.wire(*link).open()
