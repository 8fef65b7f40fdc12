"""Close-ups: the events that led to a refusal, and the operations around a fault in the clients' history."""

import heapq
from collections.abc import Collection, Sequence
from typing import Final

from checker.operations import Operation
from checker.report.evidence import TraceEvent
from checker.report.picture import Dot, Label, Line, Picture, Rect, TimeAxis
from checker.report.timeline import bar

WIDTH: Final = 1180.0
ROW: Final = 21.0
BEFORE: Final = 24
AFTER: Final = 4
OPERATIONS_MAX: Final = 26
TEXT_MAX: Final = 150
COMMON: Final = frozenset(("node", "incarnation", "seq", "time_ms", "event", "cause"))


def causal_order(events: Sequence[TraceEvent]) -> list[TraceEvent]:
    """Every event after its causes and after what its node did before; beyond that, by time."""
    position = {event.id: number for number, event in enumerate(events)}
    ready_after = [0] * len(events)
    enables: list[list[int]] = [[] for _ in events]
    last_of_node: dict[str, int] = {}
    for number, event in enumerate(events):
        earlier = {position[cause] for cause in event.cause if cause in position}
        if event.node in last_of_node:
            earlier.add(last_of_node[event.node])
        last_of_node[event.node] = number
        ready_after[number] = len(earlier)
        for cause in earlier:
            enables[cause].append(number)
    ready = [(events[number].at_us, number) for number, count in enumerate(ready_after) if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, number = heapq.heappop(ready)
        ordered.append(events[number])
        for following in enables[number]:
            ready_after[following] -= 1
            if ready_after[following] == 0:
                heapq.heappush(ready, (events[following].at_us, following))
    return ordered


def draw_refusal(events: Sequence[TraceEvent], refused: str, nodes: Sequence[str]) -> Picture | None:
    """One row an event, one column a node, lines from each event to its causes; None if the event is not there.

    `events` are those of one key, those of each node in its own order.
    """
    ordered = causal_order(events)
    at = next((number for number, event in enumerate(ordered) if event.id == refused), None)
    if at is None:
        return None
    causes = {event.id for event in ordered if event.id in ordered[at].cause}
    window = ordered[max(0, at - BEFORE) : at + AFTER + 1]
    shown = {event.id for event in window}
    rows = [event for event in ordered if event.id in shown or event.id in causes]
    return _draw_rows(rows, refused, causes, nodes)


def _draw_rows(rows: Sequence[TraceEvent], refused: str, causes: Collection[str], nodes: Sequence[str]) -> Picture:
    unsaid = COMMON | _constant(rows)
    top = 26.0
    column = min(64.0, 420.0 / max(len(nodes), 1))
    x_of = {node: 30 + column * number for number, node in enumerate(nodes)}
    text_x = 30 + column * len(nodes)
    y_of = {event.id: top + ROW * number + ROW / 2 for number, event in enumerate(rows)}
    picture = Picture(WIDTH, top + ROW * len(rows) + 6, "What led to the refused event, and what came after it")
    for node, x in x_of.items():
        picture.labels.append(Label(x, 16, node, "lane middle"))
        picture.lines.append(Line(x, top, x, top + ROW * len(rows), "track"))
    for event in rows:
        y = y_of[event.id]
        role = "refused" if event.id == refused else "cause" if event.id in causes else ""
        if role:
            picture.rects.append(Rect(0, y - ROW / 2 + 1, WIDTH, ROW - 2, f"row {role}"))
        for cause in event.cause:
            if cause in y_of and (origin := _node_of(cause)) in x_of:
                css = "edge refused" if event.id == refused else "edge"
                picture.lines.append(Line(x_of[origin], y_of[cause], x_of.get(event.node, 0), y, css))
        picture.dots.append(
            Dot(x_of.get(event.node, 0), y, 5 if role else 4, f"event {role}", f"{event.id} {event.kind}")
        )
        picture.labels.append(Label(text_x, y + 4, event.id, "id"))
        picture.labels.append(Label(text_x + 96, y + 4, event.kind, f"kind {role}"))
        picture.labels.append(Label(text_x + 186, y + 4, _fields(event, unsaid), "fields"))
    return picture


def _node_of(event_id: str) -> str:
    return event_id.rsplit(".", 2)[0]


def _constant(rows: Sequence[TraceEvent]) -> set[str]:
    """The fields that say the same in every row that has them, so that saying it explains nothing."""
    values: dict[str, list[object]] = {}
    for event in rows:
        for name, value in event.fields.items():
            values.setdefault(name, []).append(value)
    return {name for name, seen in values.items() if len(seen) > 2 and all(value == seen[0] for value in seen)}


def _fields(event: TraceEvent, unsaid: Collection[str]) -> str:
    text = "   ".join(f"{name} {_value(value)}" for name, value in event.fields.items() if name not in unsaid)
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"


def _value(value: object) -> str:
    if isinstance(value, list):
        return "·".join(_value(item) for item in value)
    if value is None:
        return "–"
    text = str(value)
    return text[:8] + "…" if len(text) > 24 else text


def draw_history_fault(operations: Sequence[Operation], suspects: Collection[str]) -> Picture | None:
    """The named operations and those of the same path nearest to them, one row each, over time."""
    named = [operation for operation in operations if operation.id in suspects]
    if not named:
        return None
    start_us = min(operation.invoke_us for operation in named)
    end_us = max(operation.return_us or operation.invoke_us for operation in named)

    def distance_us(operation: Operation) -> int:
        return max(start_us - (operation.return_us or operation.invoke_us), operation.invoke_us - end_us, 0)

    others = sorted((each for each in operations if each.id not in suspects), key=distance_us)
    near = [each for each in others[: OPERATIONS_MAX - len(named)] if distance_us(each) <= 2 * (end_us - start_us)]
    rows = sorted([*named, *near], key=lambda operation: operation.invoke_us)
    pad_us = max((end_us - start_us) // 8, 50)
    axis = TimeAxis(start_us - pad_us, end_us + pad_us, 120.0, WIDTH - 330)
    bottom = 8 + ROW * len(rows)
    picture = Picture(WIDTH, bottom + 22, "The operations of this path around the fault, over time")
    axis.draw(picture, 8, bottom)
    for number, operation in enumerate(rows):
        y = 8 + ROW * number
        is_named = operation.id in suspects
        if is_named:
            picture.rects.append(Rect(0, y + 1, WIDTH, ROW - 2, "row refused"))
        picture.rects.append(bar(operation, axis, y + 5, ROW - 10, suspects))
        picture.labels.append(Label(110, y + ROW / 2 + 4, operation.id, "id end" + (" strong" if is_named else "")))
        picture.labels.append(Label(WIDTH - 318, y + ROW / 2 + 4, _told(operation), "fields" + " strong" * is_named))
    return picture


def _told(operation: Operation) -> str:
    condition = "" if operation.condition == "none" else f" if {operation.condition}"
    if operation.outcome != "ok":
        return f"{operation.kind}{condition} {operation.outcome} {operation.status or ''}"
    if operation.kind == "list":
        return "list"
    what = "nothing" if operation.generation == 0 else f"generation {operation.generation}"
    return f"{operation.kind}{condition} → {what}" + (" (deleted)" if operation.deleted else "")
