"""Quorum reads: one round trip and no writes where replicas agree, a full round where something is half done.

Spec: Report, Read. What is decided is `ReadTally` in `impl/protocol/proposer.py`.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from impl.cluster.peers import Peers
from impl.errors import AmberioError
from impl.model import Ballot, Head, ReplicaSet, present
from impl.node.coordinator import Coordinator
from impl.node.limits import Timing
from impl.node.locate import Locate
from impl.node.replica import Replica
from impl.protocol import events
from impl.protocol.acceptor import known
from impl.protocol.change import READ
from impl.protocol.messages import Read, Reply, State
from impl.protocol.proposer import ReadTally
from impl.protocol.rules import Rules
from impl.trace import Tracer


class Known(msgspec.Struct, frozen=True):
    """A head, the ballot at which it is chosen, and the trace event that says so: "" without tracing."""

    head: Head | None
    accepted: Ballot
    event: str


class Reader:
    """Answers what the head of a path is, linearizably."""

    def __init__(
        self,
        node_id: str,
        incarnation: int,
        replica: Replica,
        peers: Peers,
        tracer: Tracer,
        coordinator: Coordinator,
        locate: Locate,
        timing: Timing,
        rules: Rules,
    ) -> None:
        self._node_id = node_id
        self._prefix = f"{node_id}.{incarnation}.r"
        self._count = 0
        self._replica = replica
        self._peers = peers
        self._tracer = tracer
        self._coordinator = coordinator
        self._locate = locate
        self._timing = timing
        self._rules = rules
        self.on_behind: Callable[[str, str, str, Ballot], None] = lambda node, path, source, chosen: None

    async def head(self, path: str) -> Head | None:
        """The head of the path, None if it was never written, or its deletion is forgotten; raises NoQuorum."""
        return (await self.known(path)).head

    async def known(self, path: str) -> Known:
        """The head of the path, and how it is known; raises NoQuorum when too few replicas answer."""
        known = await self._known(path)
        return known if known.head is None else msgspec.structs.replace(known, head=present(known.head))

    async def _known(self, path: str) -> Known:
        _, group = self._locate(path)
        self._count += 1
        read = f"{self._prefix}{self._count}"
        decided = await self._ask(path, group, read)
        if decided is None:
            chosen = await self._coordinator.run(path, READ)
            return Known(chosen.result.head, chosen.ballot, chosen.event)
        accepted, agreeing = decided
        event = self._say(path, group, read, accepted, agreeing) if self._tracer.enabled else ""
        own = agreeing.get(self._node_id)
        if own is not None:
            return Known(own.head, accepted, event)
        return await self._whole(path, accepted, agreeing, event)

    async def _ask(self, path: str, group: ReplicaSet, read: str) -> tuple[Ballot, dict[str, State]] | None:
        tally = ReadTally(group, self._rules)
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        early: list[tuple[str, Reply | AmberioError]] = []

        def count(node: str, reply: Reply | AmberioError) -> None:
            reached = tally.add(node, reply)
            if reached is not None and not verdict.done():
                verdict.set_result(reached == "quorum")
            early.append((node, reply))
            if tally.decided is not None:
                self._tell_who_is_behind(path, *tally.decided, early)

        others = tuple(node for node in group.nodes if node != self._node_id)
        if others and not (self._rules.stale_local_read and len(others) < len(group.nodes)):
            self._peers.start(others, Read(path, read), self._timing.step_s, count)
        if len(others) < len(group.nodes):
            self._replica.handle(Read(path, read, body=True), partial(count, self._node_id))
        return tally.decided if await verdict else None

    def _tell_who_is_behind(
        self, path: str, chosen: Ballot, agreeing: dict[str, State], replies: list[tuple[str, Reply | AmberioError]]
    ) -> None:
        """Of these replies, told once each, some may be older than what was chosen, or none at all."""
        for node, reply in replies:
            if not isinstance(reply, State) or reply.accepted < chosen:
                self.on_behind(node, path, next(iter(agreeing)), chosen)
        replies.clear()

    def _say(self, path: str, group: ReplicaSet, read: str, accepted: Ballot, agreeing: dict[str, State]) -> str:
        head = next(iter(agreeing.values())).head
        return self._tracer.emit(
            events.ReadQuorum(
                path=path,
                cause=tuple(state.event for state in agreeing.values() if state.event),
                read=read,
                replicas=group.nodes,
                preferred=group.preferred,
                write_quorum=group.write_quorum,
                counted=tuple(agreeing),
                accepted=known(accepted),
                generation=head.generation if head and accepted else 0,
            )
        )

    async def _whole(self, path: str, accepted: Ballot, agreeing: dict[str, State], event: str) -> Known:
        """The head with its inline body, from a replica that has it; our own does not agree, or we are none."""
        head = next(iter(agreeing.values())).head
        if head is None or head.deleted or head.parts or head.is_imported or head.size_bytes == 0:
            return Known(head, accepted, event)
        for node in agreeing:
            self._count += 1
            request = Read(path, f"{self._prefix}{self._count}", body=True)
            reply = await self._peers.ask(node, request, self._timing.step_s)
            if isinstance(reply, State) and reply.accepted == accepted:
                return Known(reply.head, accepted, event)
        chosen = await self._coordinator.run(path, READ)
        return Known(chosen.result.head, chosen.ballot, chosen.event)
