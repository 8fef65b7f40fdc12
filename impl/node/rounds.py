"""Fresh ballots that never repeat, over restarts too: rounds are reserved durably in blocks before they are used."""

import sys

from impl.model import Ballot
from impl.node.limits import ROUNDS_BLOCK
from impl.protocol.rules import HONEST, Rules
from impl.storage.face import Registers


class Rounds:
    """Deals out ballots of one node. What a crash leaves unused of a block is skipped, never used again."""

    def __init__(self, node_id: str, store: Registers, rules: Rules = HONEST) -> None:
        self._node_id = node_id
        self._store = store
        self._rules = rules
        self._next = 1
        self._limit = 0

    async def open(self) -> None:
        if self._rules.rounds_not_reserved:
            self._limit = sys.maxsize
            return
        self._next = await self._store.reserve_rounds(ROUNDS_BLOCK)
        self._limit = self._next + ROUNDS_BLOCK

    async def fresh(self, above: Ballot) -> Ballot:
        """A ballot of ours that was never used, above `above`."""
        if above.round >= self._next:
            self._next = above.round + 1
        while self._next >= self._limit:
            # while this waits, another one may move both on: what counts is what was asked for here
            count = self._next - self._limit + ROUNDS_BLOCK
            first = await self._store.reserve_rounds(count)
            self._limit = max(self._limit, first + count)
            self._next = max(self._next, first)
        ballot = Ballot(self._next, self._node_id)
        if not self._rules.ballot_not_advanced:
            self._next += 1
        return ballot
