"""Which nodes live, as this one sees it: to choose who serves and ships first, and for people. Never for safety.

Two nodes may see it differently, and a node that is called down may be at work: whoever relies on this must stay right
when it is wrong. What counts is decided in quorums (impl/protocol). The rules are impl/protocol/liveness.py; here they
meet the clock and the pings of the links, at the one port that a node has.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Literal

import msgspec

from impl.cluster import wire
from impl.doors import Clock
from impl.protocol.liveness import Health, Probe, View

Status = Literal["healthy", "draining", "suspect", "down"]


class PeerStatus(msgspec.Struct, frozen=True):
    """How a node looks from here. `incarnation` is None while it was never heard of."""

    status: Status
    incarnation: int | None


class Liveness:
    """The view of one node. `on_news` is called when others should hear at once what this node says of itself."""

    def __init__(self, hello: wire.Hello, others: Collection[str], clock: Clock) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._hello = hello
        self._clock = clock
        self._view = View(hello.node, hello.incarnation, others)
        self._others = frozenset(others)
        self._incarnations: dict[str, int] = {hello.node: hello.incarnation}

    # -- for those who choose a node

    def is_alive(self, node_id: str) -> bool:
        """Does the node serve, and wants to? Of this one: unless it drains. One that is not of the cluster does not."""
        return self._view.health(node_id) is Health.ALIVE and not self._view.drains(node_id)

    def first_live(self, nodes: Sequence[str]) -> str | None:
        """The first of `nodes` that is alive; of those that drain only if there is no other; None if all are down."""
        living = [node for node in nodes if self._view.health(node) is Health.ALIVE]
        return next((node for node in living if self.is_alive(node)), living[0] if living else None)

    def by_preference(self, nodes: Sequence[str]) -> tuple[str, ...]:
        """The same nodes, those that are alive first."""
        return tuple(sorted(nodes, key=lambda node: not self.is_alive(node)))  # stable: else as they were

    def status(self, node_id: str) -> PeerStatus:
        """How a node looks; for people."""
        health = self._view.health(node_id)
        named: Status = "suspect" if health is Health.SUSPECT else "down"
        if health is Health.ALIVE:
            named = "draining" if self._view.drains(node_id) else "healthy"
        return PeerStatus(named, self._incarnations.get(node_id))

    @property
    def draining(self) -> bool:
        """Does this node want no part in new work?"""
        return self._view.drains(self._hello.node)

    @draining.setter
    def draining(self, wanted: bool) -> None:
        if wanted != self.draining:
            self._view.say_draining(wanted)
            self.on_news()

    # -- for the links

    def pulse(self) -> bytes:
        """What goes with a ping or its answer."""
        return wire.encode(wire.Pulse(self._hello, self._view.rumours()))

    def heard(self, payload: bytes) -> None:
        """A ping has come from another node, or the answer to one. Raises msgspec.DecodeError."""
        pulse = wire.decode_pulse(payload)
        now_s = self._clock.monotonic_s()
        if pulse.hello.node in self._others:
            self._incarnations[pulse.hello.node] = pulse.hello.incarnation
        self._view.reached(pulse.hello.node, now_s)
        if self._view.hear(pulse.rumours, now_s):
            self.on_news()

    def vouched(self, node_id: str) -> None:
        """Another node has reached this one on our behalf."""
        self._view.reached(node_id, self._clock.monotonic_s())

    def lost(self, node_id: str) -> None:
        """The connection to a node is gone."""
        self._view.lost(node_id)

    def tick(self) -> list[Probe]:
        """Let suspicion grow with time; whom to ask for whom."""
        return self._view.tick(self._clock.monotonic_s())
