"""One acceptor under messages that come early, late, twice or never, and restarts: against a model of three variables.

The model is `prepare` and `accept` of design.md's table in a few lines. Beside it stands what Paxos rests on, asked of
nothing but the answers that were given: no promise is broken, and what was accepted at a ballot stays what it is.
"""

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from impl.model import NO_BALLOT, VIRGIN, Ballot, Head, Register, ReplicaSet
from impl.protocol.acceptor import Step, is_virgin, known, on_accept, on_adopt, on_claim, on_prepare, on_read
from impl.protocol.change import Change, apply
from impl.protocol.messages import Accept, Prepare, Read, State
from impl.protocol.rules import HONEST, MUTANTS, Rules, broken
from impl.protocol.tests.refuting import assert_refuted, walk

PATH = "p"
NODES = ("n1", "n2", "n3")
GROUP = ReplicaSet(NODES, 2)
CLAIMED = Ballot(0, GROUP.preferred)

rounds = st.integers(1, 6)
ballots = st.builds(Ballot, rounds, st.sampled_from(NODES))
steps_up = st.integers(0, 3)
heads = st.one_of(
    st.none(),
    st.builds(
        lambda generation, etag: Head(generation, etag is None, etag, 1, "text/plain", 0, b"x", (), ()),
        st.integers(1, 5),
        st.sampled_from((None, "a", "b")),
    ),
)
Message = Prepare | Accept


class AcceptorMachine(RuleBasedStateMachine):
    """An acceptor, its disk, and all that was ever sent to it."""

    sent = Bundle("sent")

    def __init__(self, obeys: Rules = HONEST) -> None:
        super().__init__()
        self.obeys = obeys
        self.disk = msgspec.msgpack.encode(VIRGIN)
        self.register = VIRGIN
        # the model
        self.promised = self.accepted = NO_BALLOT
        self.head: Head | None = None
        # what a coordinator sends at a ballot, it sends to all and for good
        self.proposed: dict[Ballot, Accept] = {}
        # what was answered
        self.answered_promises = [NO_BALLOT]
        self.answered_accepts = [NO_BALLOT]

    @initialize(is_preferred=st.booleans())
    def begin(self, is_preferred: bool) -> None:
        self.is_preferred = is_preferred

    # -- what arrives

    @rule(target=sent, ballot=ballots)
    def prepare(self, ballot: Ballot) -> Message:
        return self.arrive(Prepare(PATH, ballot, "c"))

    @rule(target=sent, ballot=ballots, up=steps_up, head=heads)
    def accept(self, ballot: Ballot, up: int, head: Head | None) -> Message:
        return self.arrive(self.proposal(ballot, up, head))

    @precondition(lambda self: not self.is_preferred)
    @rule(target=sent, up=steps_up, head=heads)
    def accept_what_the_preferred_node_claimed(self, up: int, head: Head | None) -> Message:
        return self.arrive(self.proposal(CLAIMED, up, head))

    @rule(message=sent)
    def arrive_again(self, message: Message) -> None:
        self.arrive(message)

    @precondition(lambda self: self.is_preferred)
    @rule(up=steps_up)
    def claim(self, up: int) -> None:
        change = Change(operation="put", write_id="w", etag="claimed")
        result = apply(change, None)
        following = self.following(CLAIMED, up)
        step = on_claim(self.register, PATH, CLAIMED, following, change, result, GROUP, self.obeys)
        may = self.promised == NO_BALLOT
        assert step.taken == may == is_virgin(self.register, self.obeys), "claimed once, and before anything else"
        if may:
            self.proposed[CLAIMED] = Accept(PATH, CLAIMED, result.head, following)
            self.model_accept(self.proposed[CLAIMED])
            self.answered_accepts.append(CLAIMED)
            self.answered_promises.append(following)
        self.keep(step)

    @rule(ballot=ballots, up=steps_up, head=heads)
    def adopt(self, ballot: Ballot, up: int, head: Head | None) -> None:
        """Another replica has accepted this, and nobody else hears that this one has it too."""
        proposal = self.proposal(ballot, up, head)
        found = self.register
        step = on_adopt(found, PATH, "r", State(ballot, ballot, proposal.head, "c"), self.obeys)
        assert step.taken == (ballot >= self.promised and ballot > self.accepted)
        if not step.taken:
            assert (step.register, step.event) == (found, None)
            return
        assert ballot >= max(self.answered_promises), "a promise was broken"
        self.check_event(step, proposal, found, "Adopt")
        self.promised = self.accepted = ballot
        self.head = proposal.head
        self.answered_accepts.append(ballot)
        self.keep(step)

    @rule()
    def report(self) -> None:
        told = on_read(self.register, Read(PATH, "r"))
        assert (told.was_promised, told.was_accepted) == (known(self.promised), known(self.accepted))

    # -- what happens to the process

    @rule()
    def restart(self) -> None:
        self.register = msgspec.msgpack.decode(self.disk, type=Register)

    @rule(message=sent)
    def crash_before_the_step_is_durable(self, message: Message) -> None:
        """Nobody was answered, so nothing has happened."""
        self.decide(message)
        self.restart()

    # -- what always holds

    @invariant()
    def the_register_is_the_models(self) -> None:
        assert self.register == Register(self.promised, self.accepted, self.head)

    @invariant()
    def nothing_that_was_answered_is_taken_back(self) -> None:
        assert self.register.promised >= max(self.answered_promises)
        assert self.register.accepted == max(self.answered_accepts) <= self.register.promised

    @invariant()
    def what_was_accepted_at_a_ballot_is_what_was_proposed_there(self) -> None:
        if self.register.accepted:
            assert self.register.head == self.proposed[self.register.accepted].head

    # -- how it is done

    def proposal(self, ballot: Ballot, up: int, head: Head | None) -> Accept:
        return self.proposed.setdefault(ballot, Accept(PATH, ballot, head, self.following(ballot, up), "c"))

    def following(self, ballot: Ballot, up: int) -> Ballot:
        """The ballot that accepting promises, too; none for 0."""
        return Ballot(ballot.round + up, ballot.node) if up else NO_BALLOT

    def model_prepare(self, message: Prepare) -> bool:
        if message.ballot > self.promised:
            self.promised = message.ballot
            return True
        return False

    def model_accept(self, message: Accept) -> bool:
        if message.ballot >= self.promised:
            self.promised = max(message.ballot, message.next)
            self.accepted, self.head = message.ballot, message.head
            return True
        return False

    def decide(self, message: Message) -> Step:
        if isinstance(message, Prepare):
            return on_prepare(self.register, message, self.obeys)
        return on_accept(self.register, message, self.obeys)

    def arrive(self, message: Message) -> Message:
        found = self.register
        step = self.decide(message)
        if isinstance(message, Prepare):
            assert step.taken == self.model_prepare(message)
            if step.taken:
                assert step.register.accepted == max(self.answered_accepts), "a promise tells what was accepted"
                self.answered_promises.append(message.ballot)
        else:
            assert step.taken == self.model_accept(message)
            if step.taken:
                assert message.ballot >= max(self.answered_promises), "a promise was broken"
                self.answered_accepts.append(message.ballot)
                self.answered_promises.append(message.next)
        assert step.taken or step.register is found, "a refusal changes nothing"
        self.check_event(step, message, found)
        self.keep(step)
        return message

    def check_event(self, step: Step, message: Message, found: Register, took: str = "Accept") -> None:
        event = step.event
        assert event is not None and event.cause == ("c",)
        was = {name: getattr(event, name) for name in ("was_promised", "was_accepted", "was_generation", "ballot")}
        assert was == {
            "was_promised": found.promised or None,
            "was_accepted": found.accepted or None,
            "was_generation": found.head.generation if found.head else 0,
            "ballot": message.ballot,
        }
        kind = "Refuse" if not step.taken else "Promise" if isinstance(message, Prepare) else took
        assert type(event).__name__ == kind

    def keep(self, step: Step) -> None:
        """Step and answer: the one is durable before the other goes."""
        self.register = step.register
        self.disk = msgspec.msgpack.encode(step.register)


def test_an_acceptor_does_what_its_table_says_and_keeps_its_word() -> None:
    walk(AcceptorMachine, examples=250, steps=40)


@pytest.mark.parametrize("mutant", [name for name, said in MUTANTS.items() if said.where.endswith("/acceptor.py")])
def test_an_acceptor_that_breaks_its_word_is_noticed(mutant: str) -> None:
    assert_refuted(lambda: AcceptorMachine(broken((mutant,))), examples=1000, steps=40)
