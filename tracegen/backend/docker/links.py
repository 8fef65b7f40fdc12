"""The way from one node to another, under the harness's hand by packet filters at both ends.

A link that is cut answers what its source sends with a reset, at the source, as a firewall does; one that stalls drops
every packet of its source, also those that confirm what the other one said. TCP sends again when the link opens.
The filter can neither delay nor end a connection: scenarios that want it have the harness's proxies between the nodes.
"""

from collections.abc import Mapping
from typing import Final

from tracegen.backend.docker.machine import Machine
from tracegen.errors import HarnessError

NODE_PORT: Final = 8080
_RESET: Final = "-j REJECT --reject-with tcp-reset"


class PacketFilter:
    """What is cut and what stalls now, of all links; every machine has its part of it as rules."""

    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self._machines = machines
        self.cut: set[tuple[str, str]] = set()
        self.stalled: set[tuple[str, str]] = set()
        self.lossy: dict[tuple[str, str], float] = {}

    def count(self) -> None:
        """Have each machine count what comes from the others."""
        for node, machine in self._machines.items():
            machine.tell("count_packets", [other.host for name, other in self._machines.items() if name != node])

    def apply(self, *nodes: str) -> None:
        """Have these machines filter as it is said here."""
        for node in nodes:
            self._machines[node].tell("filter_packets", self.rules(node))

    def rules(self, node: str) -> list[str]:
        """What this machine does to packets of its own."""
        rules = []
        for source, target in sorted(self.stalled):
            if source == node:
                rules.append(f"-A OUTPUT -d {self._machines[target].host} -j DROP")
        for (source, target), share in sorted(self.lossy.items()):
            if source == node:
                chance = f"-m statistic --mode random --probability {share:.4f}"
                rules.append(f"-A OUTPUT -d {self._machines[target].host} {chance} -j DROP")
        for source, target in sorted(self.cut):
            if source == node:
                rules.append(f"-A OUTPUT -d {self._machines[target].host} -p tcp --dport {NODE_PORT} {_RESET}")
            if target == node:
                rules.append(f"-A OUTPUT -d {self._machines[source].host} -p tcp --sport {NODE_PORT} {_RESET}")
        return rules

    def lose(self, source: str, target: str, share: float) -> None:
        self.lossy[source, target] = share
        self.apply(source)

    def lost_packets(self, source: str, target: str) -> int:
        return int(self._machines[source].tell("dropped_packets", self._machines[target].host))

    def passed_bytes(self, source: str, target: str) -> int:
        return int(self._machines[target].tell("passed_bytes", self._machines[source].host))


class FilteredWire:
    """See `face.Wire`."""

    def __init__(self, source: str, target: str, packets: PacketFilter) -> None:
        self._link = (source, target)
        self._packets = packets

    @property
    def passed_bytes(self) -> int:
        return self._packets.passed_bytes(*self._link)

    def open(self) -> None:
        self._packets.cut.discard(self._link)
        self._packets.stalled.discard(self._link)
        self._packets.lossy.pop(self._link, None)
        self._packets.apply(*self._link)

    def cut(self) -> None:
        self._packets.cut.add(self._link)
        self._packets.apply(*self._link)

    def stall(self) -> None:
        self._packets.stalled.add(self._link)
        self._packets.apply(*self._link)

    def delay(self, delay_s: float, jitter_s: float, seed: str) -> None:
        raise HarnessError("a packet filter cannot delay; this link needs the harness's proxy")

    def drop_connections(self) -> int:
        raise HarnessError("a packet filter cannot end a connection; this link needs the harness's proxy")
