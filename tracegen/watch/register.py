"""Replays a run's traces through the rules of spec/tla/RegisterTrace.tla, in Python, event by event.

Written from the spec alone, with its names, and without the server's code: each rule is the spec's conjunct, and its
text is what a violation says. Beside it: causes.py, tiering.py for what is done with the archive, lost.py for nodes on
another disk. TLC judges a sample of what this judges, and everything that it refuses; a test holds the two against
each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tracegen.watch import events
from tracegen.watch.causes import Begins, Causes
from tracegen.watch.events import Files
from tracegen.watch.heads import NO_HEAD, TOLD, Head, apply, makes, names, outcome_of, vacant
from tracegen.watch.lost import Lost
from tracegen.watch.tiering import Tiering


@dataclass(frozen=True, slots=True)
class Violation:
    """The first event of a path that breaks a rule. `position` counts the path's events from 1."""

    key: str
    event: str
    kind: str
    rule: str
    position: int

    def __str__(self) -> str:
        return f"{self.key}: {self.kind} {self.event} breaks: {self.rule}"


def check(traces: Path) -> list[Violation]:
    """The violations in the traces of one run, by path; raises HarnessError if they cannot be read or ordered."""
    return judge(events.load(traces))


def judge(files: Files) -> list[Violation]:
    """The same for traces that are loaded already."""
    nodes = _nodes(files)
    found = (
        _first_violation(path, behaviour, files, nodes) for path, behaviour in sorted(events.by_path(files).items())
    )
    return [violation for violation in found if violation is not None]


def _nodes(files: Files) -> tuple[str, ...]:
    nodes = {name.rpartition(".")[0] for name in files}
    for lines in files.values():
        if lines and isinstance(lines[0], events.Start):
            nodes.update(lines[0].nodes)
    return tuple(sorted(nodes))


def _first_violation(path: str, behaviour: Sequence[Any], files: Files, nodes: Sequence[str]) -> Violation | None:
    register = Register(*_parameters(behaviour, nodes), nodes)
    tiering = Tiering(register)
    replay = register.actions() | tiering.actions() | Lost(register, tiering).actions()
    causes = Causes(path, files)
    begins = Begins()
    for position, event in enumerate(behaviour, start=1):
        kind = type(event)
        broken = causes.broken(event, kind) or begins.broken(event, kind) or replay[kind](event)
        if broken:
            return Violation(path, event.id, kind.__name__, broken, position)
    return None


def _parameters(behaviour: Sequence[Any], nodes: Sequence[str]) -> tuple[tuple[str, ...], str, int]:
    """The register's group, as the first event says that names it."""
    for event in behaviour:
        if isinstance(event, events.Claim | events.Prepare | events.Read):
            return event.replicas, event.preferred, event.write_quorum
    return tuple(nodes), nodes[0], len(nodes) // 2 + 1


# -- ballots: (round, node); None is below all

_NONE: Final[tuple[Any, ...]] = ()
"""None as a tuple: below every other."""


def _is_claiming(ballot: Any) -> bool:
    return bool(ballot) and ballot[0] == 0


# -- the register

Reply = tuple[Any, Any, Head]
Told = tuple[Any, Any, int]
"""accepted; and, if nothing is, promised, and how many generations were"""
NO_REPLY: Final[Reply] = (_NONE, _NONE, NO_HEAD)
Action = Callable[[Any], str]


class Register:
    """The variables of Register.tla for one path, and its actions; each says which rule is broken, if one is."""

    def __init__(self, replicas: tuple[str, ...], preferred: str, write_quorum: int, nodes: Sequence[str] = ()) -> None:
        self.nodes = frozenset(nodes)
        self.replicas = frozenset(replicas)
        self.preferred = preferred
        self.write_quorum = write_quorum
        self.read_quorum = len(self.replicas) - write_quorum + 1
        self.state: dict[str, Reply] = {}
        """node -> (promised, accepted, head)"""
        self.used: dict[str, Any] = {}
        self.proposed: dict[Any, tuple[Head, Any]] = {}
        self.unanswered: dict[Any, str] = {}
        self.reply: dict[str, dict[str, Reply]] = {}
        self.reads: dict[str, dict[str, tuple[Told, ...]]] = {}
        self.lost: set[str] = set()
        """the nodes whose life is not their first"""
        self.met: dict[str, set[str]] = {}
        """node that is behind -> who has met it"""

    def actions(self) -> dict[type, Action]:
        return {
            events.Prepare: self.prepare,
            events.Promise: self.promise,
            events.Claim: self.claim,
            events.Propose: self.propose,
            events.Accept: self.accept,
            events.Adopt: self.adopt,
            events.Collect: self.collect,
            events.Floor: self.floor,
            events.Refuse: self.refuse,
            events.Acknowledge: self.acknowledge,
            events.Report: self.report,
            events.Read: self.read,
        }

    # -- the coordinator

    def prepare(self, event: events.Prepare) -> str:
        if wrong := self._other_group(event):
            return wrong
        ballot = event.ballot or _NONE
        if not ballot or ballot[1] != event.node:
            return "Owner(b) = c"
        if _is_claiming(ballot):
            return "~Claiming(b)"
        if not ballot > self.used.get(event.node, _NONE):
            return "b > used[c]"
        if ballot in self.proposed:
            return "b \\notin DOMAIN proposed"
        if event.node in self.met and not self.met_all(event.node):
            return "disk[c].behind => MetAll(c)"
        self.used[event.node] = ballot
        return ""

    def propose(self, event: events.Propose) -> str:
        counted = event.counted
        if not counted:
            return "Propose_counted(e) # {}"
        replies = self.reply.get(event.node, {})
        states = [replies.get(replica, NO_REPLY) for replica in counted]
        found = max(states, key=_age)[2]
        if event.was_generation != found[0]:
            return f"Propose_was_generation(e) = Found(..).generation: {event.was_generation} is not {found[0]}"
        if wrong := _not_plain(event):
            return wrong
        outcome = outcome_of(event, found)
        head = apply(event, outcome, found)
        if wrong := _other_result(event, outcome, head):
            return wrong
        ballot, following = event.ballot or _NONE, event.next or _NONE
        if not ballot or ballot != self.used.get(event.node, _NONE):
            return "b # None /\\ b = used[c]"
        if ballot in self.proposed:
            return "b \\notin DOMAIN proposed"
        members = frozenset(counted)
        if not members <= self.replicas:
            return "counted \\subseteq group.replicas"
        if len(members) < self.read_quorum:
            return f"Cardinality(counted) >= ReadQuorum: {len(members)} of {self.read_quorum}"
        for state in states:
            if state[0] != ballot:
                return "\\A r \\in counted : reply[c][r].promised = b"
        if following and not (following[1] == event.node and following > ballot):
            return "next = None \\/ (Owner(next) = c /\\ next > b)"
        self.proposed[ballot] = (head, following)
        self.unanswered[ballot] = outcome
        self.used[event.node] = max(ballot, following)
        return ""

    def claim(self, event: events.Claim) -> str:
        if wrong := self._other_group(event) or self._other_state(event) or _not_plain(event):
            return wrong
        outcome = outcome_of(event, NO_HEAD)
        head = apply(event, outcome, NO_HEAD)
        if wrong := _other_result(event, outcome, head):
            return wrong
        node, ballot, following = event.node, event.ballot or _NONE, event.next or _NONE
        if node != self.preferred:
            return "c = group.preferred"
        if not (_is_claiming(ballot) and ballot[1] == node):
            return "Claiming(b) /\\ Owner(b) = c"
        if node in self.lost:
            return "disk[c].life = 1"
        if self.state.get(node, NO_REPLY)[0]:
            return "promised[c] = None"
        highest = max(ballot, self.used.get(node, _NONE))
        if following and not (following[1] == node and following > highest):
            return "next = None \\/ (Owner(next) = c /\\ next > Max(b, used[c]))"
        self.proposed.setdefault(ballot, (head, following))
        self.unanswered.setdefault(ballot, outcome)
        self.used[node] = max(highest, following)
        self.state[node] = state = (max(ballot, following), ballot, head)
        self.reply.setdefault(node, {})[node] = state
        return ""

    def acknowledge(self, event: events.Acknowledge) -> str:
        ballot = event.ballot or _NONE
        if ballot not in self.proposed:
            return "b \\in DOMAIN proposed"
        if ballot not in self.unanswered:
            return "Acknowledge_ballot(e) \\in DOMAIN unanswered"
        if event.outcome != self.unanswered[ballot]:
            return f"Acknowledge_outcome(e) = unanswered[..]: {event.outcome} is not {self.unanswered[ballot]}"
        if event.generation != self.proposed[ballot][0][0]:
            return "Acknowledge_generation(e) = proposed[..].head.generation"
        if ballot[1] != event.node:
            return "Owner(b) = c"
        members = frozenset(event.counted)
        if not members <= self.replicas:
            return "counted \\subseteq group.replicas"
        if len(members) < self.write_quorum:
            return f"Cardinality(counted) >= group.writeQuorum: {len(members)} of {self.write_quorum}"
        replies = self.reply.get(event.node, {})
        for replica in event.counted:
            if replies.get(replica, NO_REPLY)[1] != ballot:
                return "\\A r \\in counted : reply[c][r].accepted = b"
        del self.unanswered[ballot]
        return ""

    def read(self, event: events.Read) -> str:
        if wrong := self._other_group(event):
            return wrong
        accepted = event.accepted or _NONE
        if accepted and accepted not in self.proposed:
            return "Read_accepted(e) = None \\/ Read_accepted(e) \\in DOMAIN proposed"
        if event.generation != (self.proposed[accepted][0][0] if accepted else 0):
            return "Read_generation(e) = HeadAt(Read_accepted(e)).generation"
        told = self.reads.get(event.read)
        if told is None:
            return "q \\in DOMAIN reads"
        members = frozenset(event.counted)
        if not members <= told.keys():
            return "counted \\subseteq DOMAIN reads[q]"
        if len(members) < max(self.write_quorum, self.read_quorum):
            return "Cardinality(counted) >= Max(group.writeQuorum, ReadQuorum)"
        for replica in event.counted:
            if all(own != accepted for own, *_ in told[replica]):
                return "\\A r \\in counted : \\E told \\in reads[q][r] : told.accepted = b"
        return ""

    # -- the acceptor

    def promise(self, event: events.Promise) -> str:
        if wrong := self._other_state(event):
            return wrong
        node, ballot = event.node, event.ballot or _NONE
        promised, accepted, head = self.state.get(node, NO_REPLY)
        if not self.may_vote(node):
            return "MayVote(r)"
        if not ballot or (ballot > self.used.get(ballot[1], _NONE) and ballot[1] not in self.lost):
            return "b <= used[Owner(b)] \\/ disk[Owner(b)].life > 1"
        if not ballot > promised:
            return "b > promised[r]"
        self.state[node] = state = (ballot, accepted, head)
        self._replied(node, ballot, state)
        return ""

    def accept(self, event: events.Accept) -> str:
        if wrong := self._other_state(event):
            return wrong
        node, ballot = event.node, event.ballot or _NONE
        if ballot not in self.proposed:
            return "Accept_ballot(e) \\in DOMAIN proposed"
        head, following = self.proposed[ballot]
        if (event.next or _NONE) != following:
            return "Accept_next(e) = proposed[..].next"
        if (event.generation, event.deleted, event.etag, event.versions) != head[:TOLD]:
            return f"Accept_generation, _etag, _deleted, _versions(e) = proposed[..].head: {head[:TOLD]}"
        if event.write_id != (head[-1][-1] if head[-1] else None):
            return "Accept_write_id(e) = LastWrite(proposed[..].head)"
        if not self.may_vote(node):
            return "MayVote(r)"
        if not ballot >= self.state.get(node, NO_REPLY)[0]:
            return "b >= promised[r]"
        self.state[node] = state = (max(ballot, following), ballot, head)
        self._replied(node, ballot, state)
        return ""

    def adopt(self, event: events.Adopt) -> str:
        if wrong := self._other_state(event):
            return wrong
        node, ballot = event.node, event.ballot or _NONE
        if ballot not in self.proposed:
            return "Adopt_ballot(e) \\in DOMAIN proposed"
        head, _ = self.proposed[ballot]
        if (event.generation, event.deleted, event.etag, event.versions) != head[:TOLD]:
            return f"Adopt_generation, _etag, _deleted, _versions(e) = proposed[..].head: {head[:TOLD]}"
        if event.write_id != (head[-1][-1] if head[-1] else None):
            return "Adopt_write_id(e) = LastWrite(proposed[..].head)"
        if not self.may_vote(node):
            return "MayVote(r)"
        if not self.state.get(node, NO_REPLY)[0] <= ballot:
            return "promised[r] <= b"
        self.state[node] = (ballot, ballot, head)
        return ""

    def collect(self, event: events.Collect) -> str:
        if wrong := self._other_state(event):
            return wrong
        node = event.node
        promised, accepted, head = self.state.get(node, NO_REPLY)
        if not self.may_vote(node):
            return "MayVote(r)"
        if not accepted:
            return "b # None"
        if head[4]:
            return f"head[r].versions = <<>>: {head[3]}"
        if frozenset(event.counted) != self.replicas:
            return "counted = group.replicas"
        told = self.reads.get(event.read, {})
        for replica in event.counted:
            if replica not in told:
                return "counted \\subseteq DOMAIN reads[q]"
            if not any(own == accepted or (not own and at_least >= accepted) for own, at_least, _ in told[replica]):
                return "told.accepted = b \\/ (told.accepted = None /\\ told.promised >= b)"
        self.state[node] = (promised, _NONE, vacant(head[0]))
        return ""

    def floor(self, event: events.Floor) -> str:
        node, ballot = event.node, event.ballot or _NONE
        promised, accepted, head = self.state.get(node, NO_REPLY)
        if not self.may_vote(node):
            return "MayVote(r)"
        if not ballot:
            return "b # None"
        if accepted:
            return "accepted[r] = None"
        if not ballot >= promised:
            return "b >= promised[r]"
        if event.generation < head[0]:
            return "generation >= head[r].generation"
        self.state[node] = (ballot, _NONE, vacant(event.generation))
        return ""

    def refuse(self, event: events.Refuse) -> str:
        if wrong := self._other_state(event):
            return wrong
        ballot, promised = event.ballot or _NONE, self.state.get(event.node, NO_REPLY)[0]
        if not self.may_vote(event.node):
            return "MayVote(r)"
        if not ballot <= promised:
            return "b <= promised[r]"
        if event.step == "accept" and not ballot < promised:
            return 'step = "accept" => b < promised[r]'
        return ""

    def report(self, event: events.Report) -> str:
        if wrong := self._other_state(event):
            return wrong
        node = event.node
        if not self.may_vote(node):
            return "MayVote(r)"
        self.tell(node, event.read)
        return ""

    def tell(self, node: str, read: str) -> None:
        """A replica tells a read what it has (Told)."""
        promised, accepted, head = self.state.get(node, NO_REPLY)
        told = self.reads.setdefault(read, {})
        told[node] = (*told.get(node, ()), (accepted, _NONE, 0) if accepted else (_NONE, promised, head[0]))

    def restart(self, event: events.Restart) -> str:
        promised, accepted, head = self.state.get(event.node, NO_REPLY)
        if (event.promised or _NONE) != promised:
            return f"Restart_promised(e) = promised[..]: {event.promised} is not {promised or None}"
        if (event.accepted or _NONE) != accepted:
            return f"Restart_accepted(e) = accepted[..]: {event.accepted} is not {accepted or None}"
        shown = _shown(accepted, head)
        if (event.generation, event.deleted, event.etag, event.versions) != shown[:TOLD]:
            return f"Restart_generation, _etag, _deleted, _versions(e) = Shown(..): {shown[:TOLD]}"
        self.reply.pop(event.node, None)
        return ""

    # -- nodes on another disk

    def may_vote(self, node: str) -> bool:
        """Is it a replica that has not lost what it should have?"""
        return node in self.replicas and node not in self.met

    def met_all(self, node: str) -> bool:
        """Have all others dropped what this node told them in its life before?"""
        return self.met[node] == self.nodes - {node}

    def _replied(self, node: str, ballot: Any, state: Reply) -> None:
        if ballot <= self.used.get(ballot[1], _NONE):  # else its coordinator lost its disk since it asked
            self.reply.setdefault(ballot[1], {})[node] = state

    def head_of(self, node: str) -> Head:
        """The head that a replica has accepted."""
        return self.state.get(node, NO_REPLY)[2]

    # -- what an event says of the past, and of the group

    def _other_state(self, event: Any) -> str:
        promised, accepted, head = self.state.get(event.node, NO_REPLY)
        if (event.was_promised or _NONE) != promised:
            return f"was_promised(e) = promised[..]: {event.was_promised} is not {promised or None}"
        if (event.was_accepted or _NONE) != accepted:
            return f"was_accepted(e) = accepted[..]: {event.was_accepted} is not {accepted or None}"
        if event.was_generation != _shown(accepted, head)[0]:
            return (
                f"was_generation(e) = Shown(..).generation: {event.was_generation} is not {_shown(accepted, head)[0]}"
            )
        return ""

    def _other_group(self, event: Any) -> str:
        if frozenset(event.replicas) != self.replicas:
            return "replicas(e) = group.replicas"
        if event.preferred != self.preferred:
            return "preferred(e) = group.preferred"
        if event.write_quorum != self.write_quorum:
            return "write_quorum(e) = group.writeQuorum"
        return ""


def _age(reply: Reply) -> Any:
    return reply[1], reply[2][0]


def _shown(accepted: Any, head: Head) -> Head:
    return head if accepted else NO_HEAD


def _not_plain(change: Any) -> str:
    """A request says nothing that its operation and its condition do not use, and every write has an id."""
    condition = change.condition
    if change.operation == "read" and condition != "none":
        return "condition(e) = Plain(..).condition"
    if change.condition_etag is not None and condition not in ("etag_is", "etag_is_not"):
        return "condition_etag(e) = Plain(..).wantedEtag"
    if change.condition_generation and condition != "generation_is":
        return "condition_generation(e) = Plain(..).wantedGeneration"
    if change.versioned and not makes(change):
        return "versioned(e) = Plain(..).versioned"
    if change.version and not names(change):
        return "version(e) = Plain(..).version"
    if (change.write_id is None) != (change.operation == "read"):
        return '(write_id(e) = NoWrite) = (operation(e) = "read")'
    return ""


def _other_result(event: Any, outcome: str, head: Head) -> str:
    if event.outcome != outcome:
        return f"outcome(e) = Outcome(..): {event.outcome} is not {outcome}"
    if (event.generation, event.deleted, event.etag, event.versions) != head[:TOLD]:
        return f"generation, etag, deleted, versions(e) = Apply(..): {head[:TOLD]}"
    return ""
