"""The pure protocol as a whole: coordinators and acceptors under every loss, duplication, reordering and crash.

A seeded walk plays the network: it may deliver any request ever sent to any acceptor, any number of times, in any
order, or never. Hypothesis draws the seeds. What must hold is what spec/tla/RegisterMC.tla demands of the model.
"""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from impl.model import NO_BALLOT, VIRGIN, Ballot, Head, Register, ReplicaSet
from impl.protocol.acceptor import on_accept, on_claim, on_prepare
from impl.protocol.change import Change, Condition, apply
from impl.protocol.messages import Accept, Prepare, State
from impl.protocol.proposer import Lease, Proposal, Tally, lease_after, may_claim, propose

NODES = ("n1", "n2", "n3")
GROUP = ReplicaSet(NODES, 2)
CHANGES = (
    Change(operation="put", write_id="w1", etag="e1"),
    Change(operation="put", write_id="w2", etag="e2"),
    Change(operation="put", write_id="a1", etag="e3", condition=Condition("absent")),
    Change(operation="delete", write_id="d1"),
    Change(operation="read"),
)


class Coordinating:
    """One node's attempt: volatile, lost in a crash."""

    def __init__(self) -> None:
        self.prepare: Tally | None = None
        self.accept: Tally | None = None
        self.proposal: Proposal | None = None
        self.lease: Lease | None = None


class Cluster:
    """Three acceptors, as many coordinators, and all that was ever sent between them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.registers: dict[str, Register] = {node: VIRGIN for node in NODES}
        self.rounds = 0
        self.coordinating = {node: Coordinating() for node in NODES}
        self.prepares: list[Prepare] = []
        self.accepts: dict[Ballot, Accept] = {}
        self.votes: dict[Ballot, set[str]] = {}

    def walk(self, steps: int) -> None:
        actions = (
            (self.prepare, 1),
            (self.deliver_prepare, 5),
            (self.propose, 3),
            (self.claim, 1),
            (self.deliver_accept, 5),
            (self.acknowledge, 3),
            (self.crash, 0.2),
        )
        for action in self.random.choices([a for a, _ in actions], [weight for _, weight in actions], k=steps):
            action(self.random.choice(NODES))

    def fresh(self, node: str) -> Ballot:
        self.rounds += 1
        return Ballot(self.rounds, node)

    def chosen(self) -> list[Ballot]:
        return sorted(ballot for ballot, voters in self.votes.items() if len(voters) >= GROUP.write_quorum)

    def prepare(self, node: str) -> None:
        ballot = self.fresh(node)
        self.coordinating[node] = Coordinating()
        self.coordinating[node].prepare = Tally(GROUP, ballot, GROUP.read_quorum, "prepare")
        self.prepares.append(Prepare("p", ballot))

    def deliver_prepare(self, replica: str) -> None:
        if not self.prepares:
            return
        request = self.random.choice(self.prepares[-3:] if self.random.random() < 0.8 else self.prepares)
        step = on_prepare(self.registers[replica], request)
        self.registers[replica] = step.register
        tally = self.coordinating[request.ballot.node].prepare
        if step.taken and tally is not None and tally.ballot == request.ballot:
            tally.add(replica, State(step.register.promised, step.register.accepted, step.register.head))

    def propose(self, node: str) -> None:
        mine = self.coordinating[node]
        if mine.lease is not None:
            ballot, states = mine.lease.ballot, dict(mine.lease.states)
        elif mine.prepare is not None and len(mine.prepare.taken) >= mine.prepare.needed:
            ballot, states = mine.prepare.ballot, mine.prepare.taken
        else:
            return
        self.send(node, propose(self.random.choice(CHANGES), ballot, self.fresh(node), states))

    def claim(self, _: str) -> None:
        node = GROUP.preferred
        if not may_claim(node, GROUP, self.registers[node]):
            return
        change = self.random.choice(CHANGES)
        ballot, following, result = Ballot(0, node), self.fresh(node), apply(change, None)
        step = on_claim(self.registers[node], "p", ballot, following, change, result, GROUP)
        assert step.taken
        self.registers[node] = step.register
        self.votes.setdefault(ballot, set()).add(node)
        self.send(node, Proposal(ballot, following, result, None, (), ()))
        tally = self.coordinating[node].accept
        assert tally is not None
        tally.add(node, State(step.register.promised, ballot, result.head))

    def send(self, node: str, proposal: Proposal) -> None:
        assert proposal.ballot not in self.accepts, "a ballot proposes once"
        mine = self.coordinating[node] = Coordinating()
        mine.proposal = proposal
        mine.accept = Tally(GROUP, proposal.ballot, GROUP.write_quorum, "accept")
        self.accepts[proposal.ballot] = Accept("p", proposal.ballot, proposal.result.head, proposal.next)

    def deliver_accept(self, replica: str) -> None:
        if not self.accepts:
            return
        sent = list(self.accepts.values())
        request = self.random.choice(sent[-3:] if self.random.random() < 0.6 else sent)
        step = on_accept(self.registers[replica], request)
        self.registers[replica] = step.register
        if not step.taken:
            return
        self.votes.setdefault(request.ballot, set()).add(replica)
        mine = self.coordinating[request.ballot.node]
        if mine.accept is not None and mine.accept.ballot == request.ballot and replica not in mine.accept.taken:
            mine.accept.add(replica, State(step.register.promised, step.register.accepted, None))

    def acknowledge(self, node: str) -> None:
        mine = self.coordinating[node]
        if mine.accept is None or mine.proposal is None or len(mine.accept.taken) < mine.accept.needed:
            return
        assert mine.proposal.ballot in self.chosen(), "an answer that a minority alone knows of"
        mine.lease = lease_after(mine.proposal, mine.accept, GROUP)
        mine.accept = None

    def crash(self, node: str) -> None:
        self.coordinating[node] = Coordinating()


walks = settings(max_examples=1000, deadline=None)


def walked(seed: int) -> Cluster:
    cluster = Cluster(seed)
    cluster.walk(120)
    return cluster


@walks
@given(st.integers(0, 2**32))
def test_what_is_proposed_above_a_chosen_ballot_builds_on_its_head(seed: int) -> None:
    cluster = walked(seed)
    for ballot in cluster.chosen():
        below = cluster.accepts[ballot].head
        for later, request in cluster.accepts.items():
            if later > ballot and below is not None:
                assert request.head is not None
                assert request.head.recent[: len(below.recent)] == below.recent


@walks
@given(st.integers(0, 2**32))
def test_chosen_heads_form_one_chain_of_generations(seed: int) -> None:
    cluster = walked(seed)
    heads: list[Head] = [head for ballot in cluster.chosen() if (head := cluster.accepts[ballot].head)]
    for earlier, later in itertools.pairwise(heads):
        assert later == earlier or later.generation > earlier.generation


@walks
@given(st.integers(0, 2**32))
def test_a_write_id_is_applied_once_wherever_it_is_retried(seed: int) -> None:
    for request in walked(seed).accepts.values():
        ids = [applied.write_id for applied in request.head.recent] if request.head else []
        assert len(ids) == len(set(ids))


@walks
@given(st.integers(0, 2**32))
def test_an_acceptor_never_holds_more_than_it_promised(seed: int) -> None:
    assert all(register.accepted <= register.promised for register in walked(seed).registers.values())


def test_no_ballot_is_below_every_ballot() -> None:
    assert NO_BALLOT < Ballot(0, "n1") < Ballot(1, "a") < Ballot(1, "b") < Ballot(2, "a")
    assert not NO_BALLOT
    assert Ballot(0, "n1")
