"""Where the files of a run go: the one place that knows the layout of a run directory."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG_LINES: Final = 12
LINE_CHARACTERS: Final = 500


@dataclass(frozen=True)
class RunPlaces:
    """The files of one run."""

    root: Path

    @property
    def traces(self) -> Path:
        return self.root / "traces"

    @property
    def disks(self) -> Path:
        return self.root / "disks"

    @property
    def platters(self) -> Path:
        """What is durable of disks that can lose their power; those are mounted where disks are."""
        return self.root / "platters"

    @property
    def run(self) -> Path:
        return self.root / "run.json"

    @property
    def scenario(self) -> Path:
        """What was run, with its seed, whoever wrote or drew it."""
        return self.root / "scenario.toml"

    @property
    def history(self) -> Path:
        return self.root / "history.ndjson"

    @property
    def faults(self) -> Path:
        return self.root / "faults.ndjson"

    @property
    def archive(self) -> Path:
        """The archive, if that is a directory of this machine."""
        return self.root / "archive"

    @property
    def archive_changes(self) -> Path:
        """What happened to the objects of an archive that is an S3, in order (`archive/face.py`)."""
        return self.root / "archive.ndjson"

    @property
    def verdict(self) -> Path:
        return self.root / "verdict.json"

    @property
    def html(self) -> Path:
        return self.root / "report.html"

    @property
    def shrunk(self) -> Path:
        """What is left of it when it is made small: a scenario that fails in the same way."""
        return self.root / "shrunk.toml"

    def config(self, node: str) -> Path:
        return self.root / "config" / f"{node}.yaml"

    def log(self, node: str) -> Path:
        return self.root / "logs" / f"{node}.log"

    def make(self) -> None:
        for directory in ("traces", "disks", "config", "logs"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)


def new_run(runs: Path, name: str) -> RunPlaces:
    """A directory for a run that does not exist yet: `name`, or `name` with the first number that is free."""
    candidates = (runs / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    return RunPlaces(next(candidate for candidate in candidates if not candidate.exists()))


def last_lines(log: Path) -> str:
    """What a log ends with, for the end of a message: each line on one of its own, indented."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "".join(f"\n    {line[:LINE_CHARACTERS]}" for line in lines[-LOG_LINES:])
