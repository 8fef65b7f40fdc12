"""When to ask an archive again, and when not to ask at all: a budget for retries and a circuit breaker. No I/O here.

Both are shared by all requests to one archive. The budget keeps an archive that is in trouble from getting a multiple
of the usual load just then: n requests become at most n + `retry_budget` + n * `retries_per_answer`. The breaker keeps
requests from waiting for time-outs one after the other: after so many failures in a row none is sent for a while, and
then one, to see.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]


@dataclass(frozen=True)
class Limits:
    """What bounds the work with one archive.

    - `part_bytes`: a larger body is uploaded in parts of this; at least 5 MiB with S3. Bodies are read in such pieces.
    - `in_flight_max`, `waiting_max`: requests at once, and how many more may wait for their turn.
    - `attempts_max`, `attempt_s`: how often one request is sent at most, and how long one may take.
    - `backoff_s`, `backoff_max_s`: about how long the first retry waits, and how long any does at most.
    - `retry_budget`, `retries_per_answer`: retries that may be made at once, and what an answer adds to them again.
    - `failures_max`: failures in a row after which the circuit opens; `pause_s`, `pause_max_s`: for how long, at first
      and after many probes in vain.
    """

    part_bytes: int = 8 * 1024 * 1024
    in_flight_max: int = 16
    waiting_max: int = 256
    attempts_max: int = 4
    attempt_s: float = 60.0
    backoff_s: float = 0.1
    backoff_max_s: float = 5.0
    retry_budget: int = 50
    retries_per_answer: float = 0.1
    failures_max: int = 8
    pause_s: float = 1.0
    pause_max_s: float = 30.0


class RetryBudget:
    """Tokens: a retry takes one, an answer gives a fraction of one back."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.left = float(limits.retry_budget)

    def take(self) -> bool:
        """Is there a token for one more retry? It is taken then."""
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def answered(self) -> None:
        self.left = min(self.left + self._limits.retries_per_answer, float(self._limits.retry_budget))


class Breaker:
    """Closed: all requests are sent. Open: none. Half-open: one, which decides. Times are monotonic seconds.

    A permit is good for the time it was given in: what comes back after the circuit has changed says nothing.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._permit = 0
        self._failures = 0
        self._pause_s = limits.pause_s
        self._until_s = 0.0
        self.state: State = "closed"
        self.opened = 0

    def admit(self, now_s: float) -> int | None:
        """A permit to send one request, which must be settled; None if it is not to be sent."""
        if self.state == "closed":
            return self._permit
        if self.state == "half-open" or now_s < self._until_s:
            return None
        return self._change("half-open")

    def settle(self, permit: int, now_s: float, *, is_alive: bool | None) -> None:
        """What a permitted request showed: the archive answered, whatever it said; or did not; None: neither."""
        if permit != self._permit:
            return
        if is_alive:
            self._failures = 0
            self._pause_s = self._limits.pause_s
            if self.state == "half-open":
                self._change("closed")
        elif self.state == "half-open":
            # without an answer either way the next request is a probe again, at once
            self._open(now_s, self._pause_s if is_alive is False else 0.0)
        elif is_alive is False:
            self._failures += 1
            if self._failures >= self._limits.failures_max:
                self._open(now_s, self._pause_s)

    def wait_s(self, now_s: float) -> float:
        """In how long it may be worth asking; 0 if now."""
        return 0.0 if self.state == "closed" else max(0.0, self._until_s - now_s)

    def _open(self, now_s: float, pause_s: float) -> None:
        if pause_s:
            self.opened += 1
            self._pause_s = min(2 * self._pause_s, self._limits.pause_max_s)
        self._failures = 0
        self._until_s = now_s + pause_s
        self._change("open")

    def _change(self, state: State) -> int:
        self.state = state
        self._permit += 1
        return self._permit


def backoff_s(limits: Limits, attempt: int, chance: float) -> float:
    """How long to wait after so many attempts: exponential with full jitter. `chance` is in [0, 1).

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return chance * min(limits.backoff_max_s, limits.backoff_s * 2.0 ** min(attempt, 32))
