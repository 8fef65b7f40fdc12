"""A system that is not ours: a lock with fencing. Its spec and manifest are in toy/, its traces are written here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).parent / "toy"


class LockRun:
    """A run directory of the lock, and a copy of its spec: say what happened, then `write`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run"
        self.manifest = folder / "spec" / "lock.toml"
        self.files: dict[tuple[str, int], list[dict[str, Any]]] = {}
        shutil.copytree(TOY, self.manifest.parent)

    def say(
        self, node: str, event: str, lock: str | None = "door", *causes: str, incarnation: int = 1, **fields: Any
    ) -> str:
        """One more line of this node's trace; its id."""
        lines = self.files.setdefault((node, incarnation), [])
        if not lines and event != "Begin":
            self.say(node, "Begin", None, incarnation=incarnation, format=3)
        seq = len(lines) + 1
        line = {"node": node, "incarnation": incarnation, "seq": seq, "time_ms": seq, "event": event, **fields}
        if lock is not None:
            line |= {"lock": lock, "cause": list(causes)}
        lines.append(line)
        return f"{node}.{incarnation}.{seq}"

    def turns(self, count: int, lock: str = "door", nodes: tuple[str, str] = ("a", "b"), step: int = 10) -> None:
        """Honest use: one node after the other takes the lock, the other one looks, and it is given back.

        It is honest if each fence is higher than the last one, by `step`.
        """
        last = self.say(nodes[0], "Make", lock, fence=5, by=nodes[0])
        for turn in range(count):
            node, other = nodes if turn % 2 == 0 else nodes[::-1]
            fence = 5 + step * (turn + 1)
            last = self.say(node, "Take", lock, last, fence=fence, was_fence=fence - step, mode="patient")
            last = self.say(other, "Look", lock, last, fence=fence, held=False)
            last = self.say(node, "Give", lock, last, fence=fence)

    def write(self, **run: Any) -> Path:
        (self.path / "traces").mkdir(parents=True, exist_ok=True)
        for (node, incarnation), lines in self.files.items():
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (self.path / "traces" / f"{node}.{incarnation}.ndjson").write_text(text)
        if run:
            (self.path / "run.json").write_text(json.dumps(run))
        return self.path

    def file(self, node: str, incarnation: int = 1) -> Path:
        return self.path / "traces" / f"{node}.{incarnation}.ndjson"

    def edit(self, node: str, change: Callable[[str], str]) -> None:
        """Change a written file as text."""
        self.file(node).write_text(change(self.file(node).read_text()))


@pytest.fixture
def lock(tmp_path: Path) -> LockRun:
    return LockRun(tmp_path)
