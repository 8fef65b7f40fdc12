"""What is found against an archive: each difference from what clients may read, each step back, each early word."""

import pytest

from tracegen.archive.face import Change, Held
from tracegen.archive.judge import Current, Keys, Past, compare, told_too_early
from tracegen.archive.shape import ArchiveShape, ModeRule
from tracegen.history import Kind, Operation, Outcome

KEYS = Keys("cluster/", "run/")
SHAPE = ArchiveShape("s3", "write_through", (ModeRule("run/none/", "none"), ModeRule("run/back/", "write_back")))
LIVE = {"run/k": Current(3, "abc", 10)}


def test_an_archive_that_holds_what_clients_may_read_has_no_difference() -> None:
    current = LIVE | {"run/gone": Current(2, None), "run/none/x": Current(5, "xyz", 1)}
    assert compare(current, {"cluster/run/k": Held(10, "abc", 3)}, SHAPE, KEYS) == []
    # what changes no bytes need not be shipped again
    assert compare(LIVE, {"cluster/run/k": Held(10, "abc", 2)}, SHAPE, KEYS) == []


@pytest.mark.parametrize(
    ("current", "held", "said"),
    [
        (LIVE, {}, "run/k is at generation 3, and the archive does not hold it"),
        (LIVE, {"run/k": Held(10, "other", 3)}, "run/k is at generation 3 with 10 bytes, and the archive holds other"),
        (LIVE, {"run/k": Held(9, "abc", 3)}, "run/k is at generation 3 with 10 bytes, and the archive holds other"),
        (LIVE, {"run/k": Held(10, "abc", 4)}, "run/k is at generation 3, and the archive is ahead: 4"),
        (LIVE, {"run/k": Held(10, "abc", None)}, "run/k is in the archive without its generation"),
        (
            {"run/k": Current(4, None)},
            {"run/k": Held(10, "abc", 3)},
            "run/k was deleted as generation 4, and the archive",
        ),
        (
            {"run/none/x": Current(1, "abc", 10)},
            {"run/none/x": Held(10, "abc", 1)},
            "run/none/x has mode none, and the",
        ),
        (
            {},
            {"run/ghost": Held(1, "abc", 1)},
            "the archive holds cluster/run/ghost: clients find nothing there, nor that it was deleted",
        ),
        ({}, {"elsewhere": Held(1, "abc", 1)}, "the archive holds cluster/elsewhere: no node has such a key"),
    ],
)
def test_each_difference_is_told(current: dict[str, Current], held: dict[str, Held], said: str) -> None:
    (line,) = compare(current, {KEYS.prefix + path: each for path, each in held.items()}, SHAPE, KEYS)
    assert line.startswith(said)


def past(*changes: tuple[float, str, int | None]) -> Past:
    """Seconds of the run, path, and generation; none: it is gone."""
    told = (
        Change(100.0 + at_s, KEYS.prefix + path, number, f"e{number}" if number else None)
        for at_s, path, number in changes
    )
    return Past(told, KEYS.prefix, 100.0)


def test_an_archive_that_only_goes_on_took_no_step_back() -> None:
    assert (
        past((1, "run/k", 1), (2, "run/k", 1), (3, "run/k", 5), (4, "run/k", None), (5, "run/k", 7)).steps_back() == []
    )


def test_an_older_object_over_a_newer_one_is_a_step_back_and_one_that_was_gone_may_be_back() -> None:
    over = "the archive went back: run/k was at generation 3, and then at 2"
    assert past((1, "run/k", 3), (2, "run/k", 2)).steps_back() == [over]
    assert past((1, "run/k", 3), (2, "run/k", None), (3, "run/k", 2)).steps_back() == []


def test_a_late_write_may_take_bytes_that_came_again_for_those_that_it_saw() -> None:
    def changes(*told: tuple[int, str]) -> Past:
        return Past((Change(at, "run/k", number, etag) for at, (number, etag) in enumerate(told)), "", 0.0)

    assert changes((1, "empty"), (3, "empty"), (2, "two")).steps_back() == []
    assert changes((1, "one"), (3, "empty"), (2, "two")).steps_back() != []


def op(kind: Kind, invoke_s: float, return_s: float | None, generation: int, path: str = "run/k") -> Operation:
    outcome: Outcome = "unknown" if return_s is None else "ok"
    return Operation(
        client="n1-0",
        op=1,
        kind=kind,
        path=path,
        node="n1",
        invoke_us=int(invoke_s * 1e6),
        return_us=None if return_s is None else int(return_s * 1e6),
        outcome=outcome,
        generation=generation,
        deleted=kind in ("delete", "mark"),
    )


def early(operations: list[Operation], *changes: tuple[float, str, int | None]) -> list[str]:
    return told_too_early(operations, past(*changes), SHAPE)


def test_a_write_that_the_archive_has_when_its_client_is_told_is_not_early() -> None:
    assert early([op("put", 1, 2, 3)], (1.5, "run/k", 3)) == []
    assert early([op("put", 1, 2, 3)], (1.5, "run/k", 4)) == []  # overtaken by a newer one
    assert early([op("put", 1, 2, 3)], (1.4, "run/k", 3), (1.5, "run/k", None)) == []


def test_a_write_of_which_a_client_is_told_before_the_archive_has_it_is_early() -> None:
    (line,) = early([op("put", 1, 2, 3)], (0.5, "run/k", 2), (2.5, "run/k", 3))
    assert line == "n1-0/1 was told at 2.000 s that run/k is at generation 3, and the archive had only had 2"
    assert early([op("put", 1, 2, 3)])
    assert not early([op("put", 1, 2, 3, "run/back/k"), op("put", 1, 2, 3, "run/none/k"), op("put", 1, None, 3)])


def test_a_write_that_a_deletion_overtakes_need_never_have_been_in_the_archive() -> None:
    put = op("put", 1, 2, 3)
    assert early([put, op("delete", 1.2, 1.8, 4)]) == []
    assert early([put, op("delete", 0.1, None, 4)]) == []  # it may happen at any time
    assert early([put, op("delete", 0.1, 0.9, 2)]) != []
    assert early([put, op("delete", 2.1, 2.9, 4)]) != []


def test_a_deletion_of_which_a_client_is_told_has_left_nothing_older_in_the_archive() -> None:
    deletion = op("delete", 1, 2, 4)
    assert early([deletion], (0.5, "run/k", 3), (1.5, "run/k", None)) == []
    assert early([deletion], (0.5, "run/k", 3), (1.5, "run/k", None), (1.6, "run/k", 5)) == []
    assert early([deletion]) == []
    # a late write puts something older back, for a while
    assert early([deletion], (0.5, "run/k", 3), (1.5, "run/k", None), (1.6, "run/k", 2)) == []
    (line,) = early([deletion], (0.5, "run/k", 3), (2.5, "run/k", None))
    assert line == "n1-0/1 was told at 2.000 s that run/k is deleted as generation 4, and the archive still held 3"
    assert early([deletion], (0.5, "run/k", 2), (1.5, "run/k", 3))
    # of two that are told of the same generation, one wrote nothing
    assert early([deletion, op("delete", 1, 2.7, 4)], (0.5, "run/k", 3), (2.5, "run/k", None)) == []
