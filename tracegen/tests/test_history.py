"""The clients' history: what is on file, and what overlaps what."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracegen.history import FLUSH_LINES, Operation, Recorder, RunClock
from tracegen.workload.window import RECENT_WRITES, Window


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "history.ndjson", RunClock())


def operation(op: int, invoke_us: int, return_us: int | None, **more: object) -> Operation:
    outcome = "unknown" if return_us is None else "ok"
    fields = {"client": "c", "op": op, "kind": "put", "path": "k", "node": "n1", "outcome": outcome} | more
    return msgspec.convert(fields | {"invoke_us": invoke_us, "return_us": return_us}, Operation)


def test_every_operation_is_on_file_in_the_order_of_recording(recorder: Recorder, tmp_path: Path) -> None:
    recorded = [operation(at, at, at + 1, write_id=f"w{at}") for at in range(FLUSH_LINES + 3)]
    for one in recorded:
        recorder.record(one)
    recorder.close()
    lines = (tmp_path / "history.ndjson").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Operation) for line in lines] == recorded
    assert recorder.operations == recorder.writes_acknowledged == len(recorded)


def test_an_operation_overlaps_a_span_that_it_touches(recorder: Recorder) -> None:
    recorder.record(operation(1, 100, 200))
    assert recorder.overlapping(200, 300) == recorder.overlapping(0, 100) == recorder.overlapping(120, 130) == 1
    assert recorder.overlapping(201, 300) == recorder.overlapping(0, 99) == 0


def test_an_operation_of_unknown_outcome_overlaps_until_its_client_gave_up(recorder: Recorder) -> None:
    recorder.record(operation(1, 0, None))
    assert recorder.overlapping(0, 1) == 1
    assert recorder.overlapping(recorder.clock.now_us() + 1_000_000, recorder.clock.now_us() + 2_000_000) == 0


def test_an_unknown_write_is_not_counted_as_acknowledged(recorder: Recorder) -> None:
    recorder.record(operation(1, 0, None, write_id="w"))
    assert (recorder.writes_acknowledged, dict(recorder.outcomes)) == (0, {"unknown": 1})


def test_who_waits_for_a_write_to_a_node_hears_of_the_next_one_there(recorder: Recorder) -> None:
    async def scene() -> None:
        waiting = recorder.next_write("n1")
        recorder.write_begins("n2")
        assert not waiting.done()
        recorder.write_begins("n1")
        assert waiting.done()
        assert not recorder.next_write("n1").done()

    asyncio.run(scene())


@given(st.lists(st.sampled_from(["write", "replay"]), max_size=120), st.randoms())
def test_a_write_id_is_never_sent_again_when_the_head_may_have_forgotten_it(steps: list[str], draw: object) -> None:
    window = Window()
    bounds: list[int] = []
    started = 0
    for step in steps:
        if step == "write" and not window.is_full("k"):
            bounds.append(window.begin("k"))
            started += 1
            window.settle("k")
        elif step == "replay" and bounds:
            at = draw.randrange(len(bounds))  # type: ignore[attr-defined]
            if window.may_send_again("k", bounds[at]):
                # write `at` is still among the last RECENT_WRITES of the path, as `started - 1 - at` came after it
                assert started - 1 - at < RECENT_WRITES
                window.hold("k", bounds[at])
    assert not window.is_full("other")


def test_a_path_with_a_write_in_doubt_that_was_sent_twice_takes_only_so_many_more() -> None:
    window = Window()
    bound = window.begin("k")
    window.hold("k", bound)  # sent again, and never answered
    count = 0
    while not window.is_full("k"):
        window.begin("k")
        window.settle("k")
        count += 1
        assert count < 100
    assert count < RECENT_WRITES
    window.release("k", bound)
    assert not window.is_full("k")
