"""One operation on one path, from the request to a quorum's answer. Spec: Prepare, Propose, Claim, Acknowledge.

What is decided is in `impl/protocol/proposer.py`; here is the sending, the waiting and the trying again. Any node may
coordinate any path; a ballot decides between two that do so at once, and whoever loses backs off.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec

from impl.cluster.peers import Peers
from impl.doors import Clock, Random
from impl.errors import AmberioError, DiskFull, NoQuorum, NotReady, OutcomeUnknown
from impl.model import NO_BALLOT, Ballot, Head, ReplicaSet
from impl.node.limits import Timing
from impl.node.locate import Locate
from impl.node.naming import LOOKS, Naming
from impl.node.replica import Replica
from impl.node.rounds import Rounds
from impl.node.turns import Leases, Turns
from impl.protocol import events
from impl.protocol.acceptor import known, on_claim
from impl.protocol.change import READ, Change, Result, apply, described
from impl.protocol.events import Outcome
from impl.protocol.messages import Accept, Failure, Prepare, Reply, Request, State
from impl.protocol.proposer import (
    Proposal,
    Tally,
    highest_accepted,
    lease_after,
    may_claim,
    propose,
    still_holds,
    window_has_passed,
)
from impl.protocol.rejoining import enough_others, on_rejoin
from impl.protocol.rules import Rules
from impl.storage.face import Registers
from impl.storage.lives import FIRST
from impl.trace import Tracer

Came = TypeVar("Came")


class Chosen(msgspec.Struct, frozen=True):
    """What an operation came to, after a write quorum accepted it. `found` is the head before it.

    `outcome` is what to tell the client. It is the result's, except where an attempt of this very operation lost its
    quorum and another coordinator carried it on: the next attempt replays it, and yet it was applied by this one.
    `ballot` is the one it was chosen at, `event` the trace event that says so, "" without tracing.
    """

    result: Result
    outcome: Outcome
    found: Head | None
    committed_replicas: int
    ballot: Ballot
    event: str


class _Lost(Exception):
    """This attempt did not get its quorum; `highest` is the highest ballot that stood in its way."""

    def __init__(self, highest: Ballot) -> None:
        self.highest = highest


class _Operation:
    """One operation while it is tried: what it is, how long it may take, what it may have left behind."""

    def __init__(self, path: str, slot: int, group: ReplicaSet, change: Change, deadline_s: float) -> None:
        self.path = path
        self.slot = slot
        self.group = group
        self.change = change
        self.deadline_s = deadline_s
        # the generation that our first proposal would have made, once someone may have accepted it
        self.sent_at_generation: int | None = None
        self.highest = NO_BALLOT
        self.full_disks = 0
        self.meets = 0


class Coordinator:
    """Runs operations; everything it needs comes in through the constructor."""

    def __init__(
        self,
        node_id: str,
        store: Registers,
        replica: Replica,
        naming: Naming,
        peers: Peers,
        tracer: Tracer,
        rounds: Rounds,
        locate: Locate,
        clock: Clock,
        random: Random,
        timing: Timing,
        rules: Rules,
    ) -> None:
        self._node_id = node_id
        self._store = store
        self._replica = replica
        self._naming = naming
        self._peers = peers
        self._tracer = tracer
        self._rounds = rounds
        self._locate = locate
        self._clock = clock
        self._random = random
        self._timing = timing
        self._rules = rules
        self._turns = Turns()
        self._leases = Leases()
        self._meets = 0
        self.not_ready: Callable[[], str | None] = lambda: None

    def forget_replies(self) -> None:
        """A node lost its disk: count nothing that was replied so far, as it may be among them (spec: Meet)."""
        self._meets += 1
        self._leases = Leases()

    async def run(self, path: str, change: Change) -> Chosen:
        """Try until a quorum has chosen, or the time is over.

        Raises NoQuorum when certainly nothing was written, OutcomeUnknown when it may have been, DiskFull when the
        replicas refused for want of room, Overloaded when too many wait for this path, NotReady while this node must
        not coordinate.
        """
        reason = self.not_ready()
        if reason is not None:
            raise NotReady(reason)
        slot, group = self._locate(path)
        operation = _Operation(path, slot, group, change, self._clock.monotonic_s() + self._timing.request_s)
        await self._turns.take(path)
        try:
            return await self._until(operation, self._attempt)
        except AmberioError as error:
            if error.outcome == "failed" and operation.sent_at_generation is not None:
                raise self._failed(operation) from error
            raise
        finally:
            self._turns.give_back(path)

    async def rejoin(self, path: str) -> bool:
        """Take over what the others have of a path, on their promise; False if that is done already (spec: Rejoin).

        Raises NoQuorum, NotReady if its parts cannot be had.
        """
        slot, group = self._locate(path)
        operation = _Operation(path, slot, group, READ, self._clock.monotonic_s() + self._timing.request_s)
        await self._turns.take(path)
        try:
            return await self._until(operation, self._rejoin)
        finally:
            self._turns.give_back(path)

    async def _rejoin(self, operation: _Operation) -> bool:
        path, group = operation.path, operation.group
        if (await self._store.read(path)).promised:
            return False
        operation.meets = self._meets
        ballot = await self._rounds.fresh(operation.highest)
        event = self._tracer.emit(_preparing(path, group, ballot))
        tally = Tally(group, ballot, enough_others(group, self._rules), "prepare")
        tally.add(self._node_id, NotReady("it lost its disk"))
        others = tuple(node for node in group.nodes if node != self._node_id)
        if not await self._ask(operation, Prepare(path, ballot, event), tally, others):
            raise _Lost(tally.highest)
        states = dict(tally.taken)
        decide = partial(on_rejoin, path=path, ballot=ballot, states=states, rules=self._rules)
        async with self._naming.held(path, highest_accepted(states, self._rules).head, LOOKS):
            return (await self._store.apply(path, operation.slot, decide)).taken

    async def _until(self, operation: _Operation, attempt: Callable[[_Operation], Awaitable[Came]]) -> Came:
        backoff_s = self._timing.backoff_first_s
        while True:
            try:
                return await attempt(operation)
            except _Lost as lost:
                operation.highest = max(operation.highest, lost.highest)
            wait_s = backoff_s * (0.5 + self._random.uniform())
            if self._clock.monotonic_s() + wait_s >= operation.deadline_s:
                raise self._failed(operation)
            if self._rules.retry_new_write_id and operation.change.write_id is not None:
                operation.change = msgspec.structs.replace(operation.change, write_id=self._random.token())
            await self._clock.sleep(wait_s)
            backoff_s = min(2 * backoff_s, self._timing.backoff_most_s)

    async def _attempt(self, operation: _Operation) -> Chosen:
        # the read also tells the trace how this incarnation found the register, before any other event of ours
        own = await self._store.read(operation.path)
        operation.meets = self._meets
        lease = self._leases.take(operation.path)
        if lease is not None and still_holds(lease, own):
            return await self._propose(operation, lease.ballot, dict(lease.states))
        # on another disk it does not know what it has claimed
        if self._store.life == FIRST and may_claim(self._node_id, operation.group, own, self._rules):
            claimed = await self._claim(operation)
            if claimed is not None:
                return claimed
        ballot = await self._rounds.fresh(max(operation.highest, own.promised))
        return await self._propose(operation, ballot, await self._prepare(operation, ballot))

    async def _prepare(self, operation: _Operation, ballot: Ballot) -> dict[str, State]:
        group = operation.group
        needed = 1 if self._rules.quorum_of_one else max(1, group.read_quorum - self._rules.promises_one_short)
        event = self._tracer.emit(_preparing(operation.path, group, ballot))
        tally = Tally(group, ballot, needed, "prepare")
        if not await self._ask(operation, Prepare(operation.path, ballot, event), tally, group.nodes):
            raise _Lost(tally.highest)
        return tally.taken

    async def _propose(self, operation: _Operation, ballot: Ballot, states: dict[str, State]) -> Chosen:
        following = await self._rounds.fresh(ballot)
        self._check_meets(operation)
        proposal = propose(operation.change, ballot, following, states, self._rules)
        sent_at, outcome = operation.sent_at_generation, proposal.result.outcome
        if sent_at is not None and outcome != "replayed" and window_has_passed(sent_at, proposal.found):
            raise self._failed(operation)
        event = self._tracer.emit(
            events.Propose(
                path=operation.path,
                cause=proposal.causes,
                ballot=ballot,
                next=known(following),
                counted=proposal.counted,
                was_generation=proposal.found.generation if proposal.found else 0,
                **described(operation.change, proposal.result),
            )
        )
        tally = Tally(operation.group, ballot, self._acknowledging(operation.group), "accept")
        return await self._accept(operation, proposal, tally, event, operation.group.nodes)

    async def _claim(self, operation: _Operation) -> Chosen | None:
        """Propose at the register's lowest ballot; None if our own replica is no longer virgin."""
        ballot = Ballot(0, self._node_id)
        following = await self._rounds.fresh(operation.highest)
        result = apply(operation.change, None, self._rules)
        decide = partial(
            on_claim,
            path=operation.path,
            ballot=ballot,
            following=following,
            change=operation.change,
            result=result,
            group=operation.group,
            rules=self._rules,
        )
        try:
            async with self._naming.held(operation.path, result.head):
                committed = await self._store.apply(operation.path, operation.slot, decide)
        except NotReady:
            return None  # parts are missing here; others may have them, and accept the head
        if not committed.taken:
            return None
        proposal = Proposal(ballot, following, result, None, (), ())
        tally = Tally(operation.group, ballot, self._acknowledging(operation.group), "accept")
        tally.add(self._node_id, State(committed.register.promised, ballot, result.head, committed.event_id))
        others = tuple(node for node in operation.group.nodes if node != self._node_id)
        return await self._accept(operation, proposal, tally, committed.event_id, others)

    async def _accept(
        self, operation: _Operation, proposal: Proposal, tally: Tally, cause: str, nodes: tuple[str, ...]
    ) -> Chosen:
        head = proposal.result.head
        request = Accept(operation.path, proposal.ballot, head, proposal.next, cause)
        sent_before = operation.sent_at_generation
        if proposal.result.outcome == "applied" and head is not None and sent_before is None:
            operation.sent_at_generation = head.generation
        if not await self._ask(operation, request, tally, nodes):
            if tally.nobody_can_have_taken_it:
                operation.sent_at_generation = sent_before
                operation.full_disks = _full_disks(tally)
            raise _Lost(tally.highest)
        self._check_meets(operation)
        event = self._tracer.emit(
            events.Acknowledge(
                path=operation.path,
                cause=tuple(state.event for state in tally.taken.values() if state.event),
                ballot=proposal.ballot,
                counted=tuple(tally.taken),
                generation=head.generation if head else 0,
                outcome=proposal.result.outcome,
            )
        )
        if self._node_id in operation.group.nodes:  # elsewhere no lease would ever hold
            self._leases.keep(operation.path, lease_after(proposal, tally, operation.group, self._rules))
        outcome = proposal.result.outcome
        if outcome == "replayed" and operation.sent_at_generation is not None:
            outcome = "applied"
        return Chosen(proposal.result, outcome, proposal.found, len(tally.taken), proposal.ballot, event)

    def _check_meets(self, operation: _Operation) -> None:
        if operation.meets != self._meets:
            raise _Lost(NO_BALLOT)

    def _failed(self, operation: _Operation) -> AmberioError:
        return _failed(operation, self._rules)

    def _acknowledging(self, group: ReplicaSet) -> int:
        return 1 if self._rules.ack_before_quorum or self._rules.quorum_of_one else group.write_quorum

    async def _ask(self, operation: _Operation, request: Request, tally: Tally, nodes: tuple[str, ...]) -> bool:
        """Send to each of `nodes` (ourselves too, if among them) and count answers; did enough take the step?"""
        if len(tally.taken) >= tally.needed:
            verdict: asyncio.Future[bool] | None = None
        else:
            verdict = asyncio.get_running_loop().create_future()

        def count(node: str, reply: Reply | AmberioError) -> None:
            reached = tally.add(node, reply)
            if reached is not None and verdict is not None and not verdict.done():
                verdict.set_result(reached == "quorum")

        left_s = max(0.0, operation.deadline_s - self._clock.monotonic_s())
        others = tuple(node for node in nodes if node != self._node_id)
        if others:
            self._peers.start(others, request, min(self._timing.step_s, left_s), count)
        if len(others) < len(nodes):
            self._replica.handle(request, partial(count, self._node_id))
        return True if verdict is None else await verdict


def _preparing(path: str, group: ReplicaSet, ballot: Ballot) -> events.Prepare:
    return events.Prepare(
        path=path, ballot=ballot, replicas=group.nodes, preferred=group.preferred, write_quorum=group.write_quorum
    )


def _failed(operation: _Operation, rules: Rules) -> AmberioError:
    path, change = operation.path, operation.change
    in_doubt = operation.sent_at_generation is not None and not rules.unknown_called_failed
    if change.operation != "read" and in_doubt:
        return OutcomeUnknown(
            f"no write quorum confirmed the {change.operation} of {path!r} in time; it may or may not have happened: "
            "retry with the same x-amberio-write-id to find out"
        )
    if operation.full_disks:
        return DiskFull(f"the disks of {operation.full_disks} replicas of {path!r} are full; nothing was written")
    return NoQuorum(
        f"fewer than {operation.group.write_quorum} of the replicas {', '.join(operation.group.nodes)} of {path!r} "
        "could be reached or agreed in time; nothing was written"
    )


def _full_disks(tally: Tally) -> int:
    return sum(
        1 for failure in tally.failures.values() if isinstance(failure, Failure) and failure.reason == "disk_full"
    )
