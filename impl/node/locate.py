"""Where a path lives, as every room of a node is told it."""

from collections.abc import Callable

from impl.model import ReplicaSet

Locate = Callable[[str], tuple[int, ReplicaSet]]
"""path -> its slot, and the replica set of that."""
