"""From spec to code: the server's own acceptors, proposer and storage, driven through a behaviour that TLC made.

A behaviour is a list of steps of spec/tla/RegisterWalk.tla. Each is carried out with the function that has its name in
`impl/protocol`, on a register store over a simulated disk for each replica; then every replica's durable state must be
the one that the spec says. A restart cuts the power and opens the store again. What a coordinator was told lives here,
as it does in the spec's `reply`: one for each replica, the last one, gone with a restart.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from impl.model import Ballot, Head, Register, ReplicaSet
from impl.protocol.acceptor import Step, on_accept, on_adopt, on_claim, on_prepare
from impl.protocol.change import Change, Condition, apply
from impl.protocol.events import Operation
from impl.protocol.messages import Accept, Prepare, State
from impl.protocol.proposer import ReadTally, Tally, may_claim, propose
from impl.protocol.rules import HONEST, Rules, broken
from impl.storage.registers import RegisterStore
from impl.storage.steps import Committed
from impl.trace import NoTrace
from tracegen.backend.sim.loop import SimLoop
from tracegen.backend.sim.vfs import SimDisk

PATH = "walked"
BASE = 4
"""BallotBase of RegisterWalk.cfg."""


Flat = tuple[int, bool, int, tuple[int, ...], tuple[tuple[int, bool, int], ...]]
"""A head as the spec prints it: generation, is it deleted, etag, recent writes; of each version id, marker, etag."""


class Mismatch(Exception):
    """Code and spec part here; the text says at which step and in what."""


class WalkStep(msgspec.Struct, frozen=True):
    """A step and the state it leads to: for each replica promised, accepted, and its head, as the spec prints them."""

    action: str
    arguments: tuple[object, ...]
    after: tuple[tuple[int, int, Flat], ...]


class Driver:
    """Three replicas in the hands of a behaviour."""

    def __init__(self, mutants: Sequence[str] = ()) -> None:
        self._rules: Rules = broken(tuple(mutants)) if mutants else HONEST
        self._loop = SimLoop()
        self._group = ReplicaSet(("n1", "n2", "n3"), 2)
        self._disks = {node: SimDisk(f"drive-{node}-{id(self):x}", random.Random(node)) for node in self._group.nodes}
        self._walks = 0

    def close(self) -> None:
        for disk in self._disks.values():
            disk.close()
        self._loop.close()

    def follow(self, steps: Sequence[WalkStep]) -> None:
        """Carry a whole behaviour out; raises Mismatch at the first step where the code does something else."""
        self._walks += 1
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._follow(steps))

    async def _follow(self, steps: Sequence[WalkStep]) -> None:
        walk = _Walk(self._group, self._disks, Path(f"/walk{self._walks}"), self._rules)
        try:
            for number, step in enumerate(steps, 1):
                try:
                    await walk.take(step.action, step.arguments)
                    await walk.compare(step.after)
                except Mismatch as mismatch:
                    told = ", ".join(map(str, step.arguments))
                    raise Mismatch(f"step {number}, {step.action}({told}): {mismatch}") from None
        finally:
            await walk.close()


class _Walk:
    """The state of one behaviour: durable in stores, volatile in `replies` and `reports`."""

    def __init__(self, group: ReplicaSet, disks: Mapping[str, SimDisk], root: Path, rules: Rules) -> None:
        self._group = group
        self._disks = disks
        self._root = root
        self._rules = rules
        self._dead: list[RegisterStore] = []
        self._stores = {node: self._open(node) for node in group.nodes}
        self._replies: dict[str, dict[str, State]] = {node: {} for node in group.nodes}
        self._proposed: dict[Ballot, tuple[Head | None, Ballot]] = {}
        self._reports: dict[int, dict[tuple[str, Ballot], State]] = {}

    def _open(self, node: str) -> RegisterStore:
        store = RegisterStore(self._root / node, 64 * 1024, self._rules, self._disks[node].vfs)
        store.start(asyncio.get_running_loop(), NoTrace())
        return store

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()

    async def take(self, action: str, arguments: tuple[object, ...]) -> None:
        """Carry out one step; raises Mismatch if the code does not take it as the spec does."""
        match action, arguments:
            case "Init" | "Prepare" | "ReadBegins", _:
                return
            case "Promise", (int(replica), int(number)):
                await self._promise(_node(replica), _ballot(number), taken=True)
            case "RefusePrepare", (int(replica), int(number)):
                await self._promise(_node(replica), _ballot(number), taken=False)
            case "Accept", (int(replica), int(number)):
                await self._accept(_node(replica), _ballot(number), taken=True)
            case "Adopt", (int(replica), int(number)):
                await self._adopt(_node(replica), _ballot(number))
            case "RefuseAccept", (int(replica), int(number)):
                await self._accept(_node(replica), _ballot(number), taken=False)
            case "Claim", (int(coordinator), int(following), list(change)):
                await self._claim(_node(coordinator), _ballot(following), _change(change))
            case "Propose", (int(coordinator), int(number), int(following), list(counted), list(change)):
                self._propose(_node(coordinator), _ballot(number), _ballot(following), counted, _change(change))
            case "Acknowledge", (int(coordinator), int(number), list(counted)):
                self._acknowledge(_node(coordinator), _ballot(number), counted)
            case "Restart", (int(node),):
                self._restart(_node(node))
            case "Report", (int(replica), int(read)):
                await self._report(_node(replica), read)
            case "Read", (int(read), list(counted), int(number)):
                self._read(read, counted, _ballot(number))
            case _:
                raise Mismatch("no step of that name and shape is known here")

    async def _promise(self, replica: str, ballot: Ballot, taken: bool) -> None:
        committed = await self._step(replica, partial(on_prepare, request=Prepare(PATH, ballot)), taken)
        if taken:
            register = committed.register
            self._replies[ballot.node][replica] = State(register.promised, register.accepted, register.head)

    async def _accept(self, replica: str, ballot: Ballot, taken: bool) -> None:
        head, following = self._proposed[ballot]
        request = Accept(PATH, ballot, head, following)
        committed = await self._step(replica, partial(on_accept, request=request, rules=self._rules), taken)
        if taken:
            register = committed.register
            self._replies[ballot.node][replica] = State(register.promised, register.accepted, register.head)

    async def _adopt(self, replica: str, ballot: Ballot) -> None:
        head, _ = self._proposed[ballot]
        decide = partial(on_adopt, path=PATH, read="r", found=State(ballot, ballot, head), rules=self._rules)
        await self._step(replica, decide, taken=True)

    async def _step(self, replica: str, decide: "partial[Step]", taken: bool) -> Committed:
        committed = await self._stores[replica].apply(PATH, 0, decide)
        if committed.taken != taken:
            raise Mismatch(f"the spec says {'taken' if taken else 'refused'}, the acceptor the opposite")
        return committed

    async def _claim(self, node: str, following: Ballot, change: Change) -> None:
        if not may_claim(node, self._group, await self._stores[node].read(PATH)):
            raise Mismatch("the spec claims, the proposer may not")
        ballot, result = Ballot(0, node), apply(change, None, self._rules)
        decide = partial(
            on_claim,
            path=PATH,
            ballot=ballot,
            following=following,
            change=change,
            result=result,
            group=self._group,
        )
        committed = await self._step(node, decide, taken=True)
        self._proposed[ballot] = (result.head, following)
        self._replies[node][node] = State(committed.register.promised, ballot, result.head)

    def _propose(self, node: str, ballot: Ballot, following: Ballot, counted: Sequence[object], change: Change) -> None:
        tally = Tally(self._group, ballot, self._group.read_quorum, "prepare")
        verdict = None
        for replica in _nodes(counted):
            verdict = tally.add(replica, self._replies[node][replica])
        if verdict != "quorum":
            raise Mismatch("the spec proposes, the tally of promises has no quorum")
        proposal = propose(change, ballot, following, tally.taken, self._rules)
        self._proposed[ballot] = (proposal.result.head, following)

    def _acknowledge(self, node: str, ballot: Ballot, counted: Sequence[object]) -> None:
        tally = Tally(self._group, ballot, self._group.write_quorum, "accept")
        verdict = None
        for replica in _nodes(counted):
            verdict = tally.add(replica, self._replies[node][replica])
        if verdict != "quorum":
            raise Mismatch("the spec acknowledges, the tally of acceptances has no quorum")

    def _restart(self, node: str) -> None:
        self._disks[node].cut_power()
        # kept, as collecting it would close its files, and SQLite deletes the log of the last one that closes
        self._dead.append(self._stores[node])
        self._stores[node] = self._open(node)
        self._replies[node] = {}

    async def _report(self, replica: str, read: int) -> None:
        register = await self._stores[replica].read(PATH)
        state = State(register.promised, register.accepted, register.head)
        self._reports.setdefault(read, {})[replica, register.accepted] = state

    def _read(self, read: int, counted: Sequence[object], ballot: Ballot) -> None:
        tally = ReadTally(self._group, self._rules)
        for replica in _nodes(counted):
            tally.add(replica, self._reports[read][replica, ballot])
        if tally.decided is None or tally.decided[0] != ballot:
            raise Mismatch(f"the spec reads the head of {ballot}, the tally decides {tally.decided}")

    async def compare(self, after: Sequence[tuple[int, int, Flat]]) -> None:
        """The durable state of every replica is the one that the spec says."""
        for node, (promised, accepted, flat) in zip(self._group.nodes, after, strict=True):
            expected = (_ballot(promised), _ballot(accepted), flat)
            register = await self._stores[node].read(PATH)
            seen = (register.promised, register.accepted, _flat(register))
            if seen != expected:
                raise Mismatch(f"{node} has {seen}, the spec says {expected}")


def _ballot(number: int) -> Ballot:
    return Ballot(number // BASE, f"n{number % BASE}") if number else Ballot(0, "")


def _node(number: int) -> str:
    return f"n{number}"


def _nodes(counted: Sequence[object]) -> list[str]:
    return [f"n{number}" for number in counted]


def _flat(register: Register) -> Flat:
    """A head as RegisterWalk prints it: etags and write ids are named after the spec's numbers."""
    head = register.head
    if head is None:
        return (0, False, 0, (), ())
    recent = tuple(int(applied.write_id.removeprefix("w")) for applied in head.recent)
    versions = tuple((version.id, version.marker, _number(version.etag)) for version in head.versions)
    return (head.generation, head.deleted, _number(head.etag), recent, versions)


def _number(etag: str | None) -> int:
    return int((etag or "e0").removeprefix("e"))


def _change(told: Sequence[object]) -> Change:
    operation, condition, wanted_etag, wanted_generation, write, etag, versioned, version = told
    wanted = f"e{wanted_etag}" if wanted_etag else None
    return Change(
        operation=msgspec.convert(operation, Operation),
        write_id=f"w{write}" if write else None,
        condition=msgspec.convert({"kind": condition, "etag": wanted, "generation": wanted_generation}, Condition),
        etag=f"e{etag}" if etag else None,
        size_bytes=1,
        body=b"x" if operation == "put" else None,
        versioned=bool(versioned),
        version=msgspec.convert(version, int),
    )
