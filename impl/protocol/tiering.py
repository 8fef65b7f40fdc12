"""What goes to the archive, what is known to be there, and what may go from the disk. Pure; spec/tla/Tiering.tla.

The archive is an object under the path's key, or none. It is written by whoever ships, on one condition: that what is
there is still what was seen; so of two that ship, one is refused. An object says which generation it is of. But it is
known by the etag of its bytes, and the same bytes may come again: a request that is long under way may then hit. So
what is on record as archived may be evicted only when no older request can be alive (`is_settled`): at once for a
path's first generation, for others after another look, a request's longest life later. That life begins when the head
is read that the request ships.
"""

from typing import Final, Literal

import msgspec

from impl.model import NULL_VERSION, Head, Register
from impl.protocol import events
from impl.protocol.acceptor import Step
from impl.protocol.rules import HONEST, Rules


class Seen(msgspec.Struct, frozen=True):
    """What the archive holds under a key, by the archive's `etag`.

    `generation` is 0 for what others put there; of ours, `ship` names the event (Ship) that wrote it, "" if nobody
    knows, and `head_etag` is the etag of its head.
    """

    is_present: bool
    generation: int = 0
    etag: str | None = None
    ship: str = ""
    head_etag: str = ""


NOTHING: Final = Seen(False)

WAITED_MS_MAX: Final = 10**9
"""What a trace says at most of how long something waited."""

Way = Literal["put", "delete", "nothing"]


def as_ours(head: Head, seen: Seen) -> Seen:
    """What was seen before `head` was read; as a stranger's, if it cannot be of this register's life.

    Only what is chosen is shipped, and a read is not older than what was chosen before it. So a generation above the
    head's, or another head of the same generation, is of a cluster that had this one's name and lost its data.
    """
    is_other = seen.generation == head.generation and seen.head_etag != (head.etag or "")
    if seen.generation > head.generation or is_other:
        return Seen(True, 0, seen.etag)
    return seen


def holds(head: Head, seen: Seen) -> bool:
    """Does the archive hold this head, or a newer one? For a deleted one, if there is nothing."""
    if seen.is_present:
        return seen.generation >= head.generation
    return head.deleted


def way_of(head: Head, seen: Seen, rules: Rules = HONEST) -> Way:
    """What has to be sent, for the archive to hold this head (spec: Ship)."""
    if holds(head, seen) and not (rules.ship_old_over_new and seen.generation > head.generation):
        return "nothing"
    return "delete" if head.deleted else "put"


def on_confirm(
    register: Register,
    path: str,
    generation: int,
    by: Literal["ship", "look", "told"],
    cause: str,
    was_told_settled: bool = False,
) -> Step:
    """Put on record that the archive holds this generation (spec: Confirm). What is on record already is not again.

    Nor is anything where only a floor is left: of what is forgotten nobody would ever forget the record.
    """
    is_settled = was_told_settled or generation == 1  # nothing older than the first one was ever shipped
    if register.is_floor or (generation, is_settled) <= (register.archived, register.is_settled):
        return Step(register, False, None)
    confirm = events.Confirm(
        path=path,
        cause=(cause,) if cause else (),
        generation=generation,
        by=by,
        is_settled=is_settled,
        was_archived=register.archived,
        was_settled=register.is_settled,
    )
    return Step(msgspec.structs.replace(register, archived=generation, is_settled=is_settled), True, confirm)


def on_settle(
    register: Register, path: str, generation: int, waited_s: float, request_life_s: float, cause: str
) -> Step:
    """Put on record that no older request is alive, and that the archive still holds this (spec: Settle)."""
    if register.archived != generation or register.is_settled:
        return Step(register, False, None)
    settle = events.Settle(
        path=path,
        cause=(cause,) if cause else (),
        generation=generation,
        waited_ms=min(int(waited_s * 1000), WAITED_MS_MAX),
        request_life_ms=int(request_life_s * 1000),
        was_archived=register.archived,
        was_settled=register.is_settled,
    )
    return Step(msgspec.structs.replace(register, is_settled=True), True, settle)


def on_doubt(register: Register, path: str, generation: int, cause: str) -> Step:
    """Forget that the archive holds this generation, as it does not: it is shipped again (spec: Doubt)."""
    if register.archived != generation:
        return Step(register, False, None)
    doubt = events.Doubt(
        path=path,
        cause=(cause,) if cause else (),
        was_archived=register.archived,
        was_settled=register.is_settled,
    )
    return Step(msgspec.structs.replace(register, archived=0, is_settled=False), True, doubt)


def may_evict(register: Register, rules: Rules = HONEST) -> bool:
    """May the parts of the current version go from this disk? (spec: Evict)

    Of a version that is kept beside newer ones they may not: the archive has room for one version a key.
    """
    if register.head is None or register.head.version != NULL_VERSION:
        return False
    if rules.evict_before_confirm:
        return register.generation > 0
    is_archived = 0 < register.generation <= register.archived
    return is_archived and (register.is_settled or rules.evict_unsettled)
