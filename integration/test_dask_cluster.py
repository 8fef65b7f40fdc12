"""Past one machine: a Dask cluster of real processes comes to what this machine comes to, also when a worker is killed.

And where it cannot: every way to fail is one line that says what to do.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import checker.cli
import tracegen.cli
from checker import dask_cluster, replay
from checker.dask_cluster import Call, connect
from checker.errors import CannotCheck
from checker.tests.conftest import LockRun
from integration.dask_cluster import STOP_S, Farm, farm, until
from tracegen.guide import steer
from tracegen.guide import swarm as guided_swarm
from tracegen.swarm import pool

MUTANT = ("--mutant", "quorum-of-one")  # most seeds show it, so most runs are kept
SEEDS = "1..8"


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm(tmp_path_factory.mktemp("farm"), {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}) as started:
        yield started


@pytest.fixture
def two_workers(scheduler: Farm) -> Farm:
    """Two workers: those that a test before has killed are started anew."""
    for name, process in tuple(scheduler.workers.items()):
        if process.poll() is not None:
            del scheduler.workers[name]
    scheduler.add(*{"one", "two"} - scheduler.workers.keys())
    return scheduler


@pytest.fixture
def lock(tmp_path: Path) -> LockRun:
    return LockRun(tmp_path)


def swarm(keep: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the tally of `tracegen sim`, without what no two runs have in common."""
    told = CliRunner().invoke(
        tracegen.cli.app,
        ["sim", "--tlc-every", "0", "--no-shrink", "--json", "--keep", str(keep), *MUTANT, *arguments],
    )
    assert told.stdout, told.stderr
    tally = json.loads(told.stdout)
    for timing in ("seconds", "runs_a_minute"):
        del tally[timing]
    for failure in tally["failures"]:
        del failure["seconds"]
        failure["kept"] = str(Path(failure["kept"]).relative_to(keep))
    tally["failures"].sort(key=lambda failure: failure["seed"])
    return told.exit_code, tally


def files(folder: Path) -> dict[str, bytes | None]:
    """Every file below it and every folder; of run.json without how long it took."""
    found = {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    for name, text in found.items():
        if name.endswith("run.json"):
            found[name] = json.dumps(json.loads(text or b"") | {"stages": {}}).encode()
    return found


@pytest.mark.parametrize("guided", [(), ("--guided",)], ids=["drawn", "guided"])
def test_a_swarm_with_a_worker_killed_midway_comes_to_what_this_machine_comes_to(
    two_workers: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guided: tuple[str, ...]
) -> None:
    monkeypatch.setattr(pool, "CHUNK_SEEDS", 4)
    monkeypatch.setattr(steer, "FRESH_FIRST", 4)  # so that what came of the first half decides what the other tries
    monkeypatch.setattr(guided_swarm, "GENERATION", 4)
    monkeypatch.setattr(guided_swarm, "CHUNK", 2)
    arguments = ("--seeds", SEEDS, *guided)
    with two_workers.killed_midway("one"):
        there = swarm(tmp_path / "there", "--cluster", two_workers.address, *arguments)
    here = swarm(tmp_path / "here", "--jobs", "2", *arguments)
    assert there == here
    assert here[0] == 0 and here[1]["runs"] == 8 and len(here[1]["failures"]) > 3
    # what is kept is here, and the same to the byte
    assert files(tmp_path / "there") == files(tmp_path / "here") != {}


def verdict(lock: LockRun, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the verdict of `checker verify`, without its timings."""
    told = CliRunner().invoke(
        checker.cli.app,
        ["verify", str(lock.path), "--manifest", str(lock.manifest), "--jvms", "2", "--json", *arguments],
    )
    said = json.loads(told.stdout)
    del said["stages"]
    return told.exit_code, said


def test_a_big_trace_with_a_worker_killed_midway_gets_the_verdict_that_this_machine_gives(
    two_workers: Farm, lock: LockRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BATCH_EVENTS_MIN", 20)
    for door in range(4):  # two in a partition, and one of them all is refused
        lock.turns(10, f"door {door}", step=0 if door == 2 else 10)
    lock.write()
    with two_workers.killed_midway("two"):
        there = verdict(lock, "--cluster", two_workers.address)
    assert there == verdict(lock)
    assert there[0] == 1
    [refusal] = there[1]["refused"]
    assert (refusal["key"], refusal["state"]) == ("door 2", {"holder": "none", "fence": "5"})


def test_a_call_that_kills_every_worker_is_named_and_given_up(two_workers: Farm) -> None:
    with (
        connect(two_workers.address) as cluster,
        pytest.raises(CannotCheck, match="seeds 1 to 3: given up after 2 deaths of workers at tcp://"),
    ):
        cluster.call(Call("seeds 1 to 3", os._exit, (1,)))


def test_a_cluster_that_has_lost_all_workers_is_not_waited_for_for_ever(
    two_workers: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "ALONE_S", 0.5)
    two_workers.kill("two")
    alone = f"the cluster at {two_workers.address} had no worker for 0.5 s"
    with connect(two_workers.address) as cluster, pytest.raises(CannotCheck, match=f"{alone} while it had seed 7;"):
        cluster.call(Call("seed 7", os._exit, (1,)))
    with pytest.raises(CannotCheck, match=f"{alone}; start some with `dask worker tcp:"), connect(two_workers.address):
        pass


def test_a_worker_with_other_code_is_refused_by_name(two_workers: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "code_digest", lambda packages: "other")
    with (
        connect(two_workers.address) as cluster,
        pytest.raises(CannotCheck, match=r"the worker tcp://127\.0\.0\.1:\d+: runs another Amberio"),
    ):
        cluster.call(Call("a sum", sum, ([1, 2],)))


def test_who_waits_for_a_call_is_told_when_all_are_taken_back(two_workers: Farm) -> None:
    with connect(two_workers.address) as cluster:
        stopping = threading.Timer(0.5, cluster.stop)
        stopping.start()
        with pytest.raises(CannotCheck, match="under way"):
            cluster.call(Call("a nap", time.sleep, (60,)))
        stopping.join()
        until("the scheduler knows of no call", lambda: not two_workers.busy())


def test_ctrl_c_ends_a_swarm_and_takes_back_its_seeds(two_workers: Farm, tmp_path: Path) -> None:
    # a shell's background job, as CI may be, has SIGINT ignored, and so have its children
    heeding = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from tracegen.cli import main; main()"
    command = [sys.executable, "-c", heeding, "sim", "--seeds", "1..9999", "--cluster", two_workers.address]
    with subprocess.Popen([*command, "--keep", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as sim:
        try:
            until("both workers are at work", lambda: len(two_workers.busy()) == 2)
            sim.send_signal(signal.SIGINT)
            said, _ = sim.communicate(timeout=STOP_S)
        finally:
            sim.kill()
    assert sim.returncode != 0 and b"Traceback" not in said, said
    until("the scheduler knows of no seeds", lambda: not two_workers.busy())


def test_a_scheduler_that_dies_ends_what_waits_for_it(tmp_path: Path) -> None:
    with farm(tmp_path) as own:
        own.add("one")
        with connect(own.address) as cluster, pytest.raises(CannotCheck, match="is gone, and with it all"):
            killing = threading.Timer(0.5, own.scheduler.kill)
            killing.start()
            cluster.call(Call("a nap", time.sleep, (60,)))


def refused(lock: LockRun, tmp_path: Path, address: str, *more: str) -> list[str]:
    """What both commands say of a cluster that is none; both exit with 2, and say it in one line."""
    lock.turns(1)
    lock.write()
    sim = CliRunner().invoke(
        tracegen.cli.app, ["sim", "--seeds", "1..2", "--keep", str(tmp_path / "kept"), "--cluster", address, *more]
    )
    arguments = ["verify", str(lock.path), "--manifest", str(lock.manifest), "--cluster", address, *more]
    check = CliRunner().invoke(checker.cli.app, arguments)
    assert (sim.exit_code, check.exit_code) == (2, 2), (sim.output, check.output)
    (line,) = sim.stderr.strip().splitlines()
    return [line, *(line for line in check.stdout.splitlines() if line.startswith("could not check"))]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:{free}", "Timed out trying to connect to"),
        ("127.0.0.1:{mute}", "what listens there says nothing"),
        ("smtp://there:1", "unknown address scheme 'smtp'"),
        ("no such host", "missing port number"),
    ],
)
def test_an_address_where_no_scheduler_answers_is_a_mistake_in_one_line(
    lock: LockRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as mute:
        named = address.format(free=free.getsockname()[1], mute=mute.getsockname()[1])
        free.close()
        lines = refused(lock, tmp_path, named)
    assert len(lines) == 2
    assert all(f"no Dask scheduler answers at {named} ({why}" in line and "`dask scheduler`" in line for line in lines)


def test_the_address_of_a_worker_is_told_from_that_of_the_scheduler(two_workers: Farm) -> None:
    address = next(iter(two_workers.client.scheduler_info()["workers"]))
    with pytest.raises(CannotCheck, match="it is the address of a Worker"), connect(address):
        pass


def test_without_dask_the_commands_say_what_to_install(
    lock: LockRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    lines = refused(lock, tmp_path, "tcp://127.0.0.1:1")
    assert len(lines) == 2 and all("`pip install distributed`" in line for line in lines)


def test_what_belongs_to_this_machine_is_refused_beside_a_cluster(lock: LockRun, tmp_path: Path) -> None:
    sim = CliRunner().invoke(tracegen.cli.app, ["sim", "--jobs", "2", "--cluster", "tcp://127.0.0.1:1"])
    assert sim.exit_code == 2 and "--jobs is for the processes of this machine" in sim.stderr
    lock.turns(1)
    arguments = ["verify", str(lock.write()), "--manifest", str(lock.manifest), "--tlc-jar", str(tmp_path / "a.jar")]
    check = CliRunner().invoke(checker.cli.app, [*arguments, "--cluster", "tcp://127.0.0.1:1"])
    assert check.exit_code == 2 and "--tlc-jar is a file of this machine" in check.stdout
