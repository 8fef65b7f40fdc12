"""Where a path lives, as every room of a node is told it."""

from collections.abc import Callable, Sequence

from impl.model import ReplicaSet, slot_of

Locate = Callable[[str], tuple[int, ReplicaSet]]
"""path -> its slot, and the replica set of that."""


def locator(groups: Sequence[ReplicaSet]) -> Locate:
    """Of a cluster with these replica sets by slot."""

    def locate(path: str) -> tuple[int, ReplicaSet]:
        slot = slot_of(path, len(groups))
        return slot, groups[slot]

    return locate
