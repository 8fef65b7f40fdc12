"""Writes a scenario as the TOML file that `scenario.load` reads: what a seed drew, or what a failing run shrank to.

Only what differs from the defaults is written, so that a person reads what matters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from tracegen.archive.shape import ArchiveShape, ModeRule
from tracegen.operations import LISTS, Listed
from tracegen.scenario import NEMESES, ONLY_FOR, ClusterShape, FaultSpec, Scenario, SizeRange, Workload

_ALWAYS: Final = frozenset({"nemesis", "at_s", "for_s", "target", "client", "node", "kind", "key"})

_USUAL_FAULT: Final = FaultSpec("", 0, 0)
_USUAL_OPERATION: Final = Listed(0, "", "", "")


def to_toml(scenario: Scenario, preface: Sequence[str] = ()) -> str:
    """The text of a file; `preface` are the lines of a comment at its top."""
    lines = [f"# {line}".rstrip() for line in preface]
    lines += _pairs({"name": scenario.name, "group": scenario.group or "more", "says": scenario.says or scenario.name})
    lines += _pairs({"duration_s": scenario.duration_s, "seed": scenario.seed})
    if scenario.prefix:
        lines += _pairs({"prefix": scenario.prefix})
    if scenario.operations:
        lines += ["", "operations = [", *_operations(scenario.operations), "]"]
    shape = {each.name: getattr(scenario.cluster, each.name) for each in fields(ClusterShape)}
    lines += ["", "[cluster]", *_pairs(shape)]
    if scenario.archive.is_there:
        lines += ["", "[archive]", *_pairs(_archive(scenario.archive))]
    lines += _workload(scenario)
    for fault in scenario.faults:
        lines += ["", "[[faults]]", *_pairs(_fault(fault))]
    return "\n".join(lines) + "\n"


def _operations(operations: Sequence[Listed]) -> list[str]:
    """One line each; the numbers of a client's operations are left out where they go up by one."""
    last: Counter[str] = Counter()
    lines = []
    for operation in operations:
        told = _telling(operation, _USUAL_OPERATION)
        if operation.kind in LISTS:
            del told["key"]
        if operation.op != last[operation.client] + 1:
            told["op"] = operation.op
        else:
            told.pop("op", None)
        last[operation.client] = operation.op
        lines.append(f"  {_value(told)},")
    return lines


def _workload(scenario: Scenario) -> list[str]:
    load, usual = scenario.workload, Workload()
    names = ["api", "versioning", "deadline_s"] if scenario.operations else [each.name for each in fields(Workload)]
    told: dict[str, object] = {}
    for name in names:
        value = getattr(load, name)
        if value != getattr(usual, name) or name == "deadline_s":
            told[name] = value
    # what a file leaves out depends on the number of keys
    if {"keys", "hot_keys", "hot_share"} & told.keys():
        told |= {name: getattr(load, name) for name in ("keys", "hot_keys", "hot_share")}
    return ["", "[workload]", *_pairs(told)] if told else []


def _archive(archive: ArchiveShape) -> dict[str, object]:
    usual = ArchiveShape()
    told = {each.name: getattr(archive, each.name) for each in fields(ArchiveShape)}
    return {name: value for name, value in told.items() if name == "mode" or value != getattr(usual, name)}


def _fault(fault: FaultSpec) -> dict[str, object]:
    told = _telling(fault, _USUAL_FAULT)
    if fault.nemesis == "one_way":
        told["how"] = fault.how  # which has a default of its own there
    return {name: value for name, value in told.items() if fault.nemesis in ONLY_FOR.get(name, NEMESES)}


def _telling(written: FaultSpec | Listed, usual: FaultSpec | Listed) -> dict[str, object]:
    """The fields that say something: those that are not as always."""
    names = [each.name for each in fields(usual)]
    values = {name: getattr(written, name) for name in names}
    return {name: value for name, value in values.items() if name in _ALWAYS or value != getattr(usual, name)}


def _pairs(values: Mapping[str, object]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in values.items()]


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            return '"' + "".join(_escaped(character) for character in value) + '"'
        case Mapping():
            return "{ " + ", ".join(f"{name} = {_value(inner)}" for name, inner in value.items()) + " }"
        case tuple() | list():
            return "[" + ", ".join(_value(inner) for inner in value) + "]"
        case SizeRange() | ModeRule():
            return _value({each.name: getattr(value, each.name) for each in fields(value)})
    raise AssertionError(f"{value!r} has no place in a scenario")


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
