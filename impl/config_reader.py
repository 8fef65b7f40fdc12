"""Reads one section of a configuration tree, collecting every fault instead of stopping at the first."""

import difflib
import math
from collections.abc import Mapping

from impl.errors import ConfigError


class Faults:
    """What is wrong in one file so far."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name
        self._lines: list[str] = []

    def add(self, key: str, seen: object, right: str, but: bool = False) -> None:
        """`but`: the text goes on from the value (`is 4 but ...`), instead of after a colon."""
        shown = str(seen)
        joint = " but " if but else ": "
        self._lines.append(f"{self._file_name}: {key} is {shown[:200]}{joint}{right}")

    def raise_any(self) -> None:
        """Raise ConfigError with all of them, one a line."""
        if self._lines:
            raise ConfigError("\n".join(self._lines))


class Section:
    """A mapping at `key` of the file. Readers return a usable value also after a fault, so that reading goes on.

    Every key that is asked for is a known one; `refuse_unknown` names the others, here and below.
    """

    def __init__(self, key: str, tree: object, faults: Faults) -> None:
        self._key = key
        self._faults = faults
        self._known: list[str] = []
        self._below: list[Section] = []
        self._tree: Mapping[object, object] = {}
        if isinstance(tree, Mapping):
            self._tree = tree
        elif tree is not None:
            faults.add(key, repr(tree), "use a mapping of keys to values")

    def fault(self, key: str, seen: object, right: str, but: bool = False) -> None:
        """Note what is wrong with a key of this section."""
        self._faults.add(self._name(key), seen, right, but)

    def has(self, key: str) -> bool:
        """Is there a value for the key?"""
        return self._value(key) is not None

    def ignore(self, *keys: str) -> None:
        """Keys that are known, but have no meaning with the other values allowed so far."""
        self._known.extend(keys)

    def section(self, key: str, required: bool = False) -> "Section":
        """The section below `key`, empty if it is missing."""
        value = self._value(key)
        if value is None and required:
            self.fault(key, "missing", "give this section")
        below = Section(self._name(key), value, self._faults)
        self._below.append(below)
        return below

    def sections(self, key: str, required: bool = False) -> "list[Section]":
        """A list of sections."""
        value = self._value(key)
        if value is None or value == []:
            if required:
                self.fault(key, "missing" if value is None else "empty", "give a list with at least one entry")
            return []
        if not isinstance(value, list):
            self.fault(key, repr(value), "use a list")
            return []
        below = [Section(f"{self._name(key)}[{at}]", part, self._faults) for at, part in enumerate(value)]
        self._below.extend(below)
        return below

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required unless there is a default."""
        value = self._value(key)
        if value is None or value == "":
            if default is None:
                self.fault(key, "missing" if value is None else "empty", "give a text")
            return default or ""
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        self.fault(key, repr(value), "use a text")
        return default or ""

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fault(key, repr(value), f"use a whole number from {low} to {high}, such as {default}")
            return default
        return value

    def number(self, key: str, default: float, above: float) -> float:
        """A finite number greater than `above`."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < math.inf:
            self.fault(key, repr(value), f"use a number above {above:g}, such as {default:g}")
            return default
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._value(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, repr(value), "use true or false")
            return default
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str, not_yet: tuple[str, ...] = ()) -> str:
        """One of a few words; `not_yet` are words of the contract that this version cannot honour."""
        value = self._value(key)
        if value is None or value in allowed:
            return default if value is None else str(value)
        if value in not_yet:
            self.fault(key, value, f"this is not there yet; use {' or '.join(allowed)}")
        else:
            self.fault(key, repr(value), f"use {' or '.join(allowed)}")
        return default

    def choices(self, key: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """A list of words out of a few."""
        value = self._value(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.fault(key, repr(value), "use a list")
            return ()
        for word in value:
            if word not in allowed:
                self.fault(key, repr(word), f"{_nearest(str(word), allowed)}the known ones are {', '.join(allowed)}")
        return tuple(word for word in value if word in allowed)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
            self.fault(key, repr(value), "use a list of texts")
            return ()
        return tuple(value)

    def refuse_unknown(self) -> None:
        """Note every key that nobody asked for, with the nearest known one."""
        for key in self._tree:
            if key not in self._known:
                known = ", ".join(dict.fromkeys(self._known)) or "none"
                text = f"{_nearest(str(key), self._known)}known here: {known}"
                self.fault(str(key), "an unknown key", text)
        for below in self._below:
            below.refuse_unknown()

    def _value(self, key: str) -> object:
        self._known.append(key)
        return self._tree.get(key)

    def _name(self, key: str) -> str:
        return f"{self._key}.{key}" if self._key else key


def _nearest(word: str, known: "tuple[str, ...] | list[str]") -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}? " if near else ""
