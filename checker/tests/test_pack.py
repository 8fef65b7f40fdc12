"""What TLC decodes is what was packed: every type of domain, in numbers that overflow one integer. Real TLC."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from checker import manifest as manifests
from checker import tlc
from checker.errors import CannotCheck
from checker.load import load
from checker.order import linear_extension
from checker.pack import PackedTrace, Packer
from checker.split import by_key
from checker.tla_value import Function, Set, Text, Value, parse
from checker.trace_data import data_module

NODES = ("m1", "m10", "m2")
FIELDS = {
    "text": "text",
    "other_text": "text",
    "name": "name",
    "count": "int",
    "large": "int",
    "version": "version",
    "at": "ticket",
    "after": "ticket",
    "colour": "colour",
    "members": "set",
    "items": "list",
    "flag": "bool",
    "peer": "node",
}
MANIFEST = """
name = "echo"
trace_module = "EchoTrace"
split_by = "thing"
canary = []
[domain.text]
type = "symbol"
[domain.name]
type = "symbol"
sorted = true
[domain.version]
type = "rank"
[domain.ticket]
type = "pair"
[domain.colour]
type = "enum"
values = ["red", "so-called \\"green\\"", "blue"]
[param.peer]
domain = "node"
default = "first"
[param.members]
domain = "set"
default = "all"
[event.Note]
replay = "ReplayNote"
[event.Note.fields]
""" + "".join(f'{field} = "{domain}"\n' for field, domain in FIELDS.items())
MANIFEST += """
[event.Nod]
replay = "ReplayNod"
fields = { count = "int" }
"""
ECHO = """---- MODULE EchoTrace ----
EXTENDS Integers, Sequences, TLC, TraceData
VARIABLES trace, cursor
Event == Traces[trace][cursor]
Said(e) == IF Kind(e) = K_Nod THEN <<"Nod", Nod_node(e), Nod_count(e)>>
           ELSE <<"Note", Note_node(e), %s>>
Init == trace \\in 1..Len(Traces) /\\ cursor = 1 /\\ PrintT(<<"P", trace, Param_peer(trace), Param_members(trace)>>)
Next == cursor <= Len(Traces[trace]) /\\ PrintT(<<"E", trace, cursor, Said(Event)>>) /\\ cursor' = cursor + 1
        /\\ UNCHANGED trace
====
""" % ", ".join(f"Note_{field}(e)" for field in FIELDS)  # noqa: UP031 - TLA+ has braces of its own


def drawn(draw: random.Random) -> dict[str, Any]:
    """Some values of every domain, far enough apart to need large ordinals."""
    return {
        "text": draw.choice([None, *(f"t{number}" for number in range(80))]),
        "other_text": f"t{draw.randrange(80)}",
        "name": f"n{draw.randrange(80)}",
        "count": draw.randrange(100),
        "large": draw.choice([0, 2**30 - 1, draw.randrange(2**30)]),
        "version": draw.choice([None, draw.randrange(-(10**15), 10**15)]),
        "at": draw.choice([None, [draw.randrange(5), draw.choice(NODES)]]),
        "after": [draw.randrange(10**12), draw.choice(NODES)],
        "colour": draw.choice(["red", 'so-called "green"', "blue"]),
        "members": draw.sample(NODES, draw.randrange(4)),
        "items": [draw.randrange(40) for _ in range(draw.randrange(4))],
        "flag": draw.random() < 0.5,
        "peer": draw.choice(NODES),
    }


def written(folder: Path, records: list[dict[str, Any]]) -> tuple[Packer, list[PackedTrace]]:
    (folder / "traces").mkdir()
    (folder / "echo.toml").write_text(MANIFEST)
    (folder / "EchoTrace.tla").write_text(ECHO)
    (folder / "EchoTrace.cfg").write_text("INIT Init\nNEXT Next\n")
    for node in NODES:
        own = [record for record in records if record["node"] == node]
        lines = [json.dumps({"incarnation": 1, "seq": seq, **record}) for seq, record in enumerate(own, start=1)]
        (folder / "traces" / f"{node}.1.ndjson").write_text("\n".join(lines) + "\n")
    manifest = manifests.read(folder / "echo.toml")
    traces = load(folder, manifest)
    packer = Packer(manifest, traces)
    behaviours = by_key(traces, linear_extension(traces))
    return packer, [packer.pack(key, own, packer.records(own)) for key, own in enumerate(behaviours)]


def expected(record: dict[str, Any], trace: list[dict[str, Any]]) -> tuple[Value, ...]:
    """What TLC must say of the event, worked out anew; symbols are compared for what they are equal to instead."""
    if record["event"] == "Nod":
        return (Text("Nod"), NODES.index(record["node"]) + 1, record["count"])
    notes = [other for other in trace if other["event"] == "Note"]
    names = sorted({note["name"] for note in notes})
    versions = sorted({note["version"] for note in notes} - {None})
    rounds = sorted({0, *(note[field][0] for note in notes for field in ("at", "after") if note[field])})

    def ticket(value: list[Any] | None) -> int:
        return 0 if value is None else rounds.index(value[0]) * 4 + NODES.index(value[1]) + 1

    return (
        Text("Note"),
        NODES.index(record["node"]) + 1,
        names.index(record["name"]) + 1,
        record["count"],
        record["large"],
        0 if record["version"] is None else versions.index(record["version"]) + 1,
        ticket(record["at"]),
        ticket(record["after"]),
        Text(record["colour"].replace('"', '\\"')),
        Set(tuple(sorted(NODES.index(node) + 1 for node in record["members"]))),
        Function(tuple(enumerate(record["items"], start=1))),
        record["flag"],
        NODES.index(record["peer"]) + 1,
    )


def test_tlc_decodes_what_was_packed(tmp_path: Path) -> None:
    draw = random.Random(7)
    records = [
        {"node": draw.choice(NODES), "thing": f"thing {draw.randrange(3)}", **kind}
        for kind in ({"event": "Note", **drawn(draw)} if draw.random() < 0.9 else {"event": "Nod", "count": 3}
                     for _ in range(300))
    ]  # fmt: skip
    packer, packed = written(tmp_path, records)
    text = "".join(data_module(packer, packed))
    (tmp_path / "TraceData.tla").write_text(text)
    assert any(line.rstrip(",>").count(",") >= 2 for line in text.splitlines()), "no event needs three numbers"
    outcome = tlc.run(tlc.locate(), tmp_path / "EchoTrace.tla", tmp_path / "EchoTrace.cfg", is_short=True)
    assert outcome.error is None
    behaviours: dict[str, list[dict[str, Any]]] = {}
    for node in NODES:  # nothing causes anything, so the order is node after node
        for record in records:
            if record["node"] == node:
                behaviours.setdefault(record["thing"], []).append(record)
    texts: dict[tuple[int, object], set[Value]] = {}
    said = 0
    for line in outcome.printed:
        value = parse(line)
        assert isinstance(value, Function), line
        what, number, *rest = (part for _, part in value.pairs)
        assert isinstance(number, int)
        trace = behaviours[packer.traces.keys[packed[number - 1].key]]
        first = next(record for record in trace if record["event"] == "Note")
        if what == Text("P"):
            members = Set(tuple(sorted(NODES.index(node) + 1 for node in first["members"])))
            assert rest == [NODES.index(first["peer"]) + 1, members]
            continue
        cursor, event = rest
        assert isinstance(cursor, int) and isinstance(event, Function)
        record, parts = trace[cursor - 1], [part for _, part in event.pairs]
        said += 1
        if record["event"] == "Note":
            for place, field in ((2, "text"), (3, "other_text")):
                texts.setdefault((number, record[field]), set()).add(parts[place])
            del parts[2:4]
        assert tuple(parts) == expected(record, trace)
    assert said == len(records)
    # in each trace one number for each text, another one for each other, and 0 for none
    assert all(len(numbers) == 1 for numbers in texts.values())
    assert len({(number, *numbers) for (number, _), numbers in texts.items()}) == len(texts)
    assert all((numbers == {0}) == (text is None) for (_, text), numbers in texts.items())


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("count", -1, "Note.count is -1, but an int must lie in 0..1073741823; declare it a rank"),
        ("count", 2**30, "Note.count is 1073741824, but an int"),
        ("colour", "brown", "Note.colour is 'brown', which is none of colour: red"),
        ("peer", "m7", "Note.peer is 'm7', which is none of node: m1, m10, m2"),
        ("members", ["m1", "m7"], "Note.members is ('m1', 'm7'), which is none of set"),
        ("items", [3, -1], "Note.items is (3, -1), but the integers of a list must lie in 0..1073741823"),
        ("at", [3, "m7"], "Note.at is [3, m7], but there is no node 'm7'"),
    ],
)
def test_a_value_that_is_in_no_domain_is_named_with_its_line(
    tmp_path: Path, field: str, value: object, says: str
) -> None:
    record = {"node": "m1", "thing": "x", "event": "Note", **drawn(random.Random(1)), field: value}
    good = {"node": "m1", "thing": "x", "event": "Nod", "count": 1}
    others = [{**good, "node": node} for node in NODES[1:]]
    with pytest.raises(CannotCheck) as error:
        written(tmp_path, [good, record, *others])
    assert str(error.value).startswith(f"{tmp_path / 'traces' / 'm1.1.ndjson'}:2: {says}")
