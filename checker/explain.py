"""Explains a refusal, as text and as values: which event, what was false, what led there, what was possible instead.

What was false is found by TLC (checker/evaluate.py), for the first few refusals of a run. What led there are the
event's causes, theirs, and so on, across nodes, and what its own node did with the same key before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from checker import tla_source
from checker.causes import CauseFault
from checker.evaluate import Evaluated, Explanation, first_false
from checker.load import Event, spelled
from checker.replay import Replay
from checker.tla_source import Source
from checker.verdict import Conjunct, Refusal

EXPLAINED_MAX: Final = 5
"""So many refusals are explained in full; a TLC for each, a second or two."""

BRIEF_EVENTS_MAX: Final = 200_000
"""Of the others, the first false condition is named: of as many as have so many events up to the refused one."""

CAUSES_MAX: Final = 12
"""So many of the events that led to a refused one are named."""

SHOWN_CHARACTERS_MAX: Final = 400
"""A longer value is cut in the text; verdict.json has all of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A key whose behaviour is refused: by the spec at the event at `place` (from 0), or before by a rule on causes.

    `place` is None if the spec accepts what comes before that, and where it is not known (see Replayed).
    """

    key: int
    place: int | None
    fault: CauseFault | None


def explain(replay: Replay, refused: Sequence[Found]) -> list[Refusal]:
    """Explain each: the first EXPLAINED_MAX with all that TLC can say, a JVM a core; the others briefly."""
    modules = tla_source.read(replay.manifest.modules, replay.manifest.trace_module)
    explanations = [_explanation(replay, modules, found) for found in refused[:EXPLAINED_MAX]]
    evaluated = replay.pool.map(lambda each: each.evaluate() if each is not None else Evaluated(), explanations)
    briefly = _briefly(replay, modules, refused[EXPLAINED_MAX:])
    return [_refusal(replay, *pair) for pair in zip(refused, chain(evaluated, briefly), strict=True)]


def _explanation(replay: Replay, modules: Source, found: Found) -> Explanation | None:
    if found.place is None:
        return None
    event = replay.traces.event(replay.behaviour(found.key)[found.place])
    return Explanation(replay, modules, found.key, found.place, event)


def _briefly(replay: Replay, modules: Source, refused: Sequence[Found]) -> list[Evaluated]:
    """The first false condition of each, up to BRIEF_EVENTS_MAX."""
    told: dict[int, Explanation] = {}
    events = 0
    for number, found in enumerate(refused):
        events += found.place or 0
        explanation = _explanation(replay, modules, found) if events <= BRIEF_EVENTS_MAX else None
        if explanation is not None:
            told[number] = explanation
    evaluated = dict(zip(told, first_false(replay, list(told.values())), strict=True))
    return [evaluated.get(number, Evaluated()) for number in range(len(refused))]


def _refusal(replay: Replay, found: Found, evaluated: Evaluated) -> Refusal:
    behaviour, fault = replay.behaviour(found.key), found.fault
    position = fault.position if fault is not None else found.place
    event = replay.traces.event(behaviour[position or 0])
    led_there = _led_there(replay, found.key, position or 0)
    where = f"event {position + 1} of {len(behaviour)}" if position is not None else "this event or a later one"
    why = f"{fault.rule}: {fault.text}" if fault is not None else "no action of the spec allows it"
    lines = [
        f"{event.key}: {event.kind} {event.id}, {where}: {why}",
        f"  {event.file}:{event.line}",
        *_lines("the event", [_fields(replay, event)]),
        *_conditions(evaluated.conjuncts),
        *_lines("the state before it", [f"{name}: {text}" for name, text in evaluated.state.items()]),
        *_lines(f"what {event.node} could have done instead", evaluated.enabled),
        *_lines("what led there, newest first", [_one_line(replay, earlier) for earlier in led_there]),
        *([f"  {evaluated.note}"] if evaluated.note else []),
    ]
    return Refusal(
        key=event.key,
        event=event.id,
        file=event.file,
        line=event.line,
        position=0 if position is None else position + 1,
        action=event.kind,
        text="\n".join(lines),
        rule=fault.rule if fault is not None else "",
        conjuncts=evaluated.conjuncts,
        causes=[earlier.id for earlier in led_there],
        state=evaluated.state,
        enabled=evaluated.enabled,
    )


def _conditions(conjuncts: list[Conjunct]) -> Iterator[str]:
    """The conditions, operator by operator, the false ones marked."""
    of = ""
    for conjunct in conjuncts:
        if conjunct.of != of:
            of = conjunct.of
            yield f"  {_cut(of)}"
        mark = {True: "   holds", False: "-> FALSE", None: " no value"}[conjunct.holds]
        yield f"   {mark}  {conjunct.text}"
        if conjunct.left and conjunct.holds is not True:
            yield f"               left:  {_cut(conjunct.left)}"
            yield f"               right: {_cut(conjunct.right)}"
    if conjuncts and all(conjunct.holds for conjunct in conjuncts):
        yield "  every condition on the state before it holds: no action does what it says of the state after it"


def _led_there(replay: Replay, key: int, position: int) -> list[Event]:
    """The causes, their causes and so on, and the same node's event of this key before each: the newest first."""
    traces, behaviour = replay.traces, replay.behaviour(key)
    places = {index: place for place, index in enumerate(behaviour[:position])}
    before: dict[int, int] = {}
    last: dict[str, int] = {}
    for index in behaviour[: position + 1]:
        node = traces.node(index)
        if node in last:
            before[index] = last[node]
        last[node] = index
    found: set[int] = set()
    waiting = [behaviour[position]]
    while waiting and len(found) < CAUSES_MAX:
        index = waiting.pop(0)
        own = [*traces.causes_of(index), *([before[index]] if index in before else [])]
        fresh = [cause for cause in own if cause in places and cause not in found]
        found.update(fresh[: CAUSES_MAX - len(found)])
        waiting.extend(fresh)
    return [traces.event(index) for index in sorted(found, key=places.__getitem__, reverse=True)]


def _one_line(replay: Replay, event: Event) -> str:
    return f"{event.id} {event.kind} {_fields(replay, event)}"


def _fields(replay: Replay, event: Event) -> str:
    kind = replay.manifest.kinds[event.kind]
    return ", ".join(f"{name} {spelled(event.fields.get(name))}" for name in kind.fields)


def _lines(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {title}:"
        yield from (f"    {_cut(line)}" for line in lines)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + " …"
