"""Reads a TOML table key by key and collects every fault, so that a user mends a file in one go.

Each fault names the key, the value seen and what would be right. A getter that finds a fault notes it and returns a
usable default, so that reading goes on; the caller raises at the end if any were noted.
"""

import difflib
import re
from collections.abc import Mapping, Sequence


class TableReader:
    """One table of a file; `where` is its dotted name ("" for the file itself), `faults` is shared by all tables."""

    def __init__(self, table: Mapping[str, object], where: str, faults: list[str]) -> None:
        self._table = table
        self._where = where
        self._faults = faults
        self._known: list[str] = []

    def fault(self, key: str, wrong: str, right: str) -> None:
        self._faults.append(f"{self.name(key)} {wrong}; {right}")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._table)

    def name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def has(self, key: str) -> bool:
        return key in self._table

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.fault(key, f"is {value!r}", f"use a number from {low:g} to {high:g}")
            return default
        return float(value)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fault(key, f"is {value!r}", f"use a whole number from {low} to {high}")
            return default
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty string; required when there is no default."""
        value = self._take(key, default)
        if value is None:
            self._faults.append(f"{self.name(key)} is missing; give a text")
            return ""
        if not isinstance(value, str) or not value.strip():
            self.fault(key, f"is {value!r}", "use a text that is not empty")
            return default or ""
        return value

    def choice(self, key: str, default: str | None, allowed: Sequence[str]) -> str:
        """One of a few words; required when there is no default."""
        value = self._take(key, default)
        if isinstance(value, str) and value in allowed:
            return value
        wrong = "is missing" if value is None else f"is {value!r}"
        self.fault(key, wrong, f"use one of {', '.join(allowed)}")
        return default or allowed[0]

    def choices(self, key: str, allowed: Sequence[str], most: int) -> list[str]:
        """A list of words out of a few; empty when it is left out."""
        value = self._take(key, [])
        if isinstance(value, list) and len(value) <= most and all(word in allowed for word in value):
            return value
        self.fault(key, f"is {value!r}", f"use a list of at most {most} of {', '.join(allowed)}")
        return []

    def matching(self, key: str, pattern: re.Pattern[str], means: str) -> str:
        """A text that matches as a whole; required. `means` is what the pattern says, for people."""
        value = self.text(key)
        if value and not pattern.fullmatch(value):
            self.fault(key, f"is {value!r}", f"use {means}")
        return value

    def knob(self, key: str) -> str | int | float | bool:
        """A value that somebody else will read: a text, a number, or true or false."""
        value = self._take(key, None)
        if isinstance(value, str | int | float):
            return value
        self.fault(key, f"is {value!r}", "use a text, a number, or true or false")
        return ""

    def pair(self, key: str, default: tuple[int, int], low: int, high: int) -> tuple[int, int]:
        """Two whole numbers, the first not above the second."""
        value = self._take(key, list(default))
        if isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value):
            first, last = value
            if low <= first <= last <= high:
                return first, last
        self.fault(key, f"is {value!r}", f"use two whole numbers from {low} to {high}, as [0, 99]")
        return default

    def weights(self, key: str, allowed: Sequence[str], default: Mapping[str, float]) -> dict[str, float]:
        """A table of positive weights, each name among `allowed`; names left out weigh nothing."""
        inner = self.table(key)
        if not self.has(key):
            return dict(default)
        found = {name: inner.number(name, 0.0, 0.0, 1e6) for name in allowed if inner.has(name)}
        inner.finish(allowed)
        if not any(found.values()):
            self.fault(key, "has no weight above 0", f"give weights to some of {', '.join(allowed)}")
            return dict(default)
        return found

    def table(self, key: str) -> "TableReader":
        """The inner table of this name; an empty one when it is left out."""
        value = self._take(key, {})
        if not isinstance(value, dict):
            self.fault(key, f"is {value!r}", f"use a table: [{self.name(key)}]")
            value = {}
        return TableReader(value, self.name(key), self._faults)

    def tables(self, key: str) -> list["TableReader"]:
        """The array of tables of this name; empty when it is left out."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.fault(key, f"is {value!r}", f"use tables: [[{self.name(key)}]]")
            return []
        return [TableReader(entry, f"{self.name(key)}[{at}]", self._faults) for at, entry in enumerate(value)]

    def finish(self, also_known: Sequence[str] = ()) -> None:
        """Note every key that nobody asked for, with the nearest that exists."""
        known = [*self._known, *also_known]
        for key in self._table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                right = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(set(known)))}"
                self.fault(key, "is not a key here", right)

    def _take(self, key: str, default: object) -> object:
        self._known.append(key)
        return self._table.get(key, default)
