"""TLC as a function, against the real TLC."""

import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checker import tlc
from checker.errors import CannotCheck

Run = Callable[..., tlc.Outcome]

COUNTER = """---- MODULE Counter ----
EXTENDS Integers, TLC
VARIABLE x
Init == x = 0
Next == x < {limit} /\\ x' = {successor}
Small == x < 3
NotZero == x # 0
Growing == [][x' >= x]_x
Says == PrintT(<<"x", x>>)
SaysMuch == PrintT(<<"a value that is too long for one line", "so TLC breaks it", x, {{1, 2, 3}}, [a |-> "b"]>>)
Spec == Init /\\ [][Next]_x
====
"""


@pytest.fixture
def counter(tmp_path: Path) -> Run:
    """Write the counter's module and configuration, and run TLC on them."""

    def run(config: str = "", limit: int = 5, successor: str = "x + 1", **options: Any) -> tlc.Outcome:
        module, cfg = tmp_path / "Counter.tla", tmp_path / "Counter.cfg"
        module.write_text(COUNTER.format(limit=limit, successor=successor))
        cfg.write_text("SPECIFICATION Spec\n" + config)
        return tlc.run(tlc.locate(), module, cfg, **{"is_short": True, **options})

    return run


def test_states_are_counted_and_nothing_is_wrong_when_all_holds(counter: Run) -> None:
    outcome = counter()
    assert (outcome.exit_code, outcome.distinct, outcome.generated) == (0, 6, 6)
    assert outcome.violated is None and outcome.error is None and outcome.finished
    assert outcome.collision is not None and float(outcome.collision) < 1e-6


def test_a_violated_invariant_is_named_with_the_behaviour_that_leads_there(counter: Run) -> None:
    outcome = counter("INVARIANT Small\n")
    assert outcome.violated == "Small"
    assert outcome.error is None
    assert [state.splitlines()[-1] for state in outcome.behaviour] == ["x = 0", "x = 1", "x = 2", "x = 3"]


def test_an_invariant_violated_in_the_first_state_is_named(counter: Run) -> None:
    outcome = counter("INVARIANT NotZero\n")
    assert outcome.violated == "NotZero"


def test_a_violated_action_property_is_named(counter: Run) -> None:
    outcome = counter("PROPERTY Growing\n", successor="x - 1")
    assert (outcome.violated, outcome.error) == ("Growing", None)


def test_what_the_spec_prints_is_returned_in_order_and_nothing_else_is(counter: Run) -> None:
    assert counter("CONSTRAINT Says\n", limit=2).printed == ['<<"x", 0>>', '<<"x", 1>>', '<<"x", 2>>']


def test_a_value_printed_over_several_lines_is_one_value(counter: Run) -> None:
    printed = counter("CONSTRAINT SaysMuch\n", limit=1).printed
    assert len(printed) == 2
    assert printed[1].endswith('1, {1, 2, 3}, [a |-> "b"] >>')


def test_a_spec_that_does_not_parse_is_an_error_that_shows_the_place(counter: Run) -> None:
    outcome = counter(successor="(x + ")
    assert outcome.error is not None and "line 5" in outcome.error
    assert outcome.exit_code != 0 and not outcome.finished


def test_an_unknown_name_is_an_error_that_shows_the_name(counter: Run) -> None:
    outcome = counter(successor="y + 1")
    assert outcome.error is not None and "`y'" in outcome.error and "line 5" in outcome.error


def test_an_unknown_name_in_the_configuration_is_an_error(counter: Run) -> None:
    outcome = counter("INVARIANT Absent\n")
    assert outcome.error is not None and "Absent" in outcome.error
    assert outcome.violated is None


def test_a_spec_that_fails_while_it_is_evaluated_is_an_error_and_no_violation(counter: Run) -> None:
    outcome = counter(successor='x + "one"')
    assert outcome.error is not None and outcome.violated is None


def test_a_search_over_its_time_limit_is_stopped_and_said_so(counter: Run) -> None:
    began = time.monotonic()
    outcome = counter(limit=1_000_000_000, timeout_s=2.5)
    assert time.monotonic() - began < 8
    assert outcome.timed_out
    assert outcome.error is not None and "2.5 s" in outcome.error


def test_all_running_searches_can_be_stopped_from_another_thread(counter: Run) -> None:
    stopper = threading.Timer(1.5, tlc.stop_all)
    stopper.start()
    outcome = counter(limit=1_000_000_000, timeout_s=60)
    stopper.join()
    assert outcome.error is not None and not outcome.timed_out


def test_modules_are_found_in_libraries_and_nothing_is_left_beside_the_spec(tmp_path: Path) -> None:
    library, here = tmp_path / "library", tmp_path / "here"
    library.mkdir()
    here.mkdir()
    (library / "Limit.tla").write_text("---- MODULE Limit ----\nLimit == 2\n====\n")
    (here / "Uses.tla").write_text(
        "---- MODULE Uses ----\nEXTENDS Integers, Limit\nVARIABLE x\n"
        "Spec == x = 0 /\\ [][x < Limit /\\ x' = x + 1]_x\nLess == x < Limit\n====\n"
    )
    (here / "Uses.cfg").write_text("SPECIFICATION Spec\nINVARIANT Less\n")
    outcome = tlc.run(tlc.locate(), here / "Uses.tla", here / "Uses.cfg", libraries=[library])
    assert (outcome.violated, outcome.error) == ("Less", None)
    assert sorted(path.name for path in here.iterdir()) == ["Uses.cfg", "Uses.tla"]


def test_a_jar_that_is_not_there_cannot_check(tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match=r"--tlc-jar .*absent\.jar: no such file"):
        tlc.locate(tmp_path / "absent.jar")


def test_a_file_that_is_no_jar_cannot_check(tmp_path: Path) -> None:
    (tmp_path / "text.jar").write_text("hello")
    with pytest.raises(CannotCheck, match="cannot be read as a jar"):
        tlc.locate(tmp_path / "text.jar")


def test_a_jar_without_tlc_cannot_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "other.jar", "w") as archive:
        archive.writestr("a/B.class", b"")
    monkeypatch.setenv("TLA2TOOLS_JAR", str(tmp_path / "other.jar"))
    with pytest.raises(CannotCheck, match=r"\$TLA2TOOLS_JAR=.* is no TLC"):
        tlc.locate()


def test_a_java_that_cannot_be_started_cannot_check(tmp_path: Path) -> None:
    for name in ("M.tla", "M.cfg"):
        (tmp_path / name).write_text("")
    tool = tlc.Tool(java=tmp_path / "java", jar=tlc.locate().jar)
    with pytest.raises(CannotCheck, match="Java cannot be started"):
        tlc.run(tool, tmp_path / "M.tla", tmp_path / "M.cfg")


def test_a_jvm_that_fails_before_tlc_begins_is_an_error(counter: Run) -> None:
    outcome = counter(heap_mb=100_000_000)
    assert outcome.error is not None and "heap" in outcome.error.lower()
