"""What a coordinator may conclude from the answers to its accept request."""

import pytest

from impl.model import NO_BALLOT, VIRGIN, Ballot, Register, ReplicaSet
from impl.protocol.acceptor import on_accept
from impl.protocol.messages import Accept, Failure, Refusal, Reply
from impl.protocol.proposer import Tally

GROUP = ReplicaSet(("n1",), 1)
MINE, NEXT, HIGHER = Ballot(3, "n2"), Ballot(4, "n2"), Ballot(5, "n3")
REQUEST = Accept("p", MINE, None, NEXT)


def certain(reply: Reply) -> bool:
    tally = Tally(GROUP, MINE, 1, "accept")
    assert tally.add("n1", reply) == "impossible"
    return tally.nobody_can_have_taken_it


def refused(register: Register) -> Refusal:
    step = on_accept(register, REQUEST)
    assert not step.taken
    return Refusal(step.register.promised, step.register.accepted)


def test_a_refusal_by_who_promised_higher_first_leaves_nothing_in_doubt() -> None:
    assert certain(refused(Register(HIGHER, NO_BALLOT, None)))
    assert certain(refused(Register(HIGHER, Ballot(2, "n1"), None)))


def test_a_refusal_of_the_second_copy_does_not_say_that_the_first_was_refused() -> None:
    first = on_accept(VIRGIN, REQUEST)
    assert first.taken
    assert not certain(refused(first.register))
    overtaken = on_accept(first.register, Accept("p", HIGHER, None, NO_BALLOT))
    assert overtaken.taken
    assert not certain(refused(overtaken.register))


@pytest.mark.parametrize(("reason", "is_certain"), [("disk_full", True), ("overloaded", True), ("io_error", False)])
def test_only_a_disk_error_may_have_left_something_behind(reason: str, is_certain: bool) -> None:
    assert certain(Failure(reason)) == is_certain
