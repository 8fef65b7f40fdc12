"""What not every cluster lets a nemesis do, and the nemesis's way to it.

Which backend can do what is in `backend/choice.py`. A power is a method of the cluster; a nemesis that needs one which
is not there says so.
"""

from typing import Final, Protocol, cast

from tracegen.backend.face import Cluster
from tracegen.errors import HarnessError
from tracegen.nemesis.face import Scene


class FillableDisk(Protocol):
    """A node's disk, as far as it can be full."""

    def leave_room(self, room_bytes: int | None) -> None:
        """Let no more than this fit on it from now on; None: all that there is."""

    def refused(self) -> int:
        """How many writes it has refused so far, as there was no room. One that is asked may try another to know."""
        ...


class Disk(FillableDisk, Protocol):
    """A node's disk under the harness's hand. `refusals` and `slowed` count what it did to the node so far."""

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


class WithFillableDisks(Cluster, Protocol):
    """Its disks can be full."""

    def disk(self, node: str) -> FillableDisk: ...


class WithClocks(Cluster, Protocol):
    """Its nodes' wall clocks can be set wrong."""

    def set_skew_ms(self, node: str, skew_ms: float) -> None:
        """Set a node's wall clock wrong."""

    async def stamped_skew_ms(self, node: str) -> float | None:
        """By how much the last time that the node wrote down was wrong when it did; None if it wrote none."""
        ...


class WithPower(Cluster, Protocol):
    """Its machines can lose their power."""

    async def cut_power(self, node: str) -> int:
        """The whole machine is gone: the disk loses what it had not synced. How many writes those were."""
        ...


class WithMemory(Cluster, Protocol):
    """Its nodes can be given less memory."""

    async def limit_memory(self, node: str, room_bytes: int) -> None:
        """Let the node have so much more than it has now."""

    async def memory_refusals(self, node: str) -> int:
        """How often the node has met its limit, or was killed for it, since it was limited."""
        ...

    async def unlimit_memory(self, node: str) -> None: ...


class WithLossyLinks(Cluster, Protocol):
    """Its links can lose packets."""

    def lose(self, source: str, target: str, share: float) -> None:
        """Lose this share of what the first node sends to the second, until the wire is opened."""

    def lost_packets(self, source: str, target: str) -> int:
        """How many were lost since then."""
        ...


class SimulatedCluster(WithClocks, WithPower, Protocol):
    """A cluster in which nothing is out of reach."""

    def disk(self, node: str) -> Disk: ...

    def frames(self, source: str, target: str) -> Frames: ...

    async def settle(self, node: str) -> None:
        """Wait until a node that is about to stop, as its disk has failed, has stopped.

        One that goes on without that disk is told to stop: it takes the disk into service again when it starts.
        """


_NEEDED: Final = "{}: this cluster cannot suffer that; use another --backend"


def simulated(scene: Scene) -> SimulatedCluster:
    """The scene's cluster, which must be a simulated one."""
    return cast(SimulatedCluster, _able(scene, "frames"))


def with_fillable_disks(scene: Scene) -> WithFillableDisks:
    """The scene's cluster, whose disks can be full."""
    return cast(WithFillableDisks, _able(scene, "disk"))


def with_clocks(scene: Scene) -> WithClocks:
    """The scene's cluster, whose clocks can be set."""
    return cast(WithClocks, _able(scene, "set_skew_ms"))


def with_power(scene: Scene) -> WithPower:
    """The scene's cluster, which has power to lose."""
    return cast(WithPower, _able(scene, "cut_power"))


def with_memory(scene: Scene) -> WithMemory:
    """The scene's cluster, whose memory can be limited."""
    return cast(WithMemory, _able(scene, "limit_memory"))


def with_lossy_links(scene: Scene) -> WithLossyLinks:
    """The scene's cluster, whose links can lose packets."""
    return cast(WithLossyLinks, _able(scene, "lose"))


def _able(scene: Scene, method: str) -> Cluster:
    if not hasattr(scene.cluster, method):
        raise HarnessError(_NEEDED.format(scene.spec.nemesis))
    return scene.cluster
