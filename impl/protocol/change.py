"""The change function: what an operation makes of the head it finds. Spec: the operator `Apply` of Register.tla.

Preconditions, idempotency and generations live here, once, for every API. Pure: the time of the write comes in.
"""

from typing import Literal, TypedDict

import msgspec

from impl.model import NULL_VERSION, RECENT_WRITES_MAX, Applied, Attributes, Head, PartRef, Version, head_of
from impl.protocol.events import Operation, Outcome
from impl.protocol.rules import HONEST, Rules

ConditionKind = Literal["none", "absent", "exists", "etag_is", "etag_is_not", "generation_is"]


class Condition(msgspec.Struct, frozen=True):
    """A precondition on what an operation finds: the current version, or the one that a delete or an amend names.

    absent: `If-None-Match: *`; exists: `If-Match: *`; etag_is / etag_is_not: one etag, unquoted; generation_is: the
    generation expected (0: never written).
    """

    kind: ConditionKind = "none"
    etag: str | None = None
    generation: int = 0


NO_CONDITION = Condition()


class Change(msgspec.Struct, frozen=True):
    """One operation on a path, as it was asked for. `read` proposes the head unchanged.

    For a put, either `body` (inline) or `parts` holds the bytes; `write_id` is never empty for what is no read. A put,
    and a mark, which puts a delete marker, make a version of their own if `versioned`, else the null version. A delete
    removes `version`, and an amend gives it other `attributes`. A put that `is_imported` has neither body nor parts:
    the archive has had its body since before there was this cluster.
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
    versioned: bool = False
    version: int = NULL_VERSION
    is_imported: bool = False

    @property
    def makes(self) -> bool:
        """Does it make a version?"""
        return self.operation in ("put", "mark")


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
    is_met = holds(change, found) or _is_overlooked(change, rules)
    earlier = None if rules.ignore_write_id else recorded(found, change.write_id)
    if earlier is not None and (is_met or not rules.condition_before_write_id):
        return Result(found, "replayed", earlier)
    if not is_met:
        return Result(_written(change, found, rules) if rules.refused_but_written else found, "refused", None)
    is_nothing_there = not change.makes and _named(found, change.version) is None
    if is_nothing_there and not (rules.delete_of_deleted_applies and change.operation == "delete"):
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
    versioned: bool
    version: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    generation: int
    outcome: Outcome


def described(change: Change, result: Result) -> Described:
    """What traces say of a change and its result; etag, deleted, versions and generation are of the proposed head."""
    return Described(
        operation=change.operation,
        condition=change.condition.kind,
        condition_etag=change.condition.etag,
        condition_generation=change.condition.generation,
        write_id=change.write_id,
        versioned=change.versioned,
        version=change.version,
        etag=result.head.etag if result.head else None,
        deleted=result.head.deleted if result.head else False,
        versions=result.head.version_ids if result.head else (),
        generation=result.head.generation if result.head else 0,
        outcome=result.outcome,
    )


def recorded(found: Head | None, write_id: str | None) -> Applied | None:
    """What this write id did before, if it is among the recent writes of the head."""
    if found is None or write_id is None:
        return None
    return next((applied for applied in found.recent if applied.write_id == write_id), None)


def _named(found: Head | None, version_id: int) -> Version | None:
    """The version of this id (spec: Named)."""
    if found is None:
        return None
    return next((version for version in found.versions if version.id == version_id), None)


def holds(change: Change, found: Head | None) -> bool:
    """Does what the change is about satisfy its precondition? (spec: Holds, About)

    A delete marker counts as absent, as a tombstone does; but its generation counts.
    """
    condition = change.condition
    if condition.kind == "none":
        return True
    if condition.kind == "generation_is":
        return (found.generation if found and not found.is_vacant else 0) == condition.generation
    if change.makes:
        about = found.current if found is not None else None
    else:
        about = _named(found, change.version)
    live = about is not None and not about.marker
    etag = about.etag if about is not None else None
    match condition.kind:
        case "absent":
            return not live
        case "exists":
            return live
        case "etag_is":
            return live and etag == condition.etag
        case "etag_is_not":
            return not live or etag != condition.etag


def _written(change: Change, found: Head | None, rules: Rules) -> Head:
    generation = _generation_after(found, rules)
    about = _made(change, generation) if change.makes else _named(found, change.version)
    applied = Applied(
        write_id=change.write_id or "",
        generation=generation,
        etag=None if about is None or change.operation == "delete" else about.etag,
        size_bytes=0 if about is None or change.operation == "delete" else about.size_bytes,
        deleted=change.operation in ("delete", "mark"),
        version=change.version if about is None else about.id,
        marker=about is not None and about.marker,
    )
    recent = (*(found.recent if found else ()), applied)[-(1 if rules.recent_writes_too_short else RECENT_WRITES_MAX) :]
    versions = _versions_after(change, found.versions if found else (), about, rules)
    return head_of(generation, versions, recent, change.updated_at_ms)


def _made(change: Change, generation: int) -> Version:
    """The version that a put or a mark makes (spec: Made)."""
    return Version(
        id=generation if change.versioned else NULL_VERSION,
        marker=change.operation == "mark",
        etag=change.etag,
        size_bytes=change.size_bytes,
        content_type=change.content_type,
        updated_at_ms=change.updated_at_ms,
        body=change.body,
        parts=change.parts,
        attributes=change.attributes,
        is_imported=change.is_imported,
    )


def _versions_after(
    change: Change, versions: tuple[Version, ...], about: Version | None, rules: Rules
) -> tuple[Version, ...]:
    """What the change makes of the versions that are there (spec: VersionsAfter)."""
    if about is None:
        return versions
    if change.operation == "amend":
        amended = msgspec.structs.replace(about, attributes=change.attributes)
        return tuple(amended if version.id == about.id else version for version in versions)
    if change.operation == "delete":
        gone = versions[-1].id if rules.newest_version_deleted else about.id
        return tuple(version for version in versions if version.id != gone)
    if change.versioned:
        return (about,) if rules.version_not_kept else (*versions, about)
    kept = versions if rules.null_version_kept else tuple(version for version in versions if version.id != NULL_VERSION)
    return (*kept, about)


def _generation_after(found: Head | None, rules: Rules) -> int:
    if found is None or (found.deleted and rules.tombstone_forgets_generation):
        return 1
    return found.generation + (0 if rules.reuse_generation else 2 if rules.generation_skips else 1)
