"""A short fuzz of every parser in the ordinary suite, and that fuzzing finds what there is to find."""

import time

import pytest

from ci.fuzz import engine
from ci.fuzz.engine import by_chance, by_coverage, has_atheris
from ci.fuzz.targets import TARGETS, Target
from impl.errors import DiskFull, InvalidArgument

INPUTS = 3000


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_makes_a_parser_do_anything_but_refuse(target: Target) -> None:
    fed = by_chance(target, target.seeds, INPUTS, seed=2)
    assert (fed.inputs, fed.crash) == (INPUTS, None)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_some_inputs_are_understood_and_some_are_not(target: Target) -> None:
    fed = by_chance(target, target.seeds, INPUTS, seed=3)
    assert fed.understood is not None and 0 < fed.understood < INPUTS


def test_a_crash_is_told_with_its_input() -> None:
    def read(fuzzed: bytes) -> None:
        if b"<<" in fuzzed:
            raise ZeroDivisionError

    fed = by_chance(Target("planted", read, (b"<a>",)), (b"<a>",), 100_000, seed=1)
    assert fed.crash is not None and fed.crash.startswith("ZeroDivisionError() for b'")
    assert fed.inputs < 100_000


def test_a_hang_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOWEST_S", 0.05)
    fed = by_chance(Target("planted", lambda _: time.sleep(60), (b"",)), (b"",), 10, seed=1)
    assert fed.crash is not None and fed.crash.startswith("Hang(")


def test_a_refusal_is_no_crash_but_a_fault_of_ours_is() -> None:
    def refuse(fuzzed: bytes) -> None:
        raise InvalidArgument("so it should be")

    def fail(fuzzed: bytes) -> None:
        raise DiskFull("no input can do that")

    assert by_chance(Target("planted", refuse, (b"",)), (b"",), 10, seed=1).crash is None
    assert by_chance(Target("planted", fail, (b"",)), (b"",), 10, seed=1).crash is not None


@pytest.mark.skipif(not has_atheris(), reason="atheris is not installed; `make fuzz` does")
def test_guided_by_coverage_the_same_targets_are_fed() -> None:
    fed = by_coverage("query", TARGETS[4].seeds, 500, seed=1)
    assert (fed.inputs, fed.crash) == (500, None) and fed.edges
