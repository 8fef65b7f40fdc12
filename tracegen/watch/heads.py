"""Heads as spec/tla/Register.tla has them, and what an operation makes of one: Holds, Outcome, Apply. Pure.

Written from the spec alone, like the rest of this room.
"""

from typing import Any, Final

RECENT_MAX: Final = 16
"""How many write ids a head remembers: RecentMax of spec/tla/RegisterTrace.cfg."""
NULL_VERSION: Final = 0

Version = tuple[int, bool, str | None]
"""id, is it a delete marker, etag"""
Head = tuple[int, bool, str | None, tuple[int, ...], tuple[Version, ...], tuple[str | None, ...]]
"""generation, Deleted(h), Etag(h), Ids(h); versions, oldest first; recent writes"""
NO_HEAD: Final[Head] = (0, False, None, (), (), ())
NO_VERSION: Final[Version] = (NULL_VERSION, True, None)

TOLD: Final = 4
"""So many of a head's parts are what events say of it."""


def vacant(generation: int) -> Head:
    """Vacant(generation): of a path of which only that is known."""
    return (generation, True, None, (), (), ()) if generation else NO_HEAD


def makes(change: Any) -> bool:
    return change.operation in ("put", "mark")


def names(change: Any) -> bool:
    return change.operation in ("delete", "amend")


def _named(head: Head, version_id: int) -> Version | None:
    return next((version for version in head[4] if version[0] == version_id), None)


def _holds(change: Any, head: Head) -> bool:
    if change.condition == "none":
        return True
    if change.condition == "generation_is":
        is_vacant = not head[4] and not head[5]
        return bool(change.condition_generation == (0 if is_vacant else head[0]))
    if names(change):
        about = _named(head, change.version) or NO_VERSION
    else:
        about = head[4][-1] if head[4] else NO_VERSION
    _, deleted, etag = about
    match change.condition:
        case "absent":
            return deleted
        case "exists":
            return not deleted
        case "etag_is":
            return not deleted and etag == change.condition_etag
        case "etag_is_not":
            return deleted or etag != change.condition_etag
    return False


def outcome_of(change: Any, head: Head) -> str:
    if change.operation == "read":
        return "unchanged"
    if change.write_id is not None and change.write_id in head[5]:
        return "replayed"
    if not _holds(change, head):
        return "refused"
    if names(change) and _named(head, change.version) is None:
        return "unchanged"
    return "applied"


def apply(change: Any, outcome: str, head: Head) -> Head:
    if outcome != "applied":
        return head
    generation = head[0] + 1
    versions = _versions_after(change, generation, head[4])
    _, deleted, etag = versions[-1] if versions else NO_VERSION
    recent = (*head[5], change.write_id)[-RECENT_MAX:]
    return generation, deleted, etag, tuple(version[0] for version in versions), versions, recent


def _versions_after(change: Any, generation: int, versions: tuple[Version, ...]) -> tuple[Version, ...]:
    if change.operation == "amend":
        return versions
    if change.operation == "delete":
        return _without(versions, change.version)
    marks = change.operation == "mark"
    made = (generation if change.versioned else NULL_VERSION, marks, None if marks else change.etag)
    return (*(versions if change.versioned else _without(versions, NULL_VERSION)), made)


def _without(versions: tuple[Version, ...], version_id: int) -> tuple[Version, ...]:
    return tuple(version for version in versions if version[0] != version_id)
