"""Packs traces: decodes each event's line and turns its fields into ordinals.

`checker/trace_data.py` writes the result as a module that decodes it again in TLC.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgspec

from checker.errors import CannotCheck
from checker.load import Traces, spelled
from checker.manifest import Kind, Manifest, ParamDefault
from checker.ordinals import Ordinals

FIELD_TYPES: Final[Mapping[str, Any]] = {
    "symbol": str | None,
    "int": int,
    "rank": int | None,
    "pair": tuple[int, str] | None,
    "enum": str,
    "set": tuple[str, ...],
    "list": tuple[int, ...],
    "bool": bool,
    "node": str,
}

Record = Any
"""A decoded line: a struct with the attributes `node` and the fields that the manifest names for its kind."""

Row = list[int]
"""One event's ordinals: its kind's number, its node's, and its fields' in the manifest's order."""


@dataclass(slots=True)
class PackedTrace:
    """One key's behaviour as ordinals. `params` are this trace's constants, by name."""

    key: int
    indices: "array[int]"
    rows: list[Row]
    params: dict[str, int]


class Packer:
    """Decodes the lines of a trace and packs them."""

    def __init__(self, manifest: Manifest, traces: Traces) -> None:
        self.manifest = manifest
        self.traces = traces
        self.ordinals = Ordinals(manifest, traces.nodes)
        first = len(traces.kinds) - len(manifest.kinds)
        self.numbers = {kind: number - first + 1 for number, kind in enumerate(traces.kinds) if number >= first}
        """The number of each kind of event in TLC, from 1."""
        self._decode: dict[int, Callable[[bytes], Record]] = {}
        self._fields: dict[int, Callable[[Record], Iterable[Any]]] = {}
        self._tables: dict[int, list[dict[object, int]]] = {}
        self._known_first: dict[int, list[tuple[str, Callable[[Record], Any]]]] = {}
        self._params: dict[int, list[str]] = {}
        for number, name in enumerate(traces.kinds):
            if name in manifest.kinds:
                self._prepare(number, manifest.kinds[name])

    def _prepare(self, number: int, kind: Kind) -> None:
        domains = self.manifest.domains
        fields = [(field, FIELD_TYPES[domains[domain].type]) for field, domain in kind.fields.items()]
        struct = msgspec.defstruct(kind.name, [("node", str), *fields], gc=False)
        self._decode[number] = msgspec.json.Decoder(struct).decode
        self._fields[number] = attrgetter("node", *kind.fields) if kind.fields else lambda record: (record.node,)
        self._tables[number] = [self.ordinals.nodes, *(self.ordinals.tables[name] for name in kind.fields.values())]
        self._known_first[number] = [
            (domain, attrgetter(field)) for field, domain in kind.fields.items() if domain in self.ordinals.known_first
        ]
        self._params[number] = [field for field in kind.fields if field in self.manifest.params]

    def records(self, indices: "array[int]") -> list[Record]:
        """The events' fields, typed; raises CannotCheck with file and line where a field is missing or mistyped."""
        traces, kinds, decode = self.traces, self.traces.kind, self._decode
        line = traces.line
        records = []
        index = -1
        try:
            for index in indices:
                records.append(decode[kinds[index]](line(index)))
        except msgspec.DecodeError as error:
            kind = traces.kinds[kinds[index]]
            raise CannotCheck(f"{traces.place(index)}: {kind}: {error}") from error
        return records

    def pack(self, key: int, indices: "array[int]", records: Sequence[Record]) -> PackedTrace:
        """The trace as ordinals; raises CannotCheck with file and line for a value that is in no domain."""
        kinds, fields, tables = self.traces.kind, self._fields, self._tables
        ignored = len(self.traces.kinds) - len(self.manifest.kinds) - 1
        rows: list[Row] = []
        try:
            self.ordinals.begin(self._values(indices, records))
            for index, record in zip(indices, records, strict=True):
                kind = kinds[index]
                rows.append(
                    [
                        kind - ignored,
                        *[table[value] for table, value in zip(tables[kind], fields[kind](record), strict=False)],
                    ]
                )
        except (KeyError, TypeError) as error:
            place = min(len(rows), len(indices) - 1)
            raise self._error(indices, records, place, error) from error
        return PackedTrace(key, indices, rows, self._params_of(indices, records))

    def _values(self, indices: "array[int]", records: Sequence[Record]) -> dict[str, set[Any]]:
        values: dict[str, set[Any]] = {name: set() for name in self.ordinals.known_first}
        wanted = {
            kind: [(values[domain].add, get) for domain, get in getters] for kind, getters in self._known_first.items()
        }
        kinds = self.traces.kind
        for index, record in zip(indices, records, strict=True):
            for add, get in wanted[kinds[index]]:
                add(get(record))
        return values

    def _params_of(self, indices: "array[int]", records: Sequence[Record]) -> dict[str, int]:
        params: dict[str, int] = {}
        wanted = self.manifest.params
        for index, record in zip(indices, records, strict=True):
            for field in self._params[self.traces.kind[index]]:
                if field not in params:
                    params[field] = self.ordinals.tables[wanted[field].domain][getattr(record, field)]
            if len(params) == len(wanted):
                return params
        nodes = self.traces.nodes
        defaults: dict[ParamDefault, object] = {
            "all": nodes,
            "first": nodes[0],
            "majority": len(nodes) // 2 + 1,
            "none": None,
        }
        for name, param in wanted.items():
            if name not in params:
                params[name] = self.ordinals.tables[param.domain][defaults[param.default]]
        return params

    def _error(self, indices: "array[int]", records: Sequence[Record], place: int, error: Exception) -> CannotCheck:
        """Which event and which field: found again, as the fast way does not know."""
        tables = self.ordinals.tables
        for index, record in list(zip(indices, records, strict=True))[place:] or []:
            kind = self.manifest.kinds[self.traces.kinds[self.traces.kind[index]]]
            for field, domain in kind.fields.items():
                value = getattr(record, field)
                where = f"{self.traces.place(index)}: {kind.name}.{field}"
                if self.manifest.domains[domain].type == "pair":
                    if value is not None and value[1] not in self.ordinals.nodes:
                        return CannotCheck(f"{where} is {spelled(value)}, but there is no node {value[1]!r}")
                    continue
                try:
                    tables[domain][value]
                except KeyError as missing:
                    said = str(missing.args[0]) if missing.args else ""
                    known = ", ".join(str(known) for known in tables[domain])
                    why = said if said.startswith("is ") else f"is {value!r}, which is none of {domain}: {known}"
                    return CannotCheck(f"{where} {why}")
        return CannotCheck(f"{self.traces.place(indices[place])}: cannot be packed: {error}")
