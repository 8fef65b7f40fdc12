"""Synthetic honest traces of the register protocol, as a run directory: what the checker's benchmark judges.

No server runs here: three nodes act in lockstep, and every event is what spec/tla/Register.tla allows. It takes the
fast path, takeovers by another coordinator, refusals, conditional writes and quorum reads, so a checker that accepts it
has seen most branches. `python -m ci.bench.traces OUT --events 100000`
"""

import argparse
import hashlib
import random
import sys
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

NODES = ("n1", "n2", "n3")
WRITE_QUORUM = 2
FLUSH_LINES = 4096
EVENTS_A_PATH = 200
TAKEOVER_SHARE = 0.05
READ_SHARE = 0.2
OPERATIONS = (("put", "none"),) * 17 + (("put", "absent"), ("put", "exists"), ("delete", "none"))

Ballot = list[int | str]
_encode = msgspec.json.Encoder().encode


class _Lines:
    """One NDJSON file, written in batches."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._lines: list[bytes] = []

    def add(self, record: dict[str, Any]) -> None:
        self._lines.append(_encode(record))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            self._file.write(b"\n".join(self._lines) + b"\n")
            self._lines.clear()

    def close(self) -> None:
        self.flush()
        self._file.close()


class _Register:
    """What all three acceptors of one path hold: they act in lockstep, so it is the same on each."""

    def __init__(self, path: str, replicas: tuple[str, ...]) -> None:
        self.path = path
        self.replicas = replicas
        self.promised: Ballot | None = None
        self.accepted: Ballot | None = None
        self.generation = 0
        self.etag: str | None = None
        self.deleted = False
        self.last_write: str | None = None
        self.coordinator = replicas[0]
        self.lease: Ballot | None = None
        self.replies: list[str] = []

    @property
    def live(self) -> bool:
        return self.generation > 0 and not self.deleted

    @property
    def versions(self) -> list[int]:
        """The ids of its versions: the null version, if it is there."""
        return [0] if self.live else []


class Cluster:
    """Writes the traces and the history of one run; `events` counts the lines that name a path."""

    def __init__(self, run_dir: Path, paths: int, seed: int) -> None:
        (run_dir / "traces").mkdir(parents=True, exist_ok=True)
        self._random = random.Random(seed)
        self._files = {node: _Lines(run_dir / "traces" / f"{node}.1.ndjson") for node in NODES}
        self._history = _Lines(run_dir / "history.ndjson")
        self._seq = dict.fromkeys(NODES, 0)
        self._rounds = dict.fromkeys(NODES, 0)
        self._registers = [
            _Register(f"bench/{index:06}", NODES[index % 3 :] + NODES[: index % 3]) for index in range(paths)
        ]
        self.now_us = 0
        self.events = 0
        self.operations = 0
        for node in NODES:
            self._emit(node, "Start", schema=1, cluster_id="bench", nodes=NODES)

    def run(self, events: int) -> None:
        turns = 0
        while self.events < events:
            # every path once first, then at random
            register = self._registers[turns] if turns < len(self._registers) else self._random.choice(self._registers)
            turns += 1
            if register.accepted is not None and self._random.random() < READ_SHARE:
                self._read(register)
            else:
                self._write(register)
        for node in NODES:
            self._emit(node, "Stop")
        for lines in (*self._files.values(), self._history):
            lines.close()

    def _emit(self, node: str, kind: str, **fields: Any) -> str:
        self._seq[node] += 1
        seq = self._seq[node]
        self.now_us += 10
        record = {"node": node, "incarnation": 1, "seq": seq, "time_ms": self.now_us // 1000, "event": kind, **fields}
        self._files[node].add(record)
        self.events += "path" in fields
        return f"{node}.1.{seq}"

    def _fresh(self, node: str, above: Ballot | None) -> Ballot:
        floor = above[0] if above is not None else 0
        assert isinstance(floor, int)
        self._rounds[node] = max(self._rounds[node], floor) + 1
        return [self._rounds[node], node]

    def _found(self, register: _Register) -> dict[str, Any]:
        return {
            "was_promised": register.promised,
            "was_accepted": register.accepted,
            "was_generation": register.generation,
        }

    def _group(self, register: _Register) -> dict[str, Any]:
        return {"replicas": register.replicas, "preferred": register.replicas[0], "write_quorum": WRITE_QUORUM}

    def _write(self, register: _Register) -> None:
        operation, condition = self._random.choice(OPERATIONS)
        write_id = f"w{self.operations}"
        invoked_us = self.now_us
        was_generation = register.generation
        # what the change makes of the head
        holds = condition == "none" or (condition == "exists") == register.live
        outcome = "applied" if holds else "refused"
        if outcome == "applied" and operation == "delete" and not register.live:
            outcome = "unchanged"
        found = self._found(register)
        if outcome == "applied":
            register.generation += 1
            register.deleted = operation == "delete"
            register.etag = None if register.deleted else hashlib.md5(write_id.encode()).hexdigest()
            register.last_write = write_id
        change = {
            "operation": operation,
            "condition": condition,
            "condition_etag": None,
            "condition_generation": 0,
            "write_id": write_id,
            "versioned": False,
            "version": 0,
            "etag": register.etag,
            "deleted": register.deleted,
            "versions": register.versions,
            "generation": register.generation,
            "outcome": outcome,
        }
        if register.accepted is None:
            self._claim(register, change, found)
        else:
            self._propose(register, change, was_generation)
        self._record(register, operation, condition, write_id, outcome, invoked_us)

    def _claim(self, register: _Register, change: dict[str, Any], found: dict[str, Any]) -> None:
        node = register.coordinator
        ballot: Ballot = [0, node]
        following = self._fresh(node, None)
        group = self._group(register)
        claim = self._emit(
            node, "Claim", path=register.path, cause=[], ballot=ballot, next=following, **change, **group, **found
        )
        replies = [claim]
        for replica in register.replicas[1:]:
            replies.append(self._accept(replica, register, claim, ballot, following, found))
        self._acknowledge(node, register, ballot, following, replies, str(change["outcome"]))

    def _propose(self, register: _Register, change: dict[str, Any], was_generation: int) -> None:
        if self._random.random() < TAKEOVER_SHARE:
            register.coordinator = self._random.choice([node for node in NODES if node != register.coordinator])
            register.lease = None
        node = register.coordinator
        found = {**self._found(register), "was_generation": was_generation}
        ballot = register.lease
        if ballot is None:
            ballot = self._prepare(node, register, found)
            found["was_promised"] = ballot
        following = self._fresh(node, ballot)
        propose = self._emit(
            node,
            "Propose",
            path=register.path,
            cause=register.replies,
            ballot=ballot,
            next=following,
            **change,
            counted=register.replicas,
            was_generation=was_generation,
        )
        replies = [self._accept(replica, register, propose, ballot, following, found) for replica in register.replicas]
        self._acknowledge(node, register, ballot, following, replies, str(change["outcome"]))

    def _prepare(self, node: str, register: _Register, found: dict[str, Any]) -> Ballot:
        """A fresh ballot that everyone promised; one try with too low a ballot may come first."""
        low: Ballot = [self._rounds[node] + 1, node]
        promised = register.promised
        assert promised is not None
        if low <= promised:
            self._rounds[node] += 1
            refused = self._emit(node, "Prepare", path=register.path, cause=[], ballot=low, **self._group(register))
            for replica in register.replicas:
                self._emit(replica, "Refuse", path=register.path, cause=[refused], step="prepare", ballot=low, **found)
        ballot = self._fresh(node, promised)
        prepare = self._emit(node, "Prepare", path=register.path, cause=[], ballot=ballot, **self._group(register))
        register.replies = [
            self._emit(replica, "Promise", path=register.path, cause=[prepare], ballot=ballot, **found)
            for replica in register.replicas
        ]
        register.promised = ballot
        return ballot

    def _accept(
        self, node: str, register: _Register, cause: str, ballot: Ballot, following: Ballot, found: dict[str, Any]
    ) -> str:
        return self._emit(
            node,
            "Accept",
            path=register.path,
            cause=[cause],
            ballot=ballot,
            next=following,
            generation=register.generation,
            etag=register.etag,
            deleted=register.deleted,
            versions=register.versions,
            write_id=register.last_write,
            **found,
        )

    def _acknowledge(
        self, node: str, register: _Register, ballot: Ballot, following: Ballot, replies: list[str], outcome: str
    ) -> None:
        register.accepted, register.promised = ballot, following
        register.lease, register.replies = following, replies
        self._emit(
            node,
            "Acknowledge",
            path=register.path,
            cause=replies,
            ballot=ballot,
            counted=register.replicas,
            generation=register.generation,
            outcome=outcome,
        )

    def _read(self, register: _Register) -> None:
        node = self._random.choice(NODES)
        read = f"{node}.1.r{self.operations}"
        invoked_us = self.now_us
        found = self._found(register)
        causes = [
            self._emit(replica, "Report", path=register.path, cause=[], read=read, **found)
            for replica in register.replicas
        ]
        self._emit(
            node,
            "Read",
            path=register.path,
            cause=causes,
            read=read,
            **self._group(register),
            counted=register.replicas,
            accepted=register.accepted,
            generation=register.generation,
        )
        self._record(register, "get", "none", None, "applied", invoked_us)

    def _record(
        self, register: _Register, kind: str, condition: str, write_id: str | None, outcome: str, invoked_us: int
    ) -> None:
        """One line of the clients' history: a single client, so it is trivially linearizable."""
        self.operations += 1
        refused = outcome == "refused"
        body = kind != "delete" and register.live and not refused
        status = 412 if refused else 200 if kind == "put" or register.live else 204 if kind == "delete" else 404
        self._history.add(
            {
                "client": "c1",
                "op": self.operations,
                "kind": kind,
                "path": register.path,
                "node": register.coordinator,
                "invoke_us": invoked_us,
                "return_us": self.now_us,
                "outcome": "failed" if refused else "ok",
                "status": status,
                "write_id": write_id,
                "condition": condition,
                "generation": None if refused else register.generation,
                "etag": register.etag if body else None,
                "deleted": register.deleted,
                "size_bytes": 4 if body else None,
                "sha256": hashlib.sha256(str(register.etag).encode()).hexdigest() if body else None,
            }
        )


def generate(run_dir: Path, events: int, paths: int | None = None, seed: int = 1) -> int:
    """Write a run of at least `events` events over `paths` paths (default: EVENTS_A_PATH each); how many it became."""
    cluster = Cluster(run_dir, paths or max(3, events // EVENTS_A_PATH), seed)
    cluster.run(events)
    run = {
        "schema": 1,
        "id": run_dir.name,
        "scenario": "bench",
        "says": f"{cluster.events} synthetic events",
        "seed": seed,
        "backend": "none",
        "started_ms": 0,
        "epoch_ms_at_zero_us": 0,
        "duration_s": cluster.now_us / 1e6,
        "nodes": NODES,
        "replication": {"factor": 3, "min_write_replicas": WRITE_QUORUM},
        "mutants": [],
        "adequate": True,
        "inadequate": [],
        "problems": [],
        "operations": {"total": cluster.operations, "ok": cluster.operations, "failed": 0, "unknown": 0},
        "stages": {},
        "versions": {},
    }
    (run_dir / "run.json").write_bytes(_encode(run))
    (run_dir / "faults.ndjson").touch()
    return cluster.events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--paths", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    events = generate(arguments.out, arguments.events, arguments.paths, arguments.seed)
    sys.stdout.write(f"{arguments.out}: {events} events\n")


if __name__ == "__main__":
    main()
