"""What is said of an engine that cannot be used, and what is found and removed at one that can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tracegen.backend.docker.engine import Mark, connect, left_by, remove, runs_there
from tracegen.backend.docker.network import make_network
from tracegen.cli import app
from tracegen.tests.engine import need_engine

DEAD = "999999999:1"


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_no_engine_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    code, text = said("run", "quiet", "--backend", "docker", "--out", str(tmp_path / "run"))
    assert code == 2
    assert text.startswith("tracegen: no Docker engine answers (")
    assert text.rstrip().endswith("start it, as root: dockerd, or use --backend process")
    assert len(text.splitlines()) == 1


def test_a_machine_without_the_sdk_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "docker.py").write_text("raise ImportError('no docker here')")
    command = [sys.executable, "-m", "tracegen", "run", "quiet", "--backend", "docker", "--out", str(tmp_path / "run")]
    paths = f"{tmp_path}{os.pathsep}{Path.cwd()}"
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "tracegen: --backend docker needs its SDK (no docker here): pip install docker, or use --backend process\n"
    )


def leave_something(harness: str) -> Mark:
    """A network and a volume and a container, as of a run with this harness."""
    images = need_engine()
    mark = Mark(harness=harness)
    client = connect()
    make_network(client, mark)
    client.api.create_volume(mark.name("disk"), labels=mark.labels)
    client.api.create_container(images.node, name=mark.name("n1"), labels=mark.labels)
    return mark


def test_clean_removes_what_dead_harnesses_left_and_nothing_of_living_ones() -> None:
    dead, alive = leave_something(DEAD), leave_something(Mark().harness)
    client = connect()
    try:
        assert runs_there(client) | {dead.run: False, alive.run: True} == runs_there(client)
        code, text = said("clean")
        assert code == 0
        assert f"run {dead.run}: removed 1 containers, 1 networks, 1 volumes" in text
        assert f"run {alive.run} is under way: left alone" in text
        assert (left_by(client, dead.run).count, left_by(client, alive.run).count) == (0, 3)
    finally:
        for mark in (dead, alive):
            remove(client, mark.run)
    assert left_by(client, alive.run).count == 0
