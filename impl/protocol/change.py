"""The change function: what an operation makes of the head it finds. Spec: the operator `Apply` of Register.tla.

Preconditions, idempotency and generations live here, once, for every API. Pure: the time of the write comes in.
"""

from typing import Literal, TypedDict

import msgspec

from impl.model import RECENT_WRITES_MAX, Applied, Attributes, Head, PartRef
from impl.protocol.events import Operation, Outcome
from impl.protocol.rules import HONEST, Rules

ConditionKind = Literal["none", "absent", "exists", "etag_is", "etag_is_not", "generation_is"]


class Condition(msgspec.Struct, frozen=True):
    """A precondition on the head that an operation finds.

    absent: `If-None-Match: *`; exists: `If-Match: *`; etag_is / etag_is_not: one etag, unquoted; generation_is: the
    generation expected (0: never written).
    """

    kind: ConditionKind = "none"
    etag: str | None = None
    generation: int = 0


NO_CONDITION = Condition()


class Change(msgspec.Struct, frozen=True):
    """One operation on a path, as it was asked for. `read` proposes the head unchanged.

    For a put, either `body` (inline) or `parts` holds the bytes; `write_id` is never empty for put and delete.
    """

    operation: Operation
    write_id: str | None = None
    condition: Condition = NO_CONDITION
    etag: str | None = None
    size_bytes: int = 0
    content_type: str = ""
    updated_at_ms: int = 0
    body: bytes | None = None
    parts: tuple[PartRef, ...] = ()
    attributes: Attributes = ()


READ = Change(operation="read")


class Result(msgspec.Struct, frozen=True):
    """The head to propose, and what the operation's answer is once it is chosen.

    `applied` is the record of this write (also of the first time, for a replay); None for reads and refusals.
    """

    head: Head | None
    outcome: Outcome
    applied: Applied | None


def apply(change: Change, found: Head | None, rules: Rules = HONEST) -> Result:
    """What `change` makes of the head it found (None: never written)."""
    if change.operation == "read":
        return Result(found, "unchanged", None)
    is_met = holds(change.condition, found) or _is_overlooked(change, rules)
    earlier = None if rules.ignore_write_id else recorded(found, change.write_id)
    if earlier is not None and (is_met or not rules.condition_before_write_id):
        return Result(found, "replayed", earlier)
    if not is_met:
        return Result(_written(change, found, rules) if rules.refused_but_written else found, "refused", None)
    is_live = found is not None and not found.deleted
    if change.operation == "delete" and not is_live and not rules.delete_of_deleted_applies:
        return Result(found, "unchanged", None)
    head = _written(change, found, rules)
    return Result(head, "applied", head.recent[-1])


def _is_overlooked(change: Change, rules: Rules) -> bool:
    """Is the precondition one that a mutant does not look at?"""
    if rules.ignore_if_none_match and change.condition.kind == "absent":
        return True
    return rules.delete_ignores_if_match and change.operation == "delete"


class Described(TypedDict):
    """The fields of a trace event that say what was asked and what came of it; Propose and Claim share them."""

    operation: Operation
    condition: str
    condition_etag: str | None
    condition_generation: int
    write_id: str | None
    etag: str | None
    deleted: bool
    generation: int
    outcome: Outcome


def described(change: Change, result: Result) -> Described:
    """What traces say of a change and its result; etag, deleted and generation are those of the proposed head."""
    return Described(
        operation=change.operation,
        condition=change.condition.kind,
        condition_etag=change.condition.etag,
        condition_generation=change.condition.generation,
        write_id=change.write_id,
        etag=result.head.etag if result.head else None,
        deleted=result.head.deleted if result.head else False,
        generation=result.head.generation if result.head else 0,
        outcome=result.outcome,
    )


def recorded(found: Head | None, write_id: str | None) -> Applied | None:
    """What this write id did before, if it is among the recent writes of the head."""
    if found is None or write_id is None:
        return None
    return next((applied for applied in found.recent if applied.write_id == write_id), None)


def holds(condition: Condition, found: Head | None) -> bool:
    """Does the head satisfy the precondition? A tombstone counts as absent, but its generation counts (spec: Holds)."""
    live = found is not None and not found.deleted
    etag = found.etag if found is not None and live else None
    match condition.kind:
        case "none":
            return True
        case "absent":
            return not live
        case "exists":
            return live
        case "etag_is":
            return live and etag == condition.etag
        case "etag_is_not":
            return not live or etag != condition.etag
        case "generation_is":
            return (found.generation if found else 0) == condition.generation


def _written(change: Change, found: Head | None, rules: Rules) -> Head:
    generation = _generation_after(found, rules)
    deleted = change.operation == "delete"
    applied = Applied(change.write_id or "", generation, change.etag, change.size_bytes, deleted)
    recent = (*(found.recent if found else ()), applied)[-(1 if rules.recent_writes_too_short else RECENT_WRITES_MAX) :]
    return Head(
        generation=generation,
        deleted=deleted,
        etag=change.etag,
        size_bytes=change.size_bytes,
        content_type=change.content_type,
        updated_at_ms=change.updated_at_ms,
        body=change.body,
        parts=change.parts,
        recent=recent,
        attributes=change.attributes,
    )


def _generation_after(found: Head | None, rules: Rules) -> int:
    if found is None or (found.deleted and rules.tombstone_forgets_generation):
        return 1
    return found.generation + (0 if rules.reuse_generation else 2 if rules.generation_skips else 1)
