"""What only a simulated cluster lets a nemesis do, and the nemesis's way to it."""

from typing import Protocol, cast

from tracegen.backend.face import Cluster
from tracegen.errors import HarnessError
from tracegen.nemesis.face import Scene


class Disk(Protocol):
    """A node's disk under the harness's hand. `refusals` and `slowed` count what it did to the node so far."""

    room_bytes: int | None
    is_failing: bool
    delay_s: float
    jitter_s: float

    @property
    def refusals(self) -> int:
        """Calls that failed, as there was no room or the disk was failing."""
        ...

    @property
    def slowed(self) -> int:
        """Pieces of work that took longer, as the disk was slow."""
        ...

    def rot(self) -> str | None:
        """Flip a bit in some part; its digest, None if there is no part."""
        ...

    def is_rotten(self, digest: str) -> bool:
        """Are the bytes of this part, as they lie there, not those that its name promises?"""
        ...


class Frames(Protocol):
    """The way from one node to another, as far as it handles frames and ends of connections."""

    @property
    def mangled_frames(self) -> int: ...
    @property
    def vanished_bytes(self) -> int:
        """What was said so far to ends that do not exist any more."""
        ...

    def mangle(self, drop: float, double: float, overtake: float) -> None:
        """Lose, double, or let overtake each other these shares of the frames."""

    def halve(self) -> int:
        """Of each connection that the first node made, one end is lost and the other does not hear of it; how many."""
        ...


class SimulatedCluster(Cluster, Protocol):
    """A cluster in which nothing is out of reach."""

    def cut_power(self, node: str) -> int:
        """The whole machine is gone: the disk loses what it had not synced. How many writes those were."""
        ...

    def disk(self, node: str) -> Disk: ...

    def frames(self, source: str, target: str) -> Frames: ...

    def set_skew_ms(self, node: str, skew_ms: float) -> None:
        """Set a node's wall clock wrong."""

    def stamped_skew_ms(self, node: str) -> float | None:
        """By how much the last time that the node wrote down was wrong when it did; None if it wrote none."""
        ...

    async def settle(self, node: str) -> None:
        """Wait until a node that is about to stop, as its disk has failed, has stopped.

        One that goes on without that disk is told to stop: it takes the disk into service again when it starts.
        """


def simulated(scene: Scene) -> SimulatedCluster:
    """The scene's cluster, which must be a simulated one."""
    if not hasattr(scene.cluster, "cut_power"):
        raise HarnessError(f"{scene.spec.nemesis} needs a simulated cluster; use --backend sim")
    return cast(SimulatedCluster, scene.cluster)
