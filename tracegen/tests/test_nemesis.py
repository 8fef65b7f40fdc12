"""Each nemesis against real stub processes: its probe sees the fault bite, sees it fail to bite, and all heals."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tracegen.backend.process import ProcessCluster
from tracegen.history import Recorder, RunClock
from tracegen.nemesis.inject import Injection, inject
from tracegen.scenario import NEMESES, FaultSpec
from tracegen.schedule import PlannedFault, links
from tracegen.tests.stub import stub_cluster

NODES = ("n1", "n2")
QUICK = {"kill": 0.05, "pause": 0.1, "restart": 0.3, "flap": 1.0, "drop": 0.5}


async def nobody() -> str:
    raise AssertionError("this fault has a target")


def planned(nemesis: str, **more: Any) -> PlannedFault:
    spec = FaultSpec(nemesis, at_s=0.0, for_s=QUICK.get(nemesis, 0.4), target="n1", period_s=0.2, **more)
    return PlannedFault(f"{nemesis}-1", spec, ("n1",), links(spec, ("n1",), NODES), 0.0, spec.for_s, "seed")


async def strike(
    cluster: ProcessCluster,
    fault: PlannedFault,
    root: Path,
    meanwhile: Callable[[ProcessCluster], Coroutine[Any, Any, None]] | None = None,
) -> Injection:
    recorder = Recorder(root / "history.ndjson", RunClock())
    other = asyncio.create_task(meanwhile(cluster)) if meanwhile else None
    injection, problem = await inject(fault, cluster, recorder, nobody)
    if other is not None:
        await other
    recorder.close()
    assert problem is None
    return injection


async def all_is_well(cluster: ProcessCluster) -> bool:
    crossings = [await cluster.try_link(*link, 2.0) for link in (("n1", "n2"), ("n2", "n1"))]
    return all(crossing.result == "answered" for crossing in crossings)


async def open_connections(cluster: ProcessCluster) -> None:
    """Nodes have connections with each other; stubs have none, so the test makes them."""
    await cluster.is_link_reset("n2", "n1", 1.0)


@pytest.mark.parametrize(
    "fault",
    [
        planned("kill"),
        planned("pause"),
        planned("restart"),
        planned("partition", how="reset"),
        planned("partition", how="stall"),
        planned("one_way", how="reset", direction="in"),
        planned("one_way", how="stall", direction="out"),
        planned("one_way", how="stall", direction="in"),
        planned("flap", how="reset"),
        planned("flap", how="stall"),
        planned("delay", delay_ms=60.0),
    ],
    ids=lambda fault: f"{fault.spec.nemesis}-{fault.spec.how}-{fault.spec.direction}",
)
def test_a_fault_is_seen_to_bite_and_heals(fault: PlannedFault, tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            injection = await strike(cluster, fault, tmp_path)
            assert injection.bit, injection.probe
            assert injection.end_us - injection.start_us >= fault.spec.for_s * 0.9e6
            assert await all_is_well(cluster)

    asyncio.run(scene())


def test_dropped_connections_are_seen_to_be_reset(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            injection = await strike(cluster, planned("drop"), tmp_path, open_connections)
            assert injection.bit, injection.probe
            assert injection.probe.startswith("1 connections of nodes reset")

    asyncio.run(scene())


def test_dropping_connections_where_there_are_none_does_not_bite(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            assert not (await strike(cluster, planned("drop"), tmp_path)).bit

    asyncio.run(scene())


async def resume(cluster: ProcessCluster) -> None:
    await asyncio.sleep(0.05)
    cluster.resume("n1")


async def stall_back(cluster: ProcessCluster) -> None:
    await asyncio.sleep(0)
    cluster.wire("n2", "n1").stall()


async def nothing(cluster: ProcessCluster) -> None:
    """The network is not under our hand, as when a node dials a peer beside its proxy."""
    for link in (("n1", "n2"), ("n2", "n1")):
        wire = cluster.wire(*link)
        for power in ("cut", "stall", "delay"):
            setattr(wire, power, lambda *_: None)


@pytest.mark.parametrize(
    ("fault", "meanwhile"),
    [
        (planned("partition", how="reset"), nothing),
        (planned("partition", how="stall"), nothing),
        (planned("one_way", how="reset"), nothing),
        (planned("one_way", how="stall"), nothing),
        (planned("one_way", how="stall"), stall_back),
        (planned("flap"), nothing),
        (planned("delay", delay_ms=60.0), nothing),
        (planned("pause"), resume),
    ],
    ids=lambda value: value.spec.nemesis if isinstance(value, PlannedFault) else value.__name__,
)
def test_a_fault_that_is_not_what_it_should_be_is_seen_not_to_bite(
    fault: PlannedFault, meanwhile: Callable[[ProcessCluster], Coroutine[Any, Any, None]], tmp_path: Path
) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            assert not (await strike(cluster, fault, tmp_path, meanwhile)).bit

    asyncio.run(scene())


def test_a_partition_from_a_dead_node_is_not_taken_for_one(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            await cluster.kill("n1")
            injection = await strike(cluster, planned("partition", how="reset"), tmp_path)
            assert not injection.bit
            assert "not every node runs" in injection.probe

    asyncio.run(scene())


def test_a_kill_of_a_node_that_is_gone_does_not_bite(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            await cluster.kill("n1")
            injection = await strike(cluster, planned("kill"), tmp_path)
            assert not injection.bit
            assert "n1 is gone" in injection.probe

    asyncio.run(scene())


def test_a_strike_in_mid_write_waits_for_a_write(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            recorder = Recorder(tmp_path / "history.ndjson", RunClock())

            async def write_later() -> None:
                await asyncio.sleep(0.15)
                recorder.write_begins("n1")

            writing = asyncio.create_task(write_later())
            injection, _ = await inject(planned("pause", when="mid_write"), cluster, recorder, nobody)
            await writing
            assert injection.bit
            assert injection.start_us >= 150_000
            recorder.close()

    asyncio.run(scene())


def test_every_nemesis_that_a_scenario_may_name_exists() -> None:
    from tracegen.nemesis.inject import NEMESES as BUILT

    assert set(BUILT) == set(NEMESES)
