"""Events out: numbered without a hole, valid against the schema, completed after a kill, never lost in silence."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import trace
from impl.model import VIRGIN, Ballot, Register
from impl.protocol import change, events
from impl.storage.tests.rig import head
from impl.tests.schema import SCHEMA, faults
from impl.trace import FileTrace, complete, trace_file

NODE, NOW_MS = "n1", 1_700_000_000_000
KINDS: tuple[type[events.TraceEvent], ...] = get_args(events.TraceEvent)
HEADER = {"node", "incarnation", "seq", "time_ms"}
DURABLE = {*("Promise", "Accept", "Adopt", "Collect", "Claim", "Rejoin", "Back"), *("Confirm", "Settle", "Doubt")}

nodes = st.sampled_from(("n1", "n2", "a node"))
node_sets = st.lists(nodes, min_size=1, unique=True).map(tuple)
ballots = st.builds(Ballot, st.integers(0, 2**40), nodes)
event_ids = st.builds("{}.{}.{}".format, nodes, st.integers(1, 99), st.integers(1, 9999))


def values_of(name: str, annotation: object) -> st.SearchStrategy[Any]:
    """Values of a field as nodes produce them."""
    if name == "cause":
        return st.lists(event_ids, max_size=3).map(tuple)
    if annotation is Ballot or annotation == Ballot | None:
        return ballots if annotation is Ballot else st.none() | ballots
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if name == "condition":
        return st.sampled_from(get_args(change.ConditionKind))
    if annotation == tuple[int, ...]:
        return st.lists(st.integers(0, 2**40), max_size=4).map(tuple)
    if annotation == tuple[int, ...] | None:
        return st.none() | st.lists(st.integers(0, 2**16), max_size=4).map(tuple)
    if annotation == tuple[str, ...]:
        return node_sets
    if name == "preferred":
        return nodes
    if annotation is int:
        return st.integers(1 if name == "write_quorum" else 0, 2**40)
    if annotation is bool:
        return st.booleans()
    text = st.text(min_size=1)  # paths, etags, write ids: anything at all
    return st.none() | text if isinstance(annotation, UnionType) else text


def events_of(kind: type[events.TraceEvent]) -> st.SearchStrategy[events.TraceEvent]:
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: values_of(field.name, field.type) for field in fields})


any_event = st.one_of(*(events_of(kind) for kind in KINDS))


def tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def schema_of(name: str) -> dict[str, Any]:
    described: dict[str, Any] = SCHEMA["$defs"][name]
    return described


def opened(directory: Path, incarnation: int = 1) -> FileTrace:
    tracer = FileTrace(directory, NODE, incarnation, lambda: NOW_MS, lambda number, disk: None)
    tracer.start("c1", ("n1", "n2"))
    return tracer


def lines_of(directory: Path, incarnation: int = 1) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trace_file(directory, NODE, incarnation).read_bytes().splitlines()]


def test_the_kinds_of_events_are_those_of_the_schema() -> None:
    told = {branch["$ref"].removeprefix("#/$defs/") for branch in SCHEMA["oneOf"]}
    assert {tag(kind) for kind in KINDS} | {"Start", "Stop"} == told


@pytest.mark.parametrize("kind", [*KINDS, trace._Start, trace._Stop], ids=tag)
def test_an_event_has_exactly_the_fields_that_the_schema_gives_it(kind: type[msgspec.Struct]) -> None:
    ours = {field.encode_name for field in msgspec.structs.fields(kind)} | HEADER | {"event"}
    described = schema_of(tag(kind))
    assert set(described["properties"]) - {"commit", "disk"} == ours == set(described["required"])
    assert described["properties"]["event"] == {"const": tag(kind)}
    assert ("commit" in described["properties"]) == (tag(kind) in DURABLE)


@pytest.mark.parametrize("kind", KINDS, ids=tag)
def test_the_words_that_a_field_may_have_are_those_of_the_schema(kind: type[events.Event]) -> None:
    for field in msgspec.structs.fields(kind):
        annotation = change.ConditionKind if field.name == "condition" and field.type is str else field.type
        words = schema_of(tag(kind))["properties"][field.encode_name].get("enum", [])
        assert set(words) == (set(get_args(annotation)) if get_origin(annotation) is Literal else set())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(any_event, st.booleans()), max_size=20), st.booleans())
def test_every_line_is_valid_and_numbered_without_a_hole(told: list[tuple[Any, bool]], is_stopped: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tracer, commits, ids = opened(Path(directory)), 0, []
        for event, flush in told:
            if tag(type(event)) in DURABLE:
                commits += 1
                ids.append(tracer.emit_durable(msgspec.json.encode(event), commits))
            else:
                ids.append(tracer.emit(event))
            if flush:
                tracer.flush()
        if is_stopped:
            tracer.close()
        else:
            tracer.flush()
        lines = lines_of(Path(directory))
        assert [fault for line in lines for fault in faults(line)] == []
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        assert [f"{line['node']}.{line['incarnation']}.{line['seq']}" for line in lines[1:][: len(ids)]] == ids
        assert [line["event"] for line in lines] == (
            ["Start", *(tag(type(event)) for event, _ in told), *(["Stop"] if is_stopped else [])]
        )
        assert [line["commit"] for line in lines if "commit" in line] == list(range(1, commits + 1))


def test_what_was_found_is_told_once_a_path_and_only_after_a_restart(tmp_path: Path) -> None:
    found = Register(Ballot(9, "n2"), Ballot(3, "n1"), head(3))
    for incarnation in (1, 2):
        tracer = opened(tmp_path, incarnation)
        for _ in range(2):
            tracer.touch("a", found)
            tracer.touch("b", VIRGIN)
        tracer.close()
    assert [line["event"] for line in lines_of(tmp_path, 1)] == ["Start", "Stop"]
    _, a, b, _ = lines_of(tmp_path, 2)
    assert (a["event"], a["path"], a["promised"], a["accepted"]) == ("Restart", "a", [9, "n2"], [3, "n1"])
    assert (a["generation"], a["etag"], a["deleted"]) == (3, "etag3", False)
    assert (b["path"], b["promised"], b["accepted"], b["generation"], b["etag"]) == ("b", None, None, 0, None)
    assert not [fault for line in (a, b) for fault in faults(line)]


def promise(number: int) -> events.Promise:
    return events.Promise(
        path=f"p{number}", ballot=Ballot(number, NODE), was_promised=None, was_accepted=None, was_generation=0
    )


def durable_events(count: int) -> list[tuple[int, bytes]]:
    """As many durable events, as they are in the database."""
    return [(number, msgspec.json.encode(promise(number))) for number in range(1, count + 1)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 150))
def test_a_killed_incarnations_trace_is_completed_from_the_database(
    written: int, more: int, pruned: int, torn_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tracer, durable = opened(directory), durable_events(written + more)
        for number, encoded in durable[:written]:
            tracer.emit_durable(encoded, number)
        tracer.flush()
        whole = trace_file(directory, NODE, 1).read_bytes()
        last_line_bytes = len(whole.splitlines(keepends=True)[-1])
        torn_bytes = min(torn_bytes, last_line_bytes) if written else 0
        trace_file(directory, NODE, 1).write_bytes(whole[: len(whole) - torn_bytes])
        in_file = written - (1 if torn_bytes else 0)
        added = complete(directory, NODE, 1, durable[min(pruned, in_file) :])
        assert added == written + more - in_file
        lines = lines_of(directory)
        assert [line.get("commit") for line in lines] == [None, *range(1, written + more + 1)]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        assert not [fault for line in lines for fault in faults(line)]
        assert complete(directory, NODE, 1, durable) == 0, "completing it twice adds nothing"


def test_completion_looks_back_past_any_number_of_volatile_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "TAIL_BYTES", 1000)
    durable = durable_events(3)
    tracer = opened(tmp_path)
    tracer.emit_durable(durable[0][1], 1)
    for _ in range(100):
        tracer.emit(events.Report(path="a", read="r", was_promised=None, was_accepted=None, was_generation=0))
    tracer.flush()
    assert complete(tmp_path, NODE, 1, durable) == 2
    lines = lines_of(tmp_path)
    assert [line["seq"] for line in lines] == list(range(1, 105))
    assert [line["commit"] for line in lines if "commit" in line] == [1, 2, 3]


def test_an_incarnation_that_never_wrote_a_line_has_no_file(tmp_path: Path) -> None:
    assert complete(tmp_path, NODE, 1, []) == 0
    trace_file(tmp_path, NODE, 1).write_bytes(b'{"node":"n1","inc')
    assert complete(tmp_path, NODE, 1, []) == 0
    assert not list(tmp_path.iterdir())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((1, 2, 3)), st.booleans()), max_size=25),
    st.dictionaries(st.sampled_from((1, 2, 3)), st.integers(0, 4)),
    st.integers(0, 60),
)
def test_a_trace_of_several_disks_has_each_ones_events_in_order_after_a_kill(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, bool]],
    unpublished: dict[int, int],
    torn_bytes: int,
) -> None:
    directory = tmp_path_factory.mktemp("disks")
    tracer = opened(directory)
    told: dict[int, int] = {1: 0, 2: 0, 3: 0}
    for disk, is_flushed in steps:
        told[disk] += 1
        tracer.emit_durable(msgspec.json.encode(promise(told[disk])), told[disk], disk)
        if is_flushed:
            tracer.emit(events.Report(path="p", read="r", was_promised=None, was_accepted=None, was_generation=0))
            tracer.flush()
    tracer.abandon()
    file = trace_file(directory, NODE, 1)
    left = file.read_bytes()
    begin = left.rfind(b"\n", 0, -1) + 1
    if torn_bytes and begin:
        file.write_bytes(left[: max(begin, len(left) - torn_bytes)])

    durable = {disk: durable_events(count + unpublished.get(disk, 0)) for disk, count in told.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "TAIL_BYTES", 400)
        for _ in range(2):  # a start that is killed while it does this is followed by one that does it again
            for disk, committed in durable.items():
                complete(directory, NODE, 1, committed, disk)
    lines = lines_of(directory)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    for disk, committed in durable.items():
        commits = [line["commit"] for line in lines if "commit" in line and line.get("disk", 1) == disk]
        assert commits == list(range(1, len(committed) + 1))
    assert not [fault for line in lines for fault in faults(line)]


def test_the_database_may_forget_what_is_in_the_file_and_nothing_else(tmp_path: Path) -> None:
    told: list[int] = []

    def flushed(number: int, disk: int) -> None:
        assert disk == 1
        assert [line.get("commit") for line in lines_of(tmp_path)][1:] == list(range(1, number + 1))
        told.append(number)

    tracer = FileTrace(tmp_path, NODE, 1, lambda: NOW_MS, flushed)
    tracer.start("c1", ("n1",))
    for number in range(1, 5):
        tracer.emit_durable(msgspec.json.encode(promise(number)), number)
        if number % 2 == 0:
            tracer.flush()
    assert told == [2, 4]


FULL_DISK = """
import resource, sys
from pathlib import Path
import msgspec
from impl.tests.test_trace import opened, promise
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
tracer = opened(Path(sys.argv[1]))
for number in range(1, 1000):
    tracer.emit_durable(msgspec.json.encode(promise(number)), number)
    tracer.flush()
    print(number, file=sys.stderr)
"""


def test_a_trace_that_cannot_be_written_ends_the_process_as_a_kill_would(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    out = int(ended.stderr.split()[-1])
    assert ended.returncode == 1 and out > 3
    assert "the trace cannot be written" in ended.stdout
    complete(tmp_path, NODE, 1, durable_events(out + 2))
    lines = lines_of(tmp_path)
    assert [line.get("commit") for line in lines] == [None, *range(1, out + 3)]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
