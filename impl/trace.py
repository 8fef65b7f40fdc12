"""Events out: one NDJSON file for each incarnation of a node, atomic with the state that the events describe.

Two kinds of event come here. A *durable* one (an acceptor's step) is inserted in the same SQLite transaction as the
register it changed (`impl/storage/registers.py`) and gets its line when the transaction is on disk. A *volatile* one
gets its line when it happens. All lines are written by the event loop, so one counter numbers them without a hole, and
`flush` writes them out before any message or answer that they enable.

A kill can lose only lines that were not flushed. The durable ones among them are still in the database: the next
incarnation completes the file with them (`complete`). So a trace says exactly what the disk says.

With tracing off there is no file, ids are "" and everything here returns at once.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from impl.doors import Disk, RealDisk
from impl.errors import ConfigError
from impl.model import Register
from impl.protocol import events
from impl.protocol.acceptor import known

SCHEMA: Final = 1
BUFFER_BYTES_MAX: Final = 256 * 1024
"""Lines are also written out when so many have piled up, should nothing else ask for it."""

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class Tracer(Protocol):
    """What the rooms of a node know of tracing."""

    enabled: bool

    def emit(self, event: events.TraceEvent) -> str:
        """A volatile event; returns its id."""
        ...

    def emit_durable(self, encoded: bytes, commit: int, disk: int = 1) -> str:
        """An event whose transaction is on disk; `commit` is its number there, on this one of the node's disks."""
        ...

    def touch(self, path: str, found: Register) -> None:
        """Say how this incarnation found the register, before its first event on it."""
        ...

    def flush(self) -> None: ...
    def close(self) -> None: ...

    def abandon(self) -> None:
        """Let go of the file without another byte, as a kill does."""
        ...


class NoTrace:
    """Tracing is off."""

    enabled = False

    def emit(self, event: events.TraceEvent) -> str:
        return ""

    def emit_durable(self, encoded: bytes, commit: int, disk: int = 1) -> str:
        return ""

    def touch(self, path: str, found: Register) -> None:
        return None

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None

    def abandon(self) -> None:
        return None


class _Start(msgspec.Struct, tag_field="event", tag="Start"):
    schema: int
    cluster_id: str
    nodes: tuple[str, ...]


class _Stop(msgspec.Struct, tag_field="event", tag="Stop"):
    pass


class FileTrace:
    """Writes `<directory>/<node>.<incarnation>.ndjson`.

    `flushed` is told the last durable event of a disk that is written: its number there, and which disk.
    """

    enabled = True

    def __init__(
        self,
        directory: Path,
        node_id: str,
        incarnation: int,
        now_ms: Callable[[], int],
        flushed: Callable[[int, int], None],
        disk: Disk | None = None,
    ) -> None:
        file = trace_file(directory, node_id, incarnation)
        self._writer = _Lines(file, node_id, incarnation, 0, disk or RealDisk())
        self._incarnation = incarnation
        self._now_ms = now_ms
        self._flushed = flushed
        self._last_commits: dict[int, int] = {}
        # how many paths one incarnation touches bounds this; the first has nothing to say of what it found
        self._touched: set[str] = set()

    def start(self, cluster_id: str, nodes: tuple[str, ...]) -> None:
        """The file's first line."""
        self._writer.add(_encode(_Start(SCHEMA, cluster_id, nodes)), self._now_ms())
        self.flush()

    def emit(self, event: events.TraceEvent) -> str:
        return self._writer.add(_encode(event), self._now_ms())

    def emit_durable(self, encoded: bytes, commit: int, disk: int = 1) -> str:
        self._last_commits[disk] = commit
        return self._writer.add(encoded, self._now_ms(), commit, disk)

    def touch(self, path: str, found: Register) -> None:
        if self._incarnation == 1 or path in self._touched:
            return
        self._touched.add(path)
        head = found.head if found.accepted else None
        self.emit(
            events.Restart(
                path=path,
                promised=known(found.promised),
                accepted=known(found.accepted),
                generation=found.generation,
                etag=head.etag if head else None,
                deleted=head.deleted if head else False,
                versions=head.version_ids if head else (),
                archived=found.archived,
                settled=found.is_settled,
            )
        )

    def flush(self) -> None:
        if self._writer.flush():
            for disk, commit in self._last_commits.items():
                self._flushed(commit, disk)
            self._last_commits.clear()

    def close(self) -> None:
        """A clean end: the last line says so."""
        self._writer.add(_encode(_Stop()), self._now_ms())
        self.flush()
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()


class _Lines:
    """Numbers lines and appends them to a file, many with one write. A file that takes no more ends the process."""

    def __init__(self, file: Path, node_id: str, incarnation: int, seq: int, disk: Disk) -> None:
        try:
            self._out = disk.open_to_append(file)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror}; check trace.directory") from None
        self._file = file
        self._prefix = f"{node_id}.{incarnation}."
        self._begin = f'{{"node":"{node_id}","incarnation":{incarnation},"seq":'
        self._seq = seq
        self._lines: list[bytes] = []
        self._size_bytes = 0

    def add(self, encoded: bytes, time_ms: int, commit: int = 0, disk: int = 1) -> str:
        """Add one line; `encoded` is the event's own JSON object, which is never empty. Returns the event's id."""
        self._seq += 1
        committed = f'"commit":{commit},' if commit else ""
        if disk != 1:
            committed += f'"disk":{disk},'
        line = f'{self._begin}{self._seq},"time_ms":{time_ms},{committed}'.encode() + encoded[1:] + b"\n"
        self._lines.append(line)
        self._size_bytes += len(line)
        if self._size_bytes > BUFFER_BYTES_MAX:
            self.flush()
        return f"{self._prefix}{self._seq}"

    def flush(self) -> bool:
        """Write out what was added; False if there was nothing, or the file is closed."""
        if not self._lines or self._out.closed:
            return False
        view = memoryview(b"".join(self._lines))
        self._lines.clear()
        self._size_bytes = 0
        try:
            while view:
                view = view[self._out.write(view) :]
        except OSError as error:
            # nothing may go on whose event is not out; a process that ends here is repaired by the next start
            log.critical("the trace cannot be written; this process ends", file=str(self._file), error=error.strerror)
            os._exit(1)
        return True

    def close(self) -> None:
        """Lines that were not flushed are dropped."""
        self._lines.clear()
        self._out.close()


def trace_file(directory: Path, node_id: str, incarnation: int) -> Path:
    """Where a node's incarnation writes its trace."""
    return directory / f"{node_id}.{incarnation}.ndjson"


_SEQ: Final = re.compile(
    rb'^\{"node":"[^"]*","incarnation":\d+,"seq":(\d+),"time_ms":(\d+),(?:"commit":(\d+),(?:"disk":(\d+),)?)?'
)
TAIL_BYTES: Final = 4 * 1024 * 1024


def complete(
    directory: Path, node_id: str, incarnation: int, durable: Iterable[tuple[int, bytes]], disk: int = 1
) -> int:
    """Complete the trace of a killed incarnation with the durable events that its kill kept from the file.

    `durable` are the events in the database of one of the node's disks, by number. A line that the kill tore is cut off
    first. Returns how many lines were added. An incarnation that never wrote a line is left without a file.

    With several disks, one after the other: each one's events are in its own order, and what is missing of one cannot
    have been caused by what is missing of another. For nobody sees a step before its line is added, and all lines
    added by then are out before the commit of anything that is decided later (`RegisterStore`).
    """
    file = trace_file(directory, node_id, incarnation)
    if not file.exists():
        return 0
    _cut_torn_line(file)
    if file.stat().st_size == 0:
        file.unlink()
        return 0
    left = list(durable)
    if not left:
        return 0
    seq, time_ms, commit = _last_line(file, disk)
    lines = _Lines(file, node_id, incarnation, seq, RealDisk())
    added = 0
    for number, encoded in left:
        if number > commit:
            lines.add(encoded, time_ms, number, disk)
            added += 1
    lines.flush()
    lines.close()
    return added


def _cut_torn_line(file: Path) -> None:
    with file.open("r+b") as opened:
        size_bytes = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size_bytes - TAIL_BYTES))
        tail = opened.read()
        end = tail.rfind(b"\n") + 1
        if end < len(tail):
            opened.truncate(size_bytes - len(tail) + end)


def _last_line(file: Path, disk: int) -> tuple[int, int, int]:
    """seq and time of the last line, and the highest number of a disk's durable event (they are in order)."""
    with file.open("rb") as opened:
        end = opened.seek(0, os.SEEK_END)
        last: tuple[int, int] | None = None
        while end:
            begin = max(0, end - TAIL_BYTES)
            opened.seek(begin)
            text = opened.read(end - begin)
            # a piece begins in the midst of a line, which belongs to the piece before it
            whole_from = text.find(b"\n") + 1 if begin else 0
            found, commit = _scan_back(text[whole_from:], disk)
            last = last or found
            if last is not None and commit:
                return last[0], last[1], commit
            end = begin + whole_from
            assert whole_from or not begin, "a line is shorter than a piece"
        return (last[0], last[1], 0) if last is not None else (0, 0, 0)


def _scan_back(text: bytes, disk: int) -> tuple[tuple[int, int] | None, int]:
    last: tuple[int, int] | None = None
    for line in reversed(text.splitlines()):
        found = _SEQ.match(line)
        if found is None:
            continue
        last = last or (int(found[1]), int(found[2]))
        if found[3] and int(found[4] or 1) == disk:
            return last, int(found[3])
    return last, 0
