"""What nodes do with the archive, by the rules of spec/tla/TieringTrace.tla: a path's replay, beside register.py.

A rule's text is the spec's conjunct, as there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tracegen.watch import events
from tracegen.watch.heads import Head

Action = Callable[[Any], str]


class Looked(NamedTuple):
    """A look: the head that was read, the object that was found, and what was on record then."""

    generation: int
    deleted: bool
    etag: str | None
    found_present: bool
    found_generation: int
    found_etag: str | None
    record: int

    @property
    def shows(self) -> int:
        if self.found_present:
            return self.found_generation
        return self.generation if self.deleted else 0


NO_LOOK = Looked(0, False, None, False, 0, None, 0)


class Heads(Protocol):
    """What is asked of the register."""

    proposed: dict[Any, tuple[Head, Any]]

    def restart(self, event: events.Restart) -> str: ...
    def collect(self, event: events.Collect) -> str: ...
    def head_of(self, node: str) -> Head: ...


class Tiering:
    """The variables of Tiering.tla for one path, and its actions; each says which rule is broken, if one is."""

    def __init__(self, register: Heads) -> None:
        self._register = register
        self.looked: dict[str, Looked] = {}
        self.shipping: dict[str, int] = {}
        self.knows: dict[str, int] = {}
        self.record: dict[str, tuple[int, bool]] = {}
        """node -> (archived, settled)"""
        self.sent: set[int] = set()
        self.said: set[tuple[int, bool]] = set()

    def forget_all(self, node: str) -> None:
        """The node's disk is lost, and what was on record there with it (ForgetAll)."""
        for known in (self.looked, self.shipping, self.knows, self.record):
            known.pop(node, None)

    def actions(self) -> dict[type, Action]:
        return {
            events.Restart: self.restart,
            events.Collect: self.collect,
            events.Look: self.look,
            events.Ship: self.ship,
            events.Shipped: self.shipped,
            events.Confirm: self.confirm,
            events.Settle: self.settle,
            events.Doubt: self.doubt,
            events.Evict: self.evict,
            events.Answer: self.answer,
        }

    def restart(self, event: events.Restart) -> str:
        if wrong := self._register.restart(event):
            return wrong
        archived, settled = self._record(event.node)
        if event.archived != archived:
            return f"Restart_archived(e) = archived[..]: {event.archived} is not {archived}"
        if event.settled != settled:
            return f"Restart_settled(e) = settled[..]: {event.settled} is not {settled}"
        for known in (self.looked, self.shipping, self.knows):
            known.pop(event.node, None)
        return ""

    def collect(self, event: events.Collect) -> str:
        if wrong := self._other_record(event) or self._register.collect(event):
            return wrong
        archived, settled = self._record(event.node)
        if not archived and event.was_generation and event.is_tiered:
            return "archived[n] = 0 => (generation = 0 \\/ ~isTiered)"
        if archived and not archived >= event.was_generation:
            return "archived[n] > 0 => archived[n] >= generation"
        if archived and not settled:
            return "archived[n] > 0 => settled[n]"
        self.record[event.node] = (0, False)
        return ""

    def look(self, event: events.Look) -> str:
        if event.accepted not in self._register.proposed:
            return "Look_accepted(e) \\in DOMAIN proposed"
        generation, deleted, etag = self._register.proposed[event.accepted][0][:3]
        if event.generation != generation:
            return f"Look_generation(e) = HeadLookedAt(..).generation: {event.generation} is not {generation}"
        if event.deleted != deleted:
            return f"Look_deleted(e) = HeadLookedAt(..).deleted: {event.deleted} is not {deleted}"
        if not generation:
            return "head.generation > 0"
        if event.found_present != (event.found_etag is not None):
            return "found.present = (found.etag # 0)"
        if event.found_generation and not event.found_present:
            return "found.generation > 0 => found.present"
        if event.found_generation and event.found_generation not in self.sent:
            return "found.generation > 0 => found.generation \\in sent"
        found = event.found_present, event.found_generation, event.found_etag
        looked = Looked(generation, deleted, etag, *found, self._record(event.node)[0])
        self.looked[event.node] = looked
        self.shipping[event.node] = 0
        self.knows[event.node] = looked.shows
        return ""

    def ship(self, event: events.Ship) -> str:
        looked = self.looked.get(event.node, NO_LOOK)
        told = event.generation, event.deleted, event.etag, event.found_present, event.found_generation
        if told != looked[:5]:
            return f"Ship_generation, _deleted, _etag, _found_present, _found_generation(e) = looked[..]: {looked[:5]}"
        if not looked.generation > looked.found_generation:
            return "looked[n].head.generation > looked[n].found.generation"
        if looked.deleted and not looked.found_present:
            return "looked[n].head.deleted => looked[n].found.present"
        wanted = ("etag_is", looked.found_etag) if looked.found_present else ("absent", None)
        if (event.condition, event.condition_etag) != wanted:
            return "condition = Unchanged(looked[n].found)"
        self.shipping[event.node] = looked.generation
        if not looked.deleted:
            self.sent.add(looked.generation)
        del self.looked[event.node]
        return ""

    def shipped(self, event: events.Shipped) -> str:
        if not event.generation:
            return "generation > 0"
        if event.generation != self.shipping.get(event.node, 0):
            return "generation = shipping[n]"
        self.shipping[event.node] = 0
        self.knows[event.node] = event.generation
        return ""

    def confirm(self, event: events.Confirm) -> str:
        if wrong := self._other_record(event):
            return wrong
        new, old = (event.generation, event.is_settled), self._record(event.node)
        if event.by == "told":
            if new not in self.said:
                return 'by = "told" => [generation |-> generation, settled |-> isSettled] \\in said'
        elif event.generation != self.knows.get(event.node, 0):
            return 'by # "told" => generation = knows[n]'
        elif event.is_settled != (event.generation == 1):
            return 'by # "told" => isSettled = (generation = 1)'
        if not new > old:
            return "generation > archived[n] \\/ (generation = archived[n] /\\ isSettled /\\ ~settled[n])"
        self.record[event.node] = new
        self.said.add(new)
        return ""

    def settle(self, event: events.Settle) -> str:
        if wrong := self._other_record(event):
            return wrong
        archived, settled = self._record(event.node)
        looked = self.looked.get(event.node, NO_LOOK)
        if event.waited_ms < event.request_life_ms:
            return f"waited: {event.waited_ms} of {event.request_life_ms} ms"
        if not event.generation:
            return "generation > 0"
        if event.generation != archived:
            return "generation = archived[n]"
        if settled:
            return "~settled[n]"
        if looked.shows != event.generation:
            return "Shows(looked[n]) = generation"
        if looked.record != event.generation:
            return "looked[n].record = generation"
        self.record[event.node] = (archived, True)
        self.said.add((archived, True))
        return ""

    def doubt(self, event: events.Doubt) -> str:
        if wrong := self._other_record(event):
            return wrong
        looked = self.looked.get(event.node)
        if looked is None:
            return "looked[n] # NoLook"
        if not looked.shows < self._record(event.node)[0]:
            return "Shows(looked[n]) < archived[n]"
        self.record[event.node] = (0, False)
        return ""

    def evict(self, event: events.Evict) -> str:
        if wrong := self._other_record(event):
            return wrong
        generation, _, _, versions, *_ = self._register.head_of(event.node)
        if event.was_generation != generation:
            return "Evict_was_generation(e) = head[..].generation"
        if event.generation != generation:
            return "Evict_generation(e) = head[..].generation"
        if versions and versions[-1] != 0:
            return "Current(head[..]).id = NullVersion"
        archived, settled = self._record(event.node)
        if not archived >= generation:
            return "archived[n] >= generation"
        return "" if settled else "settled[n]"

    def answer(self, event: events.Answer) -> str:
        return "" if self.knows.get(event.node, 0) >= event.generation else "knows[n] >= generation"

    def _record(self, node: str) -> tuple[int, bool]:
        return self.record.get(node, (0, False))

    def _other_record(self, event: events.Recorded | events.Collect) -> str:
        archived, settled = self._record(event.node)
        if event.was_archived != archived:
            return f"was_archived(e) = archived[..]: {event.was_archived} is not {archived}"
        if event.was_settled != settled:
            return f"was_settled(e) = settled[..]: {event.was_settled} is not {settled}"
        return ""
