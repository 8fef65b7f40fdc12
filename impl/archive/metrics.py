"""What an archive counts, for `/_metrics`: requests by outcome, time, bytes, retries, what waits, the circuit."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.archive.retries import State

BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
OK: Final = "ok"
CANCELLED: Final = "cancelled"
STATES: Final[tuple[State, ...]] = ("closed", "half-open", "open")


class Pressure(Protocol):
    """What an archive has to say of itself at any time."""

    @property
    def in_flight(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def circuit(self) -> State: ...
    @property
    def retries_left(self) -> float: ...


class _Times:
    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0


class ArchiveMetrics(Collector):
    """Counters of one archive. `pressure` is set by the archive that has any to tell of."""

    def __init__(self) -> None:
        self.pressure: Pressure | None = None
        self.sent_bytes = 0
        self.received_bytes = 0
        self.corrupted = 0
        self.uploads_left = 0
        self.opened = 0
        self._requests: Counter[tuple[str, str]] = Counter()
        self._retries: Counter[str] = Counter()
        self._times: dict[str, _Times] = {}

    def asked(self, operation: str, outcome: str, seconds: float) -> None:
        """One request was sent, and came to this after so long: `OK`, `CANCELLED`, or an error's code."""
        self._requests[operation, outcome] += 1
        times = self._times.setdefault(operation, _Times())
        times.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        times.sum_s += seconds

    def retried(self, operation: str) -> None:
        """A request is about to be sent again."""
        self._retries[operation] += 1

    def requests(self, operation: str | None = None) -> int:
        """How many requests were sent, of one operation or of all."""
        return sum(count for (what, _), count in self._requests.items() if operation in (None, what))

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        labels = ("operation", "outcome")
        requests = CounterMetricFamily("amberio_archive_requests", "Requests sent to the archive.", labels=labels)
        for (operation, outcome), count in sorted(self._requests.items()):
            requests.add_metric((operation, outcome), count)
        yield requests
        yield self._seconds()
        retries = CounterMetricFamily("amberio_archive_retries", "Requests sent again.", labels=("operation",))
        for operation, count in sorted(self._retries.items()):
            retries.add_metric((operation,), count)
        yield retries
        yield CounterMetricFamily("amberio_archive_sent_bytes", "Bytes of bodies put.", self.sent_bytes)
        yield CounterMetricFamily("amberio_archive_received_bytes", "Bytes of bodies got.", self.received_bytes)
        yield CounterMetricFamily(
            "amberio_archive_corrupted", "Bodies that did not have their digest, either way.", self.corrupted
        )
        yield CounterMetricFamily(
            "amberio_archive_uploads_left", "Uploads in parts that could not be aborted.", self.uploads_left
        )
        yield CounterMetricFamily("amberio_archive_circuit_opened", "Times that the circuit opened.", self.opened)
        if self.pressure is not None:
            yield from _gauges(self.pressure)

    def _seconds(self) -> Metric:
        seconds = HistogramMetricFamily("amberio_archive_seconds", "Time of each request.", labels=("operation",))
        for operation, times in sorted(self._times.items()):
            total = 0
            cumulative = []
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), times.buckets, strict=True):
                total += count
                cumulative.append((bound, float(total)))
            seconds.add_metric((operation,), cumulative, times.sum_s)
        return seconds


def _gauges(pressure: Pressure) -> Iterator[Metric]:
    yield GaugeMetricFamily("amberio_archive_in_flight", "Requests under way.", pressure.in_flight)
    yield GaugeMetricFamily("amberio_archive_waiting", "Requests that wait for their turn.", pressure.waiting)
    yield GaugeMetricFamily("amberio_archive_retries_left", "Tokens in the retry budget.", pressure.retries_left)
    circuit = GaugeMetricFamily("amberio_archive_circuit", "1 for the state of the circuit.", labels=("state",))
    for state in STATES:
        circuit.add_metric((state,), float(state == pressure.circuit))
    yield circuit
