"""What a message must be: caused by the kinds of events that the manifest names, and arrived as it was sent.

The replay knows no messages: an event's parameters are its own. So that a message is the one that its sender's event
speaks of is judged here, on the traces alone, by two rules: `causes` (the right number of causes, of the right kinds,
about the same key, named once where only one event may name them) and `carries` (fields that one message must have in
both events alike, or that follow from which message it was).

A third rule, `begins`, is about processes that came back: what they read from disk they say before all else.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from checker.load import Traces, spelled
from checker.manifest import Kind, Manifest
from checker.pack import Record

Getter = Callable[[Record], Any]


@dataclass(frozen=True, slots=True)
class CauseFault:
    """A broken rule: by the event at `position` (from 0) of its trace."""

    position: int
    rule: str
    text: str


class CauseRules:
    """The manifest's rules, ready to be applied to one trace after the other."""

    def __init__(self, manifest: Manifest, traces: Traces) -> None:
        self._traces = traces
        self._kinds: dict[int, Kind] = {}
        self._members: dict[int, Getter] = {}
        self._pairs: dict[tuple[int, int], tuple[Getter, Getter] | None] = {}
        self._told: dict[tuple[int, int], list[tuple[str, str | bool]]] = {}
        self._parts: dict[int, list[tuple[frozenset[int], Getter | None]]] = {}
        self._own: set[tuple[int, int]] = set()
        self._once: set[int] = set()
        self._opened: dict[int, int] = {}
        self._later = frozenset(number for number, file in enumerate(traces.files) if file.incarnation > 1)
        numbers = {kind: number for number, kind in enumerate(traces.kinds)}
        for kind in manifest.kinds.values():
            number = numbers[kind.name]
            self._kinds[number] = kind
            if kind.causes.each is not None:
                self._members[number] = attrgetter(kind.causes.each)
            for cause, pairs in kind.causes.carries.items():
                self._pairs[number, numbers[cause]] = (
                    (attrgetter(*pairs.keys()), attrgetter(*pairs.values())) if pairs else None
                )
            for field, values in kind.causes.by_kind.items():
                for cause, value in values.items():
                    self._told.setdefault((number, numbers[cause]), []).append((field, value))
            if kind.causes.once:
                self._once.add(number)
            if kind.causes.parts:
                self._parts[number] = [
                    (
                        frozenset(numbers[each] for each in kinds),
                        attrgetter(kind.causes.when[part]) if part in kind.causes.when else None,
                    )
                    for part, kinds in kind.causes.parts.items()
                ]
            self._own.update((number, numbers[cause]) for cause in kind.causes.own)
            self._opened.update((numbers[opened], number) for opened in kind.opens)

    def first_fault(self, indices: "array[int]", records: Sequence[Record]) -> CauseFault | None:
        """The first event of a trace that breaks a rule, if one does."""
        fault = self._first_miscaused(indices, records)
        begun = self._first_unopened(indices) if self._opened else None
        if fault is None or (begun is not None and begun.position < fault.position):
            return begun
        return fault

    def _first_miscaused(self, indices: "array[int]", records: Sequence[Record]) -> CauseFault | None:
        traces, members, pairs, parts, same_node = self._traces, self._members, self._pairs, self._parts, self._own
        kinds, causes, cause_first = traces.kind, traces.causes, traces.cause_first
        places = {index: place for place, index in enumerate(indices)}
        named_by: dict[tuple[int, int], int] = {}
        for place, index in enumerate(indices):
            own = causes[cause_first[index] : cause_first[index + 1]]
            number = kinds[index]
            get_members = members.get(number)
            if get_members is None:
                if number in parts:
                    wanted = self._wanted(number, records[place])
                    if len(own) != len(wanted):
                        return self._miscounted(place, index, own)
                    for cause in own:
                        if (number, kinds[cause]) not in pairs:
                            return self._misplaced(place, index, cause)
                    if not all(sum(kinds[cause] in part for cause in own) == 1 for part in wanted):
                        return self._miscounted(place, index, own)
                elif len(own) != self._kinds[number].causes.count:
                    return self._miscounted(place, index, own)
            else:
                named = get_members(records[place])
                if len(own) != len(named) or {traces.node(cause) for cause in own} != set(named):
                    return self._miscounted(place, index, own)
            for cause in own:
                try:
                    compared = pairs[number, kinds[cause]]
                    record = records[places[cause]]
                except KeyError:
                    return self._misplaced(place, index, cause)
                if (number, kinds[cause]) in same_node and traces.node(cause) != traces.node(index):
                    return self._of_another_node(place, index, cause)
                if compared is not None and compared[0](records[place]) != compared[1](record):
                    return self._altered(place, index, cause, records[place], record)
                for field, value in self._told.get((number, kinds[cause]), ()):
                    if getattr(records[place], field) != value:
                        return self._mistold(place, index, cause, field, records[place], value)
                if number in self._once:
                    first = named_by.setdefault((number, cause), index)
                    if first != index:
                        return self._named_twice(place, index, cause, first)
        return None

    def _wanted(self, number: int, record: Record) -> list[frozenset[int]]:
        """The kinds of each part that an event must have a cause for."""
        return [kinds for kinds, said in self._parts[number] if said is None or said(record)]

    def _first_unopened(self, indices: "array[int]") -> CauseFault | None:
        """The first event of an incarnation after the first that should come after one that it comes before."""
        traces, kinds, opened, later = self._traces, self._traces.kind, self._opened, self._later
        openers = frozenset(opened.values())
        open_files: set[tuple[int, int]] = set()
        for place, index in enumerate(indices):
            kind, source = kinds[index], traces.source[index]
            opener = kind if kind in openers else opened.get(kind)
            if opener is None:
                continue
            name = traces.kinds[opener]
            is_open = (opener, source) in open_files
            if kind in openers and (is_open or source not in later):
                why = "has said it before" if is_open else "is the first of its node"
                return CauseFault(place, "begins", f"{name}, but this incarnation {why}")
            if kind not in openers and source in later and not is_open:
                text = (
                    f"{traces.kinds[kind]} without a {name} before it, in an incarnation that is not its node's first"
                )
                return CauseFault(place, "begins", text)
            open_files.add((opener, source))
        return None

    def _miscounted(self, place: int, index: int, own: Sequence[int]) -> CauseFault:
        traces, kind = self._traces, self._kinds[self._traces.kind[index]]
        ids = ", ".join(map(traces.id, own)) or "none"
        if kind.causes.parts:
            wanted = " and ".join(_part(kind, part) for part in kind.causes.parts)
        elif kind.causes.each is None:
            wanted = f"{kind.causes.count} of {', '.join(kind.causes.carries)}" if kind.causes.count else "none"
        else:
            wanted = f"one on each node in its {kind.causes.each}"
        return CauseFault(place, "causes", f"{kind.name} must have as causes {wanted}; it has {ids}")

    def _of_another_node(self, place: int, index: int, cause: int) -> CauseFault:
        traces = self._traces
        text = (
            f"{traces.kinds[traces.kind[index]]} may be caused by a {traces.kinds[traces.kind[cause]]} of its own node "
            f"only; its cause {traces.id(cause)} is one of another"
        )
        return CauseFault(place, "causes", text)

    def _misplaced(self, place: int, index: int, cause: int) -> CauseFault:
        traces, kind = self._traces, self._kinds[self._traces.kind[index]]
        cause_kind = traces.kinds[traces.kind[cause]]
        if (traces.kind[index], traces.kind[cause]) not in self._pairs:
            wanted = ", ".join(kind.causes.carries) or "nothing"
            text = f"{kind.name} may be caused by {wanted}; its cause {traces.id(cause)} is {cause_kind}"
        else:
            text = f"{kind.name} is about another key than its cause {traces.id(cause)}, {cause_kind}"
        return CauseFault(place, "causes", text)

    def _mistold(self, place: int, index: int, cause: int, field: str, record: Record, value: str | bool) -> CauseFault:
        traces = self._traces
        text = (
            f"{traces.kinds[traces.kind[index]]} says {field} {spelled(getattr(record, field))}, but its cause "
            f"{traces.id(cause)}, {traces.kinds[traces.kind[cause]]}, makes it {spelled(value)}"
        )
        return CauseFault(place, "carries", text)

    def _named_twice(self, place: int, index: int, cause: int, first: int) -> CauseFault:
        traces = self._traces
        kind, cause_kind = traces.kinds[traces.kind[index]], traces.kinds[traces.kind[cause]]
        text = f"{kind} names {traces.id(cause)}, {cause_kind}, which {traces.id(first)}, {kind}, has named already"
        return CauseFault(place, "causes", text)

    def _altered(self, place: int, index: int, cause: int, record: Record, cause_record: Record) -> CauseFault:
        traces, kind = self._traces, self._kinds[self._traces.kind[index]]
        cause_kind = traces.kinds[traces.kind[cause]]
        differ = [
            f"{kind.name} says {own} {spelled(getattr(record, own))}, but its cause {traces.id(cause)}, {cause_kind}, "
            f"says {other} {spelled(getattr(cause_record, other))}"
            for own, other in kind.causes.carries[cause_kind].items()
            if getattr(record, own) != getattr(cause_record, other)
        ]
        return CauseFault(place, "carries", "; ".join(differ))


def _part(kind: Kind, part: str) -> str:
    wanted = f"one of {', '.join(sorted(kind.causes.parts[part]))}"
    return f"{wanted} if it says {kind.causes.when[part]}" if part in kind.causes.when else wanted
