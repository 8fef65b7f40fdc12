"""What the HTTP face counts, and `/_metrics` in Prometheus' text format.

Counting is on the path of every request, so it is a list index and an addition here; the library's own objects are
made when somebody scrapes.
"""

import resource
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.api.http.body import BodyStream
from impl.api.http.edge import Edge
from impl.api.http.exchange import Answer, Operation, Request
from impl.api.http.routes import Route

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW_S: Final = 1.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PAGE_BYTES: Final = resource.getpagesize()

log = structlog.get_logger(__name__)


class Series:
    """Requests of one operation and status: how many in each latency bucket, the sum of latencies, the bytes of both
    bodies."""

    __slots__ = ("buckets", "received_bytes", "sent_bytes", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0
        self.received_bytes = 0
        self.sent_bytes = 0


class HttpMetrics(Collector):
    """Counts answered requests, and logs those that failed or were slow, and every `log_every`-th (0: none)."""

    def __init__(self, log_every: int = 0) -> None:
        self._edge: Edge | None = None
        self._log_every = log_every
        self._until_log = log_every
        self._series: dict[tuple[str, int], Series] = {}
        self._errors: dict[tuple[str, str], int] = {}

    def watch(self, edge: Edge) -> None:
        """Count what is open at this edge too."""
        self._edge = edge

    def answered(self, request: Request, operation: str, status: int, latency_s: float, sent_bytes: int) -> None:
        """One request is over (`Observer` of the HTTP layer)."""
        series = self._series.get((operation, status))
        if series is None:
            series = self._series[operation, status] = Series()
        series.buckets[bisect_left(BUCKETS_S, latency_s)] += 1
        series.sum_s += latency_s
        body = request.body
        series.received_bytes += body.received_bytes if isinstance(body, BodyStream) else len(body)
        series.sent_bytes += sent_bytes
        if request.error_code is not None:
            error = operation, request.error_code
            self._errors[error] = self._errors.get(error, 0) + 1
        if status >= 500 or latency_s > SLOW_S or self._log_every:
            self._log(request, operation, status, latency_s, sent_bytes)

    def _log(self, request: Request, operation: str, status: int, latency_s: float, sent_bytes: int) -> None:
        worth_it = status >= 500 or latency_s > SLOW_S
        self._until_log -= 1
        if not worth_it and self._until_log > 0:
            return
        self._until_log = self._log_every
        (log.warning if worth_it else log.info)(
            "request",
            method=request.method,
            path=request.path,
            operation=operation,
            status=status,
            latency_ms=round(latency_s * 1000, 3),
            sent_bytes=sent_bytes,
            request_id=request.request_id,
        )

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        latency = HistogramMetricFamily(
            "amberio_http_request_seconds",
            "Time from the request to its answer, by operation and status.",
            labels=("operation", "status"),
        )
        for (operation, status), series in self._series.items():
            latency.add_metric((operation, str(status)), list(_cumulative(series.buckets)), series.sum_s)
        yield latency
        yield self._of_operations("amberio_http_received_bytes", "Bytes of request bodies.", "received_bytes")
        yield self._of_operations("amberio_http_sent_bytes", "Bytes of answers, heads included.", "sent_bytes")
        errors = CounterMetricFamily(
            "amberio_s3_errors", "Requests that S3 refused, by operation and S3's code.", labels=("operation", "code")
        )
        for (operation, code), count in self._errors.items():
            errors.add_metric((operation, code), count)
        yield errors
        if self._edge is not None:
            open_connections = len(self._edge.connections)
            yield GaugeMetricFamily("amberio_http_in_flight", "Requests being answered now.", self._edge.in_flight)
            yield GaugeMetricFamily("amberio_http_connections", "Open client connections.", open_connections)

    def _of_operations(self, name: str, says: str, field: str) -> CounterMetricFamily:
        """A counter of bytes by operation, summed over statuses."""
        totals: dict[str, int] = {}
        for (operation, _), series in self._series.items():
            totals[operation] = totals.get(operation, 0) + getattr(series, field)
        family = CounterMetricFamily(name, says, labels=("operation",))
        for operation, total in totals.items():
            family.add_metric((operation,), total)
        return family


class ProcessMetrics(Collector):
    """Memory and CPU of this process."""

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        peak_bytes = usage.ru_maxrss * 1024
        yield GaugeMetricFamily("process_resident_memory_bytes", "Memory in use now.", _resident_bytes())
        yield GaugeMetricFamily("process_resident_memory_peak_bytes", "Most memory ever in use.", peak_bytes)
        yield CounterMetricFamily("process_cpu_seconds", "CPU time, user and system.", usage.ru_utime + usage.ru_stime)


def metrics_route(collectors: Iterable[Collector]) -> Route:
    """`/_metrics` over these collectors."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)

    async def scrape(request: Request) -> Answer:
        text = generate_latest(registry)
        return Answer(200, (("Content-Type", CONTENT_TYPE),), text, len(text))

    return Route("/_metrics", {"GET": Operation("metrics", scrape)})


def _cumulative(buckets: Sequence[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), buckets, strict=True):
        total += count
        yield bound, total


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
