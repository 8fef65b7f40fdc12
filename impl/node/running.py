"""One node that runs: what the process that holds it may ask of it, and how it ends, its rooms in reverse order."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from prometheus_client.registry import Collector

from impl.cluster.door import Upgraded
from impl.cluster.liveness import Liveness
from impl.cluster.peers import Peers
from impl.cluster.serving import PeerServer
from impl.node.healer import Healer
from impl.node.importer import OnBucket
from impl.node.local import Local
from impl.node.node import Node
from impl.node.tiering import Tiering
from impl.storage.face import Registers
from impl.storage.parts import PartStore
from impl.trace import Tracer


class Closes(Protocol):
    """Something that goes on in the background, and must end before what it rests on."""

    async def close(self) -> None: ...


class Running:
    """A node that runs. `failed` is set when its disk has failed, and it must stop."""

    def __init__(
        self,
        node: Node,
        replica: Local,
        tracer: Tracer,
        store: Registers,
        parts: PartStore,
        peers: Peers,
        server: PeerServer,
        healer: Healer,
        keepers: Sequence[Closes],
        liveness: Liveness,
        tiering: Tiering | None,
        locks: ExitStack,
        collectors: Sequence[Collector],
    ) -> None:
        self.node = node
        self.liveness = liveness
        self.tiering = tiering
        self.replica = replica
        self.flush: Callable[[], None] = tracer.flush
        self.collectors = tuple(collectors)
        self.failed = store.failed
        self._tracer = tracer
        self._store = store
        self._parts = parts
        self._peers = peers
        self._server = server
        self.healer = healer
        self._keepers = keepers
        self._locks = locks

    def rpc(self, request: Upgraded, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take over a connection on which another node wants to speak frames; raises Unauthorised."""
        self._server.upgrade(request, transport, leftover)

    async def close(self) -> None:
        """Hang up, finish what is on its way to the disk, end the trace, let go of the directory."""
        self._server.close()
        for keeper in self._keepers:
            await keeper.close()
        if self.tiering is not None:
            await self.tiering.close()
        await self._peers.close()
        await self._parts.close()
        await self._store.close()
        self._tracer.close()
        self._locks.close()

    def start_importing(self, on_bucket: OnBucket) -> None:
        """Take over what the archive had before this cluster, if that is wanted; see Importer.start."""
        if self.tiering is not None:
            self.tiering.importer.start(on_bucket)

    def abandon(self) -> None:
        """Let go of the files without another byte or word, as a kill does; for a simulator."""
        self._tracer.abandon()
        self._store.abandon()
        self._locks.close()
