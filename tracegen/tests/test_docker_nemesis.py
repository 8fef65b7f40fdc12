"""Each nemesis against real nodes in containers: its probe sees the fault bite, sees it fail to bite, and all heals."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tracegen.backend.docker.cluster import DockerCluster
from tracegen.backend.docker.disk import VolumeDisk
from tracegen.backend.docker.links import FilteredWire
from tracegen.history import Recorder, RunClock
from tracegen.nemesis.inject import Injection, inject
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape, FaultSpec
from tracegen.schedule import PlannedFault, links
from tracegen.tests.engine import need_engine

SHAPE = ClusterShape(3, 3, 2)
CALM_S = 5.0
"""TCP comes back to a link that stalled when its next try is due."""


def planned(nemesis: str, for_s: float = 0.6, **more: Any) -> PlannedFault:
    spec = FaultSpec(nemesis, at_s=0.0, for_s=for_s, target="n1", period_s=0.3, **more)
    return PlannedFault(f"{nemesis}-1", spec, ("n1",), links(spec, ("n1",), SHAPE.node_ids), 0.0, spec.for_s, "seed")


class World:
    """One cluster, and the loop in which it lives."""

    def __init__(self, cluster: DockerCluster, runner: asyncio.Runner, root: Path) -> None:
        self.cluster = cluster
        self._runner = runner
        self._root = root

    def strike(self, fault: PlannedFault) -> Injection:
        return self._runner.run(self._strike(fault))

    async def _strike(self, fault: PlannedFault) -> Injection:
        recorder = Recorder(self._root / "history.ndjson", RunClock())
        injection, problem = await inject(fault, self.cluster, recorder, _nobody)
        recorder.close()
        assert problem is None
        return injection

    def is_well(self) -> bool:
        return self._runner.run(self._is_well())

    async def _is_well(self) -> bool:
        nodes = self.cluster.nodes
        pairs = [(a, b) for a in nodes for b in nodes if a != b]
        crossings = [await self.cluster.try_link(*pair, CALM_S) for pair in pairs]
        return all(crossing.result == "answered" for crossing in crossings) and not self.cluster.unexpected_deaths()


async def _nobody() -> str:
    raise AssertionError("this fault has a target")


def started(root: Path, nemeses: Sequence[str]) -> Iterator[World]:
    need_engine()
    cluster = DockerCluster(RunPlaces(root), SHAPE, nemeses=nemeses)
    with asyncio.Runner() as runner:
        try:
            runner.run(cluster.start())
            yield World(cluster, runner, root)
        finally:
            assert runner.run(cluster.stop()) == []


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster with packet filters, small disks, and clocks that may be set wrong."""
    yield from started(tmp_path_factory.mktemp("filtered"), ("disk_full", "clock_jump"))


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster with the harness's proxies between its nodes."""
    yield from started(tmp_path_factory.mktemp("proxied"), ("delay", "drop"))


FAULTS = [
    planned("kill"),
    planned("restart"),
    planned("pause"),
    planned("partition", how="reset"),
    planned("partition", how="stall"),
    planned("partition", how="reset", shape="bridge"),
    planned("one_way", how="reset", direction="in"),
    planned("one_way", how="stall", direction="out"),
    planned("one_way", how="stall", direction="in"),
    planned("flap", for_s=2.0, how="reset"),
    planned("loss", for_s=2.0, drop_share=0.3),
    planned("disk_full"),
    planned("clock_jump", for_s=2.0, skew_ms=3_600_000.0),
    planned("clock_skew", for_s=2.0, skew_ms=-60_000.0),
    planned("memory_limit", for_s=2.0, room_bytes=4_000_000),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.spec.nemesis}-{fault.spec.how}-{fault.spec.shape}")
def test_a_fault_is_seen_to_bite_and_heals(fault: PlannedFault, filtered: World) -> None:
    injection = filtered.strike(fault)
    assert injection.bit, injection.probe
    assert filtered.is_well()


@pytest.mark.parametrize("fault", [planned("delay", delay_ms=60.0), planned("drop")], ids=["delay", "drop"])
def test_what_a_packet_filter_cannot_do_the_proxies_do(fault: PlannedFault, proxied: World) -> None:
    injection = proxied.strike(fault)
    assert injection.bit, injection.probe
    assert proxied.is_well()
    assert proxied.cluster.versions()["links"] == "the harness's proxies"


@pytest.fixture(scope="module")
def powered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster whose disks lose what was not synced."""
    yield from started(tmp_path_factory.mktemp("powered"), ("power_cut",))


def test_a_machine_that_loses_its_power_comes_back_with_what_was_synced(powered: World) -> None:
    injection = powered.strike(planned("power_cut"))
    assert injection.bit, injection.probe
    assert powered.is_well()
    assert Path(powered._root / "platters" / "n1").is_dir()


def nothing(*_: object) -> None:
    """The fault is not under our hand."""


@pytest.mark.parametrize(
    ("fault", "power"),
    [
        (planned("partition", how="reset"), (FilteredWire, "cut")),
        (planned("partition", how="stall"), (FilteredWire, "stall")),
        (planned("one_way", how="stall"), (FilteredWire, "stall")),
        (planned("loss", drop_share=0.3), (DockerCluster, "lose")),
        (planned("disk_full"), (VolumeDisk, "leave_room")),
        (planned("clock_jump", for_s=1.0, skew_ms=3_600_000.0), (DockerCluster, "set_skew_ms")),
    ],
    ids=["partition-reset", "partition-stall", "one_way", "loss", "disk_full", "clock_jump"],
)
def test_a_fault_that_does_nothing_is_seen_not_to_bite(
    fault: PlannedFault, power: tuple[type, str], filtered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*power, nothing)
    assert not filtered.strike(fault).bit


def test_a_node_that_was_cut_off_and_is_killed_comes_back_cut_off(filtered: World) -> None:
    async def story(cluster: DockerCluster) -> None:
        cluster.wire("n1", "n2").cut()
        await cluster.kill("n1")
        await cluster.start_node("n1")
        assert (await cluster.try_link("n1", "n2", 0.5)).result == "broken"
        assert (await cluster.try_link("n1", "n3", CALM_S)).result == "answered"
        cluster.wire("n1", "n2").open()

    filtered._runner.run(story(filtered.cluster))
    assert filtered.is_well()


def test_a_node_has_no_rights_over_its_network_and_is_not_root(filtered: World) -> None:
    node = filtered.cluster._nodes["n1"]._container
    assert node is not None
    asks = ["python3", "-c", "import os, sys; sys.exit(os.getuid() == 0)"]
    assert node.exec_run(asks).exit_code == 0
    assert node.attrs["HostConfig"]["CapDrop"] == ["ALL"] and not node.attrs["HostConfig"]["CapAdd"]
