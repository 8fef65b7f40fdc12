"""Which nodes live: a view in the manner of SWIM, for routing and people, never for safety. Pure.

A. Das, I. Gupta, A. Motivala, "SWIM", DSN 2002: a node that does not answer a ping is asked for by others (section
3.1); if nobody reaches it, it is suspected, and down only later (4.2); what one node knows, all learn from the pings
that they exchange anyway (4.1). A node that hears bad news of itself refutes it, by making itself newer. As clusters
are small, and every node pings every other one, a ping carries all that its sender knows.

A rumour beats another of the same node if it is of a newer age, or of the same age and worse. So views merge in any
order, any number of times, to one result. Acceptors, quorums and reads never look here (spec/tla/Register.tla has
nothing of it): a wrong view costs time, and nothing else.
"""

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import Final

import msgspec

UNREACHED_S: Final = 1.5
"""A node that has not been reached for so long is asked for through others; one ping and a half."""
VOUCH_S: Final = 0.5
"""How long the others have to vouch for it, before it is suspected."""
SUSPECT_S: Final = 3.0
"""How long a suspect has to refute, before it is down."""
ASKED: Final = 3
"""How many others are asked to reach a node (k in the paper)."""

Age = tuple[int, int]
"""Which of a node's statements on itself is newer: its incarnation, and how often it has spoken up since."""
NEVER: Final[Age] = (0, 0)


class Health(IntEnum):
    """From good to bad: of two rumours of one age the worse one counts."""

    ALIVE = 0
    SUSPECT = 1
    DOWN = 2


class Rumour(msgspec.Struct, frozen=True, array_like=True):
    """What is said of a node. `drains`: it said itself, at this age, that it wants no part in new work."""

    node: str
    age: Age
    health: int
    drains: bool = False


class Probe(msgspec.Struct, frozen=True):
    """Have each of `through` ping `node`, and say whether it answered."""

    node: str
    through: tuple[str, ...]


class _Other:
    """Another node. `probed_s` is since when others are asked for it, `suspected_s` since when it is a suspect."""

    def __init__(self, node: str) -> None:
        self.rumour = Rumour(node, NEVER, Health.DOWN)
        self.reached_s = 0.0
        self.is_lost = False
        self.probed_s: float | None = None
        self.suspected_s = 0.0


class View:
    """One node's view. All times are of its own monotonic clock, in seconds."""

    def __init__(self, node: str, incarnation: int, others: Collection[str]) -> None:
        self._own = Rumour(node, (incarnation, 1), Health.ALIVE)
        self._others = {other: _Other(other) for other in sorted(others)}
        self._turn = 0

    def health(self, node: str) -> Health:
        """How a node looks; one that is not of the cluster is down."""
        if node == self._own.node:
            return Health.ALIVE
        other = self._others.get(node)
        return Health.DOWN if other is None else Health(other.rumour.health)

    def drains(self, node: str) -> bool:
        """Did the node say that it wants no part in new work?"""
        if node == self._own.node:
            return self._own.drains
        other = self._others.get(node)
        return other is not None and other.rumour.drains

    def rumours(self) -> list[Rumour]:
        """All that this node would tell others, itself first; nothing of nodes that nobody has heard of."""
        return [self._own, *(each.rumour for each in self._others.values() if each.rumour.age > NEVER)]

    def say_draining(self, drains: bool) -> None:
        """This node wants no part in new work, or wants it again."""
        if drains != self._own.drains:
            incarnation, spoken = self._own.age
            self._own = msgspec.structs.replace(self._own, age=(incarnation, spoken + 1), drains=drains)

    def hear(self, rumours: Iterable[Rumour], now_s: float) -> bool:
        """Take in what another node told; is there something to tell at once, as it was wrong about this one?"""
        refutes = False
        for rumour in rumours:
            if rumour.node == self._own.node:
                refutes |= self._refute(rumour)
            elif rumour.node in self._others:
                self._take(self._others[rumour.node], rumour, now_s)
        return refutes

    def reached(self, node: str, now_s: float) -> None:
        """The node has answered this one, or one that was asked for it."""
        if node in self._others:
            other = self._others[node]
            other.reached_s, other.is_lost, other.probed_s = now_s, False, None

    def lost(self, node: str) -> None:
        """The connection to a node is gone: whether it lives, others may know."""
        if node in self._others:
            self._others[node].is_lost = True

    def tick(self, now_s: float) -> list[Probe]:
        """What to do, as time has passed."""
        probes = []
        for node, other in self._others.items():
            health = other.rumour.health
            if health == Health.DOWN:
                continue
            if health == Health.SUSPECT and now_s - other.suspected_s >= SUSPECT_S:
                self._take(other, msgspec.structs.replace(other.rumour, health=int(Health.DOWN)), now_s)
            elif other.probed_s is not None and now_s - other.probed_s >= VOUCH_S:
                self._take(other, msgspec.structs.replace(other.rumour, health=int(Health.SUSPECT)), now_s)
                other.reached_s, other.is_lost, other.probed_s = now_s, False, None
            elif other.probed_s is None and (other.is_lost or now_s - other.reached_s >= UNREACHED_S):
                other.probed_s = now_s
                through = self._through(node)
                if through:
                    probes.append(Probe(node, through))
        return probes

    def _take(self, other: _Other, rumour: Rumour, now_s: float) -> None:
        if not _beats(rumour, other.rumour):
            return
        if rumour.age > other.rumour.age and rumour.health == Health.ALIVE:
            other.reached_s, other.is_lost, other.probed_s = now_s, False, None
        if rumour.health == Health.SUSPECT:
            other.suspected_s = now_s
        other.rumour = rumour

    def _refute(self, rumour: Rumour) -> bool:
        """Be newer than what is said of this node, if it is bad, or is what an earlier life of it said."""
        own = self._own
        if not _beats(rumour, own):
            return False
        self._own = msgspec.structs.replace(own, age=(rumour.age[0], rumour.age[1] + 1))
        return True

    def _through(self, node: str) -> tuple[str, ...]:
        """Whom to ask for a node: others that live, in turn."""
        living = [name for name, each in self._others.items() if name != node and each.rumour.health == Health.ALIVE]
        if not living:
            return ()
        self._turn += 1
        first = self._turn % len(living)
        return tuple((living[first:] + living[:first])[:ASKED])


def _beats(rumour: Rumour, known: Rumour) -> bool:
    return (rumour.age, rumour.health) > (known.age, known.health)
