"""The traces of a run as structs, one a kind of event, and one causal order of them. Shapes: spec/trace.schema.json.

For the checks in the loop only: everything is in memory, and what cannot be read is an error. Nothing of the server's
own code is used here, so that the two cannot be wrong together.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import xxhash

from tracegen.errors import HarnessError

Ballot = tuple[int, str] | None


class Line(msgspec.Struct, tag_field="event", gc=False, kw_only=True):
    """What every line has."""

    node: str
    incarnation: int
    seq: int

    @property
    def id(self) -> str:
        return f"{self.node}.{self.incarnation}.{self.seq}"


class Start(Line, tag=True, gc=False, kw_only=True):
    nodes: tuple[str, ...]


class Stop(Line, tag=True, gc=False, kw_only=True):
    pass


class Event(Line, gc=False, kw_only=True):
    """A line about a path."""

    path: str
    cause: tuple[str, ...]


class Restart(Event, tag=True, gc=False, kw_only=True):
    promised: Ballot
    accepted: Ballot
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    archived: int
    settled: bool


class Prepare(Event, tag=True, gc=False, kw_only=True):
    ballot: Ballot
    replicas: tuple[str, ...]
    preferred: str
    write_quorum: int


class Found(Event, gc=False, kw_only=True):
    """What an acceptor says it found."""

    was_promised: Ballot
    was_accepted: Ballot
    was_generation: int


class Promise(Found, tag=True, gc=False, kw_only=True):
    ballot: Ballot


class Accept(Found, tag=True, gc=False, kw_only=True):
    ballot: Ballot
    next: Ballot
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    write_id: str | None


class Adopt(Found, tag=True, gc=False, kw_only=True):
    read: str
    ballot: Ballot
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    write_id: str | None


class Collect(Found, tag=True, gc=False, kw_only=True):
    read: str
    counted: tuple[str, ...]
    was_archived: int
    was_settled: bool
    is_tiered: bool


class Floor(Event, tag=True, gc=False, kw_only=True):
    ballot: Ballot
    generation: int


class OfAllPaths(Line, gc=False, kw_only=True):
    """A line about all paths, or about all in these slots."""

    cause: tuple[str, ...]
    slots: tuple[int, ...] | None
    total_slots: int
    path: str = ""


class Lose(OfAllPaths, tag=True, gc=False, kw_only=True):
    pass


class Meet(OfAllPaths, tag=True, gc=False, kw_only=True):
    of: str


class Gather(OfAllPaths, tag=True, gc=False, kw_only=True):
    read: str
    counted: tuple[str, ...]


class Tell(OfAllPaths, tag=True, gc=False, kw_only=True):
    read: str


class Back(OfAllPaths, tag=True, gc=False, kw_only=True):
    read: str
    counted: tuple[str, ...]


class Rejoin(Event, tag=True, gc=False, kw_only=True):
    ballot: Ballot
    counted: tuple[str, ...]
    accepted: Ballot
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    write_id: str | None


class Refuse(Found, tag=True, gc=False, kw_only=True):
    step: str
    ballot: Ballot


class Report(Found, tag=True, gc=False, kw_only=True):
    read: str


class Proposal(Event, gc=False, kw_only=True):
    """The common part of Propose and Claim: what was asked, and what is proposed."""

    ballot: Ballot
    next: Ballot
    operation: str
    condition: str
    condition_etag: str | None
    condition_generation: int
    write_id: str | None
    versioned: bool
    version: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    generation: int
    outcome: str
    was_generation: int


class Propose(Proposal, tag=True, gc=False, kw_only=True):
    counted: tuple[str, ...]


class Claim(Proposal, tag=True, gc=False, kw_only=True):
    replicas: tuple[str, ...]
    preferred: str
    write_quorum: int
    was_promised: Ballot
    was_accepted: Ballot


class Acknowledge(Event, tag=True, gc=False, kw_only=True):
    ballot: Ballot
    counted: tuple[str, ...]
    generation: int
    outcome: str


class Read(Event, tag=True, gc=False, kw_only=True):
    read: str
    replicas: tuple[str, ...]
    preferred: str
    write_quorum: int
    counted: tuple[str, ...]
    accepted: Ballot
    generation: int


class Look(Event, tag=True, gc=False, kw_only=True):
    accepted: Ballot
    generation: int
    deleted: bool
    found_present: bool
    found_generation: int
    found_etag: str | None


class Ship(Event, tag=True, gc=False, kw_only=True):
    generation: int
    deleted: bool
    etag: str | None
    found_present: bool
    found_generation: int
    condition: str
    condition_etag: str | None


class Shipped(Event, tag=True, gc=False, kw_only=True):
    generation: int


class Recorded(Event, gc=False, kw_only=True):
    """What a replica says it had on record of the archive."""

    was_archived: int
    was_settled: bool


class Confirm(Recorded, tag=True, gc=False, kw_only=True):
    generation: int
    by: str
    is_settled: bool


class Settle(Recorded, tag=True, gc=False, kw_only=True):
    generation: int
    waited_ms: int
    request_life_ms: int


class Doubt(Recorded, tag=True, gc=False, kw_only=True):
    pass


class Evict(Recorded, tag=True, gc=False, kw_only=True):
    generation: int
    was_generation: int


class Answer(Event, tag=True, gc=False, kw_only=True):
    generation: int


AnyRegisterLine = (
    Restart
    | Prepare
    | Promise
    | Claim
    | Propose
    | Accept
    | Adopt
    | Collect
    | Floor
    | Lose
    | Meet
    | Gather
    | Tell
    | Back
    | Rejoin
    | Refuse
    | Acknowledge
    | Report
    | Read
)
AnyLine = Start | Stop | AnyRegisterLine | Look | Ship | Shipped | Confirm | Settle | Doubt | Evict | Answer
_DECODER: Final = msgspec.json.Decoder(AnyLine)

Files = dict[str, list[Any]]
"""Per incarnation ("n1.2"), its lines in order; the line of seq s stands at s - 1."""


def load(traces: Path) -> Files:
    """All files of a run's traces/, by node and incarnation. A killed process may have left half a line at the end."""
    named = []
    for path in traces.glob("*.ndjson"):
        node, number = path.stem.rsplit(".", 1)
        named.append((node, int(number), path))
    files: Files = {}
    for node, incarnation, path in sorted(named):
        content = path.read_bytes()
        try:
            lines = _DECODER.decode_lines(content[: content.rfind(b"\n") + 1])
        except msgspec.DecodeError as error:
            raise HarnessError(f"{path}: {error}") from error
        for seq, line in enumerate(lines, start=1):
            if line.seq != seq:
                raise HarnessError(f"{path}:{seq}: seq is {line.seq}: the trace has a hole or a line twice")
        files[f"{node}.{incarnation}"] = lines
    return files


def by_path(files: Files) -> dict[str, list[Any]]:
    """Each path's events in one causal order: a node's own order, and causes before effects.

    The nodes take turns; each goes on until an event waits for one that is not out yet.
    """
    paths: dict[str, list[Any]] = {}
    if any(isinstance(line, OfAllPaths) for lines in files.values() for line in lines):
        named = sorted({line.path for lines in files.values() for line in lines if isinstance(line, Event)})
        paths = {path: [] for path in named}
    # what stands in a node's file is out from the first event that has no cause ahead of it
    done = dict.fromkeys(files, 0)
    chains = _chains(files)
    while chains:
        progress = False
        for chain in chains:
            progress = _go_on(chain, files, done, paths) or progress
        if not progress:
            waiting = ", ".join(files[chain[0]][done[chain[0]]].id for chain in chains)
            raise HarnessError(f"the causes contradict the nodes' own order; nothing can be before any of {waiting}")
        chains = [chain for chain in chains if chain]
    return paths


def _chains(files: Files) -> list[list[str]]:
    """The names of each node's files, in the order of its incarnations."""
    chains: dict[str, list[str]] = {}
    for name in files:
        chains.setdefault(name.rpartition(".")[0], []).append(name)
    return list(chains.values())


def _go_on(chain: list[str], files: Files, done: dict[str, int], paths: dict[str, list[Any]]) -> bool:
    """Take a node's next events until one has to wait; what is left of its files stays in `chain`."""
    progress = False
    while chain:
        name = chain[0]
        lines = files[name]
        place = first = done[name]
        for line in lines[first:]:
            if isinstance(line, Event):
                if line.cause and not _are_out(line.cause, name, place, done):
                    break
                path = line.path
                if path in paths:
                    paths[path].append(line)
                else:
                    paths[path] = [line]
            elif isinstance(line, OfAllPaths):
                if line.cause and not _are_out(line.cause, name, place, done):
                    break
                for path in _concerned(line, paths):
                    paths[path].append(line)
            place += 1
        progress = progress or place > first
        done[name] = place
        if place < len(lines):
            return progress
        del chain[0]
    return progress


def _concerned(line: OfAllPaths, paths: Iterable[str]) -> Iterable[str]:
    """Those of the paths that lie in the line's slots: a path's slot is its xxh3_64, modulo their number."""
    if line.slots is None:
        return paths
    slots = frozenset(line.slots)
    return [path for path in paths if xxhash.xxh3_64_intdigest(path.encode()) % line.total_slots in slots]


def _are_out(causes: Sequence[str], own: str, place: int, done: dict[str, int]) -> bool:
    for cause in causes:
        name, _, seq = cause.rpartition(".")
        if name not in done:
            raise HarnessError(f"{own}.{place + 1}: its cause {cause} is of no trace file of this run")
        if int(seq) > (place if name == own else done[name]):
            return False
    return True
