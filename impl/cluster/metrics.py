"""What went over the links between nodes, for `/_metrics`."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.cluster.link import LinkCounters


class LinkMetrics(Collector):
    """Frames by kind and direction, and bytes."""

    def __init__(self, counters: LinkCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        frames = CounterMetricFamily("amberio_link_frames", "Frames between nodes.", labels=("direction", "kind"))
        for direction, counts in (("sent", self._counters.sent), ("received", self._counters.received)):
            for kind, count in counts.items():
                frames.add_metric((direction, kind.name.lower()), count)
        yield frames
        sent = self._counters.sent_bytes
        yield CounterMetricFamily("amberio_link_sent_bytes", "Bytes sent to other nodes.", sent)
        received = self._counters.received_bytes
        yield CounterMetricFamily("amberio_link_received_bytes", "Bytes received from other nodes.", received)
