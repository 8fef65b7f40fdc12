"""What a report shows beside the verdict: the run's description, its faults, operations, and some of its events.

Lenient where the checker is strict: a run that could not be checked is reported too, without what cannot be read.
Bounded: of a long run a sample is read, evenly over time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from checker.operations import Operation

SAMPLED_EVENTS_MAX: Final = 1500
KEY_EVENTS_MAX: Final = 4000  # of one key, in all files together
SAMPLE_BYTES: Final = 1 << 14


class Replication(msgspec.Struct, frozen=True):
    factor: int = 0
    min_write_replicas: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """run.json, all of it optional."""

    id: str = ""
    scenario: str = ""
    says: str = ""
    seed: int | None = None
    backend: str = ""
    started_ms: int | None = None
    epoch_ms_at_zero_us: int | None = None
    duration_s: float | None = None
    nodes: list[str] = []
    replication: Replication = Replication()
    mutants: list[str] = []
    adequate: bool = True
    inadequate: list[str] = []
    problems: list[str] = []
    operations: dict[str, int] = {}
    versions: dict[str, str] = {}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One line of faults.ndjson."""

    name: str
    nemesis: str = ""
    nodes: list[str] = []
    links: list[tuple[str, str]] = []
    start_us: int
    end_us: int
    probe: str = ""
    bit: bool = False
    overlapping: int = 0


_Line = TypeVar("_Line", Fault, Operation)


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One line of a trace, as far as it is drawn. `at_us` is on the run's clock."""

    id: str
    node: str
    kind: str
    at_us: int
    cause: tuple[str, ...]
    fields: dict[str, Any]


@dataclass(slots=True)
class Evidence:
    """A run directory, as far as a report needs it; `events` are a sample."""

    directory: Path
    run: Run = field(default_factory=Run)
    faults: list[Fault] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    events: list[TraceEvent] = field(default_factory=list)

    def nodes(self) -> list[str]:
        """All nodes: those that the run names, and those with a trace."""
        return sorted({*self.run.nodes, *(path.name.rsplit(".", 2)[0] for path in self.trace_files())})

    def trace_files(self) -> list[Path]:
        """By node and incarnation."""
        return sorted((self.directory / "traces").glob("*.*.ndjson"), key=_incarnation)

    def events_of(self, key: str) -> list[TraceEvent]:
        """The events that name this key, by file and line; at most KEY_EVENTS_MAX, the first of each file."""
        needle = msgspec.json.encode(key)
        files = self.trace_files()
        events: list[TraceEvent] = []
        for path in files:
            left = KEY_EVENTS_MAX // len(files)
            with path.open("rb") as lines:
                for line in lines:
                    if needle in line and (event := self._event(line)) and key in event.fields.values():
                        events.append(event)
                        left -= 1
                        if left == 0:
                            break
        return events

    def sample(self) -> Iterator[TraceEvent]:
        """Some events of every file, evenly over its length, without reading all of it."""
        files = [path for path in self.trace_files() if path.stat().st_size > 0]
        total_bytes = sum(path.stat().st_size for path in files)
        for path in files:
            size_bytes = path.stat().st_size
            wanted = max(2, SAMPLED_EVENTS_MAX * size_bytes // total_bytes)
            with path.open("rb") as lines:
                for step in range(wanted):
                    lines.seek(size_bytes * step // wanted)
                    if step:
                        lines.readline(SAMPLE_BYTES)  # the rest of a line
                    if event := self._event(lines.readline(SAMPLE_BYTES)):
                        yield event

    def _event(self, line: bytes) -> TraceEvent | None:
        try:
            record = msgspec.json.decode(line)
            at_us = (record["time_ms"] - (self.run.epoch_ms_at_zero_us or 0)) * 1000
            return TraceEvent(
                id=f"{record['node']}.{record['incarnation']}.{record['seq']}",
                node=record["node"],
                kind=record["event"],
                at_us=at_us,
                cause=tuple(record.get("cause", ())),
                fields=record,
            )
        except (msgspec.DecodeError, KeyError, TypeError):
            return None


def _incarnation(path: Path) -> tuple[str, int]:
    node, number, _ = path.name.rsplit(".", 2)
    return node, int(number) if number.isdigit() else 0


def gather(directory: Path) -> Evidence:
    """Read what can be read of a run directory."""
    evidence = Evidence(directory)
    evidence.run = _read(directory / "run.json") or Run()
    evidence.faults = list(_lines(directory / "faults.ndjson", Fault))
    evidence.operations = list(_lines(directory / "history.ndjson", Operation))
    evidence.events = list(evidence.sample())
    return evidence


def _read(path: Path) -> Run | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError):
        return None


def _lines(path: Path, kind: type[_Line]) -> Iterator[_Line]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    decode = msgspec.json.Decoder(kind).decode
    for line in lines:
        try:
            yield decode(line)
        except msgspec.DecodeError:
            continue
