"""The coordinator's side of one attempt: counting replies, choosing what to propose, keeping the fast path. Pure.

`impl/node/coordinator.py` sends and waits; here is what it decides. Spec: Prepare, Propose, Claim, Acknowledge, Read
of spec/tla/Register.tla.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from impl.errors import AmberioError
from impl.model import NO_BALLOT, RECENT_WRITES_MAX, Ballot, Head, Register, ReplicaSet
from impl.protocol.acceptor import is_virgin
from impl.protocol.change import Change, Result, apply
from impl.protocol.messages import Failure, Refusal, Reply, State
from impl.protocol.rules import HONEST, Rules

Verdict = Literal["quorum", "impossible"]


class Tally:
    """Counts the replies to one request until enough replicas took it, or too few are left that could.

    `taken` maps a node to its state after the step; `highest` is the highest ballot that a refusal named.
    """

    def __init__(self, group: ReplicaSet, ballot: Ballot, needed: int, step: Literal["prepare", "accept"]) -> None:
        self.ballot = ballot
        self.needed = needed
        self.taken: dict[str, State] = {}
        self.highest = NO_BALLOT
        self.failures: dict[str, Failure | AmberioError] = {}
        self._accepting = step == "accept"
        self._waiting = len(group.nodes)
        self._is_doubtful = False

    def add(self, node: str, reply: Reply | AmberioError) -> Verdict | None:
        """Count one replica's answer; the verdict, once there is one (it may be reached again by later answers)."""
        self._waiting -= 1
        if isinstance(reply, State):
            if (reply.accepted if self._accepting else reply.promised) == self.ballot:
                self.taken[node] = reply
        elif isinstance(reply, Refusal):
            self.highest = max(self.highest, reply.promised)
            self._is_doubtful |= reply.accepted >= self.ballot
        else:
            self.failures[node] = reply
        if len(self.taken) >= self.needed:
            return "quorum"
        if len(self.taken) + self._waiting < self.needed:
            return "impossible"
        return None

    @property
    def nobody_can_have_taken_it(self) -> bool:
        """Has every replica certainly not taken the step? Then a failed attempt left nothing behind.

        Who refuses it, and has accepted nothing as high, has not taken it, and never will.
        """
        refused = all(isinstance(f, Failure) and f.reason != "io_error" for f in self.failures.values())
        return not self.taken and self._waiting == 0 and refused and not self._is_doubtful


class Lease(msgspec.Struct, frozen=True):
    """The right to propose at `ballot` at once: the states of a read quorum that promised it by accepting.

    Volatile, and lost with the process; any other coordinator's prepare ends it, which the next proposal finds out.
    """

    ballot: Ballot
    states: Mapping[str, State]


class Proposal(msgspec.Struct, frozen=True):
    """What to send in Accept, and the operation's result once it is chosen."""

    ballot: Ballot
    next: Ballot
    result: Result
    found: Head | None
    counted: tuple[str, ...]
    causes: tuple[str, ...]


def may_claim(node: str, group: ReplicaSet, own: Register, rules: Rules = HONEST) -> bool:
    """May this node propose at the register's lowest ballot without a prepare? (spec: Claim)"""
    return node == group.preferred and is_virgin(own, rules)


def still_holds(lease: Lease, own: Register) -> bool:
    """May this lease still be good? Not when our own acceptor, which promised it, has promised something else since.

    A node that holds no replica has no acceptor to ask, so it never has a lease that holds. Safety does not need this:
    the acceptors refuse a lease that has ended. But a proposal that they refuse may have been accepted by one that did
    not answer, and so leaves its outcome in doubt, with nothing broken.
    """
    return own.promised == lease.ballot


def highest_accepted(states: Mapping[str, State], rules: Rules = HONEST) -> State:
    """Of a quorum's states, the one with the highest accepted ballot: only its head may be chosen (spec: Found).

    If none has accepted anything, then the one that knows of the most forgotten generations.
    """
    choose = min if rules.lowest_head else max
    return choose(states.values(), key=lambda state: (state.accepted, state.head.generation if state.head else 0))


def propose(
    change: Change, ballot: Ballot, following: Ballot, states: Mapping[str, State], rules: Rules = HONEST
) -> Proposal:
    """The proposal at `ballot`, from the states of a read quorum that promised it (spec: Propose)."""
    found = highest_accepted(states, rules).head
    return Proposal(
        ballot=ballot,
        next=following,
        result=apply(change, found, rules),
        found=found,
        counted=tuple(states),
        causes=tuple(state.event for state in states.values() if state.event),
    )


def lease_after(proposal: Proposal, tally: Tally, group: ReplicaSet, rules: Rules = HONEST) -> Lease | None:
    """The lease that an accepted proposal left: a read quorum that promised `next` with its replies, or none."""
    head = proposal.found if rules.lease_of_old_head else proposal.result.head
    promised = {
        node: State(state.promised, state.accepted, head, state.event)
        for node, state in tally.taken.items()
        if state.promised == proposal.next
    }
    if not proposal.next or len(promised) < group.read_quorum:
        return None
    return Lease(proposal.next, promised)


def window_has_passed(sent_at_generation: int, found: Head | None) -> bool:
    """May our own earlier proposal have been chosen and since been forgotten by the head's recent writes?

    `sent_at_generation` is the generation that the earlier proposal would have made. If so, applying the change again
    could apply it twice, so the outcome has to be called unknown. A head that began where others were forgotten knows
    none of their writes.
    """
    if found is None:
        return False
    if len(found.recent) < min(found.generation, RECENT_WRITES_MAX):
        return found.generation - len(found.recent) >= sent_at_generation
    return found.generation - sent_at_generation >= RECENT_WRITES_MAX


class ReadTally:
    """Counts what replicas report to a quorum read (spec: Read).

    Decided when as many as both quorums report one accepted ballot: then its head is chosen, and nothing newer was
    chosen before the read began.
    """

    def __init__(self, group: ReplicaSet, rules: Rules = HONEST) -> None:
        alone = rules.quorum_of_one or rules.stale_local_read
        quorum = max(group.write_quorum, group.read_quorum)
        self._needed = 1 if alone else max(1, quorum - 1) if rules.read_quorum_one_short else quorum
        self._waiting = len(group.nodes)
        self._reports: dict[Ballot, dict[str, State]] = {}
        self.decided: tuple[Ballot, dict[str, State]] | None = None

    def add(self, node: str, reply: Reply | AmberioError) -> Verdict | None:
        self._waiting -= 1
        if isinstance(reply, State):
            agreeing = self._reports.setdefault(reply.accepted, {})
            agreeing[node] = reply
            if len(agreeing) >= self._needed:
                if self.decided is None:  # as it was decided: a later report must not change what is being answered
                    self.decided = (reply.accepted, dict(agreeing))
                return "quorum"
        most = max((len(agreeing) for agreeing in self._reports.values()), default=0)
        return "impossible" if most + self._waiting < self._needed else None
