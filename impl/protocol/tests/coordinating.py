"""Coordinators and acceptors of one register in one thread, over a network that does what a test wants.

A coordinator is `impl/node/coordinator.py` without tasks and time: it decides with the same pure functions, sends, and
goes on when an answer arrives. Each message has a fate; what is not delivered at once is given back as in flight.
"""

from collections.abc import Iterator
from typing import Final, Literal, get_args

import msgspec

from impl.errors import PeerError
from impl.model import VIRGIN, Ballot, Head, Register, ReplicaSet
from impl.protocol.acceptor import on_accept, on_claim, on_prepare
from impl.protocol.change import apply
from impl.protocol.messages import Accept, Failure, Prepare, Read, Refusal, Reply, Request, State
from impl.protocol.proposer import (
    Lease,
    Proposal,
    ReadTally,
    Tally,
    lease_after,
    may_claim,
    propose,
    still_holds,
    window_has_passed,
)
from impl.protocol.rules import Rules
from impl.protocol.tests.decided import Decided, Operation

PATH: Final = "p"
Fate = Literal["prompt", "lost", "late", "answer lost", "answer late", "twice", "once more later", "full", "failed"]
FATES: Final[tuple[Fate, ...]] = get_args(Fate)
UNREACHABLE: Final = PeerError("no answer in time")


class Asking(msgspec.Struct, eq=False):
    """One request to some acceptors, and the counting of their answers: at most one of each."""

    node: str
    request: Request
    tally: Tally | ReadTally
    waiting: set[str]
    proposal: Proposal | None = None
    sent_before: int | None = None
    known_generation: int = 0
    is_over: bool = False


class Message(msgspec.Struct, eq=False):
    """A request to an acceptor, or (with `reply`) its answer, on its way."""

    asking: Asking
    acceptor: str
    reply: Reply | None = None


class Coordinating(msgspec.Struct, eq=False):
    """What a node's coordinator knows; all but `round` is lost in a crash."""

    round: int = 0
    operation: Operation | None = None
    asking: Asking | None = None
    reading: Asking | None = None
    lease: Lease | None = None


class Cluster:
    """Acceptors on each node of `group`, and a coordinator on each of `coordinators`."""

    def __init__(self, group: ReplicaSet, coordinators: tuple[str, ...], decided: Decided, obeys: Rules) -> None:
        self.group = group
        self.decided = decided
        self.registers: dict[str, Register] = dict.fromkeys(group.nodes, VIRGIN)
        self.coordinators = {node: Coordinating() for node in coordinators}
        self._obeys = obeys
        self._fates: Iterator[Fate] = iter(())
        self._in_flight: list[Message] = []

    def under(self, fates: list[Fate]) -> None:
        """What happens to the next messages, in order; all after them are prompt."""
        self._fates = iter(fates)

    def in_flight(self) -> list[Message]:
        """What was sent since the last call and has not arrived."""
        sent, self._in_flight = self._in_flight, []
        return sent

    # -- a coordinator, as a client and time see it

    def begin(self, node: str, operation: Operation) -> None:
        self.coordinators[node].operation = operation
        self._attempt(node)

    def try_again(self, node: str) -> None:
        """What was not answered never will be; if that leaves the operation undone, the next attempt begins."""
        mine = self.coordinators[node]
        self._time_out(mine.asking)
        if mine.operation is not None and mine.asking is None:
            self._attempt(node)

    def give_up(self, node: str) -> None:
        mine = self.coordinators[node]
        self._time_out(mine.asking)
        if mine.operation is not None:
            self._fail(mine)

    def read(self, node: str) -> None:
        """Ask all acceptors what they have; an earlier read of the node that is not over never will be."""
        mine = self.coordinators[node]
        tally = ReadTally(self.group, self._obeys)
        nodes = set(self.group.nodes)
        mine.reading = Asking(node, Read(PATH, "r", True), tally, nodes, known_generation=self.decided.told_generation)
        self._send(mine.reading)

    def crash(self, node: str) -> None:
        """The process ends and starts again; its operation has no outcome that anyone was told."""
        self.coordinators[node] = Coordinating(self.coordinators[node].round)

    def deliver(self, message: Message) -> None:
        if message.reply is not None:
            self._answer(message.asking, message.acceptor, message.reply)
        else:
            self._answer(message.asking, message.acceptor, self._handle(message.acceptor, message.asking.request))

    # -- one attempt: as _attempt, _prepare, _propose, _claim and _accept of impl/node/coordinator.py

    def _attempt(self, node: str) -> None:
        mine = self.coordinators[node]
        operation = mine.operation
        assert operation is not None
        own = self.registers.get(node, VIRGIN)
        lease, mine.lease = mine.lease, None
        if lease is not None and still_holds(lease, own):
            self._propose(node, lease.ballot, dict(lease.states))
        elif may_claim(node, self.group, own, self._obeys):
            self._claim(node, operation)
        else:
            ballot = self._fresh(node, max(operation.highest, own.promised))
            one_short = self._obeys.promises_one_short
            needed = 1 if self._obeys.quorum_of_one else max(1, self.group.read_quorum - one_short)
            self._ask(node, Prepare(PATH, ballot), Tally(self.group, ballot, needed, "prepare"))

    def _propose(self, node: str, ballot: Ballot, states: dict[str, State]) -> None:
        mine = self.coordinators[node]
        operation = mine.operation
        assert operation is not None
        following = self._fresh(node, ballot)
        proposal = propose(operation.change, ballot, following, states, self._obeys)
        sent_at = operation.sent_at_generation
        if sent_at is not None and proposal.result.outcome != "replayed" and window_has_passed(sent_at, proposal.found):
            self._fail(mine)
            return
        self._accept(node, operation, proposal, self._accepting(ballot), self.group.nodes)

    def _claim(self, node: str, operation: Operation) -> None:
        ballot, following = Ballot(0, node), self._fresh(node, operation.highest)
        result = apply(operation.change, None, self._obeys)
        step = on_claim(
            self.registers[node], PATH, ballot, following, operation.change, result, self.group, self._obeys
        )
        assert step.taken
        self.registers[node] = step.register
        tally = self._accepting(ballot)
        tally.add(node, State(step.register.promised, ballot, result.head))
        others = tuple(other for other in self.group.nodes if other != node)
        self._accept(node, operation, Proposal(ballot, following, result, None, (), ()), tally, others)

    def _accept(
        self, node: str, operation: Operation, proposal: Proposal, tally: Tally, nodes: tuple[str, ...]
    ) -> None:
        head = proposal.result.head
        sent_before = operation.sent_at_generation
        if proposal.result.outcome == "applied" and head is not None and sent_before is None:
            operation.sent_at_generation = head.generation
        self.decided.propose(proposal.ballot, head)
        for taken in tally.taken:
            self.decided.accept(taken, proposal.ballot)
        request = Accept(PATH, proposal.ballot, head, proposal.next)
        self._ask(node, request, tally, nodes, proposal, sent_before)

    def _accepting(self, ballot: Ballot) -> Tally:
        alone = self._obeys.ack_before_quorum or self._obeys.quorum_of_one
        return Tally(self.group, ballot, 1 if alone else self.group.write_quorum, "accept")

    def _fresh(self, node: str, above: Ballot) -> Ballot:
        mine = self.coordinators[node]
        mine.round = max(mine.round, above.round) + 1
        return Ballot(mine.round, node)

    # -- asking and counting

    def _ask(
        self,
        node: str,
        request: Prepare | Accept,
        tally: Tally,
        nodes: tuple[str, ...] | None = None,
        proposal: Proposal | None = None,
        sent_before: int | None = None,
    ) -> None:
        asked = set(self.group.nodes if nodes is None else nodes)
        asking = Asking(node, request, tally, asked, proposal, sent_before)
        self.coordinators[node].asking = asking
        if len(tally.taken) >= tally.needed:  # a claim that is its own quorum
            self._conclude(asking, "quorum")
        self._send(asking)

    def _send(self, asking: Asking) -> None:
        """To each acceptor in turn; the answers may conclude what was asked, and begin the next."""
        for acceptor in sorted(asking.waiting):
            fate = next(self._fates, "prompt")
            message = Message(asking, acceptor)
            if fate in ("late", "twice", "once more later"):
                self._in_flight.append(message)
            if fate == "full":
                self._answer(asking, acceptor, Failure("disk_full"))
            if fate in ("lost", "late", "full"):
                continue
            reply = self._handle(acceptor, asking.request)
            if fate == "failed":  # of a disk error nobody knows what it left behind
                self._answer(asking, acceptor, Failure("io_error"))
            elif fate == "answer late":
                self._in_flight.append(Message(asking, acceptor, reply))
            elif fate not in ("answer lost", "once more later"):
                self._answer(asking, acceptor, reply)

    def _handle(self, acceptor: str, request: Request) -> Reply:
        register = self.registers[acceptor]
        if isinstance(request, Read):
            return State(register.promised, register.accepted, register.head)
        if isinstance(request, Prepare):
            step = on_prepare(register, request, self._obeys)
        else:
            step = on_accept(register, request, self._obeys)
        self.registers[acceptor] = step.register
        if not step.taken:
            return Refusal(step.register.promised, step.register.accepted)
        if isinstance(request, Accept):
            self.decided.accept(acceptor, request.ballot)
            return State(step.register.promised, step.register.accepted, None)
        return State(step.register.promised, step.register.accepted, step.register.head)

    def _answer(self, asking: Asking, acceptor: str, reply: Reply | PeerError) -> None:
        if acceptor not in asking.waiting:
            return
        asking.waiting.remove(acceptor)
        verdict = asking.tally.add(acceptor, reply)
        if verdict is not None:
            self._conclude(asking, verdict)

    def _time_out(self, asking: Asking | None) -> None:
        if asking is not None:
            for acceptor in sorted(asking.waiting):
                self._answer(asking, acceptor, UNREACHABLE)

    def _conclude(self, asking: Asking, verdict: Literal["quorum", "impossible"]) -> None:
        """Once, and only for what the coordinator still asks."""
        mine = self.coordinators[asking.node]
        if asking.is_over or asking not in (mine.asking, mine.reading):
            return
        asking.is_over = True
        if isinstance(asking.tally, ReadTally):
            if asking.tally.decided is not None:
                ballot, states = asking.tally.decided
                self.decided.read(asking.known_generation, ballot, _one_head(states))
            return
        mine.asking = None
        if verdict == "impossible":
            self._lose(mine, asking, asking.tally)
        elif asking.proposal is None:
            self._propose(asking.node, asking.tally.ballot, dict(asking.tally.taken))
        else:
            self._acknowledge(mine, asking.proposal, asking.tally)

    def _lose(self, mine: Coordinating, asking: Asking, tally: Tally) -> None:
        assert mine.operation is not None
        mine.operation.highest = max(mine.operation.highest, tally.highest)
        if asking.proposal is not None and tally.nobody_can_have_taken_it:
            self.decided.rule_out(asking.proposal.ballot)
            mine.operation.sent_at_generation = asking.sent_before

    def _acknowledge(self, mine: Coordinating, proposal: Proposal, tally: Tally) -> None:
        operation, mine.operation = mine.operation, None
        assert operation is not None
        mine.lease = lease_after(proposal, tally, self.group, self._obeys)
        outcome = proposal.result.outcome
        if outcome == "replayed" and operation.sent_at_generation is not None:
            outcome = "applied"
        self.decided.acknowledge(operation, proposal.ballot, proposal.result, outcome)

    def _fail(self, mine: Coordinating) -> None:
        operation, mine.operation, mine.asking = mine.operation, None, None
        assert operation is not None
        in_doubt = operation.sent_at_generation is not None and not self._obeys.unknown_called_failed
        self.decided.fail(operation, "unknown" if in_doubt else "failed")


def _one_head(states: dict[str, State]) -> Head | None:
    """The head that all of them reported, as they reported one ballot."""
    first, *others = (state.head for state in states.values())
    assert all(other == first for other in others), "one ballot has one head"
    return first
