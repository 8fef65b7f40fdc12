"""Which life each node is in, as the links need it: whom to let in, and what to know durably before a word is said.

A link tells both ends' lives as it opens (impl/storage/lives.py says what a life is). Two rules follow:

- Who is in an earlier life than is known here, is a disk that was lost and has come back: no word of it is heard.
- A node that lives is known to live before it is listened to or asked. So, where a vote of it counted, somebody knows
  of its life when it comes back empty. A first life is learnt from the link itself; a later one only when the node has
  asked to be met, as what an earlier one said is to be dropped at that instant.
"""

from collections.abc import Mapping
from typing import Protocol

import structlog

from impl.errors import Unauthorised
from impl.storage.lives import FIRST

log = structlog.get_logger(__name__)


class Known(Protocol):
    """What a node's disks know of lives (impl/storage/face.py)."""

    @property
    def life(self) -> int: ...
    @property
    def is_born(self) -> bool: ...
    @property
    def lives(self) -> Mapping[str, int]: ...
    async def learn(self, node: str, life: int) -> None: ...


class Lives:
    """The lives of this node and the others."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._refused: set[tuple[str, int]] = set()

    @property
    def own(self) -> int:
        """The life of this node; 0 before it is born."""
        return self._known.life if self._known.is_born else 0

    def of(self, node: str) -> int:
        """The last life of another node that is known here; 0 if none is."""
        return self._known.lives.get(node, 0)

    def admit(self, node: str, life: int) -> None:
        """Raises Unauthorised if the node is in a later life than this one; 0, not born yet, is let in."""
        known = self.of(node)
        if not 0 < life < known:
            return
        text = f"life {life} is an earlier disk of {node}, which is in its life {known}: nothing it says may be heard"
        if (node, life) not in self._refused:  # it will try again and again
            self._refused.add((node, life))
            log.warning("refused a link", peer=node, text=text)
        raise Unauthorised(text)

    def is_unheard_of(self, node: str, life: int) -> bool:
        """Must this be learnt before the link is used?"""
        return self.own > 0 and life == FIRST and self.of(node) == 0

    async def learn(self, node: str, life: int) -> None:
        """Know it durably; raises Unauthorised as `admit`, also if a later one was learnt meanwhile; DiskFull."""
        self.admit(node, life)
        if self.of(node) < life:
            await self._known.learn(node, life)
        self.admit(node, life)
