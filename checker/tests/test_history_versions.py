"""The judgement of what clients are told of versions: sound on what correct registers did, complete on each lie."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from checker.history import check_operations
from checker.operations import ListedVersion, Operation
from checker.tests.honest_register import etag_of, sha256_of
from checker.tests.honest_versions import honest_histories

PATH = "b/k"


@settings(max_examples=600, deadline=None)
@given(honest_histories())
def test_what_correct_registers_with_versions_did_is_accepted(history: list[Operation]) -> None:
    assert check_operations(history) == []


def operation(kind: str, client: str, invoke_us: int, return_us: int | None, **fields: Any) -> Operation:
    outcome = "unknown" if return_us is None else "ok"
    given_fields = {"op": 1, "path": PATH, "outcome": outcome, **fields}
    return Operation(client=client, invoke_us=invoke_us, return_us=return_us, kind=kind, **given_fields)  # type: ignore[arg-type]


def put(client: str, invoke_us: int, return_us: int | None, generation: int | None = None, **fields: Any) -> Operation:
    told: dict[str, Any] = {"write_id": client, "sha256": sha256_of(client), "versioned": True}
    if generation is not None:
        told |= {"generation": generation, "version": generation, "deleted": False, "etag": etag_of(client)}
    return operation("put", client, invoke_us, return_us, **{**told, **fields})


def mark(client: str, invoke_us: int, return_us: int | None, generation: int | None = None) -> Operation:
    told = {} if generation is None else {"generation": generation, "version": generation, "deleted": True}
    return operation("mark", client, invoke_us, return_us, write_id=client, versioned=True, **told)


def erase(client: str, invoke_us: int, return_us: int | None, version: int, generation: int | None = None) -> Operation:
    """A delete of a version."""
    return operation("delete", client, invoke_us, return_us, write_id=client, of_version=version, generation=generation)


def tag(client: str, invoke_us: int, return_us: int | None, generation: int | None = None) -> Operation:
    return operation("tag", client, invoke_us, return_us, write_id=client, generation=generation)


def shown(body_of: str) -> dict[str, Any]:
    return {"deleted": False, "etag": etag_of(body_of), "sha256": sha256_of(body_of)} if body_of else {"deleted": True}


def get(client: str, at_us: int, generation: int, body_of: str, version: int | None, **fields: Any) -> Operation:
    told = {"generation": generation, "version": version, **shown(body_of)}
    return operation("get", client, at_us, at_us + 5, **{**told, **fields})


def get_version(client: str, at_us: int, of: int, generation: int, body_of: str = "", **fields: Any) -> Operation:
    version = of if body_of else None
    return get(client, at_us, generation, body_of, version, of_version=of, **fields)


def listed(client: str, at_us: int, *paths: tuple[str, str]) -> Operation:
    return operation(
        "list", client, at_us, at_us + 5, path="b/", listed=[(path, etag_of(body)) for path, body in paths]
    )


def listed_versions(client: str, at_us: int, *versions: tuple[int, str]) -> Operation:
    """Each version with the write whose body it has; a delete marker has none."""
    entries = [
        ListedVersion(PATH, version, at == 0, not body, etag_of(body) if body else None)
        for at, (version, body) in enumerate(versions)
    ]
    return operation("list_versions", client, at_us, at_us + 5, path="b/", versions=entries)


def copy(client: str, invoke_us: int, generation: int, source: str, body_of: str) -> Operation:
    told = {"generation": generation, "version": generation, "deleted": False, "etag": etag_of(body_of)}
    return operation("copy", client, invoke_us, invoke_us + 5, write_id=client, versioned=True, source=source, **told)


W1, W2 = put("w1", 0, 10, 1), put("w2", 20, 30, 2)

WRONG = {
    "a version that is not there though nobody deleted it": (
        [W1, W2, get_version("r", 40, 1, 2)],
        "version-kept",
        ["r/1", "w1/1"],
    ),
    "a version that is not there before anybody began to delete it": (
        [W1, W2, get_version("r", 40, 1, 2), erase("d", 60, None, 1)],
        "version-kept",
        ["r/1", "w1/1"],
    ),
    "a version that is not there at a generation below the one that a delete of it made": (
        [W1, W2, get_version("r", 40, 1, 2), erase("d", 35, 60, 1, 3)],
        "version-kept",
        ["r/1", "w1/1"],
    ),
    "a version that a list of versions lacks": (
        [W1, W2, listed_versions("l", 40, (2, "w2"))],
        "version-kept",
        ["l/1", "w1/1"],
    ),
    "a version that is there after a delete of it was acknowledged": (
        [W1, W2, erase("d", 40, 50, 1, 3), get_version("r", 60, 1, 3, "w1")],
        "version-gone",
        ["d/1", "r/1"],
    ),
    "a version that comes back": (
        [W1, W2, erase("u", 35, None, 1), get_version("r1", 40, 1, 3), get_version("r2", 50, 1, 3, "w1")],
        "version-gone",
        ["r1/1", "r2/1"],
    ),
    "a version that a list has after a delete of it was acknowledged": (
        [W1, W2, erase("d", 40, 50, 1, 3), listed_versions("l", 60, (2, "w2"), (1, "w1"))],
        "version-gone",
        ["d/1", "l/1"],
    ),
    "a version that is read before it can have been made": (
        [W1, get_version("r", 5, 2, 1, "w2"), put("w2", 6, 30, 2)],
        "version-made",
        ["r/1"],
    ),
    "a version whose bytes are those of another": (
        [W1, W2, get_version("r", 40, 1, 2, "w2")],
        "one-content",
        ["r/1", "w1/1"],
    ),
    "a delete marker that is read as an object": (
        [W1, mark("m", 20, 30, 2), get_version("r", 40, 2, 2, "w1")],
        "one-content",
        ["m/1", "r/1"],
    ),
    "a version that is named by another generation than the one that made it": (
        [W1, put("w2", 20, 30, 2, version=7)],
        "version-named",
        ["w2/1"],
    ),
    "a write that replaced the null version where it should have made one": (
        [W1, put("w2", 20, 30, 2, version=None)],
        "version-named",
        ["w2/1"],
    ),
    "an older version that is read as the current one": (
        [W1, W2, put("w3", 35, 36, 3), erase("d", 40, 50, 1, 4), get("r", 60, 4, "w2", 2)],
        "newest-is-current",
        ["r/1", "w3/1"],
    ),
    "an object that is gone while a version of it is there": (
        [W1, W2, erase("d", 40, 50, 1, 3), get("r", 60, 3, "", None), get_version("v", 70, 2, 3, "w2")],
        "newest-is-current",
        ["r/1", "v/1"],
    ),
    "a tag that changed the bytes": (
        [put("w1", 0, 10, 1, version=None, versioned=False), tag("t", 20, 30, 2), get("r", 40, 2, "w0", None)],
        "content-kept",
        ["r/1", "t/1", "w1/1"],
    ),
    "a tag that was refused though an object was there": (
        [W1, msgspec.structs.replace(tag("t", 20, 30), outcome="failed", status=404)],
        "refused-rightly",
        ["t/1", "w1/1"],
    ),
    "two writes that made one generation, one of them a marker": (
        [W1, mark("m", 20, 30, 1)],
        "one-writer",
        ["m/1", "w1/1"],
    ),
    "a generation that no delete of a version is left over for": (
        [W1, put("w3", 20, 30, 3)],
        "written-once",
        ["w3/1"],
    ),
    "a tombstone that only a put is left over for": (
        [W1, put("u", 5, None), get("r", 20, 2, "", None)],
        "written-once",
        ["r/1"],
    ),
    "a list without an object that is there": ([W1, listed("l", 20)], "listed-rightly", ["l/1"]),
    "a list with an object that is deleted": (
        [W1, mark("m", 20, 30, 2), listed("l", 40, (PATH, "w1"))],
        "listed-rightly",
        ["l/1"],
    ),
    "a list with an older object": ([W1, W2, listed("l", 40, (PATH, "w1"))], "listed-rightly", ["l/1"]),
    "a list with a path that nobody wrote": (
        [W1, listed("l", 20, (PATH, "w1"), ("b/x", "w1"))],
        "listed-rightly",
        ["l/1"],
    ),
    "a copy of what its source was before": (
        [put("s1", 0, 10, 1, path="b/s"), put("s2", 20, 30, 2, path="b/s"), copy("c", 40, 1, "b/s", "s1")],
        "copied-rightly",
        ["c/1"],
    ),
    "a copy of what never was there": ([copy("c", 40, 1, "b/s", "s1")], "copied-rightly", ["c/1"]),
    "a read of a version that is older than what was told of its path": (
        [W1, W2, get_version("r", 40, 1, 1, "w1")],
        "real-time",
        ["r/1", "w2/1"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_this_is_refused_naming_the_operations(what: str) -> None:
    history, rule, operations = WRONG[what]
    faults = [fault for fault in check_operations(history) if fault.rule == rule]
    assert [sorted(fault.operations) for fault in faults] == [operations]
    assert any(name in faults[0].text for name in operations)


RIGHT = {
    "a delete of a version that brings back the one beneath": [
        W1,
        W2,
        erase("d", 40, 50, 2, 3),
        get("r", 60, 3, "w1", 1),
    ],
    "a delete of a marker that brings the object back": [
        W1,
        mark("m", 20, 30, 2),
        erase("d", 40, 50, 2, 3),
        get("r", 60, 3, "w1", 1),
        listed("l", 70, (PATH, "w1")),
    ],
    "a marker on a marker": [mark("m1", 0, 10, 1), mark("m2", 20, 30, 2), get("r", 40, 2, "", 2)],
    "two deletes of one version, of which one found it gone": [
        W1,
        W2,
        erase("d1", 40, 50, 1, 3),
        erase("d2", 60, 70, 1, 3),
    ],
    "a delete of a version that found it gone, at what another write had made": [
        W1,
        erase("d1", 20, 30, 1, 2),
        put("w3", 35, 40, 3),
        erase("d2", 60, 70, 1, 3),
    ],
    "a version that is gone beside an unknown delete of it": [W1, erase("u", 15, None, 1), get_version("r", 20, 1, 2)],
    "a tag, and what was there before": [W1, tag("t", 20, 30, 2), get("r", 40, 2, "w1", 1)],
    "an unknown tag that nobody saw": [W1, tag("t", 5, None), put("w3", 20, 30, 3)],
    "unknown deletes of versions that had to make way for others": [
        W1,
        erase("u1", 11, None, 1),
        put("u2", 12, None),
        mark("m", 20, 30, 4),
        get("r", 40, 4, "", 4),
    ],
    "a list beside a delete": [W1, mark("m", 20, 30, 2), listed("l", 27, (PATH, "w1"))],
    "a copy of what its source was meanwhile": [
        put("s1", 0, 10, 1, path="b/s"),
        put("s2", 42, 60, 2, path="b/s"),
        copy("c", 40, 1, "b/s", "s1"),
    ],
    "a copy that was never acknowledged, read": [
        put("s1", 0, 10, 1, path="b/s"),
        operation("copy", "c", 20, None, write_id="c", versioned=True, source="b/s"),
        get("r", 40, 1, "s1", 1),
    ],
}


@pytest.mark.parametrize("what", RIGHT)
def test_this_is_accepted(what: str) -> None:
    assert check_operations(RIGHT[what]) == []
