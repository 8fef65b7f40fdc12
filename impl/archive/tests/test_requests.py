"""How requests reach an archive: bounded in number, in time and in retries, and never certain of what is not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from impl.archive.metrics import ArchiveMetrics
from impl.archive.requests import WRITES, Requests
from impl.archive.retries import Limits
from impl.archive.tests.rig import Chance, Clock
from impl.errors import (
    ArchiveChanged,
    ArchiveError,
    ArchiveRefused,
    ArchiveThrottled,
    ArchiveUnavailable,
    NotInArchive,
)

LIMITS = Limits(attempts_max=4, retry_budget=20, failures_max=5, pause_s=1.0, pause_max_s=8.0, in_flight_max=3)
NO_BREAKER = replace(LIMITS, failures_max=1_000_000)


class Rig:
    """Requests on a clock that stands still, and a count of those that were sent."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = Clock()
        self.metrics = ArchiveMetrics()
        self.requests = Requests(limits, self.clock, Chance(), self.metrics)
        self.sent = 0

    def saying(self, *outcomes: ArchiveError | str) -> Callable[[], Awaitable[str]]:
        """A request that has these outcomes in turn, and the last for ever."""
        left = list(outcomes)

        async def request() -> str:
            self.sent += 1
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, ArchiveError):
                raise outcome
            return outcome

        return request


def test_an_outage_costs_no_more_than_the_calls_and_the_retry_budget() -> None:
    async def story() -> None:
        rig = Rig(NO_BREAKER)
        for calls in range(1, 201):
            with pytest.raises(ArchiveUnavailable):
                await rig.requests.ask("put_object", rig.saying(ArchiveUnavailable("out")))
            assert rig.sent <= calls + NO_BREAKER.retry_budget
        assert rig.sent == 200 + NO_BREAKER.retry_budget == rig.metrics.requests()
        assert rig.requests.retries_left < 1

    asyncio.run(story())


def test_the_circuit_opens_in_an_outage_and_closes_again_after_it() -> None:
    async def story() -> None:
        rig = Rig()
        for _ in range(100):
            with pytest.raises(ArchiveUnavailable):
                await rig.requests.ask("head_object", rig.saying(ArchiveUnavailable("out")))
        assert rig.sent == LIMITS.failures_max and rig.metrics.opened == 1
        rig.clock.s += LIMITS.pause_s
        with pytest.raises(ArchiveUnavailable):
            await rig.requests.ask("head_object", rig.saying(ArchiveUnavailable("still out")))
        assert rig.sent == LIMITS.failures_max + 1, "one probe, which is not repeated"
        rig.clock.s += 2 * LIMITS.pause_s
        assert await rig.requests.ask("head_object", rig.saying("back")) == "back"
        assert rig.requests.circuit == "closed"
        assert await rig.requests.ask("head_object", rig.saying("back")) == "back"

    asyncio.run(story())


def test_only_one_asks_whether_an_outage_is_over() -> None:
    async def story() -> None:
        rig = Rig(replace(LIMITS, failures_max=1, attempts_max=1))
        with pytest.raises(ArchiveUnavailable):
            await rig.requests.ask("head_object", rig.saying(ArchiveUnavailable("out")))
        rig.clock.s += LIMITS.pause_s
        is_over = asyncio.Event()

        async def slowly() -> str:
            rig.sent += 1
            await is_over.wait()
            return "back"

        asked = [asyncio.ensure_future(rig.requests.ask("head_object", slowly)) for _ in range(10)]
        await asyncio.sleep(0.01)
        is_over.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert rig.sent == 2 and answers.count("back") == 1
        assert all(isinstance(answer, ArchiveUnavailable) for answer in answers if answer != "back")

    asyncio.run(story())


@pytest.mark.parametrize("refusal", (NotInArchive("no"), ArchiveChanged("no"), ArchiveRefused("no")), ids=str)
def test_a_refusal_is_an_answer_it_is_not_repeated_and_opens_no_circuit(refusal: ArchiveError) -> None:
    async def story() -> None:
        rig = Rig()
        for calls in range(1, 51):
            with pytest.raises(type(refusal)):
                await rig.requests.ask("put_object", rig.saying(refusal))
            assert rig.sent == calls
        assert rig.requests.circuit == "closed"

    asyncio.run(story())


def test_throttling_opens_no_circuit_and_waits_as_long_as_it_was_told() -> None:
    async def story() -> None:
        rig = Rig()
        assert await rig.requests.ask("put_object", rig.saying(ArchiveThrottled("slow", 3.0), "done")) == "done"
        assert rig.clock.slept == [3.0]
        with pytest.raises(ArchiveThrottled) as caught:
            await rig.requests.ask("put_object", rig.saying(ArchiveThrottled("slow", LIMITS.backoff_max_s + 1)))
        assert caught.value.after_s == LIMITS.backoff_max_s + 1 and len(rig.clock.slept) == 1
        for _ in range(20):
            with pytest.raises(ArchiveThrottled):
                await rig.requests.ask("put_object", rig.saying(ArchiveThrottled("slow")))
        assert rig.requests.circuit == "closed"

    asyncio.run(story())


LOST, SLOW, GONE, DONE = ArchiveUnavailable("lost"), ArchiveThrottled("slow"), NotInArchive("gone"), "done"


@given(
    st.sampled_from(("put_object", "delete_object", "complete_upload", "get_object", "upload_part")),
    st.lists(st.sampled_from((LOST, SLOW, GONE, DONE)), min_size=1, max_size=6),
)
def test_a_write_without_an_answer_stays_in_doubt_until_one_succeeds(
    operation: str, outcomes: list[ArchiveError | str]
) -> None:
    async def story() -> None:
        rig = Rig(NO_BREAKER)
        try:
            answer: object = await rig.requests.ask(operation, rig.saying(*outcomes))
        except ArchiveError as error:
            answer = error
        met = [*outcomes, *[outcomes[-1]] * LIMITS.attempts_max][: rig.sent]
        assert rig.sent <= LIMITS.attempts_max
        assert all(outcome in (LOST, SLOW) for outcome in met[:-1]), "went on after a final answer"
        assert met[-1] in (GONE, DONE) or rig.sent == LIMITS.attempts_max, "gave up too early"
        if met[-1] == DONE:
            assert answer == DONE
        elif operation in WRITES and LOST in met:
            assert isinstance(answer, ArchiveUnavailable)
        else:
            assert type(answer) is type(met[-1])

    asyncio.run(story())


def test_no_more_are_sent_at_once_than_allowed_and_no_more_wait() -> None:
    async def story() -> None:
        rig = Rig(replace(LIMITS, waiting_max=5))
        now = most = 0
        is_free = asyncio.Event()

        async def request() -> str:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await is_free.wait()
            now -= 1
            return "done"

        asked = [asyncio.ensure_future(rig.requests.ask("get_object", request)) for _ in range(20)]
        await asyncio.sleep(0.01)
        assert (rig.requests.in_flight, rig.requests.waiting, most) == (3, 5, 3)
        is_free.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert most == 3 and answers.count("done") == 8
        assert sum(isinstance(answer, ArchiveThrottled) for answer in answers) == 12
        assert (rig.requests.in_flight, rig.requests.waiting) == (0, 0)
        assert await rig.requests.ask("get_object", request) == "done", "turns were lost"

    asyncio.run(story())


def test_a_request_without_an_answer_ends_in_time_and_gives_its_turn_back() -> None:
    async def story() -> None:
        rig = Rig(replace(LIMITS, attempt_s=0.01, attempts_max=2, in_flight_max=1))

        async def never() -> None:
            await asyncio.Event().wait()

        with pytest.raises(ArchiveUnavailable, match="no answer"):
            await rig.requests.ask("get_object", never)
        assert await rig.requests.ask("get_object", rig.saying("done")) == "done"

    asyncio.run(story())


def test_whoever_is_cancelled_gives_turn_and_probe_back() -> None:
    async def story() -> None:
        rig = Rig(replace(LIMITS, failures_max=1, attempts_max=1, in_flight_max=1))

        async def never() -> None:
            await asyncio.Event().wait()

        with pytest.raises(ArchiveUnavailable):
            await rig.requests.ask("get_object", rig.saying(ArchiveUnavailable("out")))
        rig.clock.s += LIMITS.pause_s
        asked = [asyncio.ensure_future(rig.requests.ask("get_object", never)) for _ in range(3)]
        await asyncio.sleep(0.01)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert await rig.requests.ask("get_object", rig.saying("done")) == "done"
        assert rig.requests.circuit == "closed" and rig.requests.waiting == 0

    asyncio.run(story())


def test_what_was_asked_and_what_came_of_it_is_in_the_metrics() -> None:
    async def story() -> None:
        rig = Rig()
        await rig.requests.ask("get_object", rig.saying(ArchiveUnavailable("out"), "done"))
        with pytest.raises(NotInArchive):
            await rig.requests.ask("head_object", rig.saying(NotInArchive("no")))
        registry = CollectorRegistry()
        registry.register(rig.metrics)
        text = generate_latest(registry).decode()
        for line in (
            'amberio_archive_requests_total{operation="get_object",outcome="ArchiveUnavailable"} 1.0',
            'amberio_archive_requests_total{operation="get_object",outcome="ok"} 1.0',
            'amberio_archive_requests_total{operation="head_object",outcome="NotInArchive"} 1.0',
            'amberio_archive_retries_total{operation="get_object"} 1.0',
            'amberio_archive_seconds_count{operation="get_object"} 2.0',
            'amberio_archive_circuit{state="closed"} 1.0',
            "amberio_archive_in_flight 0.0",
        ):
            assert line in text

    asyncio.run(story())
