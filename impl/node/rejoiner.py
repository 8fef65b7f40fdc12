"""How this node comes back that lost a disk: before it votes again in the slots that it lost, it has what others have.

An acceptor that forgot is no acceptor. First every other node drops what this one told it in its life before, and says
so: from then on, whatever was decided with the help of its word is on the disks of others. Of these, as many as share
one with each quorum that it was in are asked for all paths that they know, and each path is taken over on their
promise. Of a path that none of them knows, there was nothing. Spec: Lose, Meet, Gather, Tell, Rejoin and Back of
spec/tla/Healing.tla.

It does not coordinate before all others have met it; and until it is back, its replica refuses (replica.py).
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.cluster import wire
from impl.cluster.peers import Peers
from impl.doors import Clock
from impl.errors import AmberioError, NotReady
from impl.model import NO_BALLOT, VIRGIN, Register, ReplicaSet, vacant
from impl.node.coordinator import Coordinator
from impl.node.limits import Timing
from impl.protocol import events
from impl.protocol.rejoining import enough_others
from impl.protocol.rules import HONEST, Rules
from impl.storage.database import raised_floor
from impl.storage.face import Registers
from impl.trace import Tracer

EVERY_S: Final = 0.5
"""The rest after a look that did not bring the node back: some other node is away."""
PATHS_MAX: Final = 1000
"""How many paths are asked for at a time."""
REJOINS_AT_ONCE_MAX: Final = 16
LOSE_LIFE: Final = "lose_life"
LOSE_INCARNATION: Final = "lose_incarnation"
LOSE_SEQ: Final = "lose_seq"

log = structlog.get_logger(__name__)


class Rejoiner(Collector):
    """Brings one node back. `others` are all other nodes of the cluster; `groups` the replica set of each slot."""

    def __init__(
        self,
        node_id: str,
        others: Sequence[str],
        groups: Sequence[ReplicaSet],
        store: Registers,
        peers: Peers,
        coordinator: Coordinator,
        tracer: Tracer,
        clock: Clock,
        timing: Timing,
        rules: Rules = HONEST,
    ) -> None:
        self._node_id = node_id
        self._others = tuple(others)
        self._groups = groups
        self._store = store
        self._peers = peers
        self._coordinator = coordinator
        self._tracer = tracer
        self._clock = clock
        self._timing = timing
        self._rules = rules
        self._slots = _lost(node_id, groups, store.behind)
        self._met: dict[str, str] = {}
        self._gathers = 0
        self._turns = asyncio.Semaphore(REJOINS_AT_ONCE_MAX)
        self.rejoined = 0

    def not_ready(self) -> str | None:
        """Why this node must not coordinate yet; None if it may."""
        missing = [node for node in self._others if node not in self._met]
        if not self._store.behind or not missing:
            return None
        return f"it lost its disk, and {', '.join(missing)} must hear of that first; start what is down"

    def collect(self) -> Iterator[Metric]:
        """What coming back came to, for Prometheus."""
        about = "Slots that this node lost with a disk, and has not caught up; it does not vote there."
        yield GaugeMetricFamily("amberio_rejoin_slots_behind", about, len(self._store.behind))
        yield CounterMetricFamily("amberio_rejoin_paths", "Paths taken over after a lost disk.", self.rejoined)

    async def look(self) -> None:
        """Come back, if this node is behind; raises NotReady while others are away that it needs."""
        if not self._store.behind:
            return
        lose = await self._lose()
        await self._be_met(lose)
        self._gathers += 1
        read = f"{self._node_id}.{self._store.incarnation}.b{self._gathers}"
        gather = self._tracer.emit(
            events.Gather(
                cause=tuple(event for event in self._met.values() if event),
                read=read,
                counted=tuple(self._met),
                slots=self._slots,
                total_slots=len(self._groups),
            )
        )
        told = await self._gather(read, gather)
        await self._back(read, told)

    async def _lose(self) -> str:
        """Say once that this life has begun; the id of that event, "" without tracing."""
        store, life = self._store, self._store.life
        if await store.recall(LOSE_LIFE) < life:
            event = self._tracer.emit(events.Lose(slots=self._slots, total_slots=len(self._groups)))
            self._tracer.flush()
            if event:
                await store.remember(LOSE_INCARNATION, store.incarnation)
                await store.remember(LOSE_SEQ, int(event.rpartition(".")[2]))
            await store.remember(LOSE_LIFE, life)
        if not self._tracer.enabled:
            return ""
        return f"{self._node_id}.{await store.recall(LOSE_INCARNATION)}.{await store.recall(LOSE_SEQ)}"

    async def _be_met(self, lose: str) -> None:
        """Have all others drop what they were told before; raises NotReady while one does not answer."""
        missing = [node for node in self._others if node not in self._met]
        asked = (self._peers.meet(node, self._store.life, lose, self._slots, self._timing.step_s) for node in missing)
        for node, answer in zip(missing, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if isinstance(answer, str):
                self._met[node] = answer
            elif not isinstance(answer, AmberioError):
                raise answer
        reason = self.not_ready()
        if reason is not None:
            raise NotReady(reason)

    async def _gather(self, read: str, gather: str) -> dict[str, wire.KnownPage]:
        """Take over all paths that others know; each one's last page, with the event of its first one."""
        told: dict[str, wire.KnownPage] = {}

        async def ask(node: str) -> None:
            slots = tuple(slot for slot in sorted(self._store.behind) if node in self._groups[slot].nodes)
            if slots:
                told[node] = await self._take_over(node, slots, read, gather)

        answers = await asyncio.gather(*(ask(node) for node in self._others), return_exceptions=True)
        for node, answer in zip(self._others, answers, strict=True):
            if isinstance(answer, AmberioError):
                log.info("does not tell what it has", peer=node, reason=str(answer))
            elif isinstance(answer, BaseException):
                raise answer
        return told

    async def _take_over(self, node: str, slots: tuple[int, ...], read: str, gather: str) -> wire.KnownPage:
        asked = wire.Known(read, gather, self._slots, slots, None, PATHS_MAX)
        event = ""
        while True:
            page = await self._peers.known(node, asked, self._timing.part_s)
            event = event or page.event
            rejoined = await asyncio.gather(*(self._rejoin(path) for path in page.paths))
            self.rejoined += sum(rejoined)
            if page.next_after is None:
                return wire.KnownPage(event, [], None, page.floors)
            asked = wire.Known(read, gather, self._slots, slots, page.next_after, PATHS_MAX)

    async def _rejoin(self, path: str) -> bool:
        async with self._turns:
            return await self._coordinator.rejoin(path)

    async def _back(self, read: str, told: dict[str, wire.KnownPage]) -> None:
        """Vote again, with the promises of all that others have forgotten; raises NotReady if too few have told."""
        floors: dict[int, Register] = {}
        for slot in self._store.behind:
            group = self._groups[slot]
            counted = [told[node] for node in group.nodes if node in told]
            if len(counted) < enough_others(group, self._rules):
                away = ", ".join(node for node in group.nodes if node not in told and node != self._node_id)
                raise NotReady(f"slot {slot} cannot be caught up without {away}; start what is down")
            floors[slot] = _highest(floor for page in counted for of, floor in page.floors if of == slot)
        back = events.Back(
            cause=tuple(page.event for page in told.values() if page.event),
            read=read,
            counted=tuple(told),
            slots=self._slots,
            total_slots=len(self._groups),
        )
        await self._store.caught_up(floors, back)
        log.info("caught up after a lost disk", slots=len(floors), paths=self.rejoined)


def _lost(node_id: str, groups: Sequence[ReplicaSet], behind: Collection[int]) -> tuple[int, ...] | None:
    """The slots that a node lost; None if these are all that it has, and so all that it ever used."""
    own = [slot for slot, group in enumerate(groups) if node_id in group.nodes]
    return None if set(own) <= set(behind) else tuple(sorted(behind))


def _highest(floors: Iterable[Register]) -> Register:
    highest = Register(NO_BALLOT, NO_BALLOT, vacant(0))
    for floor in floors:
        highest = raised_floor(highest, floor)
    return highest if highest.promised else VIRGIN
