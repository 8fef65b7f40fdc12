"""The retry budget and the circuit breaker, against what they promise, for any order of events."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from impl.archive.retries import Breaker, Limits, RetryBudget, backoff_s

LIMITS = Limits(retry_budget=5, retries_per_answer=0.25, failures_max=3, pause_s=1.0, pause_max_s=6.0)


@given(st.lists(st.sampled_from(("take", "answered")), max_size=200))
def test_retries_are_never_more_than_the_budget_and_a_share_of_the_answers(events: list[str]) -> None:
    budget = RetryBudget(LIMITS)
    taken = answers = 0
    for event in events:
        if event == "take":
            taken += budget.take()
        else:
            budget.answered()
            answers += 1
        assert taken <= LIMITS.retry_budget + LIMITS.retries_per_answer * answers
        assert 0 <= budget.left <= LIMITS.retry_budget


def test_a_used_up_budget_comes_back_with_answers() -> None:
    budget = RetryBudget(LIMITS)
    assert [budget.take() for _ in range(6)] == [True] * 5 + [False]
    for _ in range(4):
        budget.answered()
    assert [budget.take(), budget.take()] == [True, False]


events = st.lists(
    st.tuples(
        st.sampled_from((*("admit", "dead") * 4, "alive", "unknown")), st.sampled_from((0.0, 0.0, 0.5, 1.0, 2.0, 7.0))
    ),
    max_size=60,
)
SHOWN = {"alive": True, "dead": False, "unknown": None}


@given(events, st.data())
def test_the_circuit_lets_all_through_or_none_or_one(events: list[tuple[str, float]], data: st.DataObject) -> None:
    breaker = Breaker(replace(LIMITS, failures_max=2))
    now_s = 0.0
    unsettled: list[tuple[int, str]] = []  # with the state in which it was given
    for event, passes_s in events:
        now_s += passes_s
        before, wait_s = breaker.state, breaker.wait_s(now_s)
        assert wait_s <= LIMITS.pause_max_s
        if event == "admit":
            permit = breaker.admit(now_s)
            is_let = {"closed": True, "half-open": False, "open": wait_s == 0}[before]
            assert (permit is not None) == is_let
            if permit is not None:
                unsettled.append((permit, breaker.state))
        elif unsettled:
            permit, given_in = unsettled.pop(data.draw(st.integers(0, len(unsettled) - 1)))
            breaker.settle(permit, now_s, is_alive=SHOWN[event])
            if given_in != before:
                is_as_before = breaker.state == before and breaker.wait_s(now_s) == wait_s
                assert is_as_before, "what was sent in another state says nothing of this one"
            elif before == "half-open":
                assert breaker.state == ("closed" if event == "alive" else "open")
        assert sum(given_in == "half-open" for _, given_in in unsettled) <= 1


def test_failures_in_a_row_open_the_circuit_and_an_answer_among_them_does_not() -> None:
    breaker = Breaker(LIMITS)
    for is_alive in (False, False, True, False, False, None):
        settle(breaker, 0.0, is_alive=is_alive)
    assert breaker.opened == 0
    settle(breaker, 0.0, is_alive=False)
    assert breaker.opened == 1 and breaker.state == "open"


def test_the_pause_doubles_with_each_probe_in_vain_and_an_answer_forgets_them() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(LIMITS.failures_max):
        settle(breaker, 0.0, is_alive=False)
    now_s = 0.0
    for pause_s in (1.0, 2.0, 4.0, 6.0, 6.0):
        assert breaker.wait_s(now_s) == pause_s
        assert breaker.admit(now_s + pause_s - 0.01) is None
        now_s += pause_s
        settle(breaker, now_s, is_alive=False)
    settle(breaker, now_s + 6.0, is_alive=True)
    assert breaker.state == "closed"
    for _ in range(LIMITS.failures_max):
        settle(breaker, now_s, is_alive=False)
    assert breaker.wait_s(now_s) == LIMITS.pause_s


def test_a_probe_that_nobody_waited_for_makes_room_for_another_at_once() -> None:
    breaker = Breaker(replace(LIMITS, failures_max=1))
    settle(breaker, 0.0, is_alive=False)
    settle(breaker, 1.0, is_alive=None)
    assert breaker.state == "open" and breaker.opened == 1
    assert breaker.admit(1.0) is not None


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_the_wait_before_a_retry_grows_and_is_bounded(attempt: int, chance: float) -> None:
    wait_s = backoff_s(LIMITS, attempt, chance)
    assert 0 <= wait_s <= LIMITS.backoff_max_s
    assert wait_s <= backoff_s(LIMITS, attempt + 1, chance)


def settle(breaker: Breaker, now_s: float, *, is_alive: bool | None) -> None:
    permit = breaker.admit(now_s)
    assert permit is not None
    breaker.settle(permit, now_s, is_alive=is_alive)
