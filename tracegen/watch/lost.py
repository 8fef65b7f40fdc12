"""How a node comes back that lost its disk, by the rules of spec/tla/Healing.tla: a path's replay, beside register.py.

A rule's text is the spec's conjunct, as there.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from tracegen.watch import events
from tracegen.watch.heads import NO_HEAD, TOLD, Head, vacant

Action = Callable[[Any], str]
_NONE: Final[tuple[Any, ...]] = ()


class Register(Protocol):
    """What is asked of the register, and changed there."""

    replicas: frozenset[str]
    write_quorum: int
    read_quorum: int
    state: dict[str, tuple[Any, Any, Head]]
    used: dict[str, Any]
    reply: dict[str, dict[str, tuple[Any, Any, Head]]]
    reads: dict[str, dict[str, tuple[tuple[Any, Any, int], ...]]]
    lost: set[str]
    met: dict[str, set[str]]

    def may_vote(self, node: str) -> bool: ...
    def met_all(self, node: str) -> bool: ...
    def tell(self, node: str, read: str) -> None: ...


class Forgetting(Protocol):
    def forget_all(self, node: str) -> None: ...


class Lost:
    """The actions of a lost disk; each says which rule is broken, if one is."""

    def __init__(self, register: Register, tiering: Forgetting) -> None:
        self._register = register
        self._tiering = tiering

    def actions(self) -> dict[type, Action]:
        return {
            events.Lose: self.lose,
            events.Meet: self.meet,
            events.Gather: self.gather,
            events.Tell: self.tell,
            events.Rejoin: self.rejoin,
            events.Back: self.back,
        }

    def lose(self, event: events.Lose) -> str:
        register, node = self._register, event.node
        for known in (register.state, register.used, register.reply):
            known.pop(node, None)
        register.lost.add(node)
        register.met[node] = set()
        self._tiering.forget_all(node)
        return ""

    def meet(self, event: events.Meet) -> str:
        register = self._register
        if event.of not in register.met:
            return ""
        if event.of == event.node:
            return "c # n"
        register.met[event.of].add(event.node)
        register.reply.get(event.node, {}).pop(event.of, None)
        return ""

    def gather(self, event: events.Gather) -> str:
        register = self._register
        if event.node not in register.met:
            return ""
        if not register.met_all(event.node):
            return "disk[n].behind /\\ MetAll(n)"
        if event.read in register.reads:
            return "q \\notin DOMAIN reads"
        register.reads[event.read] = {}
        return ""

    def tell(self, event: events.Tell) -> str:
        if self._register.may_vote(event.node) and event.read in self._register.reads:
            self._register.tell(event.node, event.read)
        return ""

    def rejoin(self, event: events.Rejoin) -> str:
        register, node, ballot = self._register, event.node, event.ballot or _NONE
        if node not in register.replicas:
            return "r \\in group.replicas"
        if node not in register.met or not register.met_all(node):
            return "disk[r].behind /\\ MetAll(r)"
        if not ballot or ballot != register.used.get(node, _NONE):
            return "b # None /\\ b = used[r]"
        counted = frozenset(event.counted)
        if not counted <= register.replicas - {node}:
            return "counted \\subseteq group.replicas \\ {r}"
        if len(counted) < self._enough:
            return "Cardinality(counted) >= EnoughOthers"
        replies = [register.reply.get(node, {}).get(other, (_NONE, _NONE, NO_HEAD)) for other in event.counted]
        if any(promised != ballot for promised, _, _ in replies):
            return "\\A s \\in counted : reply[r][s].promised = b"
        _, accepted, head = max(replies, key=lambda reply: (reply[1], reply[2][0]))
        if (event.accepted or _NONE) != accepted:
            return f"Rejoin_accepted(e) = accepted'[..]: {event.accepted} is not {accepted or None}"
        shown = head if accepted else vacant(head[0])
        told = (head[0], *(head if accepted else NO_HEAD)[1:TOLD])
        if (event.generation, event.deleted, event.etag, event.versions) != told:
            return f"Rejoin_generation, _etag, _deleted, _versions(e) = head'[..]: {told}"
        if event.write_id != (head[-1][-1] if accepted and head[-1] else None):
            return "Rejoin_write_id(e) = LastWrite(..)"
        register.state[node] = (ballot, accepted, shown)
        del register.met[node]
        return ""

    def back(self, event: events.Back) -> str:
        register, node = self._register, event.node
        if node not in register.met:
            return ""
        if not register.met_all(node):
            return "disk[n].behind /\\ MetAll(n)"
        if node in register.replicas:
            if event.read not in register.reads:
                return "q \\in DOMAIN reads"
            reads = register.reads[event.read]
            others = (frozenset(event.counted) & register.replicas) - {node}
            if not others <= reads.keys():
                return "others \\subseteq DOMAIN reads[q]"
            if len(others) < self._enough:
                return "Cardinality(others) >= EnoughOthers"
            tolds = [told for other in others for told in reads[other]]
            if any(accepted for accepted, _, _ in tolds):
                return "\\A said \\in tolds : said.accepted = None"
            promised = max(promised for _, promised, _ in tolds)
            register.state[node] = (promised, _NONE, vacant(max(generation for _, _, generation in tolds)))
        del register.met[node]
        return ""

    @property
    def _enough(self) -> int:
        return max(self._register.write_quorum, self._register.read_quorum)
