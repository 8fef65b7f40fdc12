"""Every way to weaken a spec by one condition: each conjunct of each action, and each assignment that an action makes.

What is weakened are the operators that replay events, and the actions that they take, as the manifest names them; each
must be a flat list of conjuncts. A guard becomes TRUE, and each part of a guard that is itself a conjunction does; an
assignment `x' = ...` becomes UNCHANGED x. Only text is made here: checker/weaken.py asks TLC who notices.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from checker import tla_source
from checker.errors import CannotCheck
from checker.manifest import Manifest

_ASSIGNMENT = re.compile(r"^(\w+)'\s*=(?!=)")
_AND: Final = "/\\"
_OPENING, _CLOSING = ("(", "[", "{", "<<"), (")", "]", "}", ">>")
_REACHING: Final = ("\\A", "\\E", "CHOOSE", "IF", "LET")
"""What reaches to the right as far as it can: up to a bracket that closes, or to what ends it."""

_LOOSER: Final = ("\\/", "=>", "<=>", ":", "==", "THEN", "ELSE", "IN", ",")
"""What binds less than a conjunction, and so ends one of its parts."""

_ENDED_BY: Final = {"THEN": ("IF",), "ELSE": ("IF",), "IN": ("LET",), "==": ("LET",)}
"""What else ends the scopes inside that of its own beginning."""


@dataclass(frozen=True, slots=True)
class Weakening:
    """One condition of one operator gone: `instead` stands for `part`, which is all or some of `conjunct`."""

    operator: str
    conjunct: str
    part: str
    instead: str
    weak: str
    """The conjunct with `instead` for its part."""
    module: str
    lines: range
    """The lines of the module that the conjunct stands on, from 0."""

    @property
    def name(self) -> str:
        where = "" if self.part == self.conjunct else f" in {self.conjunct}"
        return f"{self.operator}: {self.instead} instead of {self.part}{where}"


def weakenings(manifest: Manifest) -> list[Weakening]:
    """All weakenings of a spec, in the order of its manifest. Raises CannotCheck if an operator is no flat list."""
    source = tla_source.read(manifest.modules, manifest.trace_module)
    return [
        Weakening(operator.name, conjunct, part, instead, weak, operator.module, lines)
        for operator in _operators(manifest, source)
        for conjunct, lines in zip(operator.conjuncts, operator.lines, strict=True)
        for part, instead, weak in _ways(conjunct, source)
    ]


def weakened(text: str, weakening: Weakening) -> str:
    """The module that a weakening is of, with it."""
    lines = text.splitlines(keepends=True)
    _replace(lines, weakening.lines, weakening.weak)
    return "".join(lines)


def switched(text: str, weakenings: Sequence[tuple[int, Weakening]], switch: str, extended: str) -> str:
    """A module with some weakenings of it at once, each in force where the variable `switch` has its number.

    The variable is declared in the module `extended`.
    """
    lines = text.splitlines(keepends=True)
    together: dict[range, list[tuple[int, Weakening]]] = {}
    for number, weakening in weakenings:
        together.setdefault(weakening.lines, []).append((number, weakening))
    for place, own in together.items():
        new = own[0][1].conjunct
        for number, weakening in own:
            new = f"IF {switch} = {number} THEN {weakening.weak} ELSE {new}"
        _replace(lines, place, new)
    return re.sub(r"^EXTENDS ", f"EXTENDS {extended}, ", "".join(lines), count=1, flags=re.MULTILINE)


def _operators(manifest: Manifest, source: tla_source.Source) -> list[tla_source.Definition]:
    """What replays events, and the actions that it takes, each once."""
    found: dict[str, tla_source.Definition] = {}
    waiting = [kind.replay for kind in manifest.kinds.values()]
    for name in waiting:
        operator = source.definitions.get(name)
        if operator is None or not operator.conjuncts:
            raise CannotCheck(
                f"{manifest.modules / manifest.trace_module}.tla: {name} is no flat list of conjuncts, so its "
                "conditions cannot be weakened one by one"
            )
        found[name] = operator
        for conjunct in operator.conjuncts:
            action = _action(conjunct, source)
            if action is not None and action.name not in waiting:
                waiting.append(action.name)
    return list(found.values())


def _action(conjunct: str, source: tla_source.Source) -> tla_source.Definition | None:
    called = tla_source.call(conjunct)
    operator = source.definitions.get(called[0]) if called else None
    return operator if operator is not None and operator.is_action else None


def _ways(conjunct: str, source: tla_source.Source) -> Iterator[tuple[str, str, str]]:
    """(what, by what, the conjunct then) for each way to weaken one conjunct."""
    if assigned := _ASSIGNMENT.match(conjunct):
        instead = f"UNCHANGED {assigned[1]}"
        yield conjunct, instead, instead
    elif not tla_source.has_prime(conjunct) and _action(conjunct, source) is None:
        yield conjunct, "TRUE", "TRUE"
        for begin, end in parts(conjunct):
            yield conjunct[begin:end], "TRUE", f"{conjunct[:begin]}TRUE{conjunct[end:]}"


def parts(text: str) -> list[tuple[int, int]]:
    """Where the operands of the conjunctions inside a condition are: `a` and `b` of `x => (a /\\ b)`."""
    found: list[tuple[int, int]] = []
    # the scopes that are open: each bracket's, and that of each quantifier, IF or LET, which reach as far as they can
    scopes = [_Scope("", 0)]

    def close(at: int) -> None:
        if scopes[-1].operands:
            found.extend([*scopes[-1].operands, _stripped(text, scopes[-1].begin, at)])
            scopes[-1].operands.clear()

    def leave(at: int, openings: Sequence[str]) -> None:
        while len(scopes) > 1 and scopes[-1].opening not in openings:
            close(at)
            scopes.pop()

    for at, token in tla_source.tokens(text):
        if token in _REACHING or token in _OPENING:
            scopes.append(_Scope(token, at + len(token)))
        elif token in _CLOSING:
            leave(at, _OPENING)
            close(at)
            scopes.pop()
        elif token == _AND:
            scopes[-1].operands.append(_stripped(text, scopes[-1].begin, at))
            scopes[-1].begin = at + len(token)
        elif token in _LOOSER:
            leave(at, _ENDED_BY.get(token, (scopes[-1].opening,)))
            close(at)
            scopes[-1].begin = at + len(token)
    leave(len(text), ())
    close(len(text))
    return found


@dataclass(slots=True)
class _Scope:
    """One that is open: where the operand began that is being read, and the operands before it."""

    opening: str
    begin: int
    operands: list[tuple[int, int]] = field(default_factory=list)


def _stripped(text: str, begin: int, end: int) -> tuple[int, int]:
    inner = text[begin:end]
    return begin + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def _replace(lines: list[str], place: range, new: str) -> None:
    """Put another conjunct in one place; there are as many lines as before."""
    head = lines[place.start]
    lines[place.start] = head[: head.index(_AND) + len(_AND)] + f" {new}\n"
    for number in place[1:]:
        lines[number] = "\n"
