"""A corpus of corrupted traces: real behaviours, each with one event dropped, doubled, swapped or saying otherwise.

Each corruption says by construction what must come of it: which event is refused, by which rule, for which false
condition. What leaves an allowed behaviour is not in the corpus but among the harmless ones, each with its reason.

Which event is the right one? The corrupted one, wherever the events before it determine what it must say. Else the
first in the replay's order that contradicts it: one that names it as a cause, or the same acceptor's next event, which
says what state it found.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

from checker.load import spelled
from integration.alterations import ALTERATIONS, NOWHERE, Alteration, Site
from integration.judging import MANIFEST, OF_A_LOST_DISK, Behaviour, Entry

SITES: Final = 2  # of each way to corrupt
SHORT: Final = 150  # events; longer traces only where there is no other
TRIED: Final = 30  # events of a path, until one is found that can be corrupted so
TAIL: Final = 5  # events that are left after the last one that may contradict
ACCEPTOR: Final = frozenset(("Restart", "Promise", "Claim", "Accept", "Adopt", "Collect", "Refuse", "Report"))
RECORD: Final = frozenset(("Restart", "Confirm", "Settle", "Doubt", "Evict"))  # they say what is on record as archived
HARMLESS_WITHOUT: Final = frozenset(("Refuse", "Acknowledge", "Read", "Evict", "Answer"))  # nothing follows from them
# a question may be answered twice, and a floor be told of twice
HARMLESS_TWICE: Final = frozenset(("Refuse", "Report", "Look", "Evict", "Answer", "Floor"))
ANY: Final = "any"  # the replay, or a rule: whichever comes first
ELSEWHERE: Final = " elsewhere"


@dataclass(slots=True)
class Corruption:
    """One corrupted behaviour. `at` are the events that contradict it: the first of them in the replay is refused.

    `rule` is the checker's rule, or empty where TLC refuses; `false` begins the text of the false condition, with
    both its sides where they are known; `says` are words of the explanation. `field` is a field, or what was done.
    """

    kind: str
    field: str
    variant: str
    behaviour: Behaviour
    at: list[Entry]
    rule: str = ""
    false: str = ""
    left: str | None = None
    right: str | None = None
    says: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.field}: {self.variant}"

    def cut(self) -> "Corruption":
        """Leave out what comes well after the contradiction: short traces are judged sooner."""
        at = {id(entry) for entry in self.at}
        last = max(number for number, entry in enumerate(self.behaviour.entries) if id(entry) in at)
        self.behaviour.cut(last + 1 + TAIL)
        return self


def shown(domain: str, value: Any) -> str:
    """A value as the sides of conditions show it."""
    if MANIFEST.domains[domain].type == "set":
        return "{" + ", ".join(sorted(value)) + "}"
    if MANIFEST.domains[domain].type == "list":
        return "<" + ", ".join(map(str, value)) + ">"
    return spelled(value)


def altered(source: Behaviour, number: int, how: Alteration) -> Corruption | None:
    """The behaviour with one field altered, or None if there is no such corruption at this event."""
    old, new = source.entries[number].fields[how.field], how.value(Site(source, source.entries[number]))
    if new is NOWHERE or new == old:
        return None
    behaviour = source.copy()
    entry = behaviour.entries[number]
    entry.fields[how.field] = new
    domain = MANIFEST.kinds[how.kind].fields[how.field]
    corruption = Corruption(how.kind, how.field, how.variant, behaviour, [entry], how.rule, how.false)
    if how.at:
        corruption.at = [effect for effect in behaviour.effects(entry) if effect.kind == how.at]
        if how.rule == "carries":
            corruption.says = (f"{how.at} says {how.its} {spelled(old)}", f"says {how.field} {spelled(new)}")
        else:
            corruption.left, corruption.right = shown(domain, old), shown(domain, new)
    elif how.rule == "carries" and how.its:
        corruption.says = (f"{how.kind} says {how.field} {spelled(new)}", f" {spelled(old)}")
    elif how.false == f"{how.kind}_{how.field}(e) = " and not how.field.startswith("condition"):
        corruption.left, corruption.right = shown(domain, new), shown(domain, old)
    return corruption


def dropped(source: Behaviour, number: int) -> Corruption | None:
    """The behaviour without this event, if that contradicts something: who names it has one cause less."""
    if source.entries[number].kind in HARMLESS_WITHOUT:
        return None
    behaviour = source.copy()
    entry = behaviour.entries[number]
    at = behaviour.effects(entry)
    following = next_of_acceptor(behaviour, entry)
    floor = next_floor(behaviour, entry)
    if entry.kind == "Collect" and floor is not None:
        at.append(floor)
    elif (changes_acceptor(entry) or raises(behaviour, entry)) and following is not None:
        at.append(following)
    on_record = next_of_record(behaviour, entry)
    if entry.kind in RECORD - HARMLESS_WITHOUT and on_record is not None:
        at.append(on_record)
    if entry.kind == "Restart" and following is not None:
        at = [following]
    if not at:
        return None
    for other in behaviour.effects(entry):
        other.causes = [cause for cause in other.causes if cause is not entry]
    behaviour.entries.remove(entry)
    return Corruption(entry.kind, "dropped", "", behaviour, at, rule="begins" if entry.kind == "Restart" else ANY)


def doubled(source: Behaviour, number: int) -> Corruption | None:
    """The behaviour with this event twice, where it is one that cannot happen twice: the second is refused."""
    kind = source.entries[number].kind
    if kind in HARMLESS_TWICE or (kind == "Accept" and not changes_acceptor(source.entries[number])):
        return None
    behaviour = source.copy()
    entry = behaviour.entries[number]
    twin = _twin(entry)
    behaviour.entries.insert(number + 1, twin)
    rules = {"Read": "causes", "Restart": "begins", "Collect": "causes"}
    return Corruption(entry.kind, "doubled", "", behaviour, [twin], rule=rules.get(entry.kind, ""))


def swapped(second_kind: str, source: Behaviour, number: int) -> Corruption | None:
    """An acceptor's event and its next one, the other way round: what the second found is not yet there."""
    first = source.entries[number]
    second = next(source.later(first), None)
    if second is None or second.kind != second_kind or second.incarnation != first.incarnation:
        return None
    if not changes_acceptor(first) and first.kind != "Restart":
        return None
    behaviour = source.copy()
    first, second = behaviour.entries[number], next(behaviour.later(behaviour.entries[number]))
    between = behaviour.entries[number + 1 : behaviour.entries.index(second)]
    if all(cause not in between and cause is not first for cause in second.causes):
        second.place = first.place - 0.5
    elif all(first not in entry.causes for entry in [*between, second]):
        first.place = second.place + 0.5
    else:
        return None  # the second depends on the first: then the causes make a cycle
    behaviour.sort()
    rule = "begins" if first.kind == "Restart" else ""
    return Corruption(second.kind, "swapped", f"before {first.kind}", behaviour, [second], rule=rule)


def miscaused(variant: str, source: Behaviour, number: int) -> Corruption | None:
    """The event with other causes than it had."""
    if not source.entries[number].causes and variant != "one more":
        return None
    behaviour = source.copy()
    entry = behaviour.entries[number]
    before = behaviour.entries[:number][::-1]
    may_cause = MANIFEST.kinds[entry.kind].causes.carries

    def corruption(causes: list[Entry], rule: str, says: str) -> Corruption:
        entry.causes = causes
        return Corruption(entry.kind, "cause", variant, behaviour, [entry], rule, says=(f"{entry.kind} {says}",))

    if variant == "one more":
        return corruption([*entry.causes, before[0]], "causes", "must have as causes") if before else None
    first, *others = entry.causes
    of_its_node = [other for other in before if other.node == first.node and other is not first]
    if variant == "one less":
        return corruption(others, "causes", "must have as causes")
    if variant == "another kind":
        strangers = [other for other in of_its_node if other.kind not in may_cause]
        return corruption([strangers[0], *others], "causes", "may be caused by") if strangers else None
    said = may_cause[first.kind].values()
    twins = [
        other
        for other in of_its_node
        if other.kind == first.kind and any(other.fields[name] != first.fields[name] for name in said)
    ]
    return corruption([twins[0], *others], "carries", "says") if twins else None


def moved(source: Behaviour, number: int) -> Corruption | None:
    """The event as if it were about another path, of which nothing else is known."""
    behaviour = source.copy()
    entry = behaviour.entries[number]
    entry.fields[MANIFEST.split_by] = ELSEWHERE
    if entry.causes:
        return Corruption(entry.kind, "path", "another path", behaviour, [entry], "causes")
    if entry.kind == "Evict":
        return Corruption(
            entry.kind, "path", "another path", behaviour, [entry], "begins" if entry.incarnation > 1 else ""
        )
    if entry.kind == "Restart" or (entry.kind == "Report" and entry.fields["was_promised"] is not None):
        if entry.kind == "Restart" and entry.fields["promised"] is None:
            return None
        begins = entry.kind == "Report" and entry.incarnation > 1
        return Corruption(entry.kind, "path", "another path", behaviour, [entry], "begins" if begins else "")
    at = behaviour.effects(entry)
    tells = entry.kind == "Claim" or raises(behaviour, entry)
    following = next_of_acceptor(behaviour, entry) if tells else None
    if following is not None:
        at.append(following)
    return Corruption(entry.kind, "path", "another path", behaviour, at, ANY) if at else None


def changes_acceptor(entry: Entry) -> bool:
    """Does the acceptor's next event find another state than this one found?"""
    match entry.kind:
        case "Promise" | "Claim" | "Adopt" | "Collect":
            return True
        case "Accept":
            return bool(entry.fields["was_accepted"] != entry.fields["ballot"])
        case _:
            return False


def next_of_acceptor(behaviour: Behaviour, entry: Entry) -> Entry | None:
    return next((other for other in behaviour.later(entry) if other.kind in ACCEPTOR), None)


def raises(behaviour: Behaviour, entry: Entry) -> bool:
    """Is it a floor that the acceptor's next event finds, and that no event before it can have left?"""
    if entry.kind != "Floor" or next_floor(behaviour, entry) is not None:
        return False
    ballot, following = entry.fields["ballot"], next_of_acceptor(behaviour, entry)
    before = behaviour.entries[: behaviour.entries.index(entry)]
    known = [
        each.fields.get(name) for each in before if each.node == entry.node for name in ("ballot", "next", "promised")
    ]
    return following is not None and following.fields.get("was_promised") == ballot and ballot not in known


def next_floor(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """The floor that the node tells of before its acceptor's next event, if it does."""
    found = next((other for other in behaviour.later(entry) if other.kind in ACCEPTOR or other.kind == "Floor"), None)
    return found if found is not None and found.kind == "Floor" else None


def next_of_record(behaviour: Behaviour, entry: Entry) -> Entry | None:
    return next((other for other in behaviour.later(entry) if other.kind in RECORD), None)


# -- the corpus --------------------------------------------------------------------------------------------------------

Make = Callable[[Behaviour, int], Corruption | None]


def corpus(sources: Sequence[Behaviour]) -> list[Corruption]:
    """Each way to corrupt, at SITES events of different paths (or at fewer, where there are not so many)."""
    found = []
    for kind, name, make in _ways():
        order = list(sources)
        random.Random(f"{kind} {name}").shuffle(order)
        order.sort(key=lambda source: len(source) > SHORT)
        found += [corruption.cut() for corruption in islice(_made(order, kind, make), SITES)]
    return found


def _ways() -> Iterator[tuple[str, str, Make]]:
    for how in ALTERATIONS:
        yield how.kind, f"{how.field}: {how.variant}", partial(_altered, how)
    for kind in (kind for kind in MANIFEST.kinds if kind not in OF_A_LOST_DISK):
        yield kind, "dropped", dropped
        yield kind, "doubled", doubled
        yield kind, "path", moved
        for second in sorted(ACCEPTOR):
            yield kind, f"swapped with {second}", partial(swapped, second)
        for variant in ("one less", "another message", "another kind", "one more"):
            yield kind, f"cause: {variant}", partial(miscaused, variant)


def _altered(how: Alteration, source: Behaviour, number: int) -> Corruption | None:
    return altered(source, number, how)


def _made(sources: Sequence[Behaviour], kind: str, make: Make) -> Iterator[Corruption]:
    for source in sources:
        numbers = source.of(kind)
        random.Random(source.path).shuffle(numbers)
        del numbers[TRIED:]
        yield from islice(filter(None, (make(source, number) for number in numbers)), 1)


# -- beside it ---------------------------------------------------------------------------------------------------------


def harmless(sources: Sequence[Behaviour]) -> list[tuple[str, Behaviour]]:
    """What is no corruption, with what was done. It leaves a behaviour that the spec allows, so it must be accepted.

    An answer that is not in the trace is none that the spec misses: a client that was told something of which there
    is no event is judged by its history. A message may come twice and be refused twice; a report that no read counted
    is the business of nobody; two reports find the same state, whichever was first.
    """
    short = [source for source in sources if len(source) <= SHORT]
    found = [("as it was", source.copy()) for source in short[:: max(1, len(short) // 8)]]
    for kind in sorted(HARMLESS_WITHOUT):
        unnamed = [source for source in sources if _unnamed(source, kind)]
        found += [(f"{kind} dropped", _without(source, _unnamed(source, kind)[0])) for source in unnamed[:SITES]]
    for kind in sorted(HARMLESS_TWICE):
        for source in _with(sources, kind):
            number = source.of(kind)[0]
            behaviour = source.copy()
            behaviour.entries.insert(number + 1, _twin(behaviour.entries[number]))
            found.append((f"{kind} doubled", behaviour))
    uncounted = [
        (source, number)
        for source in short
        for number in source.of("Report")
        if not source.effects(source.entries[number])
    ]
    found += [("Report that nobody counted dropped", _without(*each)) for each in uncounted[:SITES]]
    return found


def of_dependent_neighbours_swapped(sources: Sequence[Behaviour]) -> tuple[Behaviour, Entry, Entry]:
    """A behaviour in which an event comes before its own cause, on the same node; the event, and its cause."""
    for source in sources:
        for number, entry in enumerate(source.entries):
            following = next(source.later(entry), None)
            if following is not None and entry in following.causes:
                behaviour = source.copy()
                cause, effect = behaviour.entries[number], next(behaviour.later(behaviour.entries[number]))
                cause.place, effect.place = effect.place, cause.place
                behaviour.sort()
                return behaviour, effect, cause
    raise AssertionError("no node has an event that the event before it caused")


def _with(sources: Sequence[Behaviour], kind: str) -> Iterator[Behaviour]:
    return islice((source for source in sources if source.of(kind)), SITES)


def _unnamed(source: Behaviour, kind: str) -> list[int]:
    """Where the events of a kind are that caused nothing."""
    return [number for number in source.of(kind) if not source.effects(source.entries[number])]


def _without(source: Behaviour, number: int) -> Behaviour:
    behaviour = source.copy()
    del behaviour.entries[number]
    return behaviour


def _twin(entry: Entry) -> Entry:
    """The same event again, just after it."""
    return Entry(entry.place + 0.5, entry.node, entry.incarnation, entry.kind, dict(entry.fields), list(entry.causes))
