"""Keepers: what a node does over and over in the background, and how all of that starts, survives an error, and ends.

A room that keeps something says what one look is; it knows of no task. A look may be given up at any of its awaits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.doors import Clock
from impl.errors import AmberioError

CLOSE_S: Final = 5.0
"""So long the end of a node waits for a look that does not let itself be given up."""

log = structlog.get_logger(__name__)
Rest = Callable[[], Awaitable[None]]


def every(clock: Clock, seconds: float) -> Rest:
    """A rest of so long."""
    return partial(clock.sleep, seconds)


class Keeper:
    """Looks, rests, and looks again until it is closed; `name` is what logs and metrics call it.

    A look that fails is over, and the next one comes after the same rest: with an error of ours as that may pass, with
    any other since nothing else in the node rests on it; the event loop's exception handler is told of such a one.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[object]], rest: Rest, *, rests_first: bool) -> None:
        self.name = name
        self._look = look
        self._rest = rest
        self._rests_first = rests_first
        self._task: asyncio.Task[None] | None = None
        self.looks = 0
        self.errors = 0

    def start(self) -> None:
        """Begin, with a rest or a look."""
        self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def close(self) -> None:
        """Give up the look that is under way; if it does not end within CLOSE_S, it is left alone."""
        if self._task is None:
            return
        self._task.cancel()
        _, left = await asyncio.wait((self._task,), timeout=CLOSE_S)
        if left:
            log.warning("does not end", keeper=self.name, waited_s=CLOSE_S)

    async def _keep_looking(self) -> None:
        if self._rests_first:
            await self._rest()
        while True:
            try:
                await self._look()
            except AmberioError as error:
                self.errors += 1
                log.warning("a look failed", keeper=self.name, reason=str(error))
            except Exception as error:
                self.errors += 1
                log.error("a look went wrong", keeper=self.name, error=repr(error))
                told = {"message": f"the keeper {self.name} went wrong", "exception": error, "task": self._task}
                asyncio.get_running_loop().call_exception_handler(told)
            else:
                self.looks += 1
            await self._rest()


class KeeperMetrics(Collector):
    """What the keepers of a node came to since the start, for Prometheus."""

    def __init__(self, keepers: Sequence[Keeper]) -> None:
        self._keepers = keepers

    def collect(self) -> Iterator[Metric]:
        """The families of this room."""
        looks = CounterMetricFamily("amberio_keeper_looks", "Looks of each keeper, finished.", labels=["keeper"])
        errors = CounterMetricFamily("amberio_keeper_errors", "Looks of each keeper that failed.", labels=["keeper"])
        for keeper in self._keepers:
            looks.add_metric([keeper.name], keeper.looks)
            errors.add_metric([keeper.name], keeper.errors)
        yield looks
        yield errors
