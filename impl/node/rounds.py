"""Fresh ballots that never repeat: not over restarts, and not over the lives of a node, which forgets with its disk.

*Over restarts*, as rounds are reserved durably in blocks before they are used. *Over lives*, as each has rounds of its
own: those of life n are the numbers whose binary ends in exactly n - 1 zeros (1, 3, 5... then 2, 6, 10... then 4, 12,
20...). So whatever an earlier life had used and the disk has forgotten, no later one uses it again; and each finds a
round of its own above any other, which parts of the range for each life (`life << 40`) would not do: an early life that
climbs above others would end in a later one's part.

Before format 4 of the data every number was used: of what a node has proposed by then, a later life may repeat rounds.
"""

import sys

from impl.model import Ballot
from impl.node.limits import ROUNDS_BLOCK
from impl.protocol.rules import HONEST, Rules
from impl.storage.face import Registers


class Rounds:
    """Deals out ballots of one life of a node. What a crash leaves unused of a block is skipped, never used again."""

    def __init__(self, node_id: str, store: Registers, rules: Rules = HONEST) -> None:
        self._node_id = node_id
        self._store = store
        self._rules = rules
        self._life = store.life
        self._next = self._own(1)
        self._limit = 0

    async def open(self) -> None:
        assert self._life > 0, "a node that does not know its life must propose nothing"
        if self._rules.rounds_not_reserved:
            self._limit = sys.maxsize
            return
        count = self._block
        first = await self._store.reserve_rounds(count)
        self._next, self._limit = self._own(first), first + count

    async def fresh(self, above: Ballot) -> Ballot:
        """A ballot of ours that was never used, above `above`."""
        self._next = max(self._next, self._own(above.round + 1))
        while self._next >= self._limit:
            # while this waits, another one may move both on: what counts is what was asked for here
            count = self._next - self._limit + self._block
            first = await self._store.reserve_rounds(count)
            self._limit = max(self._limit, first + count)
            self._next = max(self._next, self._own(first))
        ballot = Ballot(self._next, self._node_id)
        if not self._rules.ballot_not_advanced:
            self._next += self._step
        return ballot

    @property
    def _step(self) -> int:
        """How far it is from one round of this life to the next."""
        return 1 << self._life

    @property
    def _block(self) -> int:
        return ROUNDS_BLOCK * self._step

    def _own(self, at_least: int) -> int:
        """The first round of this life that is not below another number."""
        return at_least + (self._step // 2 - at_least) % self._step
