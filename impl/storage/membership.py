"""Which disks a node has, as each of them says itself: so that none is taken for another, and none is missed.

The disks of a node are numbered from 1 at its first start, in the order of the configuration, and keep their numbers
wherever they are mounted later. Each one's database has the whole list and which of them it is. Slots follow the
numbers and weights of that first start (placement.deal): first wins, as with the cluster's own table, because a slot
that silently moves to another disk is an acceptor that has forgotten what it promised.

The list is written to all disks first (*named*), and then each is told that all have it (*settled*). Nobody votes
before that. So an empty disk beside a settled one was replaced, and an empty disk beside one that is only named is part
of a first start that crashed. `Disk.life` counts how often a number was given to an empty disk: whatever has an older
one was taken out for good. One that replaces another is told which it is when its node begins a new life with it
(lives.py), and by the same transaction: before that it is empty, however often its node tries.

`judge` is the rule, and pure; the rest are its rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from impl.errors import ConfigError
from impl.storage import database
from impl.storage.lives import own_life

FIRST: Final = 1


class Disk(msgspec.Struct, frozen=True, array_like=True):
    """One disk of a node's list."""

    disk: int
    node_id: str
    weight: float
    life: int = 1


class Claim(msgspec.Struct, frozen=True):
    """What a disk says: which one it is (0: it was never told), of which list; was it ever started from?"""

    disk: int = 0
    is_settled: bool = False
    is_used: bool = False
    listed: tuple[Disk, ...] = ()


class Configured(msgspec.Struct, frozen=True):
    """A disk as the configuration has it."""

    path: Path
    weight: float


class Membership(msgspec.Struct, frozen=True):
    """The verdict: `disks[i]` is the number of the i-th configured disk; `fresh` are those that forgot everything."""

    disks: tuple[int, ...]
    listed: tuple[Disk, ...]
    fresh: frozenset[int] = frozenset()


def judge(node_id: str, configured: Sequence[Configured], claims: Sequence[Claim]) -> Membership:
    """Which of the node's disks each configured one is. `claims[i]` is what the i-th one says.

    Raises ConfigError for a disk of another node, one that is there twice or was taken out before, and for a list of
    disks that is not the one of the first start.
    """
    for place, claim in zip(configured, claims, strict=True):
        owner = claim.listed[0].node_id if claim.listed else node_id
        if owner != node_id:
            raise ConfigError(f"{place.path}: holds the data of node {owner}, not of {node_id}; check disks[].path")
    settled = [claim for claim in claims if claim.is_settled]
    if not settled:
        return _first_start(node_id, configured, claims)
    listed = _newest(settled)
    _check_count(node_id, configured, claims, listed)
    disks = _known(configured, claims, listed)
    fresh = set()
    for at, (place, claim) in enumerate(zip(configured, claims, strict=True)):
        if disks[at]:
            continue
        if claim.is_used:
            raise ConfigError(
                f"{place.path}: holds data of a node that had this disk only, and {node_id} has several; "
                "check disks[].path"
            )
        free = [disk for disk in listed if disk not in disks]
        disks[at] = next((disk for disk in free if listed[disk].weight == place.weight), free[0])
        fresh.add(disks[at])
    for place, disk in zip(configured, disks, strict=True):
        if listed[disk].weight != place.weight:
            raise ConfigError(
                f"{place.path}: weight is {place.weight:g} but the node was initialised with {listed[disk].weight:g}; "
                "set it back"
            )
    return Membership(tuple(disks), tuple(listed.values()), frozenset(fresh))


def _first_start(node_id: str, configured: Sequence[Configured], claims: Sequence[Claim]) -> Membership:
    for place, claim in zip(configured, claims, strict=True):
        if claim.is_used and len(configured) > 1:
            raise ConfigError(
                f"{place.path}: holds the data of a node with one disk, and {node_id} is given {len(configured)}; "
                "slots would move and be forgotten: give it this one only"
            )
    numbers = tuple(range(FIRST, FIRST + len(configured)))
    listed = tuple(Disk(disk, node_id, place.weight) for disk, place in zip(numbers, configured, strict=True))
    return Membership(numbers, listed)


def _newest(settled: Sequence[Claim]) -> dict[int, Disk]:
    """Each disk's latest life that any disk knows of."""
    newest: dict[int, Disk] = {}
    for claim in settled:
        for disk in claim.listed:
            if disk.disk not in newest or newest[disk.disk].life < disk.life:
                newest[disk.disk] = disk
    return dict(sorted(newest.items()))


def _check_count(
    node_id: str, configured: Sequence[Configured], claims: Sequence[Claim], listed: dict[int, Disk]
) -> None:
    if len(configured) == len(listed):
        return
    strangers = [str(place.path) for place, claim in zip(configured, claims, strict=True) if not claim.disk]
    hint = f"; {', '.join(strangers)} is none of them" if strangers else ""
    raise ConfigError(
        f"initial_cluster.nodes: {node_id} is given {_disks(len(configured))} but was initialised with "
        f"{len(listed)}{hint}; set the list back, as slots do not move between the disks of a node"
    )


def _known(configured: Sequence[Configured], claims: Sequence[Claim], listed: dict[int, Disk]) -> list[int]:
    """The number of each disk that has one, 0 of the others."""
    disks = [0] * len(claims)
    for at, claim in enumerate(claims):
        if not claim.disk:
            continue
        own = next(disk for disk in claim.listed if disk.disk == claim.disk)
        if own.life < listed[claim.disk].life:
            raise ConfigError(
                f"{configured[at].path}: was replaced by another disk and is out of date; "
                "use that one, or empty this one"
            )
        if claim.disk in disks:
            twin = configured[disks.index(claim.disk)].path
            raise ConfigError(f"{configured[at].path}: is the same disk as {twin}, or a copy of it; remove one")
        disks[at] = claim.disk
    return disks


def _disks(count: int) -> str:
    return "1 disk" if count == 1 else f"{count} disks"


def renewed(membership: Membership) -> tuple[Disk, ...]:
    """The list of disks once the fresh ones are of the node: whatever they replace is taken out for good."""
    return tuple(
        msgspec.structs.replace(disk, life=disk.life + 1) if disk.disk in membership.fresh else disk
        for disk in membership.listed
    )


def read_claim(connection: apsw.Connection) -> Claim:
    """What the disk with this database says; raises apsw.Error."""
    rows = connection.execute("SELECT disk, node, weight, life FROM disks ORDER BY disk").fetchall()
    return Claim(
        database.get_number(connection, "disk"),
        database.get_number(connection, "is_settled") == 1,
        database.get_number(connection, "incarnation") > 0 or own_life(connection) > 0,
        msgspec.convert(rows, tuple[Disk, ...]),
    )


def write_claim(connection: apsw.Connection, disk: int, listed: Sequence[Disk], *, is_settled: bool) -> None:
    """Have the disk say that it is this one of these, durably; raises apsw.Error."""

    database.commit(connection, lambda: put_claim(connection, disk, listed, is_settled=is_settled))


def put_claim(connection: apsw.Connection, disk: int, listed: Sequence[Disk], *, is_settled: bool) -> None:
    """As `write_claim`, within the caller's transaction."""
    connection.execute("DELETE FROM disks")
    rows = [(each.disk, each.node_id, each.weight, each.life) for each in listed]
    connection.executemany("INSERT INTO disks VALUES (?, ?, ?, ?)", rows)
    database.set_number(connection, "disk", disk)
    database.set_number(connection, "is_settled", int(is_settled))
