"""What the store counts, for `/_metrics`: commits, the time of their fsyncs, the size of groups, what waits."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class Store(Protocol):
    @property
    def queued(self) -> tuple[int, int]: ...
    @property
    def cache_size(self) -> tuple[int, int]: ...


class StoreMetrics(Collector):
    """Counters of one register store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0
        self._steps = 0

    def committed(self, steps: int, commit_s: float) -> None:
        """A group of so many steps was committed, and its COMMIT took so long."""
        self._steps += steps
        self._sum_s += commit_s
        self._buckets[bisect_left(BUCKETS_S, commit_s)] += 1

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        total = 0
        cumulative = []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._buckets, strict=True):
            total += count
            cumulative.append((bound, float(total)))
        commits = HistogramMetricFamily("amberio_commit_seconds", "Time of each COMMIT of the registers' database.")
        commits.add_metric((), cumulative, self._sum_s)
        yield commits
        yield CounterMetricFamily("amberio_steps", "Register steps that were committed.", self._steps)
        jobs, size_bytes = self._store.queued
        yield GaugeMetricFamily("amberio_steps_queued", "Register steps that wait for the disk.", jobs)
        yield GaugeMetricFamily("amberio_steps_queued_bytes", "Bytes of bodies that wait for the disk.", size_bytes)
        entries, cache_bytes = self._store.cache_size
        yield GaugeMetricFamily("amberio_cache_registers", "Registers in memory.", entries)
        yield GaugeMetricFamily("amberio_cache_bytes", "Bytes of the registers in memory, about.", cache_bytes)
