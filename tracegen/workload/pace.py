"""When a client starts its next operation: after thinking (closed loop), when one arrives (open loop), or at the time
that a list says."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from tracegen.workload.mix import Intention

Pace = Callable[[Intention], Awaitable[None]]
"""Waits until a client may start the operation that it intends."""

BACKLOG_MAX: Final = 1000


async def think(intention: Intention) -> None:
    """A closed loop: an answer, a thought, the next question."""
    await asyncio.sleep(intention.think_s)


class Appointments:
    """Listed operations have each a time of its own, in seconds from now; a client that is late asks at once."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._from_s = self._clock()

    async def pace(self, intention: Intention) -> None:
        assert intention.listed is not None, f"a {intention.kind} that nobody listed"
        await asyncio.sleep(max(0.0, self._from_s + intention.listed.at_s - self._clock()))


class Arrivals:
    """An open loop: operations arrive at a rate of their own (Poisson), and the next free client takes each.

    The backlog is bounded; `shed` counts what arrived when it was full.
    """

    def __init__(self, rate_per_s: float, draw: random.Random) -> None:
        self._rate_per_s = rate_per_s
        self._draw = draw
        self._backlog: asyncio.Queue[None] = asyncio.Queue(BACKLOG_MAX)
        self.shed = 0

    async def run(self, duration_s: float, clients: int) -> None:
        """Let operations arrive for so long; then let every waiting client go on, to see that the load is over."""
        clock = asyncio.get_running_loop().time
        next_s = clock()
        end_s = next_s + duration_s
        while (next_s := next_s + self._draw.expovariate(self._rate_per_s)) < end_s:
            await asyncio.sleep(max(0.0, next_s - clock()))
            if self._backlog.full():
                self.shed += 1
            else:
                self._backlog.put_nowait(None)
        await asyncio.sleep(max(0.0, end_s - clock()))
        for _ in range(clients):
            await self._backlog.put(None)

    async def pace(self, intention: Intention) -> None:
        await self._backlog.get()
