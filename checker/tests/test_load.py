"""Whatever is wrong with a trace file is said with its name and line, and nothing is guessed."""

import json
from pathlib import Path

import pytest

from checker import manifest as manifests
from checker.errors import CannotCheck
from checker.load import Traces, load
from checker.tests.conftest import LockRun


def read(lock: LockRun) -> Traces:
    return load(lock.path, manifests.read(lock.manifest))


def complaint(lock: LockRun) -> str:
    with pytest.raises(CannotCheck) as error:
        read(lock)
    return str(error.value)


def rewritten(text: str, line: int, **fields: object) -> str:
    lines = text.splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields})
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def _two_turns(lock: LockRun) -> None:
    lock.turns(2)
    lock.write()


def test_every_line_becomes_an_event_with_its_own_fields_its_causes_and_its_place(lock: LockRun) -> None:
    traces = read(lock)
    assert len(traces) == sum(map(len, lock.files.values()))
    event = next(event for event in traces.events() if event.node == "b" and event.kind == "Look")
    assert event.id == "b.1.2"
    assert (event.key, event.cause, event.fields["held"]) == ("door", ("a.1.3",), False)
    assert (event.file, event.line) == (str(lock.file("b")), 2)


def test_a_garbled_line_is_named(lock: LockRun) -> None:
    lock.edit("a", lambda text: text.replace('"seq": 3', '"seq": "', 1))
    assert f"{lock.file('a')}:3: " in complaint(lock)


def test_a_line_that_is_no_json_is_named_and_shown(lock: LockRun) -> None:
    lock.edit("b", lambda text: text + "what?\n")
    said = complaint(lock)
    assert f"{lock.file('b')}:5: is no JSON object" in said and "what?" in said


def test_another_version_of_the_format_is_refused_with_both_versions(lock: LockRun) -> None:
    lock.edit("a", lambda text: text.replace('"format": 3', '"format": 4'))
    said = complaint(lock)
    assert f"{lock.file('a')}:1: format is 4" in said and "is for 3" in said


def test_a_file_that_does_not_begin_with_its_first_line_is_refused(lock: LockRun) -> None:
    lock.edit("a", lambda text: rewritten(text, 1, event="End"))
    assert "the first line must be 'Begin', but it is 'End'" in complaint(lock)


def test_a_hole_in_seq_is_an_error_and_not_a_search(lock: LockRun) -> None:
    lock.edit("a", lambda text: "".join(text.splitlines(keepends=True)[:2] + text.splitlines(keepends=True)[3:]))
    assert f"{lock.file('a')}:3: seq is 4, but 3 is next" in complaint(lock)


def test_a_line_that_stands_twice_is_an_error(lock: LockRun) -> None:
    lock.edit("a", lambda text: text + text.splitlines(keepends=True)[-1])
    assert "seq is 5, but 6 is next" in complaint(lock)


def test_a_line_of_another_node_is_an_error(lock: LockRun) -> None:
    lock.edit("a", lambda text: rewritten(text, 2, node="b"))
    assert f"{lock.file('a')}:2: is of node 'b'" in complaint(lock)


def test_an_unknown_kind_of_event_is_named_with_those_that_are_known(lock: LockRun) -> None:
    lock.edit("a", lambda text: rewritten(text, 3, event="Steal"))
    said = complaint(lock)
    assert f"{lock.file('a')}:3: " in said and "no event 'Steal'" in said and "Take" in said


def test_an_event_without_what_traces_are_split_by_is_an_error(lock: LockRun) -> None:
    lock.edit("a", lambda text: rewritten(text, 3, lock=None))
    assert f"{lock.file('a')}:3: the field 'lock' is missing" in complaint(lock)


def test_an_empty_file_is_an_error(lock: LockRun) -> None:
    lock.file("c").write_text("")
    assert f"{lock.file('c')}: is empty" in complaint(lock)


def test_a_cause_that_no_file_has_is_an_error(lock: LockRun) -> None:
    lock.edit("b", lambda text: rewritten(text, 2, cause=["a.1.99"]))
    assert f"{lock.file('b')}:2: its cause a.1.99 is not in {lock.file('a')}" in complaint(lock)
    lock.edit("b", lambda text: rewritten(text, 2, cause=["z.1.2"]))
    assert f"{lock.file('b')}:2: the cause 'z.1.2' is of no trace file" in complaint(lock)


def test_a_truncated_last_line_is_left_out_and_noted(lock: LockRun) -> None:
    lock.edit("b", lambda text: text + '{"node": "b", "incarn')
    traces = read(lock)
    assert len(traces) == sum(map(len, lock.files.values()))
    assert len(traces.notes) == 1 and f"{lock.file('b')}:5: the last line is truncated" in traces.notes[0]


def test_a_whole_last_line_without_its_newline_counts(lock: LockRun) -> None:
    lock.edit("a", lambda text: text.rstrip("\n"))
    traces = read(lock)
    assert len(traces) == sum(map(len, lock.files.values())) and not traces.notes
    assert traces.event(len(lock.files["a", 1]) - 1).kind == "Look"


def test_nothing_may_follow_the_line_of_a_clean_end(lock: LockRun) -> None:
    lock.say("a", "End", None)
    lock.write()
    lock.edit("a", lambda text: text + '{"node": "a", "incarn')
    assert "a line after the last one of a clean end" in complaint(lock)


def test_a_file_with_a_strange_name_is_an_error(lock: LockRun) -> None:
    (lock.path / "traces" / "notes.ndjson").write_text("{}\n")
    assert "must be named <node>.<incarnation>.ndjson" in complaint(lock)


def test_a_folder_without_traces_is_no_run(tmp_path: Path, lock: LockRun) -> None:
    with pytest.raises(CannotCheck, match="is no run directory"):
        load(tmp_path, manifests.read(lock.manifest))
