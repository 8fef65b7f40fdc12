"""Real traces taken apart, so that tests can put them together otherwise: one behaviour a path, many copies a run.

A `Behaviour` is what happened to one path of a real run: events in one linear extension of their causal order, with
their causes as references. Tests change copies of it; `write` makes one run directory of many copies, which `checker`
then judges as it judges any run, in one or two JVMs. So a corpus of hundreds of corrupted traces costs seconds.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from checker import manifest as manifests
from checker.load import COMMON_FIELDS, load
from checker.manifest import Manifest
from checker.order import linear_extension
from tracegen import scenario as scenarios
from tracegen.backend.sim.session import simulate
from tracegen.places import RunPlaces

ROOT: Final = Path(__file__).parent.parent
SCENARIO: Final = str(Path(__file__).parent / "corpus.toml")
WITH_KILLS: Final = str(Path(__file__).parent / "corpus-with-kills.toml")
ATTEMPTS: Final = 5
LATER: Final = 1e7  # more than the events of a run
BIN: Final = Path(sys.executable).parent
MANIFEST: Final[Manifest] = manifests.read(ROOT / "spec" / "register.toml")
OF_A_LOST_DISK: Final = frozenset(("Lose", "Meet", "Gather", "Tell", "Rejoin", "Back"))
"""What only runs have in which a disk is lost."""

Fields = dict[str, Any]


@dataclass(eq=False, slots=True)
class Entry:
    """One event of a behaviour. `place` orders the events of all copies, so that what they share stays acyclic."""

    place: float
    node: str
    incarnation: int
    kind: str
    fields: Fields
    causes: list["Entry"] = field(default_factory=list)
    id: str = ""
    """The event's id: in the run that it comes from, and from `write` on in the run that was written."""


class Behaviour:
    """The events of one path, in the order of their places."""

    def __init__(self, path: str, entries: list[Entry]) -> None:
        self.path = path
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def copy(self) -> "Behaviour":
        """The same events, as objects of their own."""
        twins = {
            id(old): Entry(old.place, old.node, old.incarnation, old.kind, dict(old.fields), [], old.id)
            for old in self.entries
        }
        for old in self.entries:
            twins[id(old)].causes = [twins[id(cause)] for cause in old.causes]
        return Behaviour(self.path, list(twins.values()))

    def of(self, kind: str) -> list[int]:
        """Where the events of a kind are."""
        return [number for number, entry in enumerate(self.entries) if entry.kind == kind]

    def effects(self, entry: Entry) -> list[Entry]:
        """The events that name this one as a cause, in order. Ask before the causes are changed."""
        return self._effects.get(id(entry), [])

    @cached_property
    def _effects(self) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = {}
        for entry in self.entries:
            for cause in entry.causes:
                found.setdefault(id(cause), []).append(entry)
        return found

    def later(self, entry: Entry) -> Iterator[Entry]:
        """The same node's events after this one."""
        for other in self.entries[self.entries.index(entry) + 1 :]:
            if other.node == entry.node:
                yield other

    def cut(self, after: int) -> None:
        """Leave out what comes later: the beginning of a linear extension is a trace too."""
        del self.entries[after:]

    def sort(self) -> None:
        self.entries.sort(key=lambda entry: entry.place)


def behaviours(run: Path, *, later: int = 0, first_incarnation: int = 1) -> list[Behaviour]:
    """What happened to each path of a run, the shortest first.

    Copies of several runs can be put together if each is `later` than the one before, and no incarnation comes back.
    """
    traces = load(run, MANIFEST)
    entries: dict[int, Entry] = {}
    paths: dict[str, list[Entry]] = {}
    for place, index in enumerate(linear_extension(traces)):
        event = traces.event(index)
        if not event.key:
            continue
        own = {name: value for name, value in event.fields.items() if name not in (MANIFEST.split_by, "commit")}
        incarnation = event.incarnation + first_incarnation - 1
        entry = Entry(place + later * LATER, event.node, incarnation, event.kind, own, [], event.id)
        entry.causes = [entries[cause] for cause in traces.causes_of(index)]
        entries[index] = entry
        paths.setdefault(event.key, []).append(entry)
    return sorted((Behaviour(path, own) for path, own in paths.items()), key=lambda each: (len(each), each.path))


def write(folder: Path, copies: Iterable[tuple[str, Behaviour]], nodes: Sequence[str] = ("n1", "n2", "n3")) -> Path:
    """A run directory in which each copy happened to the path that is named with it; entries get their new ids."""
    files: dict[tuple[str, int], list[tuple[float, int, str, Entry]]] = {}
    for number, (path, behaviour) in enumerate(copies):
        for entry in behaviour.entries:
            own = path + str(entry.fields.get(MANIFEST.split_by, ""))  # an event may have been moved to another path
            files.setdefault((entry.node, entry.incarnation), []).append((entry.place, number, own, entry))
    (folder / "traces").mkdir(parents=True)
    for (node, incarnation), lines in files.items():
        lines.sort(key=lambda line: line[:2])
        for seq, (_, _, _, entry) in enumerate(lines, start=2):
            entry.id = f"{node}.{incarnation}.{seq}"
    for (node, incarnation), lines in files.items():
        start = {"schema": 1, "cluster_id": "corpus", "nodes": list(nodes)}
        texts = [_line(node, incarnation, 1, "Start", start)]
        for seq, (_, _, path, entry) in enumerate(lines, start=2):
            said = {"path": path, "cause": [cause.id for cause in entry.causes], **_own(entry)}
            texts.append(_line(node, incarnation, seq, entry.kind, said))
        texts.append(_line(node, incarnation, len(lines) + 2, "Stop", {}))
        (folder / "traces" / f"{node}.{incarnation}.ndjson").write_text("".join(texts))
    (folder / "history.ndjson").touch()
    return folder


def _own(entry: Entry) -> Fields:
    return {name: value for name, value in entry.fields.items() if name not in COMMON_FIELDS | {MANIFEST.split_by}}


def _line(node: str, incarnation: int, seq: int, kind: str, said: Fields) -> str:
    head = {"node": node, "incarnation": incarnation, "seq": seq, "time_ms": seq, "event": kind}
    return json.dumps({**head, **said}, separators=(",", ":")) + "\n"


def run_of_processes(folder: Path, scenario: str, *, seed: int = 3, mutants: Sequence[str] = ()) -> Path:
    """A run of real processes, made now.

    On a busy machine a fault may find nothing to disturb, and then the run says that it is no evidence: it is made
    again with the next seed.
    """
    said = ""
    for attempt in range(seed, seed + ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        command = [str(BIN / "tracegen"), "run", scenario, "--seed", str(attempt), "--out", str(folder)]
        for mutant in mutants:
            command += ["--mutant", mutant]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT)
        if done.returncode in (0, 1):
            return folder
        said = f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    raise AssertionError(f"no run in {ATTEMPTS} is evidence; the last one: {said}")


def run_of_simulator(folder: Path, scenario: str, *, seed: int = 3, mutants: Sequence[str] = ()) -> Path:
    """The same server code, on simulated processes, network and disks."""
    shutil.rmtree(folder, ignore_errors=True)
    places = RunPlaces(folder)
    places.make()
    report = simulate(scenarios.find(scenario), seed, places, mutants=mutants)
    assert report.adequate, report.inadequate
    return folder
