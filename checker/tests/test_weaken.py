"""`checker weaken` on a system that is not ours: what nothing notices must be explained, and only that."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from checker import manifest as manifests
from checker.cli import app
from checker.tests.conftest import LockRun
from checker.weakenings import parts, weakened, weakenings

SURVIVOR = "ReplayMake: TRUE instead of Make_by(e) = Param_by(trace)"
EXPLAINED = """[[survivor]]
operator = "ReplayMake"
part = "Make_by(e) = Param_by(trace)"
why = "a lock is made once, and the parameter is what that event says"
"""
KILLED = """
[[survivor]]
operator = "Give"
part = "holder = n"
why = "no reason"
"""


def weaken(lock: LockRun, *options: str) -> Result:
    command = ["weaken", str(lock.path), "--manifest", str(lock.manifest), "--jobs", "1", *options]
    return CliRunner().invoke(app, command)


def explain(lock: LockRun, text: str) -> None:
    twins = lock.manifest.parent / "twins"
    twins.mkdir()
    (twins / "survivors.toml").write_text(text)


@pytest.fixture
def corpus(lock: LockRun) -> LockRun:
    """Honest use, and one lie about each condition of the lock."""
    lock.turns(3)
    lock.say("a", "Make", "made twice", fence=5, by="a")
    lock.say("a", "Make", "made twice", fence=7, by="a")
    for name in ("stolen", "given by another", "given otherwise", "not held", "seen otherwise"):
        made = lock.say("a", "Make", name, fence=5, by="a")
        taken = lock.say("a", "Take", name, made, fence=9, was_fence=5, mode="patient")
        match name:
            case "stolen":
                lock.say("b", "Take", name, taken, fence=11, was_fence=9, mode="hasty")
            case "given by another":
                lock.say("b", "Give", name, taken, fence=9)
            case "given otherwise":
                lock.say("a", "Give", name, taken, fence=5)
            case "not held":
                lock.say("b", "Look", name, taken, fence=9, held=True)
            case "seen otherwise":
                lock.say("b", "Look", name, taken, fence=5, held=False)
    made = lock.say("a", "Make", "not higher", fence=5, by="a")
    lock.say("b", "Take", "not higher", made, fence=5, was_fence=5, mode="hasty")
    made = lock.say("a", "Make", "taken otherwise", fence=5, by="a")
    lock.say("b", "Take", "taken otherwise", made, fence=9, was_fence=9, mode="hasty")
    lock.write()
    return lock


def test_every_condition_and_every_assignment_is_weakened_once(lock: LockRun) -> None:
    assert [weakening.name for weakening in weakenings(manifests.read(lock.manifest))] == [
        SURVIVOR,
        "ReplayTake: TRUE instead of Take_was_fence(e) = fence",
        "ReplayGive: TRUE instead of Give_fence(e) = fence",
        "Make: TRUE instead of fence = 0",
        "Make: UNCHANGED fence instead of fence' = f",
        "Take: TRUE instead of holder = Nobody",
        "Take: TRUE instead of f > fence",
        "Take: UNCHANGED holder instead of holder' = n",
        "Take: UNCHANGED fence instead of fence' = f",
        "Give: TRUE instead of holder = n",
        "Give: UNCHANGED holder instead of holder' = Nobody",
        "Look: TRUE instead of held <=> holder = n",
        "Look: TRUE instead of \\A i \\in DOMAIN fences : fences[i] = fence",
    ]


def test_a_weakened_module_differs_in_that_one_line_only(lock: LockRun) -> None:
    manifest = manifests.read(lock.manifest)
    for weakening in weakenings(manifest):
        before = (manifest.modules / f"{weakening.module}.tla").read_text()
        changed = [
            (old, new)
            for old, new in zip(before.splitlines(), weakened(before, weakening).splitlines(), strict=True)
            if old != new
        ]
        assert changed == [(f"    /\\ {weakening.part}", f"    /\\ {weakening.instead}")]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("a = b", []),
        ("a /\\ b", ["a", "b"]),
        ("x = 0 \\/ (f(a, b) = c /\\ y > x)", ["f(a, b) = c", "y > x"]),
        ("p => a /\\ \\A r \\in S : b /\\ c", ["a", "\\A r \\in S : b /\\ c", "b", "c"]),
        ("IF a /\\ b THEN c ELSE \\E x : d /\\ e", ["a", "b", "d", "e"]),
        ("a /\\ LET x == b /\\ c IN x => d", ["a", "LET x == b /\\ c IN x => d", "b", "c"]),
        ("(a /\\ b) = (c /\\ d)", ["a", "b", "c", "d"]),
    ],
)
def test_the_parts_of_a_condition_are_the_operands_of_its_conjunctions(condition: str, wanted: list[str]) -> None:
    assert [condition[begin:end] for begin, end in sorted(parts(condition))] == wanted


def test_what_nothing_notices_is_named_and_must_be_explained(corpus: LockRun) -> None:
    result = weaken(corpus)
    assert result.exit_code == 1, result.output
    assert f"{SURVIVOR}: nothing notices" in result.output
    assert "13 weakenings: 12 noticed (12 by the corpus, 0 by the models), 1 survive; 2 faults" in result.output
    assert "only 12 of 13 are noticed; it must be 95%" in result.output


def test_a_trace_is_accepted_as_soon_as_the_one_condition_against_it_is_gone(corpus: LockRun) -> None:
    result = weaken(corpus, "--only", "Take: TRUE instead of holder", "--only", "Give: TRUE")
    assert result.exit_code == 0, result.output
    assert "the corpus accepts 'stolen'" in result.output
    assert "the corpus accepts 'given by another'" in result.output


def test_a_step_that_is_not_taken_has_honest_traces_refused(corpus: LockRun) -> None:
    result = weaken(corpus, "--only", "Make: UNCHANGED fence")
    assert result.exit_code == 0, result.output
    assert "refuses 'door'" in result.output


def test_an_explained_survivor_is_no_fault(corpus: LockRun) -> None:
    explain(corpus, EXPLAINED)
    result = weaken(corpus, "--only", "ReplayMake")
    assert result.exit_code == 0, result.output
    assert "1 weakenings: 0 noticed (0 by the corpus, 0 by the models), 1 survive; each of them is explained" in (
        result.output
    )


def test_an_explanation_of_what_is_noticed_is_a_fault(corpus: LockRun) -> None:
    explain(corpus, EXPLAINED + KILLED)
    result = weaken(corpus, "--only", "Give: TRUE")
    assert result.exit_code == 1, result.output
    assert "Give: TRUE instead of holder = n: explained as a survivor, but" in result.output


def test_an_explanation_of_a_condition_that_is_not_there_is_a_fault(corpus: LockRun) -> None:
    explain(corpus, EXPLAINED + KILLED.replace("holder = n", "holder = m"))
    result = weaken(corpus)
    assert "survivors.toml: there is no condition 'holder = m' in Give: remove it" in result.output


def test_a_weakening_under_which_tlc_fails_is_noticed_and_the_others_are_judged(corpus: LockRun) -> None:
    module = corpus.manifest.parent / "LockTrace.tla"
    guarded = "    /\\ Give_fence(e) \\in {fence}\n    /\\ [f \\in {fence} |-> f][Give_fence(e)] = fence\n"
    module.write_text(module.read_text().replace("    /\\ Give_fence(e) = fence\n", guarded))
    result = weaken(corpus, "--only", "Give")
    assert result.exit_code == 1, result.output
    assert "the corpus no verdict: " in result.output
    assert "the corpus accepts 'given by another'" in result.output


def test_a_run_that_is_no_run_cannot_be_checked(lock: LockRun, tmp_path: Path) -> None:
    result = weaken(lock)
    assert result.exit_code == 2
    assert "could not check" in result.output
