"""The process backend against stub nodes: real processes, real signals, real sockets."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

from tracegen.errors import HarnessError
from tracegen.tests.stub import stub_cluster


def test_each_node_dials_the_others_through_proxies_and_keeps_its_secret_to_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path, 3):
            file = tmp_path / "config" / "n1.yaml"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            config = yaml.safe_load(file.read_text())
            assert set(config["routes"]) == {"n2", "n3"}
            own = {node["node_id"]: node["advertise_addr"] for node in config["initial_cluster"]["nodes"]}
            assert all(address != own[node] for node, address in config["routes"].items())
            assert config["trace"]["directory"] == str(tmp_path / "traces")

    asyncio.run(scene())


def test_a_node_can_be_killed_and_comes_back_on_its_own_port(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            assert cluster.state("n1") == "running"
            assert await cluster.kill("n1") == -signal.SIGKILL
            assert cluster.state("n1") == "gone"
            assert (await cluster.try_link("n2", "n1", 0.5)).result == "broken"
            assert cluster.unexpected_deaths() == []
            await cluster.start_node("n1")
            assert (await cluster.try_link("n2", "n1", 0.5)).result == "answered"

    asyncio.run(scene())


def test_a_paused_node_is_seen_paused_and_its_links_stall(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            cluster.pause("n1")
            await asyncio.sleep(0.02)
            assert cluster.state("n1") == "paused"
            assert (await cluster.try_link("n2", "n1", 0.15)).result == "stalled"
            cluster.resume("n1")
            assert (await cluster.try_link("n2", "n1", 2.0)).result == "answered"

    asyncio.run(scene())


def test_a_death_that_nobody_asked_for_is_reported(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            process = cluster._nodes["n2"].process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            (line,) = cluster.unexpected_deaths()
            assert line.startswith("n2 ended by itself with exit code -9")

    asyncio.run(scene())


def test_a_node_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        monkeypatch.setenv("AMBERIO_STUB_EXIT", "2")
        with pytest.raises(HarnessError, match=r"ended by itself with exit code 2\n.*told to end"):
            async with stub_cluster(tmp_path):
                pass

    asyncio.run(scene())


def test_a_gentle_end_leaves_no_problem_and_no_disks(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path) as cluster:
            cluster.pause("n1")  # a paused node is woken to hear of its end
            assert await cluster.terminate("n2") == 0
            assert (tmp_path / "disks" / "n1").is_dir()
            assert await cluster.stop() == []
            assert not (tmp_path / "disks").exists()

    asyncio.run(scene())


def test_disks_are_kept_when_asked_to(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stub_cluster(tmp_path, keep=True):
            pass
        assert (tmp_path / "disks" / "n1").is_dir()

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_nodes_die_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from tracegen.tests.stub import stub_cluster

        async def scene():
            async with stub_cluster(Path(sys.argv[1])) as cluster:
                print(*(one.process.pid for one in cluster._nodes.values()), flush=True)
                os.kill(os.getpid(), 9)

        asyncio.run(scene())
        """
    )
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, cwd=root
    )
    assert ended.returncode == -signal.SIGKILL
    pids = ended.stdout.split()
    assert len(pids) == 2
    end_s = time.monotonic() + 2
    while any(_runs(pid) for pid in pids) and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
