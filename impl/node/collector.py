"""Collecting tombstones: this node forgets what is deleted, once no replica needs to be told so any more.

Each node forgets for itself. It asks every replica what it would tell a reader, and what it hears decides
(`impl/protocol/collecting.py`); that a tombstone must be of some age first is for people and their retries, and nothing
else rests on it. A replica that is away keeps all others from forgetting what it may hold. Spec: Collect.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec
import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.cluster.peers import Peers
from impl.doors import Clock
from impl.errors import AmberioError
from impl.model import Ballot, Register
from impl.node.limits import Timing
from impl.node.locate import Locate
from impl.node.replica import Replica
from impl.protocol.collecting import is_forgettable, may_collect, on_collect
from impl.protocol.messages import Read, Reply, State
from impl.protocol.rules import HONEST, Rules
from impl.storage.face import Registers

COLLECTS_AT_ONCE_MAX: Final = 16
PAGE: Final = 500
"""How many registers are looked at before others have a turn, and of how many those that may go are asked about."""
REST_S: Final = 0.02
"""The rest after each page, and after each COLLECTS_AT_ONCE_MAX that were asked about: so a bounded rate."""
WATCHED_MAX: Final = 100_000
"""How many tombstones are watched growing old; more have their turn when these are gone."""

log = structlog.get_logger(__name__)
IsTiered = Callable[[str], bool]


def never_tiered(path: str) -> bool:
    """There is no archive."""
    return False


def always() -> bool:
    """Nothing keeps anybody from forgetting."""
    return True


class Collected(msgspec.Struct):
    """What collecting came to since the start: tombstones that are here, that went, and tries that came to nothing."""

    watched: int = 0
    collected: int = 0
    kept: int = 0


class CollectorMetrics(Collector):
    """What collecting came to since the start, for Prometheus."""

    def __init__(self, total: Collected) -> None:
        self._total = total

    def collect(self) -> Iterator[Metric]:
        """The families of this room."""
        about = "Tombstones that were forgotten here, as every replica had them."
        yield CounterMetricFamily("amberio_tombstones_collected", about, self._total.collected)
        about = "Tries to forget one that came to nothing, as a replica was away or had something else."
        yield CounterMetricFamily("amberio_tombstones_kept", about, self._total.kept)
        yield GaugeMetricFamily("amberio_tombstones_watched", "Tombstones that are here yet.", self._total.watched)


class TombstoneCollector:
    """Forgets one node's tombstones.

    `is_tiered` says which paths go to the archive, and `may_forget` whether anything may be forgotten yet.
    """

    def __init__(
        self,
        node_id: str,
        incarnation: int,
        store: Registers,
        replica: Replica,
        peers: Peers,
        locate: Locate,
        clock: Clock,
        timing: Timing,
        grace_s: float,
        is_tiered: IsTiered = never_tiered,
        may_forget: Callable[[], bool] = always,
        rules: Rules = HONEST,
    ) -> None:
        self._node_id = node_id
        self._prefix = f"{node_id}.{incarnation}.c"
        self._store = store
        self._replica = replica
        self._peers = peers
        self._locate = locate
        self._clock = clock
        self._timing = timing
        self._grace_s = grace_s
        self._is_tiered = is_tiered
        self._may_forget = may_forget
        self._rules = rules
        self._count = 0
        # when each tombstone was first seen, by this process's clock, which never jumps; after a restart, seen anew
        self._seen_s: dict[str, tuple[Ballot, float]] = {}
        self.total = Collected()
        self._meets = 0
        self._forgetting = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def forget_replies(self) -> None:
        """A node lost its disk: forget nothing any more by what others have told so far (spec: Meet)."""
        self._meets += 1

    async def quiet(self) -> None:
        """Wait until what was told before has led to no more than is done."""
        await self._quiet.wait()

    async def collect(self) -> int:
        """Look at every register once, and forget what may be forgotten; how many went. Raises InternalError."""
        before, collected = self._seen_s, 0
        self._seen_s = {}
        after: str | None = None
        while True:
            rows = await self._store.scan("", after, PAGE)
            due = [path for path, register in rows.registers if self._is_due(path, register, before)]
            for first in range(0, len(due), COLLECTS_AT_ONCE_MAX):
                batch = due[first : first + COLLECTS_AT_ONCE_MAX]
                outcomes = await asyncio.gather(*(self._collect(path) for path in batch))
                collected += sum(outcomes)
                self.total.kept += len(outcomes) - sum(outcomes)
                self.total.collected += sum(outcomes)
                await self._clock.sleep(REST_S)
            if not rows.has_more:
                break
            after = rows.registers[-1][0]
            await self._clock.sleep(REST_S)
        self.total.watched = len(self._seen_s)
        if collected:
            log.info("forgot tombstones", collected=collected)
        return collected

    def _is_due(self, path: str, register: Register, before: dict[str, tuple[Ballot, float]]) -> bool:
        """Is this to be forgotten, and has its grace passed since it was first seen?"""
        is_ours = self._node_id in self._locate(path)[1].nodes
        if not is_ours or not is_forgettable(register, self._is_tiered(path), self._rules):
            return False
        now_s = self._clock.monotonic_s()
        known, since_s = before.get(path, (None, now_s))
        if known != register.accepted:
            since_s = now_s
        if len(self._seen_s) < WATCHED_MAX:
            self._seen_s[path] = (register.accepted, since_s)
        return now_s - since_s >= self._grace_s and self._may_forget()

    async def _collect(self, path: str) -> bool:
        try:
            return await self._forget(path)
        except AmberioError as error:
            log.debug("not forgotten", path=path, reason=str(error))
            return False

    async def _forget(self, path: str) -> bool:
        slot, group = self._locate(path)
        meets = self._meets
        accepted = (await self._store.read(path)).accepted
        self._count += 1
        request = Read(path, f"{self._prefix}{self._count}")
        asked = (self._node_id,) if self._rules.collect_tombstone_early else group.nodes
        replies = await asyncio.gather(*(self._ask(node, request) for node in asked))
        states = {node: reply for node, reply in zip(asked, replies, strict=True) if isinstance(reply, State)}
        if meets != self._meets or not may_collect(accepted, group, states, self._rules):
            return False
        decide = partial(
            on_collect,
            path=path,
            read=request.read,
            accepted=accepted,
            states=states,
            is_tiered=self._is_tiered(path),
            rules=self._rules,
        )
        self._forgetting += 1
        self._quiet.clear()
        try:
            return (await self._store.apply(path, slot, decide)).taken
        finally:
            self._forgetting -= 1
            if not self._forgetting:
                self._quiet.set()

    async def _ask(self, node: str, request: Read) -> Reply | AmberioError:
        if node != self._node_id:
            return await self._peers.ask(node, request, self._timing.step_s)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def told(answer: Reply) -> None:
            if not reply.done():
                reply.set_result(answer)

        self._replica.handle(request, told)
        return await reply
