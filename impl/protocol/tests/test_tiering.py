"""What is sent to the archive, put on record and evicted: rules of impl/protocol/tiering.py as properties."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from impl.model import NO_BALLOT, Ballot, Head, Register
from impl.protocol.tiering import (
    NOTHING,
    Seen,
    as_ours,
    holds,
    may_evict,
    on_confirm,
    on_doubt,
    on_settle,
    way_of,
)

generations = st.integers(1, 5)
heads = st.builds(
    lambda generation, etag, version: Head(
        generation, etag is None, etag, 1, "text/plain", 0, None, (), (), (), version if etag else 0
    ),
    generations,
    st.sampled_from(("a", "b", None)),
    st.sampled_from((0, 3)),
)
seen_ones = st.just(NOTHING) | st.builds(
    Seen, st.just(True), st.integers(0, 5), st.sampled_from(("A", "B")), st.just(""), st.sampled_from(("a", "b"))
)
registers = st.builds(
    lambda head, archived, is_settled: Register(Ballot(1, "n1"), Ballot(1, "n1"), head, archived, is_settled),
    heads,
    st.integers(0, 5),
    st.booleans(),
)


@given(heads, seen_ones)
def test_nothing_is_sent_over_what_is_as_new_and_a_delete_only_over_something(head: Head, seen: Seen) -> None:
    way = way_of(head, seen)
    if seen.is_present and seen.generation >= head.generation:
        assert way == "nothing"
    if way == "delete":
        assert head.deleted and seen.is_present
    assert (way == "nothing") == holds(head, seen)


@given(heads, seen_ones)
def test_an_object_of_another_life_of_the_cluster_is_a_strangers(head: Head, seen: Seen) -> None:
    judged = as_ours(head, seen)
    assert judged.generation <= head.generation and judged.etag == seen.etag
    if judged.generation == head.generation:
        assert judged.head_etag == (head.etag or "")
    if judged != seen:
        assert judged.generation == 0, "and it is replaced"


@given(registers, generations, st.booleans())
def test_what_is_on_record_only_grows_until_it_is_doubted(register: Register, generation: int, settled: bool) -> None:
    step = on_confirm(register, "p", generation, "told", "", settled)
    after = step.register
    assert (after.archived, after.is_settled) >= (register.archived, register.is_settled)
    assert (after.promised, after.accepted, after.head) == (register.promised, register.accepted, register.head)
    assert step.taken == (after != register) == (step.event is not None)
    if step.taken:
        assert after.is_settled == (settled or generation == 1)
    doubted = on_doubt(after, "p", after.archived, "")
    assert (doubted.register.archived, doubted.register.is_settled) == (0, False)
    assert on_confirm(doubted.register, "p", generation, "ship", "").taken


@given(registers, generations)
def test_only_what_is_on_record_is_settled(register: Register, generation: int) -> None:
    step = on_settle(register, "p", generation, 1.0, 1.0, "")
    assert step.taken == (register.archived == generation and not register.is_settled)
    assert step.register.archived == register.archived


@given(registers)
def test_only_the_settled_null_version_is_evicted(register: Register) -> None:
    head = register.head
    assert head is not None
    if may_evict(register):
        assert register.archived >= head.generation and register.is_settled and head.version == 0
    written = msgspec.structs.replace(register, head=msgspec.structs.replace(head, generation=register.archived + 1))
    assert not may_evict(written), "a newer head is not in the archive yet"


def test_nothing_is_evicted_where_nothing_is() -> None:
    assert not may_evict(Register(NO_BALLOT, NO_BALLOT, None, 3, True))
