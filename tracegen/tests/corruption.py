"""Corrupts what a cluster said of one path, in one thing, so that two judges can be held against each other."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checker import manifest as manifests
from checker.load import NO_KEY, load
from checker.order import linear_extension

Line = dict[str, Any]

_COMMON = frozenset(("node", "incarnation", "seq", "time_ms", "commit", "disk", "event", "path", "cause", "rank"))
_WORDS = {
    "operation": ("put", "delete", "read"),
    "condition": ("none", "absent", "exists", "etag_is", "etag_is_not", "generation_is"),
    "outcome": ("applied", "replayed", "refused", "unchanged"),
    "step": ("prepare", "accept"),
}


def stories(run: Path, length: int) -> list[list[Line]]:
    """The first lines of each path of a run, in a causal order; `rank` is a line's place among those of all."""
    traces = load(run, manifests.read(manifests.find()))
    told: defaultdict[int, list[Line]] = defaultdict(list)
    for rank, index in enumerate(linear_extension(traces)):
        key = traces.key[index]
        if key != NO_KEY and len(told[key]) < length:
            told[key].append(json.loads(traces.line(index)) | {"rank": rank})
    return list(told.values())


def event_id(line: Line) -> str:
    return f"{line['node']}.{line['incarnation']}.{line['seq']}"


def corrupted(story: Sequence[Line], draw: random.Random) -> tuple[str, list[Line]]:
    """The story with one thing wrong, and what it is."""
    lines = [dict(line) for line in story]
    place = draw.randrange(len(lines))
    line = lines[place]
    what = draw.choice(("alter", "alter", "alter", "alter", "drop", "double", "swap", "cause"))
    match what:
        case "alter":
            field = draw.choice([name for name in line if name not in _COMMON])
            line[field] = _another(field, line[field], line["node"], draw)
            what = f"alter {field} of {line['event']}"
        case "drop":
            del lines[place]
        case "double":
            lines.insert(place, dict(line))
        case "swap":
            own = [at for at in range(place + 1, len(lines)) if lines[at]["node"] == line["node"]]
            if own:
                other = lines[own[0]]
                lines[place], lines[own[0]] = other | {"rank": line["rank"]}, line | {"rank": other["rank"]}
        case "cause":
            others = [event_id(other) for other in story if other["node"] != line["node"]]
            line["cause"] = [draw.choice(others)] if draw.random() < 0.5 and others else line["cause"][1:]
    return f"{what} {event_id(line)}", lines


def _another(field: str, value: Any, node: str, draw: random.Random) -> Any:
    """Another value of the same kind."""
    if field in _WORDS:
        return draw.choice([word for word in _WORDS[field] if word != value])
    match value:
        case bool():
            return not value
        case int():
            return max(0, value + draw.choice((-1, 1, 2)))
        case [int() as round_, str() as owner]:
            other = "n1" if owner != "n1" else "n2"
            return draw.choice(([round_ + 1, owner], [max(0, round_ - 1), owner], [round_, other]))
        case list():
            return value[1:]
        case str():
            if field == "preferred":
                return "n1" if value != "n1" else "n2"
            return value + "x"
    return [1, node] if field in ("next", "was_promised", "was_accepted", "promised", "accepted") else "something"


def can_be_ordered(lines: Sequence[Line]) -> bool:
    """Are causes still before their effects? Else the trace contradicts itself, and there is nothing to replay."""
    ranks = {event_id(line): line["rank"] for line in lines}
    return all(ranks[cause] < line["rank"] for line in lines for cause in line["cause"] if cause in ranks)


class Retelling:
    """The traces of a run made of many stories, each under a path of its own; `write` writes them."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._nodes = tuple(nodes)
        self._lines: list[Line] = []

    def tell(self, path: str, lines: Sequence[Line]) -> None:
        self._lines += [line | {"path": path} for line in lines]

    def write(self, run: Path) -> Path:
        """Events get new numbers, causes follow them, and a cause that is not told is left out; the run's traces/."""
        traces = run / "traces"
        traces.mkdir(parents=True)
        files: dict[tuple[str, int], list[Line]] = {}
        numbered: dict[tuple[str, str], str] = {}
        for line in sorted(self._lines, key=lambda line: int(line["rank"])):
            node, incarnation = line["node"], line["incarnation"]
            common = {"node": node, "incarnation": incarnation, "time_ms": 0}
            start = {"event": "Start", "schema": 1, "cluster_id": "retold", "nodes": self._nodes, "seq": 1}
            file = files.setdefault((node, incarnation), [common | start])
            file.append(line | {"seq": len(file) + 1})
            numbered[line["path"], event_id(line)] = event_id(file[-1])
        for (node, incarnation), file in files.items():
            for line in file[1:]:
                named = [(line["path"], cause) for cause in line["cause"]]
                line["cause"] = [numbered[cause] for cause in named if cause in numbered]
                del line["rank"]
            text = "".join(json.dumps(line) + "\n" for line in file)
            (traces / f"{node}.{incarnation}.ndjson").write_text(text)
        return traces
