"""How often a write id may be sent again, so that the history stays exact. Pure bookkeeping.

A node recognises a write id while it is among the last `RECENT_WRITES` applied to its path. Beyond that a second
delivery is a second write: an answer that a history could only call a broken promise. A request whose client gave up
may be carried out much later (its node was paused, say), so once a write was sent twice and one of the two was never
answered, its path may see only so many further writes. Then it is full, and clients only read it.
"""

from collections import Counter
from typing import Final

RECENT_WRITES: Final = 16  # of the head's recent writes, see the design


class Window:
    """Counts the writes of each path; shared by all clients of a run."""

    def __init__(self) -> None:
        self._started: Counter[str] = Counter()
        self._unsettled: Counter[str] = Counter()
        self._bounds: dict[str, list[int]] = {}

    def is_full(self, path: str) -> bool:
        bounds = self._bounds.get(path)
        if not bounds:
            return False
        return self._started[path] >= min(bounds)

    def begin(self, path: str) -> int:
        """Count a write that is about to be sent first; the bound up to which its write id is surely recognised."""
        bound = self._started[path] + RECENT_WRITES - self._unsettled[path]
        self._started[path] += 1
        self._unsettled[path] += 1
        return bound

    def settle(self, path: str) -> None:
        """A write has a definite answer, so it takes effect no later than now."""
        self._unsettled[path] -= 1

    def may_send_again(self, path: str, bound: int) -> bool:
        return self._started[path] < bound

    def hold(self, path: str, bound: int) -> None:
        """A write with this bound is sent a second time: keep the path within the bound."""
        self._bounds.setdefault(path, []).append(bound)

    def release(self, path: str, bound: int) -> None:
        """Every sending of it was answered, so none can be carried out later."""
        self._bounds[path].remove(bound)
