"""Ordinals: the values of a trace as small numbers, domain by domain.

Texts and pairs are numbered in each trace anew, so the numbers stay small; what order a spec compares them in is kept.
`checker/manifest.py` says what the types of domains mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from checker.manifest import Domain, Manifest

FIELD_MAX: Final = 2**30
"""TLC's integers have 32 bits, and sign and canary want room."""


class _Symbols(dict[object, int]):
    """Numbers from 1 in the order of first sight; None is 0."""

    def __missing__(self, value: object) -> int:
        self[value] = number = len(self)
        return number


class _Integers(dict[object, int]):
    """Themselves; a dict only to be looked up as the others are."""

    def __missing__(self, value: object) -> int:
        if not isinstance(value, int) or not 0 <= value < FIELD_MAX:
            raise KeyError(f"is {value!r}, but an int must lie in 0..{FIELD_MAX - 1}; declare it a rank")
        self[value] = value
        return value


class _Sets(dict[object, int]):
    """Sets of nodes, numbered in the order of first sight for all traces together."""

    def __init__(self, nodes: Mapping[object, int]) -> None:
        super().__init__()
        self._nodes = nodes
        self._numbers: dict[frozenset[int], int] = {}

    def __missing__(self, value: object) -> int:
        assert isinstance(value, tuple)
        members = frozenset(self._nodes[node] for node in value)
        self[value] = number = self._numbers.setdefault(members, len(self._numbers))
        return number

    @property
    def members(self) -> list[list[int]]:
        return [sorted(members) for members in self._numbers]


class _Lists(dict[object, int]):
    """Lists of integers, numbered in the order of first sight for all traces together."""

    def __missing__(self, value: object) -> int:
        assert isinstance(value, tuple)
        if not all(isinstance(item, int) and 0 <= item < FIELD_MAX for item in value):
            raise KeyError(f"is {value!r}, but the integers of a list must lie in 0..{FIELD_MAX - 1}")
        self[value] = number = len(self)
        return number


class Ordinals:
    """The ordinals of every domain's values in one trace at a time: `begin` a trace, then look its values up."""

    def __init__(self, manifest: Manifest, nodes: Sequence[str]) -> None:
        self.nodes: dict[object, int] = {node: number for number, node in enumerate(nodes, start=1)}
        self.pair_base = len(nodes) + 1
        self.sets = _Sets(self.nodes)
        self.lists = _Lists()
        self._domains = manifest.domains
        self.tables: dict[str, dict[object, int]] = {
            name: self._table(domain) for name, domain in manifest.domains.items()
        }
        self._own = [name for name, domain in manifest.domains.items() if domain.type in ("symbol", "rank", "pair")]
        self.known_first = frozenset(
            name for name in self._own if manifest.domains[name].type != "symbol" or manifest.domains[name].sorted
        )
        """The domains whose ordinals depend on all of a trace's values."""

    def begin(self, values: Mapping[str, set[Any]]) -> None:
        """A new trace. `values` has, for each domain in `known_first`, the values that the trace has of it."""
        for name in self._own:
            table = self.tables[name]
            table.clear()
            table[None] = 0
            known = values.get(name)
            if known:
                self._rank(self._domains[name], table, known - {None})

    def another(self, name: str, ordinal: int) -> int:
        """Some other ordinal of the domain: where it has no other value, one that no event has."""
        domain = self._domains[name]
        match domain.type:
            case "enum":
                return (ordinal + 1) % len(domain.values)
            case "bool":
                return 1 - ordinal
            case "node":
                return ordinal % len(self.nodes) + 1
            case _:
                return ordinal + 1

    def _table(self, domain: Domain) -> dict[object, int]:
        match domain.type:
            case "int":
                return _Integers()
            case "bool":
                return {False: 0, True: 1}
            case "node":
                return self.nodes
            case "set":
                return self.sets
            case "list":
                return self.lists
            case "enum":
                return {value: number for number, value in enumerate(domain.values)}
            case _:
                return _Symbols()

    def _rank(self, domain: Domain, table: dict[object, int], values: set[Any]) -> None:
        if domain.type != "pair":
            table.update((value, number) for number, value in enumerate(sorted(values), start=1))
            return
        rounds = {number: rank for rank, number in enumerate(sorted({0, *(number for number, _ in values)}))}
        for number, node in values:
            table[(number, node)] = rounds[number] * self.pair_base + self.nodes[node]
