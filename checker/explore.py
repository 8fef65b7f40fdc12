"""Goes on from where real runs ended: the end state of each accepted trace is where TLC begins a search.

What happened is a behaviour of the spec; here is asked what could happen next. TLC says each trace's last state, which
is TLA+ again, and the module that the manifest names (`explore`) makes its initial states of them. For that, the module
TraceEnds is generated:

    PairBase, Size_node    as in TraceData
    StatesMax              the distinct states after which the search may stop
    Ends                   a sequence of records: of each trace, the variables of the trace module

The module must have a variable `end`, the number of the state that a behaviour began with, for explanations.
"""

import re
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from checker import tla_source, tlc
from checker.errors import CannotCheck
from checker.load import load
from checker.manifest import Manifest
from checker.order import linear_extension
from checker.replay import Replay
from checker.split import by_key

HEAP_MB: Final = 4096
BATCH_EVENTS: Final = 100_000
"""Events that one TLC replays at once."""

_END = re.compile(r'^<<\s*"END",\s*(\d+),\s*"(.*)"\s*>>$', re.DOTALL)
_BEGAN = re.compile(r"^/\\ end = (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class End:
    """Where one trace ended: the value of a record of the trace module's variables, as TLA+."""

    key: str
    state: str


@dataclass(frozen=True, slots=True)
class Ends:
    """The end states of a run. `refused` are the keys of traces that have none."""

    ends: list[End]
    refused: list[str]
    nodes: int
    pair_base: int


@dataclass(frozen=True, slots=True)
class Explored:
    """What was found. `violated` is an invariant and `behaviour` leads to where it is, from the end state of `key`."""

    distinct: int
    seconds: float
    violated: str | None = None
    key: str = ""
    behaviour: tuple[str, ...] = ()


def ends_of(tool: tlc.Tool, manifest: Manifest, run: Path, *, timeout_s: float | None = None) -> Ends:
    """Replay a run's traces, and have TLC say the state at the end of each."""
    traces = load(run, manifest)
    behaviours = {key: own for key, own in enumerate(by_key(traces, linear_extension(traces))) if len(own)}
    if not behaviours:
        raise CannotCheck(f"{run}: there is no trace of {manifest.name} here")
    variables = tla_source.read(manifest.modules, manifest.trace_module).variables
    record = ", ".join(f"{name} |-> {name}" for name in variables)
    definitions = f'AtEnd == cursor <= Len(Traces[trace]) \\/ PrintT(<<"END", trace, ToString([{record}])>>)'
    states: dict[int, str] = {}
    with Replay(manifest, traces, tool, jvms=1, timeout_s=timeout_s) as replay:
        packer = replay.packer
        for keys in _batches(behaviours):
            packed = [packer.pack(key, behaviours[key], packer.records(behaviours[key])) for key in keys]
            outcome, _ = replay.run_beside(packed, "Ending", definitions, "CONSTRAINT AtEnd")
            if outcome.error is not None:
                raise CannotCheck(f"{run}: the traces cannot be replayed: {outcome.error}")
            for line in outcome.printed:
                if match := _END.match(line):
                    states[keys[int(match[1]) - 1]] = match[2].replace('\\"', '"').replace("\\\\", "\\")
        return Ends(
            [End(traces.keys[key], state) for key, state in sorted(states.items())],
            [traces.keys[key] for key in behaviours if key not in states],
            len(traces.nodes),
            packer.ordinals.pair_base,
        )


def _batches(behaviours: "dict[int, array[int]]") -> Iterator[list[int]]:
    keys, events = list[int](), 0
    for key, own in behaviours.items():
        if keys and events + len(own) > BATCH_EVENTS:
            yield keys
            keys, events = [], 0
        keys.append(key)
        events += len(own)
    yield keys


def explore(
    tool: tlc.Tool,
    manifest: Manifest,
    ends: Ends,
    chosen: Sequence[End],
    *,
    states: int,
    workers: int,
    timeout_s: float | None = None,
) -> Explored:
    """Search from the chosen ends, breadth first, until about so many distinct states are found."""
    if manifest.explore is None:
        raise CannotCheck(f"{manifest.path}: names no module to explore with; add explore = a module's name")
    with tempfile.TemporaryDirectory(prefix="explore-") as scratch:
        folder = Path(scratch)
        (folder / "TraceEnds.tla").write_text("".join(_ends_module(ends, chosen, states)), encoding="utf-8")
        outcome = tlc.run(
            tool,
            manifest.modules / f"{manifest.explore}.tla",
            manifest.modules / f"{manifest.explore}.cfg",
            workers=workers,
            heap_mb=HEAP_MB,
            timeout_s=timeout_s,
            libraries=[folder],
        )
    if outcome.error is not None:
        raise CannotCheck(f"{manifest.explore}: {outcome.error}")
    key = ""
    if outcome.violated is not None and outcome.behaviour and (began := _BEGAN.search(outcome.behaviour[0])):
        key = chosen[int(began[1]) - 1].key
    return Explored(outcome.distinct, outcome.seconds, outcome.violated, key, tuple(outcome.behaviour))


def _ends_module(ends: Ends, chosen: Sequence[End], states: int) -> Iterator[str]:
    yield "---- MODULE TraceEnds ----\n\\* Generated by the checker for one run; see checker/explore.py.\n"
    yield f"EXTENDS Integers, Sequences, TLC\n\nPairBase == {ends.pair_base}\nSize_node == {ends.nodes}\n"
    yield f"StatesMax == {states}\nEnds == <<\n"
    yield ",\n".join(end.state for end in chosen)
    yield ">>\n====\n"
