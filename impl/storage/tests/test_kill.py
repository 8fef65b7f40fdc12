"""kill -9 at any instant: what was acknowledged is there, and the trace says exactly what the disk says."""

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path

import msgspec

from impl.model import Register
from impl.storage.registers import RegisterStore
from impl.storage.tests.rig import opened
from impl.storage.tests.victim import DATABASE, NODE, PATHS
from impl.trace import complete, trace_file

ENDS = (("kill", 40), ("kill", 1), ("die", 1), ("die", 30), ("kill", 90), ("die", 7), ("kill", 150))
"""How each incarnation ends: killed after so many acknowledgements, or dead by itself after so many commits."""


def load_then_kill(directory: Path, acknowledged: int, commits: int = -1) -> tuple[dict[str, int], int]:
    """Run the victim until it has acknowledged so much, and kill it in the midst: last generations, first round."""
    command = [sys.executable, "-m", "impl.storage.tests.victim", str(directory), str(commits)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first_round = int(process.stdout.readline().split()[1])
    generations: dict[str, int] = {}
    for line in itertools.islice(process.stdout, acknowledged):
        path, generation = line.split()
        generations[path] = int(generation)
    process.kill()
    for line in process.stdout:  # what it said before the kill reached it
        if line.endswith("\n"):
            path, generation = line.split()
            generations[path] = int(generation)
    process.wait()
    process.stdout.close()
    return generations, first_round


async def on_disk(directory: Path) -> dict[str, Register]:
    async with opened(directory) as store:
        return {path: await store.read(path) for path in PATHS}


def told(directory: Path, incarnation: int) -> list[dict[str, object]]:
    """The lines of a trace; each must be whole."""
    return [msgspec.json.decode(line) for line in trace_file(directory, NODE, incarnation).read_bytes().splitlines()]


def test_after_any_kill_everything_acknowledged_is_there_and_the_trace_says_what_the_disk_says(tmp_path: Path) -> None:
    rounds = []
    accepted: dict[str, int] = {}
    for incarnation, (end, count) in enumerate(ENDS, start=1):
        generations, first_round = (
            load_then_kill(tmp_path, count) if end == "kill" else load_then_kill(tmp_path, 1 << 30, commits=count)
        )
        rounds.append(first_round)

        store = RegisterStore(tmp_path / DATABASE, 0)
        assert store.incarnation == incarnation + 1
        complete(tmp_path, NODE, incarnation, store.durable_events())
        connection = store._connection
        disk = {
            str(path): msgspec.convert(round, int)
            for path, round in connection.execute("SELECT path, accepted_round FROM registers").fetchall()
        }
        connection.close()

        lines = told(tmp_path, incarnation)
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        commits = [line["commit"] for line in lines if "commit" in line]
        assert commits == list(range(1, len(commits) + 1))
        for line in lines:
            if line["event"] == "Accept":
                accepted[str(line["path"])] = msgspec.convert(line["generation"], int)
        assert accepted == disk
        assert all(disk[path] >= generation for path, generation in generations.items())
    assert all(later >= earlier + 1000 for earlier, later in itertools.pairwise(rounds))


def test_a_start_that_is_killed_before_it_serves_takes_nothing_from_the_trace_of_the_last(tmp_path: Path) -> None:
    generations, _ = load_then_kill(tmp_path, 30)
    assert generations
    before = RegisterStore(tmp_path / DATABASE, 0)
    events = before.durable_events()
    before._connection.close()  # killed here: it has opened the database, and has begun nothing

    again = RegisterStore(tmp_path / DATABASE, 0)
    assert (again.incarnation, again.durable_events()) == (before.incarnation, events)
    complete(tmp_path, NODE, again.incarnation - 1, again.durable_events())
    again.begin()
    again._connection.close()  # and here: its start counts, and there is nothing left to complete

    last = RegisterStore(tmp_path / DATABASE, 0)
    assert last.incarnation == again.incarnation + 1 and not last.durable_events()
    assert complete(tmp_path, NODE, last.incarnation - 1, last.durable_events()) == 0
    last._connection.close()
    told_last = {str(line["path"]): line["generation"] for line in told(tmp_path, 1) if line["event"] == "Accept"}
    registers = asyncio.run(on_disk(tmp_path))
    assert told_last == {path: register.generation for path, register in registers.items() if register.head}
