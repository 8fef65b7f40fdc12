"""Which life a node is in, and what it knows of the others' lives: the rows on one disk. Blocking; for threads only.

A node's *life* counts its disks: 1 on the first, one more each time it comes back on an empty one (impl/node/birth.py
finds out which it is). 0 is a disk whose node is *unborn*: it does not know yet. On an empty disk an acceptor has
forgotten what it promised and accepted, so of a later life the slots are told apart that were lost: they are *behind*
until they are caught up, and of these nobody may count a vote.
"""

from collections.abc import Collection, Mapping
from typing import Final

import apsw

from impl.model import Register
from impl.storage import database

FIRST: Final = 1
INCARNATIONS: Final = 2**20
"""How many starts of one life have a number of their own."""


def next_incarnation(counted: int, life: int) -> int:
    """The number of the start that follows the one that was counted last, in this life.

    Those of life n begin at (n - 1) * 2**20: an empty disk has counted none, and without this the first start of the
    second life would be incarnation 1 again. By its incarnation a node names its traces and its reads, and the others
    tell an old word about it from a new one.
    """
    return 1 + max(counted, (max(life, FIRST) - FIRST) * INCARNATIONS)


def own_life(connection: apsw.Connection) -> int:
    """The life in which this disk was given to its node; 0 if it was to none."""
    return database.get_number(connection, "life")


def known_lives(connection: apsw.Connection) -> dict[str, int]:
    """The last life of each other node that this one has heard of."""
    return {node: life for node, life in connection.execute("SELECT node, life FROM lives ORDER BY node")}


def slots_behind(connection: apsw.Connection) -> frozenset[int]:
    """The slots whose registers were lost and are not caught up."""
    return frozenset(slot for (slot,) in connection.execute("SELECT slot FROM behind"))


def learn(connection: apsw.Connection, node: str, life: int) -> None:
    """Know that a node is in this life, or in the later one that is known already; within the caller's transaction."""
    connection.execute(
        "INSERT INTO lives VALUES (?, ?) ON CONFLICT (node) DO UPDATE SET life = max(life, excluded.life)", (node, life)
    )


def begin_life(connection: apsw.Connection, life: int, behind: Collection[int]) -> None:
    """Be of this life from now on, without what these slots held; within the caller's transaction."""
    database.set_number(connection, "life", life)
    connection.executemany("INSERT OR IGNORE INTO behind VALUES (?)", [(slot,) for slot in sorted(behind)])


def catch_up(connection: apsw.Connection, floors: Mapping[int, Register]) -> None:
    """These slots have what was lost: raise their floors to what it may have promised; in the caller's transaction.

    At once, so that no slot is ever taken for whole whose floor a crash has kept low.
    """
    for slot, register in floors.items():
        database.raise_floor(connection, slot, register)
        connection.execute("DELETE FROM behind WHERE slot = ?", (slot,))
