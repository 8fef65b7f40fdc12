"""Loads the traces of a run: who wrote which line, of what kind, about what, caused by what.

A run may have a million events, so only what ordering needs is kept, in arrays; a line itself stays in its (mapped)
file and is decoded when asked for. Everything wrong with a file is an error that names the file and the line: there is
no verdict over half a trace. The one exception is a truncated last line of a file without a clean end, as a killed
process leaves it: it is left out, and noted.

An event is known by its index: the files one after the other, the lines of each in order.
"""

import mmap
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec

from checker.errors import CannotCheck
from checker.manifest import Manifest

NO_KEY: Final = -1
EVERY_KEY: Final = -2
CHUNK_BYTES: Final = 1 << 20
COMMON_FIELDS: Final = frozenset(("node", "incarnation", "seq", "time_ms", "event", "cause"))
_FILE_NAME = re.compile(r"^(?P<node>.+)\.(?P<incarnation>[0-9]+)\.ndjson$")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a trace. `fields` has what is not common to all events; `key` is the value of the split_by field."""

    node: str
    incarnation: int
    seq: int
    kind: str
    key: str
    cause: tuple[str, ...]
    fields: Mapping[str, object]
    time_ms: int
    file: str
    line: int

    @property
    def id(self) -> str:
        return f"{self.node}.{self.incarnation}.{self.seq}"


@dataclass(slots=True)
class TraceFile:
    """One incarnation's file: its lines are the events `first` to `first + count - 1`, seq 1 to `count`."""

    path: Path
    node: str
    incarnation: int
    first: int
    count: int = 0
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    content: mmap.mmap | None = None
    has_stop: bool = False

    def line(self, seq: int) -> bytes:
        assert self.content is not None
        return self.content[self.offsets[seq - 1] : self.offsets[seq] - 1]


class _Head(Protocol):
    """The fields of a line that ordering needs."""

    node: str
    incarnation: int
    seq: int
    event: str
    cause: list[str]
    key: str | None


class Traces:
    """All events of a run. Parallel arrays by event index; `keys` are the values of the split_by field.

    `everywhere` are the kinds of events that have no key, as they are events of each.
    """

    def __init__(self, manifest: Manifest, nodes: Sequence[str]) -> None:
        self.files: list[TraceFile] = []
        self.nodes = tuple(nodes)
        self.kinds = (*sorted(manifest.ignored), *manifest.kinds)
        self.everywhere = {name: kind.everywhere for name, kind in manifest.kinds.items() if kind.everywhere}
        self.keys: list[str] = []
        self.notes: list[str] = []
        self.source = array("H")  # the number of its file
        self.kind = array("B")
        self.key = array("l")
        self.cause_first = array("l", (0,))
        self.causes = array("l")

    def __len__(self) -> int:
        return len(self.kind)

    def file_of(self, index: int) -> TraceFile:
        return self.files[self.source[index]]

    def id(self, index: int) -> str:
        file = self.file_of(index)
        return f"{file.node}.{file.incarnation}.{index - file.first + 1}"

    def place(self, index: int) -> str:
        """Where an event stands, for messages."""
        file = self.file_of(index)
        return f"{file.path}:{index - file.first + 1}"

    def causes_of(self, index: int) -> Sequence[int]:
        return self.causes[self.cause_first[index] : self.cause_first[index + 1]]

    def line(self, index: int) -> bytes:
        file = self.files[self.source[index]]
        return file.line(index - file.first + 1)

    def node(self, index: int) -> str:
        return self.files[self.source[index]].node

    def event(self, index: int) -> Event:
        """The whole event, decoded now."""
        file = self.file_of(index)
        seq = index - file.first + 1
        record = cast(dict[str, Any], msgspec.json.decode(file.line(seq)))
        key = self.key[index]
        return Event(
            node=file.node,
            incarnation=file.incarnation,
            seq=seq,
            kind=self.kinds[self.kind[index]],
            key=self.keys[key] if key >= 0 else "",
            cause=tuple(record.get("cause", ())),
            fields={name: value for name, value in record.items() if name not in COMMON_FIELDS},
            time_ms=int(record.get("time_ms", 0)),
            file=str(file.path),
            line=seq,
        )

    def events(self) -> Iterator[Event]:
        """Every event, in the order of the files."""
        return map(self.event, range(len(self)))


def spelled(value: object) -> str:
    """A value of a trace as messages spell it."""
    match value:
        case None:
            return "none"
        case tuple() | list():
            return "[" + ", ".join(map(str, value)) + "]"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def load(run_dir: Path, manifest: Manifest) -> Traces:
    """Load traces/*.ndjson of a run; raises CannotCheck with file and line for whatever is wrong with them."""
    found = _files(run_dir)
    traces = Traces(manifest, _nodes(run_dir, manifest, found))
    numbers = {(file.node, file.incarnation): number for number, file in enumerate(found)}
    pending = array("l")  # for each cause: number of its file, seq; its file may not be loaded yet
    reader = _Reader(traces, manifest, numbers, pending)
    for file in found:
        file.first = len(traces)
        traces.files.append(file)
        reader.read(file)
    _resolve(traces, pending)
    return traces


def _files(run_dir: Path) -> list[TraceFile]:
    folder = run_dir / "traces"
    if not folder.is_dir():
        raise CannotCheck(f"{run_dir}: is no run directory: it has no folder traces/ with the nodes' files")
    files = []
    for path in folder.glob("*.ndjson"):
        named = _FILE_NAME.match(path.name)
        if named is None:
            raise CannotCheck(f"{path}: a trace file must be named <node>.<incarnation>.ndjson")
        files.append(TraceFile(path, named["node"], int(named["incarnation"]), 0))
    if not files:
        raise CannotCheck(f"{folder}: there is no *.ndjson file, so there is nothing to check")
    return sorted(files, key=lambda file: (file.node, file.incarnation))


def _nodes(run_dir: Path, manifest: Manifest, files: Sequence[TraceFile]) -> list[str]:
    """All nodes, in order: those with a file, and those that run.json or the first lines name."""
    nodes = {file.node for file in files}
    description = run_dir / "run.json"
    if description.is_file():
        try:
            nodes.update(msgspec.json.decode(description.read_bytes(), type=_RunNodes).nodes)
        except msgspec.DecodeError as error:
            raise CannotCheck(f"{description}: {error}") from error
    if manifest.start is not None and manifest.start.nodes_field is not None:
        first = _first_line(files[0].path)
        named = first.get(manifest.start.nodes_field)
        if isinstance(named, list):
            nodes.update(name for name in named if isinstance(name, str))
    return sorted(nodes)


class _RunNodes(msgspec.Struct):
    nodes: list[str] = []


def _first_line(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        try:
            record = msgspec.json.decode(file.readline(CHUNK_BYTES))
        except msgspec.DecodeError:
            return {}  # the reader says so, with the line
    return record if isinstance(record, dict) else {}


class _Reader:
    """Reads the heads of one file's lines after the other into the arrays."""

    def __init__(
        self, traces: Traces, manifest: Manifest, numbers: Mapping[tuple[str, int], int], pending: "array[int]"
    ) -> None:
        self._traces = traces
        self._manifest = manifest
        self._prefixes = {f"{node}.{incarnation}": number for (node, incarnation), number in numbers.items()}
        self._pending = pending
        self._kind_numbers = {kind: number for number, kind in enumerate(traces.kinds)}
        self._key_numbers: dict[str, int] = {}
        head = msgspec.defstruct(
            "Head",
            [
                ("node", str),
                ("incarnation", int),
                ("seq", int),
                ("event", str),
                ("cause", list[str], []),
                ("key", str | None, msgspec.field(default=None, name=manifest.split_by)),
            ],
            gc=False,
        )
        self._decode = msgspec.json.Decoder(head).decode

    def read(self, file: TraceFile) -> None:
        if file.path.stat().st_size == 0:
            raise CannotCheck(f"{file.path}: is empty: a process writes its first line when it starts; was it copied?")
        with file.path.open("rb") as opened:
            file.content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        ends_with_newline = file.content[-1:] == b"\n"
        last = len(file.content)
        position = 0
        while position < last:
            end = file.content.rfind(b"\n", position, position + CHUNK_BYTES) + 1
            if end == 0:
                end = file.content.find(b"\n", position) + 1 or last
            lines = file.content[position:end].split(b"\n")
            if lines[-1] == b"":
                lines.pop()
            if end == last and not ends_with_newline:
                position = self._lines(file, lines[:-1], position)
                self._truncated(file, lines[-1], position)
            else:
                self._lines(file, lines, position)
            position = end
        if file.count == 0:
            raise CannotCheck(f"{file.path}: has no whole line, so it says nothing of what this process did")
        if not ends_with_newline:
            return
        file.offsets.append(last)

    def _lines(self, file: TraceFile, lines: Sequence[bytes], position: int) -> int:
        """Take these whole lines, the first of which begins at `position`; where the next one would begin."""
        traces = self._traces
        decode, kind_numbers, key_numbers = self._decode, self._kind_numbers, self._key_numbers
        add_kind, add_key, add_offset = traces.kind.append, traces.key.append, file.offsets.append
        add_source, source = traces.source.append, len(traces.files) - 1
        prefixes, pending, cause_first = self._prefixes, self._pending, traces.cause_first
        node, incarnation, seq = file.node, file.incarnation, file.count
        for line in lines:
            seq += 1
            try:
                head = cast(_Head, decode(line))
                if head.seq != seq or head.node != node or head.incarnation != incarnation:
                    raise _misplaced(head, file, seq)
                kind = kind_numbers[head.event]
                key = head.key
                number = NO_KEY if key is None else key_numbers.get(key, NO_KEY)
                if number == NO_KEY:
                    number = self._key(head)
                for cause in head.cause:
                    prefix, _, cause_seq = cause.rpartition(".")
                    pending.append(prefixes[prefix])
                    pending.append(int(cause_seq))
            except (msgspec.DecodeError, KeyError, ValueError) as error:
                raise self._error(file, seq, line, error) from error
            add_kind(kind)
            add_key(number)
            add_offset(position)
            cause_first.append(len(pending) // 2)
            add_source(source)
            position += len(line) + 1
            if seq == 1:
                self._check_start(file, line)
        file.count = seq
        if lines:
            file.has_stop = traces.kinds[traces.kind[-1]] == self._manifest.stop
        return position

    def _key(self, head: _Head) -> int:
        traces = self._traces
        if head.event in traces.everywhere:
            if head.key is not None:
                raise ValueError(
                    f"a {head.event} is about all keys, but the field {self._manifest.split_by!r} names one"
                )
            return EVERY_KEY
        if head.key is None:
            if head.event not in self._manifest.ignored:
                raise ValueError(f"the field {self._manifest.split_by!r} is missing, by which traces are split")
            return NO_KEY
        self._key_numbers[head.key] = len(traces.keys)
        traces.keys.append(head.key)
        return len(traces.keys) - 1

    def _truncated(self, file: TraceFile, line: bytes, position: int) -> None:
        """The last line has no newline. If it is whole, it counts; if not, it is left out, once, and said."""
        where = f"{file.path}:{file.count + 1}"
        if file.has_stop:
            raise CannotCheck(f"{where}: a line after the last one of a clean end ({self._manifest.stop})")
        try:
            msgspec.json.decode(line)
        except msgspec.DecodeError:
            self._traces.notes.append(
                f"{where}: the last line is truncated ({len(line)} bytes), as a killed process leaves it; left out"
            )
            file.offsets.append(position)
            return
        self._lines(file, (line,), position)
        file.offsets.append(position + len(line) + 1)

    def _check_start(self, file: TraceFile, line: bytes) -> None:
        start = self._manifest.start
        if start is None:
            return
        first = msgspec.json.decode(line)
        if first["event"] != start.event:
            raise CannotCheck(f"{file.path}:1: the first line must be {start.event!r}, but it is {first['event']!r}")
        version = first.get(start.version_field)
        if version != start.version:
            raise CannotCheck(
                f"{file.path}:1: {start.version_field} is {version!r}, but {self._manifest.path} is for "
                f"{start.version}; use the checker and the manifest that belong to these traces"
            )

    def _error(self, file: TraceFile, seq: int, line: bytes, error: Exception) -> CannotCheck:
        where = f"{file.path}:{seq}"
        if isinstance(error, msgspec.ValidationError | _Misplaced):
            return CannotCheck(f"{where}: {error}")
        if isinstance(error, msgspec.DecodeError):
            return CannotCheck(f"{where}: is no JSON object ({error}): {line[:80]!r}")
        head = cast(_Head, self._decode(line))
        if head.event not in self._kind_numbers:
            known = ", ".join(self._traces.kinds)
            return CannotCheck(f"{where}: {self._manifest.path} knows no event {head.event!r}; it knows {known}")
        for cause in head.cause:
            prefix, _, cause_seq = cause.rpartition(".")
            if prefix not in self._prefixes or not cause_seq.isdecimal():
                return CannotCheck(f"{where}: the cause {cause!r} is of no trace file of this run")
        return CannotCheck(f"{where}: {error}")


class _Misplaced(ValueError):
    """A line that stands where another one should."""


def _misplaced(head: _Head, file: TraceFile, seq: int) -> _Misplaced:
    if head.seq != seq:
        return _Misplaced(
            f"seq is {head.seq}, but {seq} is next: the trace has a hole or a line twice, and cannot be checked"
        )
    return _Misplaced(
        f"is of node {head.node!r}, incarnation {head.incarnation}, in the file of {file.node}.{file.incarnation}"
    )


def _resolve(traces: Traces, pending: "array[int]") -> None:
    """Turn (file, seq) of each cause into an event index."""
    firsts = [file.first for file in traces.files]
    counts = [file.count for file in traces.files]
    append = traces.causes.append
    pairs = iter(pending)
    for number, seq in zip(pairs, pairs, strict=True):
        if not 0 < seq <= counts[number]:
            file = traces.files[number]
            effect = bisect_right(traces.cause_first, len(traces.causes)) - 1
            raise CannotCheck(
                f"{traces.place(effect)}: its cause {file.node}.{file.incarnation}.{seq} is not in {file.path}, which "
                f"has {counts[number]} lines: an event must be out before any message that it sends"
            )
        append(firsts[number] + seq - 1)
