"""Read-repair: a replica that a read meets behind is told to heal just that path; the read itself waits for nobody.

Off the request's path and bounded: what is too much is dropped, as the next comparison of digests (healer.py) finds it
too. A report that is older than what was chosen is mostly that of a replica to which the write is still on its way; so
it is told a little later, once for all reads in between, and looks first. A replica that did not answer is told as
well, for it may have missed more; one that cannot be reached compares when it is back.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.cluster.peers import Peers
from impl.doors import Clock
from impl.errors import AmberioError
from impl.model import Ballot
from impl.node.healer import Healed, Healer
from impl.node.limits import Timing
from impl.node.locate import Locate

TELLING_MAX: Final = 64
"""Others that are being told at once."""
HEALING_MAX: Final = 256
"""Paths of our own that are healed at once as somebody said so."""
WAIT_S: Final = 0.2


class ReadRepair(Collector):
    """Tells others that they are behind on a path, and heals a path when told."""

    def __init__(
        self, node_id: str, peers: Peers, healer: Healer, locate: Locate, clock: Clock, timing: Timing, is_enabled: bool
    ) -> None:
        self._node_id = node_id
        self._peers = peers
        self._healer = healer
        self._locate = locate
        self._clock = clock
        self._timing = timing
        self._is_enabled = is_enabled
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._found = 0
        self._told = 0
        self._heard = 0
        self._dropped = 0

    def is_behind(self, node: str, path: str, source: str, chosen: Ballot) -> None:
        """A read found that `node` has not accepted what `source` has, at this ballot."""
        if not self._is_enabled:
            return
        self._found += 1
        if node == self._node_id:
            self._heal_soon(path, source, chosen, WAIT_S)
        elif self._has_room(node, path, TELLING_MAX):
            self._begin(node, path, self._tell(node, path, source, chosen))

    def heard(self, path: str, source: str, chosen: Ballot) -> None:
        """Somebody says that we are behind on a path: heal it soon, from `source`."""
        group = self._locate(path)[1].nodes
        if self._is_enabled and source != self._node_id and {source, self._node_id} <= set(group):
            self._heal_soon(path, source, chosen, 0.0)

    def _heal_soon(self, path: str, source: str, chosen: Ballot, wait_s: float) -> None:
        if self._has_room(self._node_id, path, HEALING_MAX):
            self._heard += 1
            self._begin(self._node_id, path, self._heal(path, source, chosen, wait_s))

    async def close(self) -> None:
        """Stop; what is not healed now is found again."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        yield CounterMetricFamily("amberio_read_repair_found", "Stale replicas that our reads met.", self._found)
        yield CounterMetricFamily("amberio_read_repair_told", "Of these, others that were told.", self._told)
        yield CounterMetricFamily("amberio_read_repair_heard", "Paths on which a read met us stale.", self._heard)
        yield CounterMetricFamily("amberio_read_repair_dropped", "What there was no room for.", self._dropped)

    def _has_room(self, node: str, path: str, most: int) -> bool:
        if (node, path) in self._tasks:
            return False
        is_own = node == self._node_id
        if sum((other == self._node_id) == is_own for other, _ in self._tasks) < most:
            return True
        self._dropped += 1
        return False

    def _begin(self, node: str, path: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[node, path] = task
        task.add_done_callback(lambda _: self._tasks.pop((node, path), None))

    async def _tell(self, node: str, path: str, source: str, chosen: Ballot) -> None:
        await self._clock.sleep(WAIT_S)
        try:
            await self._peers.say_behind(node, path, source, chosen, self._timing.step_s)
        except AmberioError:
            return  # it compares when it is back
        self._told += 1

    async def _heal(self, path: str, source: str, chosen: Ballot, wait_s: float) -> None:
        await self._clock.sleep(wait_s)
        try:
            await self._healer.heal(source, [(path, chosen)], Healed())
        except AmberioError:
            return  # so does the next comparison
