"""The whole run in one picture: faults as bands over the lanes of their nodes, events as ticks, operations as bars."""

from collections.abc import Collection, Sequence
from typing import Final

from checker.operations import Operation
from checker.report.evidence import Evidence, Fault, TraceEvent
from checker.report.picture import Dot, Label, Line, Picture, Rect, TimeAxis, seconds

WIDTH: Final = 1180.0
LEFT: Final = 96.0
TOP: Final = 26.0
NODE_HEIGHT: Final = 26.0
CLIENT_HEIGHT: Final = 15.0
GAP: Final = 12.0
OPERATIONS_MAX: Final = 2500
CLIENTS_MAX: Final = 24
HUES: Final = 6
BAR_WIDTH_MIN: Final = 1.5


def draw(evidence: Evidence, refused: Sequence[TraceEvent], suspects: Collection[str]) -> Picture:
    """`refused` are events that no action accepts, `suspects` the ids of operations that history faults name."""
    nodes = evidence.nodes()
    operations = choose(evidence.operations, suspects)
    clients = _clients(operations, suspects)
    nodes_bottom = TOP + NODE_HEIGHT * len(nodes)
    clients_top = nodes_bottom + GAP
    bottom = clients_top + CLIENT_HEIGHT * len(clients)
    picture = Picture(WIDTH, bottom + 22, "Timeline of the run: faults, events and operations over time")
    axis = TimeAxis(0, _end_us(evidence), LEFT, WIDTH - 12)
    axis.draw(picture, TOP, bottom)
    lanes = {node: TOP + NODE_HEIGHT * number for number, node in enumerate(nodes)}
    for node, y in lanes.items():
        picture.labels.append(Label(LEFT - 10, y + NODE_HEIGHT / 2 + 4, node, "lane end"))
        picture.lines.append(Line(LEFT, y + NODE_HEIGHT / 2, WIDTH - 12, y + NODE_HEIGHT / 2, "track"))
    _draw_faults(picture, axis, evidence.faults, lanes, bottom)
    for event in evidence.events:
        if event.node in lanes:
            x, y = axis.x(event.at_us), lanes[event.node]
            css = "tick life" if event.kind in ("Start", "Stop", "Restart") else "tick"
            picture.lines.append(Line(x, y + 7, x, y + NODE_HEIGHT - 7, css, f"{event.id} {event.kind}"))
    rows = {client: clients_top + CLIENT_HEIGHT * number for number, client in enumerate(clients)}
    for client, y in rows.items():
        picture.labels.append(Label(LEFT - 10, y + CLIENT_HEIGHT - 4, client, "lane small end"))
    for operation in operations:
        if operation.client in rows:
            picture.rects.append(bar(operation, axis, rows[operation.client] + 3, CLIENT_HEIGHT - 6, suspects))
    for event in refused:
        if event.node in lanes:
            x, y = axis.x(event.at_us), lanes[event.node]
            picture.lines.append(Line(x, TOP - 8, x, bottom, "refused"))
            picture.dots.append(Dot(x, y + NODE_HEIGHT / 2, 5, "refused", f"refused: {event.id} {event.kind}"))
    return picture


def bar(operation: Operation, axis: TimeAxis, y: float, height: float, suspects: Collection[str]) -> Rect:
    """An operation from invoke to return; one of unknown outcome reaches on to the end."""
    x = axis.x(operation.invoke_us)
    end = axis.right if operation.return_us is None else axis.x(operation.return_us)
    css = f"op {operation.kind} {operation.outcome}" + (" suspect" if operation.id in suspects else "")
    return Rect(x, y, max(round(end - x, 1), BAR_WIDTH_MIN), height, css, describe(operation))


def describe(operation: Operation) -> str:
    """An operation in one line."""
    told = f" generation {operation.generation}" if operation.generation is not None else ""
    condition = "" if operation.condition == "none" else f" if {operation.condition}"
    status = f" ({operation.status})" if operation.status else ""
    until = "never" if operation.return_us is None else seconds(operation.return_us)
    return (
        f"{operation.id} {operation.kind} {operation.path}{condition}: {operation.outcome}{told}{status}, "
        f"{seconds(operation.invoke_us)} to {until}"
    )


def choose(operations: Sequence[Operation], suspects: Collection[str]) -> list[Operation]:
    """At most about OPERATIONS_MAX: every suspect and every unknown one that fits, and of the rest each n-th."""
    notable = [each for each in operations if each.id in suspects or each.outcome == "unknown"][: OPERATIONS_MAX // 2]
    ids = {each.id for each in notable}
    rest = [each for each in operations if each.id not in ids]
    step = max(1, -(-len(rest) // (OPERATIONS_MAX - len(notable))))
    return notable + rest[::step]


def _clients(operations: Sequence[Operation], suspects: Collection[str]) -> list[str]:
    names = sorted({operation.client for operation in operations})
    suspected = {operation.client for operation in operations if operation.id in suspects}
    kept = sorted(names, key=lambda name: name not in suspected)[:CLIENTS_MAX]
    return sorted(kept)


def _end_us(evidence: Evidence) -> int:
    ends = [int((evidence.run.duration_s or 0) * 1e6), 1]
    ends += [operation.return_us or operation.invoke_us for operation in evidence.operations]
    ends += [fault.end_us for fault in evidence.faults]
    if evidence.run.epoch_ms_at_zero_us is not None:
        ends += [event.at_us for event in evidence.events]
    return max(ends)


def _draw_faults(
    picture: Picture, axis: TimeAxis, faults: Sequence[Fault], lanes: dict[str, float], bottom: float
) -> None:
    hues = {name: number % HUES for number, name in enumerate(dict.fromkeys(fault.nemesis for fault in faults))}
    for fault in faults:
        x, width = axis.x(fault.start_us), max(axis.x(fault.end_us) - axis.x(fault.start_us), 2.0)
        hue = f"hue{hues[fault.nemesis]}"
        title = f"{fault.name}: {seconds(fault.start_us)} to {seconds(fault.end_us)}; {fault.probe}"
        picture.rects.append(Rect(x, TOP, width, bottom - TOP, f"shade {hue}", title))
        hit = fault.nodes or sorted({node for link in fault.links for node in link})
        for node in hit:
            if node in lanes:
                picture.rects.append(Rect(x, lanes[node] + 2, width, NODE_HEIGHT - 4, f"band {hue}", title))
        picture.labels.append(Label(x + 2, TOP - 8, fault.name + ("" if fault.bit else " (did not bite)"), "fault"))
