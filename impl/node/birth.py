"""Before anything else a node must know which life it is in (impl/storage/lives.py): is its disk new, or was one lost?

An empty disk cannot say. So its node is *unborn*: it serves nobody and votes for nothing, and asks all others which
life of it they know. They know of every life in which it may have voted, as links put it on record before they say a
word (impl/cluster/lives.py). Once enough have answered (`rejoining.may_decide`) it begins the life after the highest
that was told; the first, if nobody has heard of it. In a later life the slots that were lost are behind.

Others that are unborn too answer as well, so the nodes of a new cluster need only all be started. An operator who knows
that a disk is new may say so instead (`start --init`). If a start is killed here, what it had decided is durable or it
is not; then the next one asks again, and at most the number of a life is never used.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog

from impl.cluster.door import Door, Upgraded
from impl.cluster.link import LinkCounters
from impl.cluster.liveness import Liveness
from impl.cluster.lives import Lives
from impl.cluster.peers import Peers, Who
from impl.cluster.secret import Secret
from impl.cluster.wire import Hello
from impl.doors import Clock, Network, Random
from impl.errors import ConfigError, PeerError
from impl.model import ReplicaSet
from impl.protocol.rejoining import may_decide
from impl.storage.face import Registers
from impl.storage.lives import FIRST

ANSWER_S: Final = 1.0
AGAIN_S: Final = 0.1
TELL_EVERY_S: Final = 10.0
"""How often an operator is told whom a node waits for."""

log = structlog.get_logger(__name__)


def begin_first_life(store: Registers, node_id: str) -> None:
    """Take the operator's word that the disks are new. Raises ConfigError if one has lived; DiskFull."""
    if store.life:
        raise ConfigError(
            f"a disk of {node_id} is empty, but another one is not, so it is none that is new; start without --init"
        )
    store.be_born(FIRST, ())


def begin_life(store: Registers, node_id: str, groups: Sequence[ReplicaSet], told: Collection[int]) -> None:
    """Begin the life after all that anybody knows of; raises DiskFull."""
    life = 1 + max((store.life, *told))
    lost: list[int] = []
    if life > FIRST:
        lost = [slot for slot, group in enumerate(groups) if node_id in group.nodes and store.is_lost(slot)]
        log.warning("a disk was lost: what it held is to be caught up", life=life, slots=len(lost))
    store.be_born(life, lost)


class Unborn:
    """A node that does not know yet which life it is in. `rpc` takes over links of others that do not know either."""

    def __init__(
        self,
        node_id: str,
        cluster_id: str,
        groups: Sequence[ReplicaSet],
        addresses: Mapping[str, tuple[str, int]],
        secret: Secret,
        store: Registers,
        clock: Clock,
        random: Random,
        network: Network,
    ) -> None:
        lives, counters = Lives(store), LinkCounters()
        liveness = Liveness(Hello(node_id, 0), addresses, clock)
        self._node_id = node_id
        self._groups = groups
        self._others = tuple(addresses)
        self._clock = clock
        self._told: dict[str, int] = {}
        self._peers = Peers(
            Who(node_id, 0, cluster_id),
            addresses,
            secret,
            clock,
            random,
            network,
            counters,
            _nothing_to_flush,
            liveness,
            lives,
        )
        self._door = Door(
            liveness, cluster_id, secret, lives, clock, counters, _nothing_to_flush, None, self._peers.heard_from
        )

    def rpc(self, request: Upgraded, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take over a connection; raises Unauthorised, NotReady (door.py)."""
        self._door.upgrade(request, transport, leftover)

    @property
    def why(self) -> str:
        """What a person should know: why the node does not serve, and whom it waits for."""
        silent = ", ".join(node for node in self._others if node not in self._told)
        return (
            f"{self._node_id} is unborn: it asks the others whether its disk is new, and waits for {silent}; start "
            "them, or if this disk was never used, stop this node and run it once with --init"
        )

    async def told(self) -> Collection[int]:
        """Which lives of this node the others know of, once enough of them have answered."""
        told_s = self._clock.monotonic_s() + ANSWER_S  # to say at once that a node waits would be noise
        self._peers.open()
        while not self._may_decide:
            await asyncio.gather(*(self._ask(node) for node in self._others if node not in self._told))
            if not self._may_decide:
                await self._clock.sleep(AGAIN_S)
                if self._clock.monotonic_s() >= told_s:
                    told_s = self._clock.monotonic_s() + TELL_EVERY_S
                    log.warning("unborn", text=self.why)
        return tuple(self._told.values())

    async def close(self) -> None:
        """Hang up."""
        self._door.close()
        await self._peers.close()

    @property
    def _may_decide(self) -> bool:
        # one at least: a node that is the only one in its replica sets has nobody else to remember it
        return bool(self._told or not self._others) and may_decide(self._groups, self._node_id, self._told)

    async def _ask(self, node: str) -> None:
        try:
            self._told[node] = await self._peers.ask_life(node, ANSWER_S)
        except PeerError as error:
            log.debug("no answer yet", peer=node, error=str(error))


def _nothing_to_flush() -> None:
    """A node that is not born has no trace."""
