"""Replays a run's traces through TLC: many traces a JVM, a JVM a core, and a verdict that cannot lie.

A trace is accepted if TLC printed that its end was reached, and only then; the refused ones are the set difference.
What else must be true, or the run counts as unchecked: TLC ended as it should, distinct states are as many as the
events demand, and in each TLC a canary, a real trace with one corrupted field, was refused at just that event.

A trace module must have the variables `trace` and `cursor`, and a constraint that prints <<"OK", trace>> at the end.
"""

import re
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from checker import tlc
from checker.causes import CauseFault, CauseRules
from checker.coverage import Coverage
from checker.errors import CannotCheck
from checker.load import Traces
from checker.manifest import Canary, Manifest
from checker.pack import PackedTrace, Packer
from checker.trace_data import data_module

BATCH_EVENTS_MAX: Final = 100_000
"""Events in one TLC: more of them at once cost memory and gain no time."""

BATCH_EVENTS_MIN: Final = 2_000
"""With fewer, a second JVM costs more than it gains."""

LOCATED_EVENTS_MAX: Final = 200_000
"""So many events of refused traces are replayed again to find where each was refused."""

HEAP_MB: Final = 1024
HEAP_BYTES_AN_EVENT: Final = 8_000
"""What an event costs TLC at most, while it is parsed: one very long trace needs more than HEAP_MB."""

LOCATOR: Final = "Locate"

_OK = re.compile(r'^<<"OK", (\d+)>>$')
_AT = re.compile(r'^<<"AT", (\d+), (\d+)>>$')
_VARIABLE = re.compile(r"^/\\ (\w+) = (\d+)$", re.MULTILINE)


@dataclass(slots=True)
class Batch:
    """What one TLC replays: keys in the order of its traces, and the number of events of each."""

    folder: Path
    keys: list[int]
    lengths: list[int]
    canary: PackedTrace | None = None
    """The beginning of one of the traces, its last event corrupted; None if there was no event to corrupt."""


@dataclass(slots=True)
class Replayed:
    """What came of all batches. `refused` maps a key's number to the position (from 0) of its first refused event.

    The position is None where it was not looked for (LOCATED_EVENTS_MAX). `troubles` says why there is no verdict.
    """

    refused: dict[int, int | None] = field(default_factory=dict)
    distinct: int = 0
    expected: int = 0
    canary: bool = True
    collision: str = ""
    troubles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Replay:
    """Packs traces into batches and has TLCs replay them in the background: `start`, do something else, `finish`."""

    def __init__(
        self, manifest: Manifest, traces: Traces, tool: tlc.Replayer, *, jvms: int, timeout_s: float | None = None
    ) -> None:
        self.packer = Packer(manifest, traces)
        self.coverage = Coverage(manifest, traces)
        self.cause_faults: dict[int, CauseFault] = {}
        self._rules = CauseRules(manifest, traces)
        self.manifest = manifest
        self.traces = traces
        self._tool = tool
        self._jvms = jvms
        self._timeout_s = timeout_s
        self._behaviours: Sequence[array[int]] = ()
        self._scratch = tempfile.TemporaryDirectory(prefix="checker-")
        self.pool = ThreadPoolExecutor(jvms)
        self._running: list[tuple[Batch, Future[tlc.Outcome]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for _, future in self._running:
                future.cancel()
            self._tool.stop()
        self.pool.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    def start(self, behaviours: Sequence["array[int]"]) -> None:
        """Pack all traces, and start TLC on each batch as soon as it is packed."""
        self._behaviours = behaviours
        for keys in _partition([len(indices) for indices in behaviours], self._jvms):
            batch = self._write(keys)
            self._running.append((batch, self.pool.submit(self._run, batch)))

    def finish(self) -> Replayed:
        """Wait for all TLCs, and judge what they said."""
        replayed = Replayed()
        for batch, future in self._running:
            self._judge(replayed, batch, future.result())
        self._locate(replayed)
        replayed.expected = self._expected(replayed)
        if not replayed.troubles and replayed.distinct != replayed.expected:
            replayed.troubles.append(
                f"TLC found {replayed.distinct:,} distinct states where {replayed.expected:,} must be: not every event "
                "was replayed exactly once, so the trace module is wrong"
            )
        for key, place in replayed.refused.items():
            if place is not None:
                rest = self._behaviours[key][place:]
                self.coverage.remove(rest, self.packer.records(rest))
        return replayed

    def _write(self, keys: Sequence[int]) -> Batch:
        packed = []
        for key in keys:
            indices = self._behaviours[key]
            records = self.packer.records(indices)
            fault = self._rules.first_fault(indices, records)
            if fault is not None:
                self.cause_faults[key] = fault
            self.coverage.add(indices, records)
            packed.append(self.packer.pack(key, indices, records))
        batch = self._folder(keys, packed)
        batch.canary = _canary(self.manifest.canaries, self.packer, packed)
        self._write_data(batch.folder, packed if batch.canary is None else [*packed, batch.canary])
        return batch

    def _folder(self, keys: Sequence[int], packed: Sequence[PackedTrace]) -> Batch:
        folder = Path(tempfile.mkdtemp(dir=self._scratch.name))
        module = self.manifest.trace_module
        for name in (f"{module}.tla", f"{module}.cfg"):
            shutil.copy(self.manifest.modules / name, folder / name)
        return Batch(folder, list(keys), [len(trace.rows) for trace in packed])

    def _write_data(self, folder: Path, packed: Sequence[PackedTrace]) -> None:
        with (folder / "TraceData.tla").open("w", encoding="utf-8") as file:
            file.writelines(data_module(self.packer, packed))

    def _run(self, batch: Batch, module: str | None = None) -> tlc.Outcome:
        return self._tool.replay(
            batch.folder / f"{module or self.manifest.trace_module}.tla",
            libraries=self.manifest.modules,
            heap_mb=max(HEAP_MB, HEAP_BYTES_AN_EVENT * sum(batch.lengths) // 2**20),
            timeout_s=self._timeout_s,
        )

    def _judge(self, replayed: Replayed, batch: Batch, outcome: tlc.Outcome) -> None:
        reached = {int(match[1]) for line in outcome.printed if (match := _OK.match(line))}
        if outcome.error is not None or outcome.exit_code != 0:
            replayed.troubles.append(self._trouble(batch, outcome))
            return
        replayed.distinct += outcome.distinct
        if outcome.collision is not None and _probability(outcome.collision) >= _probability(replayed.collision):
            replayed.collision = outcome.collision
        for number, key in enumerate(batch.keys, start=1):
            if number not in reached:
                replayed.refused[key] = None
        if batch.canary is None:
            replayed.canary = False
            replayed.troubles.append(
                "no trace has an event that the manifest's canaries could corrupt, so nothing shows that a wrong trace "
                "would be refused; add a canary to the manifest"
            )
            return
        if len(batch.keys) + 1 in reached:
            replayed.canary = False
            replayed.troubles.append(
                "the canary was accepted: a trace with a corrupted field that TLC must refuse; the trace module checks "
                "too little for any verdict"
            )

    def _trouble(self, batch: Batch, outcome: tlc.Outcome) -> str:
        """TLC ended badly: say what it said and, where it evaluated an event, which."""
        said = outcome.violated or outcome.error or f"exit code {outcome.exit_code}"
        found = dict(_VARIABLE.findall(outcome.behaviour[-1])) if outcome.behaviour else {}
        number, cursor = int(found.get("trace", 0)), int(found.get("cursor", 0))
        if 0 < number <= len(batch.keys) and 0 < cursor <= batch.lengths[number - 1]:
            index = self._behaviours[batch.keys[number - 1]][cursor - 1]
            said = f"{self.traces.place(index)}: TLC cannot evaluate this event: {said}"
        return f"TLC did not finish: {said}"

    def _locate(self, replayed: Replayed) -> None:
        """Find where each refused trace was refused: replay them again, printing every state's cursor."""
        keys: list[int] = []
        events = 0
        for key in replayed.refused:
            events += len(self._behaviours[key])
            if events > LOCATED_EVENTS_MAX and keys:
                replayed.notes.append(
                    f"{len(replayed.refused)} traces were refused; where, was looked for in the first {len(keys)}"
                )
                break
            keys.append(key)
        if not keys:
            return
        packed = [self.packed(key) for key in keys]
        outcome, batch = self.run_beside(packed, LOCATOR, 'At == PrintT(<<"AT", trace, cursor>>)', "CONSTRAINT At")
        if outcome.error is not None:
            replayed.troubles.append(self._trouble(batch, outcome))
            return
        last: dict[int, int] = {}
        for line in outcome.printed:
            if match := _AT.match(line):
                number = int(match[1])
                last[number] = max(last.get(number, 0), int(match[2]))
        for number, key in enumerate(keys, start=1):
            place = last[number] - 1
            if place >= len(self._behaviours[key]):
                raise CannotCheck(f"TLC refused the trace of {self.traces.keys[key]!r} once and accepted it once")
            replayed.refused[key] = place

    def _expected(self, replayed: Replayed) -> int:
        """The distinct states there must be: one for each event accepted, and each trace's first."""
        expected = 0
        for batch, _ in self._running:
            for key, length in zip(batch.keys, batch.lengths, strict=True):
                place = replayed.refused.get(key, length)
                if place is None:
                    return replayed.distinct  # not all were located, so nothing can be said
                expected += place + 1
            if batch.canary is not None:
                corrupted = len(batch.canary.rows) - 1
                place = replayed.refused.get(batch.canary.key)
                expected += min(corrupted, corrupted if place is None else place) + 1
        return expected

    def behaviour(self, key: int) -> "array[int]":
        """The indices of one key's events, in the order in which they were replayed."""
        return self._behaviours[key]

    def packed(self, key: int, events: int | None = None) -> PackedTrace:
        """One key's trace again, or only its first events."""
        indices = self._behaviours[key][:events]
        return self.packer.pack(key, indices, self.packer.records(indices))

    def run_beside(
        self, packed: Sequence[PackedTrace], name: str, definitions: str, config: str
    ) -> tuple[tlc.Outcome, Batch]:
        """Run TLC on these traces with a module that extends the trace module by some definitions."""
        batch = self._folder([trace.key for trace in packed], packed)
        self._write_data(batch.folder, packed)
        text = f"---- MODULE {name} ----\nEXTENDS {self.manifest.trace_module}\n{definitions}\n====\n"
        (batch.folder / f"{name}.tla").write_text(text, encoding="utf-8")
        whole = self.manifest.trace_config.read_text(encoding="utf-8") + f"\n{config}\n"
        (batch.folder / f"{name}.cfg").write_text(whole, encoding="utf-8")
        return self._run(batch, name), batch


def _partition(lengths: Sequence[int], jvms: int) -> Iterator[list[int]]:
    """Keys in batches of about the same number of events: the long ones first, each to the emptiest batch."""
    total = sum(lengths)
    count = max(min(jvms, total // BATCH_EVENTS_MIN), -(-total // BATCH_EVENTS_MAX), 1)
    batches: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    by_length = sorted((key for key, length in enumerate(lengths) if length), key=lambda key: -lengths[key])
    for key in by_length:
        emptiest = loads.index(min(loads))
        batches[emptiest].append(key)
        loads[emptiest] += lengths[key]
    return (keys for keys in batches if keys)


def _canary(canaries: Sequence[Canary], packer: Packer, packed: Sequence[PackedTrace]) -> PackedTrace | None:
    """The shortest beginning of a trace with an event to corrupt, ending with that event, corrupted."""
    for canary in canaries:
        number = packer.numbers[canary.event]
        column = 2 + list(packer.manifest.kinds[canary.event].fields).index(canary.field)
        best: tuple[int, PackedTrace] | None = None
        for trace in packed:
            limit = len(trace.rows) if best is None else min(best[0], len(trace.rows))
            place = next((place for place in range(limit) if trace.rows[place][0] == number), None)
            if place is not None:
                best = (place, trace)
        if best is None:
            continue
        place, trace = best
        rows = trace.rows[: place + 1]
        domain = packer.manifest.kinds[canary.event].fields[canary.field]
        rows[place] = [*rows[place]]
        rows[place][column] = packer.ordinals.another(domain, rows[place][column])
        return PackedTrace(trace.key, trace.indices[: place + 1], rows, trace.params)
    return None


def _probability(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
