"""What operations make of heads: preconditions, idempotency, generations (spec: Apply, Holds, Outcome)."""

from hypothesis import given
from hypothesis import strategies as st

from impl.model import RECENT_WRITES_MAX, Head
from impl.protocol.change import Change, Condition, apply, holds

etags = st.sampled_from(["a", "b", "c"])
conditions = st.one_of(
    st.builds(Condition, st.sampled_from(["none", "absent", "exists"])),
    st.builds(Condition, st.sampled_from(["etag_is", "etag_is_not"]), etags),
    st.builds(Condition, st.just("generation_is"), st.none(), st.integers(0, 5)),
)
puts = st.builds(
    Change,
    operation=st.just("put"),
    write_id=st.uuids().map(str),
    condition=conditions,
    etag=etags,
    body=st.just(b""),
)
deletes = st.builds(Change, operation=st.just("delete"), write_id=st.uuids().map(str), condition=conditions)
histories = st.lists(st.one_of(puts, deletes), max_size=30)


def after(changes: list[Change]) -> Head | None:
    head: Head | None = None
    for change in changes:
        head = apply(change, head).head
    return head


@given(histories, st.one_of(puts, deletes))
def test_a_write_adds_one_generation_or_leaves_the_head_as_it_is(history: list[Change], change: Change) -> None:
    found = after(history)
    result = apply(change, found)
    if result.outcome == "applied":
        assert result.head is not None
        assert result.head.generation == (found.generation if found else 0) + 1
    else:
        assert result.head is found


@given(histories, st.one_of(puts, deletes), histories)
def test_a_retry_returns_the_first_outcome_even_after_later_writes(
    before: list[Change], change: Change, later: list[Change]
) -> None:
    first = apply(change, after(before))
    head = first.head
    for other in later[: RECENT_WRITES_MAX - 1]:
        head = apply(other, head).head
    again = apply(change, head)
    if first.outcome == "applied":
        assert (again.outcome, again.applied) == ("replayed", first.applied)
        assert again.head is head


@given(histories, conditions, etags)
def test_a_write_whose_precondition_does_not_hold_changes_nothing(
    history: list[Change], condition: Condition, etag: str
) -> None:
    found = after(history)
    result = apply(Change(operation="put", write_id="w", condition=condition, etag=etag), found)
    assert (result.outcome == "refused") == (not holds(condition, found))
    assert result.outcome == "applied" or result.head is found


@given(histories)
def test_a_head_remembers_a_bounded_number_of_writes(history: list[Change]) -> None:
    head = after(history)
    assert head is None or len(head.recent) <= RECENT_WRITES_MAX


@given(histories)
def test_a_tombstone_counts_as_absent_and_keeps_its_generation(history: list[Change]) -> None:
    found = after(history)
    head = apply(Change(operation="delete", write_id="d"), found).head
    assert holds(Condition("absent"), head)
    assert head is None or holds(Condition("generation_is", None, head.generation), head)


def test_deleting_what_was_never_written_leaves_nothing_behind() -> None:
    result = apply(Change(operation="delete", write_id="d"), None)
    assert (result.outcome, result.head) == ("unchanged", None)
