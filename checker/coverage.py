"""Which of a spec's actions, and which of their branches, the traces of a run took.

Counted from accepted events alone, at no cost for TLC. A branch is a value of one of the enum and bool fields that the
manifest names for an event's kind, such as an outcome; what was never taken is listed, for a run says nothing of it.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from checker.load import Traces
from checker.manifest import Manifest
from checker.pack import Record

ALL: Final = "all"
"""The branch that every event of an action takes."""


class Coverage:
    """Counts events as they come by: `add` those of a trace, `remove` those that turned out not to be accepted."""

    def __init__(self, manifest: Manifest, traces: Traces) -> None:
        self._manifest = manifest
        self._traces = traces
        self._counts: Counter[tuple[int, Any]] = Counter()
        self._getters: dict[int, Callable[[Record], Any]] = {}
        for number, name in enumerate(traces.kinds):
            if name in manifest.kinds:
                branches = manifest.kinds[name].branches
                self._getters[number] = attrgetter(*branches) if branches else _nothing

    def add(self, indices: "array[int]", records: Sequence[Record]) -> None:
        kinds, getters = self._traces.kind, self._getters
        self._counts.update(
            [(kinds[index], getters[kinds[index]](record)) for index, record in zip(indices, records, strict=True)]
        )

    def remove(self, indices: "array[int]", records: Sequence[Record]) -> None:
        kinds, getters = self._traces.kind, self._getters
        self._counts.subtract(
            [(kinds[index], getters[kinds[index]](record)) for index, record in zip(indices, records, strict=True)]
        )

    def table(self) -> dict[str, dict[str, int]]:
        """For each action the count of each branch, those never taken too; ALL is the action's own count."""
        table = {name: self._branches(name) for name in self._manifest.kinds}
        for (number, values), count in self._counts.items():
            name = self._traces.kinds[number]
            row, fields = table[name], self._manifest.kinds[name].branches
            row[ALL] += count
            for field, value in zip(fields, values if len(fields) > 1 else (values,), strict=False):
                row[_branch(field, value)] += count
        return table

    def _branches(self, name: str) -> dict[str, int]:
        kind = self._manifest.kinds[name]
        row = {ALL: 0}
        for field in kind.branches:
            domain = self._manifest.domains[kind.fields[field]]
            values: Sequence[object] = (False, True) if domain.type == "bool" else domain.values
            row.update((_branch(field, value), 0) for value in values)
        return row


def never_taken(table: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The actions and branches that no accepted event took; of an action never taken, only the action."""
    lines = []
    for action, branches in table.items():
        if branches[ALL] == 0:
            lines.append(action)
        else:
            lines.extend(f"{action} {branch}" for branch, count in branches.items() if count == 0)
    return lines


def _branch(field: str, value: object) -> str:
    return f"{field}={str(value).lower() if isinstance(value, bool) else value}"


def _nothing(record: Record) -> tuple[()]:
    return ()
