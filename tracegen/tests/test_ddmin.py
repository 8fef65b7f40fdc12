"""Delta debugging: what is left fails, in the order it had, and nothing of it can be left out."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tracegen.shrink.ddmin import ddmin

NUMBERS = st.integers(0, 40)
CULPRITS = st.lists(st.frozensets(NUMBERS, max_size=4), min_size=1, max_size=3)
"""Any of these sets of items together makes the test fail."""


def without(items: Sequence[int], at: int) -> tuple[int, ...]:
    return (*items[:at], *items[at + 1 :])


@given(st.permutations(range(41)), CULPRITS)
def test_what_is_left_fails_and_nothing_of_it_can_be_left_out(items: list[int], culprits: list[frozenset[int]]) -> None:
    def fails(part: Sequence[int]) -> bool:
        return any(culprit <= set(part) for culprit in culprits)

    left = ddmin(items, fails)
    assert fails(left)
    assert not any(fails(without(left, at)) for at in range(len(left)))
    assert list(left) == [item for item in items if item in left]


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.integers())
def test_also_a_test_without_rhyme_or_reason_leaves_what_cannot_lose_one_item(items: list[int], salt: int) -> None:
    """A test may fail with more and not with less, and the other way round; it only has to say the same twice."""

    def fails(part: Sequence[int]) -> bool:
        return tuple(part) == tuple(items) or hash((salt, tuple(part))) % 3 == 0

    left = ddmin(items, fails)
    assert fails(left)
    assert not any(fails(without(left, at)) for at in range(len(left)))


def test_a_few_culprits_among_many_cost_few_tests() -> None:
    asked = 0

    def fails(part: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return {137, 1800} <= set(part)

    assert ddmin(range(2000), fails) == (137, 1800)
    assert asked < 200


def test_when_time_is_up_what_was_found_so_far_is_kept() -> None:
    asked = 0

    def fails(part: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return asked <= 4 and {3, 4} <= set(part)

    left = ddmin(range(64), fails)
    assert {3, 4} <= set(left)
    assert 2 < len(left) < 64
