"""One attempt at a time for a path on this node: waiting here is cheaper than duelling with oneself over ballots."""

import asyncio
from collections import OrderedDict, deque

from impl.errors import Overloaded
from impl.node.limits import LEASE_BYTES_MAX, LEASES_MAX, PATH_WAITERS_MAX
from impl.protocol.proposer import Lease


class Turns:
    """First come, first served, for each path; bounded."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, path: str) -> None:
        """Wait for the path's turn; raises Overloaded when too many wait already. Pair with `give_back`."""
        queue = self._waiting.get(path)
        if queue is None:
            self._waiting[path] = deque()
            return
        if len(queue) >= PATH_WAITERS_MAX:
            raise Overloaded(f"{len(queue)} requests wait for {path!r} already; slow down")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(path)
            raise

    def give_back(self, path: str) -> None:
        """Let the next one that still waits have its turn."""
        queue = self._waiting[path]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[path]


class Leases:
    """The fast paths this node has, least recently used ones dropped; bounded in number and bytes.

    Losing one costs a round trip, nothing else.
    """

    def __init__(self) -> None:
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._size_bytes = 0

    def take(self, path: str) -> Lease | None:
        lease = self._leases.pop(path, None)
        if lease is not None:
            self._size_bytes -= _size_bytes(lease)
        return lease

    def keep(self, path: str, lease: Lease | None) -> None:
        if lease is None:
            return
        self.take(path)
        self._leases[path] = lease
        self._size_bytes += _size_bytes(lease)
        while len(self._leases) > LEASES_MAX or self._size_bytes > LEASE_BYTES_MAX:
            _, dropped = self._leases.popitem(last=False)
            self._size_bytes -= _size_bytes(dropped)


def _size_bytes(lease: Lease) -> int:
    head = next(iter(lease.states.values())).head
    return len(head.body) if head is not None and head.body is not None else 0
