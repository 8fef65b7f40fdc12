"""The faults of the ways to the archive, on real sockets and in virtual time: seen to bite, seen not to, and healed."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from impl.archive.bucket import ALWAYS, Label
from impl.errors import ArchiveError
from tracegen.archive.face import WayFaults
from tracegen.archive.s3 import BUCKET, S3Behind
from tracegen.archive.shape import ArchiveShape
from tracegen.backend.process import ProcessCluster
from tracegen.backend.proxy import HOST
from tracegen.backend.sim.archive import SimBucket
from tracegen.backend.sim.loop import SimLoop
from tracegen.errors import Lost, NotSent
from tracegen.history import Recorder, RunClock
from tracegen.nemesis.inject import Injection, inject
from tracegen.places import RunPlaces
from tracegen.scenario import ARCHIVE_NEMESES, ClusterShape, FaultSpec
from tracegen.schedule import PlannedFault
from tracegen.tests.stub import STUB
from tracegen.workload.connection import HttpConnection

NODES = ("n1", "n2")
LABEL = Label("text/plain", {"amberio-generation": "1"})
SHAPE = ArchiveShape("s3", "write_back")
Put = Callable[[str, str], Coroutine[Any, Any, None]]
"""A node, and the key that it writes; whatever goes wrong is not told."""


def planned(nemesis: str, **more: Any) -> PlannedFault:
    spec = FaultSpec(nemesis, at_s=0.0, for_s=0.4, target="n1", share=1.0, late_s=0.3, delay_ms=350.0, **more)
    return PlannedFault(f"{nemesis}-1", spec, ("n1",), (), 0.0, spec.for_s, "seed")


async def nobody() -> str:
    raise AssertionError("this fault has a target")


async def strike(cluster: Any, nemesis: PlannedFault, root: Path, put: Put | None, clock: RunClock) -> Injection:
    """The fault, with writes of both nodes while it lasts if there is a `put`."""
    recorder = Recorder(root / "history.ndjson", clock)

    async def write() -> None:
        await asyncio.sleep(0.02)
        if put is not None:
            await asyncio.gather(*(put(node, f"{node}-{number}") for node in NODES for number in range(3)))

    (injection, problem), _ = await asyncio.gather(inject(nemesis, cluster, recorder, nobody), write())
    recorder.close()
    assert problem is None
    return injection


FAULTS = [planned(nemesis) for nemesis in ARCHIVE_NEMESES] + [planned("archive_down", how="stall")]
BY_COUNT = [fault for fault in FAULTS if fault.spec.nemesis not in ("archive_down", "archive_slow")]


def name_of(fault: PlannedFault) -> str:
    return f"{fault.spec.nemesis}-{fault.spec.how}"


# -- real processes


@asynccontextmanager
async def stubs(root: Path, archive: ArchiveShape = SHAPE) -> AsyncIterator[ProcessCluster]:
    cluster = ProcessCluster(RunPlaces(root), ClusterShape(2, 2, 2), archive=archive, command=STUB)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


class Processes:
    """A cluster of stubs with an archive, for all tests of this file: they break only the ways there."""

    def __init__(self, cluster: ProcessCluster, runner: asyncio.Runner) -> None:
        self.cluster = cluster
        self.runner = runner

    @property
    def archive(self) -> S3Behind:
        assert self.cluster.archive is not None
        return self.cluster.archive

    async def put(self, node: str, key: str) -> None:
        port = int(self.endpoint(node).rpartition(":")[2])
        connection = HttpConnection(HOST, port)
        try:
            headers = (("authorization", "AWS4-HMAC-SHA256 Credential=n/20260101/us-east-1/s3/aws4_request"),)
            await connection.request("PUT", f"/{BUCKET}/{key}", headers, b"body", 0.2)
        except (NotSent, Lost):
            pass
        finally:
            connection.close()

    def endpoint(self, node: str) -> str:
        """Where its configuration says that the archive is."""
        config = yaml.safe_load(self.cluster._places.config(node).read_text())
        endpoint: str = config["archive"]["s3"]["endpoint"]
        return endpoint


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with asyncio.Runner() as runner:
        stack = stubs(tmp_path_factory.mktemp("stubs"))
        cluster = runner.run(stack.__aenter__())
        try:
            yield Processes(cluster, runner)
        finally:
            runner.run(stack.__aexit__(None, None, None))


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_fault_of_a_nodes_way_is_seen_to_bite_and_heals(
    fault: PlannedFault, processes: Processes, tmp_path: Path
) -> None:
    async def scene() -> None:
        injection = await strike(processes.cluster, fault, tmp_path, processes.put, RunClock())
        assert injection.bit, injection.probe
        assert processes.archive.way("n1").faults == WayFaults(late_s=processes.archive.way("n1").faults.late_s)
        assert processes.archive.way("n2").done.total() == 0
        assert (await processes.archive.try_way("n1", 2.0)).result == "answered"

    processes.runner.run(scene())


@pytest.mark.parametrize("fault", [FAULTS[0], FAULTS[1], FAULTS[2], FAULTS[-1]], ids=name_of)
def test_a_fault_that_hits_nothing_is_seen_not_to_bite(
    fault: PlannedFault, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as when a node reaches its archive beside its proxy: what is broken is not what it uses
    monkeypatch.setattr(processes.archive._proxies["n1"], "way", processes.archive.way("n2"))
    put = None if fault in BY_COUNT else processes.put
    injection = processes.runner.run(strike(processes.cluster, fault, tmp_path, put, RunClock()))
    assert not injection.bit, injection.probe


def test_the_archive_outlives_its_nodes_and_ends_with_the_run(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stubs(tmp_path) as cluster:
            assert cluster.archive is not None
            world = Processes(cluster, asyncio.Runner())
            await world.put("n1", "kept")
            was = world.endpoint("n1")
            await cluster.kill("n1")
            await cluster.start_node("n1")
            assert world.endpoint("n1") == was
            assert "kept" in await cluster.archive.contents()
            server = cluster.archive._server
            assert server.ended() is None
        assert server.ended() is not None
        (line,) = (tmp_path / "archive.ndjson").read_text().splitlines()
        assert '"key":"kept"' in line

    asyncio.run(scene())


def test_an_archive_that_is_a_directory_is_one_of_the_run_and_cannot_be_broken(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stubs(tmp_path, ArchiveShape("directory", "write_through")) as cluster:
            assert (tmp_path / "archive").is_dir()
            config = yaml.safe_load((tmp_path / "config" / "n2.yaml").read_text())["archive"]
            assert config["archive_type"] == "directory" and config["directory"] == {"path": str(tmp_path / "archive")}
            recorder = Recorder(tmp_path / "history.ndjson", RunClock())
            injection, _ = await inject(planned("archive_down"), cluster, recorder, nobody)
            recorder.close()
            assert not injection.bit and "needs an archive of kind s3" in injection.probe

    asyncio.run(scene())


# -- virtual time


class Simulated:
    """What a nemesis needs of a cluster, with the simulated archive and nothing else."""

    def __init__(self) -> None:
        self.loop = SimLoop()
        self.nodes = NODES
        self.archive = SimBucket(self.loop, random.Random(1), NODES, 5.0)

    async def put(self, node: str, key: str, body: bytes = b"body") -> None:
        asked = self.archive.access(node).put_object(key, body, hashlib.sha256(body).hexdigest(), LABEL, ALWAYS)
        try:
            await asyncio.wait_for(asked, 0.2)
        except (ArchiveError, TimeoutError):
            pass

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(story)
        finally:
            asyncio.set_event_loop(None)


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    world = Simulated()
    yield world
    world.loop.let_go()


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_simulated_fault_bites_those_that_it_hits_and_heals(
    fault: PlannedFault, simulated: Simulated, tmp_path: Path
) -> None:
    async def scene() -> None:
        clock = RunClock(simulated.loop.time, 0)
        injection = await strike(simulated, fault, tmp_path, simulated.put, clock)
        assert injection.bit, injection.probe
        assert simulated.archive.way("n2").done.total() == 0
        done = simulated.archive.way("n1").done.total()
        await simulated.put("n1", "after")
        assert simulated.archive.way("n1").done.total() == done
        held = await simulated.archive.contents()
        assert {"n2-0", "n2-1", "n2-2", "after"} <= held.keys()

    simulated.run(scene())


@pytest.mark.parametrize("fault", BY_COUNT, ids=name_of)
def test_a_simulated_fault_that_no_request_meets_does_not_bite(
    fault: PlannedFault, simulated: Simulated, tmp_path: Path
) -> None:
    clock = RunClock(simulated.loop.time, 0)
    assert not simulated.run(strike(simulated, fault, tmp_path, None, clock)).bit


def test_a_simulated_late_write_arrives_after_a_later_one_unless_it_is_too_old_by_then(simulated: Simulated) -> None:
    async def scene() -> None:
        way = simulated.archive.way("n1")
        for late_s, kept in ((1.0, "n1"), (30.0, "n2")):
            way.faults.late, way.faults.late_s = 1.0, late_s
            await simulated.put("n1", "key", b"n1")
            assert simulated.archive.late == 1
            await simulated.put("n2", "key", b"n2")
            while simulated.archive.late:  # noqa: ASYNC110 # it tells nobody
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
            held = await simulated.archive.contents()
            assert held["key"].sha256 == hashlib.sha256(kept.encode()).hexdigest()

    simulated.run(scene())


def test_who_is_left_in_silence_hears_when_the_fault_is_over(simulated: Simulated) -> None:
    async def scene() -> None:
        simulated.archive.way("n1").faults.outage = "silent"
        asked = asyncio.ensure_future(simulated.archive.try_way("n1", 60.0))
        await asyncio.sleep(1.0)
        simulated.archive.way("n1").faults.outage = None
        simulated.archive.let_know("n1")
        crossing = await asked
        assert crossing.result == "broken" and crossing.took_ms < 1500

    simulated.run(scene())
