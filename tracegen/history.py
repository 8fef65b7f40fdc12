"""The clients' history: every operation with invoke and return, as the checker reads it from history.ndjson.

`ok` took effect and says what was seen, `failed` certainly had no effect, `unknown` may take effect at any time after
its invoke or never (so it has no return). A client's retry after an unknown attempt goes on with the same write id and
is the same operation: one line from the first attempt's invoke to the last one's return. That is exact, because the
promise under check is that a write id takes effect once: whichever attempt did it, it lies in that span. An unknown
attempt that is followed by a refusal stays unknown, as the first request may still be on its way; and so does one that
is followed by a delete's success, unless that is called a replay: a delete that changed nothing is not remembered.

Times are microseconds of the harness's monotonic clock from the start of the run; run.json ties them to the wall clock.
"""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

Kind = Literal["put", "get", "delete", "list", "mark", "tag", "copy", "list_versions"]
"""`mark` leaves a delete marker; `delete` removes what is there, or one version."""
Outcome = Literal["ok", "failed", "unknown"]
FLUSH_LINES: Final = 500


class ListedVersion(msgspec.Struct, frozen=True, array_like=True):
    """A version or a delete marker as a list has it. Version 0 is the one that S3 calls `null`."""

    path: str
    version: int
    is_latest: bool
    deleted: bool
    etag: str | None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One line of history.ndjson. Etags are bare; `sha256` and `size_bytes` are of the body written or read.

    How it was asked, so that it can be asked again: `tried` are the nodes that a write was sent to, one after the other
    (`node` is the last); `span` is the first and last byte that a get wanted; `page` how many paths at a time;
    `of_version` the version that a get or a delete named, and `made_by` the operation that made it, as far as a client
    was told; `source` the path that a copy was of; `parts` in how many a body was uploaded, 0 for in one piece.

    `version` is the id of the version that was made or read; `versioned` says that a write makes one of its own.
    """

    client: str
    op: int
    kind: Kind
    path: str
    node: str
    invoke_us: int
    return_us: int | None
    outcome: Outcome
    status: int | None = None
    write_id: str | None = None
    condition: str = "none"
    condition_etag: str | None = None
    condition_generation: int | None = None
    generation: int | None = None
    etag: str | None = None
    deleted: bool | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    paths: list[tuple[str, int]] | None = None
    tried: tuple[str, ...] = ()
    span: tuple[int, int] | None = None
    page: int | None = None
    of_version: int | None = None
    made_by: str | None = None
    version: int | None = None
    versioned: bool = False
    source: str | None = None
    parts: int = 0
    listed: list[tuple[str, str]] | None = None
    versions: list[ListedVersion] | None = None


class RunClock:
    """The one clock of a run: microseconds since it was made, by a clock in seconds (a simulated one may be given)."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic, epoch_ms: int | None = None) -> None:
        self._monotonic_s = monotonic_s
        self._zero_s = monotonic_s()
        self.epoch_ms_at_zero_us = time.time_ns() // 1_000_000 if epoch_ms is None else epoch_ms

    def now_us(self) -> int:
        return int((self._monotonic_s() - self._zero_s) * 1e6)


class Recorder:
    """Writes the history, and answers what nemeses and summary ask of it."""

    def __init__(self, path: Path, clock: RunClock) -> None:
        self.clock = clock
        self.outcomes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.writes_acknowledged = 0
        self._path = path
        self._file = path.open("wb")
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._invoked = array("q")
        self._left = array("q")
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}

    @property
    def operations(self) -> int:
        return len(self._invoked)

    def write_begins(self, node: str) -> None:
        """A client is about to send a write to this node."""
        for waiting in self._awaited.pop(node, ()):
            if not waiting.done():
                waiting.set_result(None)

    def next_write(self, node: str) -> asyncio.Future[None]:
        """Done as soon as a client sends the next write to this node."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(node, []).append(waiting)
        return waiting

    def record(self, operation: Operation) -> None:
        self.outcomes[operation.outcome] += 1
        self.kinds[operation.kind] += 1
        if operation.outcome == "ok" and operation.write_id is not None:
            self.writes_acknowledged += 1
        self._invoked.append(operation.invoke_us)
        self._left.append(self.clock.now_us() if operation.return_us is None else operation.return_us)
        self._lines.append(self._encode(operation))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def overlapping(self, start_us: int, end_us: int) -> int:
        """On how many recorded operations a client waited at some time between these two."""
        return sum(
            invoked <= end_us and left >= start_us for invoked, left in zip(self._invoked, self._left, strict=True)
        )

    def recorded(self) -> list[Operation]:
        """All operations so far."""
        self.flush()
        return msgspec.json.Decoder(Operation).decode_lines(self._path.read_bytes())

    def flush(self) -> None:
        if self._lines:
            self._file.write(b"\n".join(self._lines) + b"\n")
            self._lines.clear()
        self._file.flush()

    def close(self) -> None:
        self.flush()
        self._file.close()
