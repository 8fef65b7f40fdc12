"""The judgement of clients' histories: sound on what a correct register did, complete on what one cannot have done."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from checker.errors import CannotCheck
from checker.history import check, check_operations
from checker.history.forgetting import Forgotten, forgotten
from checker.operations import Operation
from checker.tests.honest_register import (
    PATH,
    arbitrary_histories,
    etag_of,
    explainable,
    honest_histories,
    sha256_of,
)

# -- properties -------------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(honest_histories())
def test_what_a_correct_register_did_is_accepted(history: list[Operation]) -> None:
    assert check_operations(history) == []


@settings(max_examples=1000, deadline=None)
@given(arbitrary_histories())
def test_puts_and_gets_are_accepted_exactly_if_some_order_explains_them(history: list[Operation]) -> None:
    assert (check_operations(history) == []) == explainable(history)


# -- each rule --------------------------------------------------------------------------------------------------------


def operation(client: str, invoke_us: int, return_us: int | None, **fields: Any) -> Operation:
    fields = {"op": 1, "path": PATH, "outcome": "ok" if return_us is not None else "unknown", **fields}
    return Operation(client=client, invoke_us=invoke_us, return_us=return_us, **fields)


def put(client: str, invoke_us: int, return_us: int | None, generation: int | None = None, **fields: Any) -> Operation:
    shown = {} if generation is None else {"generation": generation, "deleted": False, "etag": etag_of(client)}
    given_fields = {"kind": "put", "write_id": client, "sha256": sha256_of(client), **shown, **fields}
    return operation(client, invoke_us, return_us, **given_fields)


def delete(
    client: str, invoke_us: int, return_us: int | None, generation: int | None = None, **fields: Any
) -> Operation:
    shown = {} if generation is None else {"generation": generation, "deleted": True}
    return operation(client, invoke_us, return_us, **{"kind": "delete", "write_id": client, **shown, **fields})


def get(client: str, invoke_us: int, return_us: int, generation: int, body_of: str = "", **fields: Any) -> Operation:
    shown: dict[str, Any] = {"generation": generation, "deleted": generation > 0 and not body_of}
    if body_of:
        shown |= {"etag": etag_of(body_of), "sha256": sha256_of(body_of)}
    return operation(client, invoke_us, return_us, **{"kind": "get", **shown, **fields})


def listing(client: str, invoke_us: int, return_us: int, *paths: tuple[str, int], prefix: str = "a/") -> Operation:
    return operation(client, invoke_us, return_us, kind="list", path=prefix, paths=list(paths))


def refused(write: Operation) -> Operation:
    return msgspec.structs.replace(write, outcome="failed", status=412)


W1, W2, W3 = put("w1", 0, 10, 1), put("w2", 20, 30, 2), put("w3", 40, 50, 3)

WRONG = {
    "a read that is older than a write acknowledged before it began": (
        [W1, W2, get("r", 31, 40, 1, "w1")],
        "real-time",
        ["w2/1", "r/1"],
    ),
    "a read that is older than a read that returned before it began": (
        [W1, put("w2", 20, 90, 2), get("r1", 25, 30, 2, "w2"), get("r2", 31, 40, 1, "w1")],
        "real-time",
        ["r1/1", "r2/1"],
    ),
    "a last look that does not find an acknowledged write": (
        [W1, W2, get("final-n1", 100, 110, 1, "w1")],
        "nothing-lost",
        ["w2/1", "final-n1/1"],
    ),
    "a last look that finds nothing at all": (
        [W1, get("final-n1", 100, 110, 0)],
        "nothing-lost",
        ["w1/1", "final-n1/1"],
    ),
    "a read of what is written only later": (
        [get("r", 0, 5, 1, "w1"), put("w1", 6, 10, 1)],
        "no-future",
        ["r/1", "w1/1"],
    ),
    "a write that comes before one that was acknowledged before it began": (
        [put("w1", 0, 10, 2), put("w2", 20, 30, 1)],
        "write-order",
        ["w1/1", "w2/1"],
    ),
    "a list without a path that was acknowledged before it began": (
        [W1, listing("l", 11, 20, ("a/other", 1)), put("o", 0, 9, 1, path="a/other")],
        "real-time",
        ["w1/1", "l/1"],
    ),
    "a list with an older generation than was acknowledged before it began": (
        [W1, W2, listing("l", 31, 40, (PATH, 1))],
        "real-time",
        ["w2/1", "l/1"],
    ),
    "a list with a generation that nobody can have written": (
        [W1, listing("l", 11, 20, (PATH, 2))],
        "written-once",
        ["l/1"],
    ),
    "a list with a path that nobody wrote": ([listing("l", 11, 20, ("a/ghost", 1))], "written-once", ["l/1"]),
    "two writes that made one generation": ([W1, put("w2", 0, 10, 1, etag=None)], "one-writer", ["w1/1", "w2/1"]),
    "a generation that is both an object and a tombstone": (
        [W1, delete("d", 5, 10, 1)],
        "one-content",
        ["d/1", "w1/1"],
    ),
    "two conditional deletes that made one tombstone": (
        [
            W1,
            delete("d1", 20, 30, 2, condition="etag_is", condition_etag=etag_of("w1")),
            delete("d2", 20, 30, 2, condition="etag_is", condition_etag=etag_of("w1")),
        ],
        "one-writer",
        ["d1/1", "d2/1"],
    ),
    "a write id that made two generations": (
        [W1, put("w1", 20, 30, 2, op=2)],
        "write-once",
        ["w1/1", "w1/2"],
    ),
    "a body that is read at a second generation": ([W1, get("r", 20, 30, 2, "w1")], "write-once", ["r/1", "w1/1"]),
    "an unknown write that is read at two generations": (
        [put("u", 0, None), get("r1", 20, 30, 1, "u"), get("r2", 20, 30, 2, "u")],
        "write-once",
        ["r2/1", "u/1"],
    ),
    "a failed write whose body is read": (
        [W1, refused(put("f", 15, 18, condition="absent")), get("r", 20, 30, 2, "f")],
        "failed-without-effect",
        ["r/1", "f/1"],
    ),
    "bytes that nobody wrote": ([W1, get("r", 20, 30, 1, "x", etag=etag_of("w1"))], "one-content", ["w1/1", "r/1"]),
    "bytes that nobody wrote at a generation that nobody made": (
        [W1, get("r", 20, 30, 2, "x")],
        "written-bytes",
        ["r/1"],
    ),
    "an etag that is not the write's": ([W1, get("r", 20, 30, 1, "w1", etag="0")], "one-content", ["w1/1", "r/1"]),
    "a generation that no write is left over for": ([W1, W3], "written-once", ["w3/1"]),
    "a generation that only a write which began too late is left over for": (
        [W1, W3, put("u", 60, None)],
        "written-once",
        ["w3/1"],
    ),
    "an unknown write that would have to be two generations": (
        [W1, put("w4", 40, 50, 4), put("u", 5, None)],
        "written-once",
        ["w4/1"],
    ),
    "a tombstone that no delete is left over for": (
        [W1, get("r", 20, 30, 2), put("u", 5, None)],
        "written-once",
        ["r/1"],
    ),
    "a put that asked for absence and replaced an object": (
        [W1, put("w2", 20, 30, 2, condition="absent")],
        "precondition",
        ["w2/1", "w1/1"],
    ),
    "a put that asked for an etag and replaced another": (
        [W1, put("w2", 20, 30, 2, condition="etag_is", condition_etag="0")],
        "precondition",
        ["w2/1", "w1/1"],
    ),
    "a put that asked for an etag and was the first": (
        [put("w1", 20, 30, 1, condition="etag_is", condition_etag="0")],
        "precondition",
        ["w1/1"],
    ),
    "a put that asked for an etag and replaced a tombstone": (
        [W1, delete("d", 20, 30, 2), put("w3", 40, 50, 3, condition="etag_is", condition_etag=etag_of("w1"))],
        "precondition",
        ["w3/1", "d/1"],
    ),
    "a put that asked for another etag than was there": (
        [W1, put("w2", 20, 30, 2, condition="etag_is_not", condition_etag=etag_of("w1"))],
        "precondition",
        ["w2/1", "w1/1"],
    ),
    "a put that asked for a generation and replaced another": (
        [W1, put("w2", 20, 30, 2, condition="generation_is", condition_generation=0)],
        "precondition",
        ["w2/1", "w1/1"],
    ),
    "a put that asked for another etag than was there, and was refused after a deletion": (
        [W1, delete("d", 20, 30, 2), refused(put("w3", 40, 50, condition="etag_is_not", condition_etag=etag_of("w1")))],
        "refused-rightly",
        ["w3/1", "d/1"],
    ),
    "a put that asked for the generation that was there and was refused": (
        [W1, refused(put("w2", 20, 30, condition="generation_is", condition_generation=1))],
        "refused-rightly",
        ["w2/1", "w1/1"],
    ),
    "two deletes that asked for the generation that both of them deleted": (
        [
            W1,
            delete("d1", 20, 30, 2, condition="generation_is", condition_generation=1),
            delete("d2", 20, 30, 2, condition="generation_is", condition_generation=1),
        ],
        "one-writer",
        ["d1/1", "d2/1"],
    ),
    "a delete that made a second tombstone of one": (
        [W1, delete("d1", 20, 30, 2), delete("d2", 40, 50, 3)],
        "precondition",
        ["d2/1", "d1/1"],
    ),
    "a put that asked for absence and was refused where nothing was": (
        [refused(put("w1", 0, 10, condition="absent")), put("w2", 20, 30, 1)],
        "refused-rightly",
        ["w1/1"],
    ),
    "a put that asked for absence and was refused after a deletion": (
        [W1, delete("d", 20, 30, 2), refused(put("w3", 40, 50, condition="absent"))],
        "refused-rightly",
        ["w3/1", "d/1"],
    ),
    "a put that asked for the etag that was there and was refused": (
        [W1, refused(put("w2", 20, 30, condition="etag_is", condition_etag=etag_of("w1")))],
        "refused-rightly",
        ["w2/1", "w1/1"],
    ),
    "a delete that found nothing after an acknowledged write": (
        [W1, msgspec.structs.replace(delete("d", 20, 30), outcome="failed", status=404, generation=0)],
        "refused-rightly",
        ["d/1", "w1/1"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_this_is_refused_naming_the_operations(what: str) -> None:
    history, rule, operations = WRONG[what]
    faults = [fault for fault in check_operations(history) if fault.rule == rule]
    assert [sorted(fault.operations) for fault in faults] == [sorted(operations)]
    assert any(name in faults[0].text for name in operations)


RIGHT = {
    "a read beside a write, of either generation": [
        W1,
        put("w2", 20, 40, 2),
        get("r1", 21, 39, 1, "w1"),
        get("r2", 21, 39, 2, "w2"),
    ],
    "an unknown write that takes effect long after its client gave up": [
        put("u", 0, None),
        put("w2", 20, 30, 1),
        get("r", 40, 50, 2, "u"),
    ],
    "an unknown write that fills a generation that nobody saw": [W1, W3, put("u", 20, None)],
    "unknown writes of which a later generation says which came first": [
        W1,
        delete("d", 12, None),
        put("u2", 12, None),
        put("u3", 12, None, condition="etag_is", condition_etag=etag_of("u2")),
        get("r", 15, 18, 4, "u3"),
    ],
    "an unknown write that never took effect": [put("u", 0, None), get("r", 100, 110, 0)],
    "a delete that found the tombstone of another": [W1, delete("d1", 20, 30, 2), delete("d2", 40, 50, 2)],
    "an attempt of a delete that arrives after another attempt found a tombstone": [
        W1,
        delete("d1", 20, 30, 2),
        delete("d2", 31, 50, 2),
        put("w3", 60, 70, 3),
        get("r", 80, 90, 4),
    ],
    "a retry of a write id long after other writes": [W1, W2, put("w1", 40, 50, 1, op=2), get("r", 60, 70, 2, "w2")],
    "a refusal beside the write that justifies it": [
        put("w1", 0, 100, 1),
        refused(put("w2", 20, 30, condition="absent")),
    ],
    "a refusal that only an unseen generation justifies": [
        put("u", 0, None),
        refused(put("w2", 20, 30, condition="absent")),
    ],
    "a list of the first thousand paths that ends before this one": [
        put("w", 0, 5, 1, path="b"),
        *[put(f"p{number}", 0, 5, 1, path=f"a/{number:04}") for number in range(1000)],
        listing("l", 10, 20, *[(f"a/{number:04}", 1) for number in range(1000)], prefix=""),
    ],
    "operations that meet in one microsecond": [W1, get("r", 10, 10, 0)],
}


@pytest.mark.parametrize("what", RIGHT)
def test_this_is_accepted(what: str) -> None:
    assert check_operations(RIGHT[what]) == []


def test_paths_are_judged_apart() -> None:
    elsewhere = [msgspec.structs.replace(each, path="c") for each in (W1, W2, get("r", 31, 40, 1, "w1"))]
    assert [fault.key for fault in check_operations([W1, W2, *elsewhere])] == ["c"]


# -- reading ----------------------------------------------------------------------------------------------------------


def write_history(run: Path, *lines: object) -> Path:
    (run / "history.ndjson").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return run


def test_a_history_file_is_read_and_judged(tmp_path: Path) -> None:
    assert check(write_history(tmp_path, W1, W2, get("r", 31, 40, 2, "w2"))) == []
    assert len(check(write_history(tmp_path, W1, W2, get("r", 31, 40, 1, "w1")))) == 1


def test_a_run_without_a_history_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match=r"history\.ndjson"):
        check(tmp_path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"client": "c"}, "missing required field"),
        (msgspec.structs.asdict(W1) | {"return_us": None}, "w1/1 is ok but never returned"),
        (msgspec.structs.asdict(W1) | {"invoke_us": 11}, "w1/1 returned before it was invoked"),
        (msgspec.structs.asdict(W1) | {"outcome": "perhaps"}, "perhaps"),
    ],
)
def test_a_line_that_is_no_operation_cannot_be_checked_and_is_named(tmp_path: Path, line: object, says: str) -> None:
    with pytest.raises(CannotCheck, match=rf"history\.ndjson:2: .*{says}"):
        check(write_history(tmp_path, W1, line))


def test_two_hundred_thousand_operations_are_judged_as_a_few_are() -> None:
    history = []
    for path in range(200):
        for number in range(250):
            at, name = number * 100, f"{path}-{number}"
            history.append(put(name, at, at + 20, number + 1, path=f"k{path}"))
            history += [get("r", at + 30, at + 40, number + 1, name, op=n, path=f"k{path}") for n in range(3)]
    assert check_operations(history) == []


# -- what is forgotten ------------------------------------------------------------------------------------------------

FORGOT = {PATH: Forgotten((2,), frozenset({3, 4}))}
DELETED = [put("w1", 0, 10, 1), delete("d1", 20, 30, 2), get("r1", 40, 50, 2)]


def test_nothing_may_be_found_where_a_tombstone_was_if_it_was_forgotten() -> None:
    history = [*DELETED, get("r2", 60, 70, 0), listing("l1", 60, 70)]
    assert check_operations(history, FORGOT) == []
    assert {fault.rule for fault in check_operations(history)} == {"real-time"}


def test_generations_may_be_left_out_only_where_something_was_forgotten() -> None:
    anew = put("w2", 80, 90, 5, condition="generation_is", condition_generation=0)
    history = [*DELETED, get("r2", 60, 70, 0), anew, get("r3", 95, 99, 5, "w2")]
    assert check_operations(history, FORGOT) == []
    made_three = {PATH: Forgotten((2,), frozenset({4}))}
    assert "written-once" in {fault.rule for fault in check_operations(history, made_three)}


def test_what_was_written_after_a_tombstone_is_not_lost_because_that_was_forgotten() -> None:
    history = [*DELETED, put("w2", 52, 55, 5), get("r2", 60, 70, 0)]
    assert {fault.rule for fault in check_operations(history, FORGOT)} == {"real-time"}


def test_what_traces_say_was_forgotten_is_read_from_them(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    lines = [
        {"event": "Propose", "path": "p", "generation": 1, "outcome": "applied"},
        {"event": "Propose", "path": "p", "generation": 3, "outcome": "unchanged"},
        {"event": "Collect", "path": "p", "was_generation": 2},
        {"event": "Floor", "path": "p", "generation": 4},
        {"event": "Floor", "path": "q", "generation": 1},
    ]
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    (tmp_path / "traces" / "n1.1.ndjson").write_bytes(text)
    assert forgotten(tmp_path) == {
        "p": Forgotten((2,), frozenset({2, 3, 4})),
        "q": Forgotten((), frozenset({1})),
    }
