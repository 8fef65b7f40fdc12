"""Which nodes hold a slot, and which disk of a node. Pure: the table is computed once, at first init, and persisted
(first wins); so are the disks that a node has (impl/storage/membership.py).

Weighted rendezvous hashing (highest random weight; Schindelhauer and Schomaker's logarithmic method for weights): each
node scores -weight / ln(u) with u drawn from a hash of (slot, node), the highest scores win. So a node's share follows
its weight, and adding or removing one moves only the slots it gains or had. A rack holds at most one replica of a slot
while there are racks left; the first node of a set is the slot's preferred coordinator.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec
import xxhash


class Site(msgspec.Struct, frozen=True):
    """A node as placement sees it: where it stands and how much it can hold (the sum of its disks' weights)."""

    node_id: str
    rack: str
    weight: float = 1.0


Table = tuple[tuple[str, ...], ...]
"""slot -> its replica set, preferred coordinator first."""


def place(sites: Sequence[Site], factor: int, total_slots: int) -> Table:
    """The replica set of every slot: `min(factor, len(sites))` distinct nodes each."""
    return tuple(_replicas(slot, sites, factor) for slot in range(total_slots))


def deal(node_id: str, weights: Mapping[int, float], total_slots: int) -> tuple[int, ...]:
    """slot -> which of a node's disks keeps it; `weights` are those of the disks, by their numbers.

    Every slot has one, also those that the node holds no replica of: others' parts may pass through.
    """
    sites = [Site(f"{node_id}/{disk}", "", weight) for disk, weight in sorted(weights.items())]
    disks = {site.node_id: disk for site, disk in zip(sites, sorted(weights), strict=True)}
    return tuple(disks[max(sites, key=lambda site: _score(slot, site)).node_id] for slot in range(total_slots))


def _replicas(slot: int, sites: Sequence[Site], factor: int) -> tuple[str, ...]:
    ranked = sorted(sites, key=lambda site: (-_score(slot, site), site.node_id))
    chosen: list[Site] = []
    for site in ranked:
        if len(chosen) < factor and site.rack not in {other.rack for other in chosen}:
            chosen.append(site)
    for site in ranked:
        if len(chosen) < factor and site not in chosen:
            chosen.append(site)
    return tuple(site.node_id for site in chosen)


def _score(slot: int, site: Site) -> float:
    draw = (xxhash.xxh3_64_intdigest(f"{slot}/{site.node_id}".encode()) + 1) / (2**64 + 1)
    return -site.weight / math.log(draw)
