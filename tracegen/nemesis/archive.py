"""What the faults of the way to the archive have in common: whose way it is, and what it did to requests of nodes."""

from collections.abc import Sequence

from tracegen.archive.face import ArchiveBehind, Way
from tracegen.errors import HarnessError
from tracegen.nemesis.face import Scene, Seen


def behind(scene: Scene) -> ArchiveBehind:
    """The archive behind the scene's cluster; raises HarnessError if there is none that can be broken."""
    archive = scene.cluster.archive
    if archive is None:
        raise HarnessError(f'{scene.spec.nemesis} needs an archive of kind s3; say [archive] kind = "s3"')
    return archive


def ways(scene: Scene) -> list[Way]:
    """The ways of the nodes that are hit."""
    return [behind(scene).way(node) for node in scene.nodes]


def let_know(scene: Scene) -> None:
    """The fault is over: nobody waits any longer for what will not come."""
    for node in scene.nodes:
        behind(scene).let_know(node)


async def watch(scene: Scene, fault: str) -> Seen:
    """Wait until the fault is over. It bit if some request of the nodes met it: which of them ask is theirs to say."""
    before = counts(scene, fault)
    await scene.wait_out()
    met = [now - then for now, then in zip(counts(scene, fault), before, strict=True)]
    told = (f"{node} {count}" for node, count in zip(scene.nodes, met, strict=True))
    return Seen(sum(met) > 0, "requests to the archive that met it: " + ", ".join(told))


def counts(scene: Scene, fault: str) -> Sequence[int]:
    """How many requests of each node have met this fault so far."""
    return [way.done[fault] for way in ways(scene)]
