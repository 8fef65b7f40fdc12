"""What operations make of heads: preconditions, idempotency, generations, versions (spec: Apply, Holds, Outcome)."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from impl.model import NULL_VERSION, RECENT_WRITES_MAX, Head
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
    versioned=st.booleans(),
)
marks = st.builds(
    Change, operation=st.just("mark"), write_id=st.uuids().map(str), condition=conditions, versioned=st.booleans()
)
version_ids = st.one_of(st.just(NULL_VERSION), st.integers(1, 12))
deletes = st.builds(
    Change, operation=st.just("delete"), write_id=st.uuids().map(str), condition=conditions, version=version_ids
)
amends = st.builds(
    Change,
    operation=st.just("amend"),
    write_id=st.uuids().map(str),
    condition=conditions,
    version=version_ids,
    attributes=st.just((("tag", "new"),)),
)
changes = st.one_of(puts, marks, deletes, amends)
histories = st.lists(changes, max_size=30)


def after(changes: list[Change]) -> Head | None:
    head: Head | None = None
    for change in changes:
        head = apply(change, head).head
    return head


@given(histories, changes)
def test_a_write_adds_one_generation_or_leaves_the_head_as_it_is(history: list[Change], change: Change) -> None:
    found = after(history)
    result = apply(change, found)
    if result.outcome == "applied":
        assert result.head is not None
        assert result.head.generation == (found.generation if found else 0) + 1
    else:
        assert result.head is found


@given(histories, changes, histories)
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
    change = Change(operation="put", write_id="w", condition=condition, etag=etag)
    result = apply(change, found)
    assert (result.outcome == "refused") == (not holds(change, found))
    assert result.outcome == "applied" or result.head is found


@given(histories)
def test_a_head_remembers_a_bounded_number_of_writes(history: list[Change]) -> None:
    head = after(history)
    assert head is None or len(head.recent) <= RECENT_WRITES_MAX


@given(histories)
def test_a_tombstone_counts_as_absent_and_keeps_its_generation(history: list[Change]) -> None:
    found = after(history)
    for number, version_id in enumerate(found.version_ids if found else ()):
        found = apply(Change(operation="delete", write_id=f"d{number}", version=version_id), found).head
    assert holds(Change(operation="put", condition=Condition("absent")), found)
    assert found is None or holds(Change("put", condition=Condition("generation_is", None, found.generation)), found)


@given(histories)
def test_a_version_is_there_until_a_delete_names_it_or_another_null_version_replaces_it(history: list[Change]) -> None:
    made: dict[int, Change] = {}
    head: Head | None = None
    for change in history:
        result = apply(change, head)
        head = result.head
        if result.outcome != "applied" or head is None:
            continue
        if change.operation == "delete":
            del made[change.version]
        elif change.operation != "amend":
            version_id = head.generation if change.versioned else NULL_VERSION
            made.pop(version_id, None)
            made[version_id] = change
    assert (head.version_ids if head else ()) == tuple(made)
    for version_id, change in made.items():
        view = head.at(version_id) if head else None
        assert view is not None
        assert (view.etag, view.deleted) == (change.etag, change.operation == "mark")


@given(histories, amends)
def test_an_amend_changes_what_is_said_beside_one_version_and_nothing_else(
    history: list[Change], change: Change
) -> None:
    found = after(history)
    result = apply(change, found)
    if result.outcome != "applied" or found is None or result.head is None:
        return
    assert result.head.version_ids == found.version_ids
    for before, now in zip(found.versions, result.head.versions, strict=True):
        wanted = change.attributes if before.id == change.version else before.attributes
        assert now == msgspec.structs.replace(before, attributes=wanted)


@given(histories, deletes)
def test_what_a_delete_asks_for_is_asked_of_the_version_that_it_names(history: list[Change], change: Change) -> None:
    found = after(history)
    named = found.at(change.version) if found else None
    alone = msgspec.structs.replace(change, version=named.version if named else NULL_VERSION)
    assert holds(change, found) == holds(alone, named) or change.condition.kind == "generation_is"


def test_deleting_what_was_never_written_leaves_nothing_behind() -> None:
    result = apply(Change(operation="delete", write_id="d"), None)
    assert (result.outcome, result.head) == ("unchanged", None)
