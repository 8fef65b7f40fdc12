"""Same seed, same run: every byte of the traces and of the history, also in another interpreter with other hashes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tracegen.backend.sim.session import simulate
from tracegen.places import RunPlaces
from tracegen.swarm.draw import draw

SEEDS: Final = 100
CHUNK: Final = 20
FIRST: Final = tuple(range(1, SEEDS + 1, CHUNK))


def digest(root: Path) -> str:
    """Of everything that a run's clients and nodes wrote down."""
    files = sorted([*(root / "traces").iterdir(), root / "history.ndjson", root / "faults.ndjson"])
    text = hashlib.sha256()
    for file in files:
        text.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return text.hexdigest()


def digests(first: int, room: Path) -> list[str]:
    """Of a few seeds, from `first` on."""
    found = []
    for seed in range(first, min(first + CHUNK, SEEDS + 1)):
        root = room / str(seed)
        simulate(draw(seed), seed, RunPlaces(root))
        found.append(digest(root))
    return found


def digests_of_another(first: int, room: Path, hash_seed: str) -> list[str]:
    """The same, made by an interpreter of its own."""
    code = f"from tracegen.tests import {Path(__file__).stem} as t; from pathlib import Path; "
    code += f"print(*t.digests({first}, Path({str(room)!r})))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout.split()


@pytest.mark.parametrize("first", FIRST)
def test_a_seed_makes_the_same_run_again(first: int, tmp_path: Path) -> None:
    once = digests(first, tmp_path / "once")
    assert len(set(once)) == len(once)
    assert digests(first, tmp_path / "again") == once
    assert digests_of_another(first, tmp_path / "other", "4711") == once
