"""When a replica may forget what is deleted, and what it remembers then."""

import pytest

from impl.model import NO_BALLOT, VIRGIN, Ballot, Head, Register, ReplicaSet, present, vacant
from impl.protocol.acceptor import is_virgin, on_accept, on_prepare
from impl.protocol.change import Change, apply
from impl.protocol.collecting import is_forgettable, may_collect, may_have_accepted, needs_no_tombstone, on_collect
from impl.protocol.messages import Accept, Prepare, State
from impl.protocol.proposer import highest_accepted, window_has_passed
from impl.protocol.tiering import on_confirm

GROUP = ReplicaSet(("n1", "n2", "n3"), 2)
OLD, TOMB, NEW = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3")
PUT, DELETE = Change(operation="put", write_id="w1", etag="e"), Change(operation="delete", write_id="w2")
OBJECT = apply(PUT, None).head
TOMBSTONE = apply(DELETE, OBJECT).head
DELETED = Register(TOMB, TOMB, TOMBSTONE)
HAS_IT = State(TOMB, TOMB, TOMBSTONE, "e1")


def collected() -> Register:
    step = on_collect(DELETED, "p", "r", TOMB, dict.fromkeys(GROUP.nodes, HAS_IT), is_tiered=False)
    assert step.taken and step.forgets
    return step.register


@pytest.mark.parametrize(
    ("third", "may"),
    [
        (HAS_IT, True),
        (State(TOMB, NO_BALLOT, None), True),  # it has nothing, and accepts nothing older
        (State(NEW, NO_BALLOT, vacant(7)), True),
        (State(OLD, NO_BALLOT, None), False),  # it may yet accept what was deleted
        (State(TOMB, OLD, OBJECT), False),
        (State(NEW, NEW, OBJECT), False),
        (None, False),
    ],
)
def test_what_every_replica_told_decides_whether_a_tombstone_may_be_forgotten(third: State | None, may: bool) -> None:
    states = {"n1": HAS_IT, "n2": HAS_IT} | ({} if third is None else {"n3": third})
    assert may_collect(TOMB, GROUP, states) == may


def test_only_what_nothing_is_left_of_is_forgotten() -> None:
    assert is_forgettable(DELETED, False) and is_forgettable(Register(OLD, OLD, None), False)
    assert not is_forgettable(Register(OLD, OLD, OBJECT), False)
    assert not is_forgettable(VIRGIN, False)
    assert not on_collect(Register(NEW, NEW, OBJECT), "p", "r", TOMB, {}, False).taken, "it was written meanwhile"


@pytest.mark.parametrize(
    ("archived", "is_settled", "is_tiered", "may"),
    [
        (0, False, False, True),
        (0, False, True, False),  # the archive may have what was deleted, and nobody else would tell it
        (1, True, True, False),
        (2, False, True, False),  # a request for what was deleted may still come
        (2, False, False, False),  # archived on demand
        (2, True, True, True),
        (2, True, False, True),
        (3, True, True, True),
    ],
)
def test_a_deletion_is_forgotten_when_the_archive_has_it_for_good(
    archived: int, is_settled: bool, is_tiered: bool, may: bool
) -> None:
    register = Register(TOMB, TOMB, TOMBSTONE, archived, is_settled)
    assert is_forgettable(register, is_tiered) == may
    step = on_collect(register, "p", "r", TOMB, dict.fromkeys(GROUP.nodes, HAS_IT), is_tiered)
    assert step.taken == may
    assert not may or (step.register.archived, step.register.is_settled) == (0, False)


def test_what_never_was_needs_no_archive_to_be_forgotten() -> None:
    assert is_forgettable(Register(OLD, OLD, None), True)


def test_what_is_forgotten_has_no_record_again() -> None:
    """It would never be forgotten, and be looked for in the archive for ever."""
    assert not on_confirm(collected(), "p", 2, "told", "e1", True).taken
    assert not on_confirm(collected(), "p", 2, "look", "e1").taken
    assert on_confirm(VIRGIN, "p", 2, "told", "e1").taken, "here the head is yet to come"


def test_a_promise_is_kept_when_what_was_accepted_is_forgotten() -> None:
    register = collected()
    assert not on_accept(register, Accept("p", OLD, OBJECT, NO_BALLOT)).taken
    assert not on_prepare(register, Prepare("p", TOMB)).taken
    assert not is_virgin(register)


def test_generations_go_on_where_they_were_forgotten() -> None:
    found = highest_accepted({"n1": State(NEW, NO_BALLOT, None), "n2": State(NEW, NO_BALLOT, collected().head)}).head
    assert present(found) is None
    made = apply(PUT, found).head
    assert isinstance(made, Head) and (made.generation, made.version_ids) == (3, (0,))


def test_a_write_that_may_have_been_forgotten_is_not_made_again() -> None:
    assert window_has_passed(1, collected().head)
    assert window_has_passed(2, apply(PUT, collected().head).head)
    assert not window_has_passed(3, collected().head)


def test_a_refusal_by_who_has_forgotten_proves_nothing() -> None:
    assert may_have_accepted(collected()) == TOMB
    assert may_have_accepted(Register(NEW, NO_BALLOT, None)) == NO_BALLOT
    assert may_have_accepted(Register(NEW, OLD, OBJECT)) == OLD


def test_a_tombstone_does_not_come_back_to_who_has_forgotten_it() -> None:
    assert needs_no_tombstone(collected(), HAS_IT)
    assert not needs_no_tombstone(VIRGIN, HAS_IT)
    assert not needs_no_tombstone(collected(), State(NEW, NEW, OBJECT))
    assert not needs_no_tombstone(Register(NEW, NO_BALLOT, None), State(OLD, OLD, OBJECT))
