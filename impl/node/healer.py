"""Healing: this node looks for what other replicas have accepted and it has not, and adopts it.

Each node heals itself only, so two never undo each other's work, and it asks the others for nothing but what they would
tell a reader. Slots are compared by their digests, then path by path by the accepted ballots; parts that a head names
are here before the head is. What a promise forbids to adopt, a full round of the register settles. Spec: Adopt.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Literal

import msgspec
import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.cluster.peers import Peers
from impl.doors import Clock
from impl.errors import AmberioError, InvalidArgument, PeerError
from impl.model import Ballot, ReplicaSet
from impl.node.coordinator import Coordinator
from impl.node.limits import Timing
from impl.node.locate import Locate
from impl.node.naming import Naming
from impl.protocol.acceptor import on_adopt
from impl.protocol.change import READ
from impl.protocol.collecting import needs_no_tombstone
from impl.protocol.messages import Read, State
from impl.protocol.rules import HONEST, Rules
from impl.storage.face import Registers

HEALS_AT_ONCE_MAX: Final = 8
"""More of them heal hardly sooner, and take from those who are served meanwhile (ci/bench/healing_cost.py)."""
PATHS_MAX: Final = 2000
"""How many paths with their ballots are asked for at a time."""

Outcome = Literal["healed", "forgotten", "failed"]
log = structlog.get_logger(__name__)


class Healed(msgspec.Struct):
    """What a comparison with another node came to: paths that were behind, and of these those that no longer are."""

    behind: int = 0
    healed: int = 0
    errors: int = 0


class HealingMetrics(Collector):
    """What healing came to since the start, for Prometheus."""

    def __init__(self, total: Healed) -> None:
        self._total = total

    def collect(self) -> Iterator[Metric]:
        """The families of this room."""
        about = "Paths on which another replica had accepted something newer."
        yield CounterMetricFamily("amberio_healing_behind", about, self._total.behind)
        yield CounterMetricFamily("amberio_healing_healed", "Of these, those that caught up.", self._total.healed)
        yield CounterMetricFamily("amberio_healing_errors", "Of these, those that did not.", self._total.errors)


class Healer:
    """Keeps one node's registers from staying behind."""

    def __init__(
        self,
        node_id: str,
        incarnation: int,
        nodes: Sequence[str],
        groups: Sequence[ReplicaSet],
        store: Registers,
        peers: Peers,
        coordinator: Coordinator,
        naming: Naming,
        locate: Locate,
        clock: Clock,
        timing: Timing,
        rules: Rules = HONEST,
    ) -> None:
        self._node_id = node_id
        self._prefix = f"{node_id}.{incarnation}.h"
        self._others = tuple(node for node in nodes if node != node_id)
        self._groups = groups
        self._store = store
        self._peers = peers
        self._coordinator = coordinator
        self._naming = naming
        self._locate = locate
        self._clock = clock
        self._timing = timing
        self._rules = rules
        self._count = 0
        self._turns = asyncio.Semaphore(HEALS_AT_ONCE_MAX)
        self.total = Healed()

    async def look(self) -> None:
        """Compare with every other node; one that cannot be asked is asked the next time."""
        for node in self._others:
            try:
                found = await self.compare(node)
            except AmberioError as error:
                log.debug("not compared", node=node, reason=str(error))
                continue
            if found.behind:
                log.info("healed", source=node, behind=found.behind, healed=found.healed, errors=found.errors)

    async def compare(self, node: str) -> Healed:
        """Adopt what `node` has accepted beyond us, in all slots that both hold. Raises PeerError."""
        found = Healed()
        slots = await self._different(node)
        after: str | None = None
        while slots:
            page = await self._peers.accepted(node, sorted(slots), after, PATHS_MAX, self._timing.step_s)
            await self.heal(node, page.ballots, found)
            after = page.next_after
            if after is None:
                break
        return found

    async def repair(self, source: str, slot: int, paths: Sequence[str], dry_run: bool) -> Healed:
        """Adopt what `source` has accepted in a slot; of these paths, or of all. Raises InvalidArgument, PeerError."""
        for node in (source, self._node_id):
            if node not in self._groups[slot].nodes:
                held = ", ".join(self._groups[slot].nodes)
                raise InvalidArgument(f"{node} holds no replica of slot {slot}; those are {held}")
        if source == self._node_id:
            raise InvalidArgument(f"{source} cannot be repaired from itself; name another replica of slot {slot}")
        wanted = frozenset(paths)
        found = Healed()
        after: str | None = None
        while True:
            page = await self._peers.accepted(source, [slot], after, PATHS_MAX, self._timing.step_s)
            ballots = [(path, accepted) for path, accepted in page.ballots if not wanted or path in wanted]
            await self.heal(source, ballots, found, dry_run)
            after = page.next_after
            if after is None:
                return found

    async def _different(self, node: str) -> set[int]:
        """The slots that both hold, on a disk in service, and that have accepted something else there."""
        theirs = await self._peers.digests(node, self._timing.step_s)
        ours = self._store.digests.all()
        return {
            slot
            for slot, digest in theirs.items()
            if digest != ours.get(slot, 0)
            and {node, self._node_id} <= set(self._groups[slot].nodes)
            and self._store.is_serving(slot)
            and slot not in self._store.behind
        }

    async def heal(
        self, node: str, ballots: Iterable[tuple[str, Ballot]], found: Healed, dry_run: bool = False
    ) -> None:
        """Adopt, of these paths with the ballots that `node` has accepted, what is newer than ours."""
        behind: list[str] = []
        for path, accepted in ballots:
            if self._locate(path)[0] in self._store.behind:
                continue  # this replica lost its disk: it takes over all that others have, on their promise
            own = (await self._store.read(path)).accepted
            if accepted > own or (self._rules.heal_by_wall_clock and accepted != own):
                behind.append(path)
        if dry_run:
            found.behind += len(behind)
            return
        outcomes = await asyncio.gather(*(self._heal(node, path) for path in behind))
        for so_far in (found, self.total):
            so_far.behind += len(outcomes) - outcomes.count("forgotten")
            so_far.healed += outcomes.count("healed")
            so_far.errors += outcomes.count("failed")

    async def _heal(self, node: str, path: str) -> Outcome:
        async with self._turns:
            try:
                return "healed" if await self._adopt(node, path) else "forgotten"
            except AmberioError as error:
                log.warning("not healed", path=path, source=node, reason=str(error))
                return "failed"

    async def _adopt(self, node: str, path: str) -> bool:
        """Adopt what `node` has; False if that is nothing but a tombstone, and we need none."""
        self._count += 1
        read = f"{self._prefix}{self._count}"
        found = await self._ask(node, path, read)
        if needs_no_tombstone(await self._store.read(path), found):
            return False
        slot, _ = self._locate(path)
        decide = partial(on_adopt, path=path, read=read, found=found, rules=self._rules)
        async with self._naming.held(path, found.head):
            committed = await self._store.apply(path, slot, decide)
        if not committed.taken and found.accepted > committed.found.accepted:
            await self._coordinator.run(path, READ)
        return True

    async def _ask(self, node: str, path: str, read: str) -> State:
        answer = await self._peers.ask(node, Read(path, read, body=True), self._timing.step_s)
        if isinstance(answer, State):
            return answer
        raise answer if isinstance(answer, AmberioError) else PeerError(f"{node} does not tell {path!r}: {answer}")
