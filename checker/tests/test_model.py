"""`checker model` on our own spec, and on small specs that are wrong in one way each; always with the real TLC."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from checker import model, tlc
from checker.cli import app
from checker.errors import CannotCheck
from checker.model_command import SPECS

REGISTER = model.read_suite("register", SPECS)
BUCKET = model.read_suite("bucket", SPECS)
TIERING = model.read_suite("tiering", SPECS)
SMALLEST = 3
QUICK_TWINS = [
    "acknowledge-before-quorum",
    "adopt-below-promise",
    "collect-forgets-the-promise",
    "propose-without-quorum",
    "stale-read",
    "write-id-forgotten",
]

QUICK_TWINS_OF_TIERING = ["evict-unsettled", "life-begins-with-the-look"]

COUNTER = """---- MODULE Counter ----
EXTENDS Integers
VARIABLE x
Next == x < 3 /\\ x' = x + 1
Spec == x = 0 /\\ [][Next]_x
====
"""
COUNTER_MC = """---- MODULE CounterMC ----
EXTENDS Counter
CONSTANT Top
Small == x <= Top
NotNegative == x >= 0
====
"""
CONFIG = "\\* Counts to three.\n\\* distinct states: 4\nSPECIFICATION Spec\nCONSTANT Top = 3\nINVARIANTS\n    Small\n"
TWIN = """[[twin]]
name = "counts-on"
model = "small"
module = "Counter"
find = 'x < 3'
replace = 'x < 5'
breaks = "Small"
why = "it must stop"
"""

Write = Callable[..., Path]


@pytest.fixture
def counter(tmp_path: Path) -> Write:
    """Write a spec with one model and one twin that is as it should be, but for the changes asked for."""

    def write(config: str = CONFIG, twins: str = TWIN, counter: str = COUNTER) -> Path:
        for name, text in {
            "tla/Counter.tla": counter,
            "tla/CounterMC.tla": COUNTER_MC,
            "tla/CounterMC.small.cfg": config,
            "twins/counter.toml": twins,
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def run_command(specs: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["model", "--spec", "counter", "--specs", str(specs), "--workers", "1", *options])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("bounded", REGISTER.models[:SMALLEST], ids=lambda bounded: bounded.name)
def test_a_small_model_of_the_register_holds_with_the_promised_number_of_states(bounded: model.Model) -> None:
    result = model.check_model(tlc.locate(), bounded, workers=1, timeout_s=120)
    assert (result.fault, result.cannot) == (None, None)


@pytest.mark.parametrize("name", QUICK_TWINS)
def test_a_broken_twin_of_the_register_is_refuted(name: str) -> None:
    twin = next(twin for twin in REGISTER.twins if twin.name == name)
    result = model.check_twin(tlc.locate(), REGISTER.model(twin.model), twin, workers=1, timeout_s=120)
    assert (result.fault, result.cannot) == (None, None)


@pytest.mark.parametrize("twin", BUCKET.twins, ids=lambda twin: twin.name)
def test_a_broken_twin_of_the_bucket_is_refuted(twin: model.Twin) -> None:
    result = model.check_twin(tlc.locate(), BUCKET.model(twin.model), twin, workers=1, timeout_s=120)
    assert (result.fault, result.cannot) == (None, None)


def test_every_invariant_of_the_bucket_has_a_twin_that_breaks_it() -> None:
    assert BUCKET.unbroken() == []


def test_the_smallest_model_of_tiering_holds_with_the_promised_number_of_states() -> None:
    result = model.check_model(tlc.locate(), TIERING.models[0], workers=1, timeout_s=120)
    assert (result.fault, result.cannot) == (None, None)


@pytest.mark.parametrize("name", QUICK_TWINS_OF_TIERING)
def test_a_broken_twin_of_tiering_is_refuted(name: str) -> None:
    twin = next(twin for twin in TIERING.twins if twin.name == name)
    result = model.check_twin(tlc.locate(), TIERING.model(twin.model), twin, workers=1, timeout_s=120)
    assert (result.fault, result.cannot) == (None, None)


def test_every_invariant_of_tiering_has_a_twin_that_breaks_it() -> None:
    assert TIERING.unbroken() == []


def test_every_model_of_tiering_checks_every_invariant() -> None:
    assert len({bounded.checks for bounded in TIERING.models}) == 1


def test_every_twin_changes_exactly_one_line() -> None:
    for twin in (*REGISTER.twins, *TIERING.twins):
        before = (SPECS / "tla" / f"{twin.module}.tla").read_text()
        after = model.changed_module(SPECS / "tla", twin)
        changed = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1, twin.name


def test_every_invariant_of_the_register_has_a_twin_that_breaks_it() -> None:
    assert REGISTER.unbroken() == []


def test_every_model_of_the_register_checks_every_invariant() -> None:
    models = [bounded.checks for bounded in REGISTER.models if not bounded.name.startswith("commute")]
    assert len(models) == 15 and len(set(models)) == 1


def test_the_models_of_commuting_events_check_just_that() -> None:
    lemmas = {bounded.checks for bounded in REGISTER.models if bounded.name.startswith("commute")}
    assert lemmas == {("EnabledWithout", "Commute")}


def test_a_spec_that_is_as_it_should_be_exits_with_0(counter: Write) -> None:
    code, output = run_command(counter())
    assert "model small 4" in output
    assert "refuted by Small in small" in output
    assert code == 0


def test_a_violated_invariant_exits_with_1_and_shows_the_behaviour(counter: Write) -> None:
    code, output = run_command(counter(config=CONFIG.replace("Top = 3", "Top = 1")))
    assert "Small is violated" in output and "x = 2" in output
    assert code == 1


def test_a_model_with_another_number_of_states_than_promised_exits_with_1(counter: Write) -> None:
    code, output = run_command(counter(config=CONFIG.replace("states: 4", "states: 5")))
    assert "4 distinct states, but CounterMC.small.cfg promises 5" in output
    assert code == 1


def test_a_model_that_promises_no_number_of_states_exits_with_1(counter: Write) -> None:
    code, output = run_command(counter(config=CONFIG.replace("distinct states", "states")))
    assert r"add \* distinct states: 4" in output
    assert code == 1


def test_a_twin_that_is_not_refuted_exits_with_1(counter: Write) -> None:
    code, output = run_command(counter(twins=TWIN.replace("x < 5", "x < 2")))
    assert "TLC did not refute it: Small holds in all 3 states" in output
    assert code == 1


def test_an_invariant_that_no_twin_breaks_exits_with_1(counter: Write) -> None:
    code, output = run_command(counter(config=CONFIG + "    NotNegative\n"))
    assert "NotNegative: no twin breaks it" in output
    assert code == 1


def test_a_twin_is_refuted_by_the_invariant_that_it_names_alone(counter: Write) -> None:
    """The twin breaks Small, but claims NotNegative: that another invariant falls does not help it."""
    specs = counter(config=CONFIG + "    NotNegative\n", twins=TWIN.replace('"Small"', '"NotNegative"'))
    code, output = run_command(specs, "--only", "counts-on")
    assert "NotNegative holds in all 6 states" in output
    assert code == 1


@pytest.mark.parametrize(
    ("twins", "says"),
    [
        (TWIN.replace("'x < 3'", "'x < 9'"), "must stand exactly once, on one line, in Counter.tla; found 0"),
        (TWIN.replace("'x < 3'", "'x'"), "must stand exactly once, on one line, in Counter.tla; found 8"),
        (TWIN.replace('"Counter"', '"Other"'), "Other.tla"),
        (TWIN.replace('"small"', '"big"'), "there is no model 'big'; there are small"),
        (TWIN.replace('"Small"', '"Large"'), "the model 'small' does not check 'Large'"),
        (TWIN.replace("why = ", "because = "), "because"),
        ("[[twin", "counter.toml"),
    ],
)
def test_a_twin_that_cannot_be_made_exits_with_2_and_says_why(counter: Write, twins: str, says: str) -> None:
    code, output = run_command(counter(twins=twins))
    assert says in output
    assert code == 2


def test_a_spec_that_does_not_parse_exits_with_2(counter: Write) -> None:
    code, output = run_command(counter(counter=COUNTER.replace("x + 1", "y + 1")))
    assert "Unknown operator: `y'" in output
    assert code == 2


def test_a_spec_without_models_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match="no model of the spec 'other'"):
        model.find_models("other", tmp_path)


def test_a_configuration_for_one_invariant_keeps_everything_but_what_was_checked() -> None:
    config = "\\* Head.\nSPECIFICATION S\nCONSTANTS\n    A = 1 \\* why\n    B <- C\nINVARIANTS\n    I J\nCONSTRAINT K\n"
    assert model.checking_only(config, "J") == (
        "SPECIFICATION S\nCONSTANTS\n    A = 1 \n    B <- C\nCONSTRAINT K\nINVARIANT J\n"
    )
