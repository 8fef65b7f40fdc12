"""Which nodes live, as this one sees it: to choose who serves and ships first, and for people. Never for safety.

Two nodes may see it differently, and a node that is called down may be at work: whoever relies on this must stay right
when it is wrong. What counts is decided in quorums (impl/protocol).
"""

from collections.abc import Callable, Mapping, Sequence

from impl.cluster.peers import PeerStatus


class Liveness:
    """The view of one node. `statuses` says how the others look; `draining` that this one asks not to be first."""

    def __init__(self, node_id: str, statuses: Callable[[], Mapping[str, PeerStatus]]) -> None:
        self._node_id = node_id
        self._statuses = statuses
        self.draining = False

    def is_alive(self, node_id: str) -> bool:
        """Does the node serve, and wants to? Of this one: unless it drains. One that is not of the cluster does not."""
        if node_id == self._node_id:
            return not self.draining
        seen = self._statuses().get(node_id)
        return seen is not None and seen.status == "healthy"

    def first_live(self, nodes: Sequence[str]) -> str | None:
        """The first of `nodes` that is alive; None if none is."""
        return next((node for node in nodes if self.is_alive(node)), None)
