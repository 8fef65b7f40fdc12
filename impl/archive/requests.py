"""Sends requests to a bucket: so many at once, within a time, again if that may help, and not at all if it cannot.

The rules are those of `retries.py`; here they meet the clock. A write is in doubt from the first attempt that got no
answer: whatever later attempts are told, only success is certain then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from impl.archive.metrics import CANCELLED, OK, ArchiveMetrics
from impl.archive.retries import Breaker, Limits, RetryBudget, State, backoff_s
from impl.doors import Clock, Random
from impl.errors import (
    AmberioError,
    ArchiveCorrupted,
    ArchiveError,
    ArchiveThrottled,
    ArchiveUnavailable,
)

WRITES: Final = frozenset({"put_object", "delete_object", "complete_upload"})
"""The requests that change what others see."""

Answer = TypeVar("Answer")


class InDoubt(ArchiveUnavailable):
    """An attempt of a write got no answer, and a later one was refused: perhaps for what the first did."""


class _NotSent(Exception):
    """The request was not sent, for this reason."""

    def __init__(self, error: ArchiveUnavailable | ArchiveThrottled) -> None:
        super().__init__(str(error))
        self.error = error


class Requests:
    """All requests to one bucket go through here."""

    def __init__(self, limits: Limits, clock: Clock, random: Random, metrics: ArchiveMetrics) -> None:
        self._limits = limits
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._budget = RetryBudget(limits)
        self._breaker = Breaker(limits)
        self._turns = asyncio.Semaphore(limits.in_flight_max)
        self.in_flight = 0
        self.waiting = 0
        metrics.pressure = self

    @property
    def circuit(self) -> State:
        return self._breaker.state

    @property
    def retries_left(self) -> float:
        return self._budget.left

    async def ask(self, operation: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """What the request returns; `operation` is its name in the metrics.

        Raises what it raised last, but for a write of which an attempt got no answer: ArchiveUnavailable then, or
        InDoubt if the bucket answered since.
        """
        doubt: ArchiveUnavailable | None = None
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._in_turn(operation, request)
            except _NotSent as why:
                raise (doubt or why.error) from None
            except (ArchiveUnavailable, ArchiveThrottled, ArchiveCorrupted) as error:
                if operation in WRITES and isinstance(error, ArchiveUnavailable):
                    doubt = error
                wait_s = self._wait_s(attempt, error)
                if wait_s is None:
                    if doubt is None or doubt is error:
                        raise
                    raise doubt from error
            except AmberioError as error:
                if doubt is not None:
                    raise InDoubt(f"{operation} may have been done, and now: {error}") from error
                raise
            else:
                return answer
            self._metrics.retried(operation)
            await self._clock.sleep(wait_s)

    def _wait_s(self, attempt: int, error: ArchiveError) -> float | None:
        """How long to wait before the next attempt; None if there is to be none."""
        if attempt >= self._limits.attempts_max:
            return None
        wait_s = backoff_s(self._limits, attempt, self._random.uniform())
        if isinstance(error, ArchiveThrottled) and error.after_s is not None:
            if error.after_s > self._limits.backoff_max_s:
                return None
            wait_s = max(wait_s, error.after_s)
        return wait_s if self._budget.take() else None

    async def _in_turn(self, operation: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        if self._turns.locked() and self.waiting >= self._limits.waiting_max:
            raise _NotSent(ArchiveThrottled(f"{self.waiting} requests wait for the archive already; ask again later"))
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.in_flight += 1
        try:
            return await self._once(operation, request)
        finally:
            self.in_flight -= 1
            self._turns.release()

    async def _once(self, operation: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        began_s = self._clock.monotonic_s()
        permit = self._breaker.admit(began_s)
        if permit is None:
            wait_s = self._breaker.wait_s(began_s)
            raise _NotSent(ArchiveUnavailable(f"the archive does not answer; it is asked again in {wait_s:.1f} s"))
        outcome = CANCELLED
        is_alive: bool | None = None
        try:
            answer = await self._in_time(operation, request)
            outcome, is_alive = OK, True
        except AmberioError as error:
            outcome, is_alive = error.code, not isinstance(error, ArchiveUnavailable)
            raise
        finally:
            now_s = self._clock.monotonic_s()
            self._breaker.settle(permit, now_s, is_alive=is_alive)
            self._metrics.opened = self._breaker.opened
            self._metrics.asked(operation, outcome, now_s - began_s)
            if is_alive and outcome != ArchiveThrottled.code:
                self._budget.answered()
        return answer

    async def _in_time(self, operation: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self._limits.attempt_s):
                return await request()
        except TimeoutError:
            raise ArchiveUnavailable(f"no answer to {operation} within {self._limits.attempt_s:g} s") from None
