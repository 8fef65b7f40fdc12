"""Reads values as TLC prints them, and shows them in the words of the trace: [3, n1] and not 13.

A manifest gives a spec's variables a shape, so that their numbers can be decoded:

    ticket                  a domain of the manifest, or a shape that it names
    {ticket}                a set
    <ticket>                a sequence
    [node -> ticket]        a function
    (at: ticket, n: int)    a record
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from checker.errors import CannotCheck

_VALUE_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|<<|>>|\|->|:>|@@|\.\.|-?\d+|\w+|[\[\](){},]')
_SHAPE_TOKEN: Final = re.compile(r"->|\w+|[{}<>\[\]():,]")
_T = TypeVar("_T")


# -- values ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Set:
    members: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function, a record (its domain are Texts) or a sequence (its domain is 1, 2, 3...)."""

    pairs: tuple[tuple["Value", "Value"], ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A string of TLA+, or whatever else is shown as it was printed."""

    text: str


Value = int | bool | Text | Set | Function


def parse(text: str) -> Value:
    """A value as TLC prints it; Text of the whole where it is nothing that we know."""
    tokens = _VALUE_TOKEN.findall(text)
    try:
        value, rest = _value(tokens, 0)
    except (IndexError, ValueError):
        return Text(text)
    return value if rest == len(tokens) else Text(text)


def _value(tokens: list[str], at: int) -> tuple[Value, int]:
    token = tokens[at]
    if token == "{":
        members, at = _many(tokens, at + 1, "}", ",", _value)
        return Set(tuple(members)), at
    if token == "<<":
        members, at = _many(tokens, at + 1, ">>", ",", _value)
        return Function(tuple(enumerate(members, start=1))), at
    if token == "[":
        pairs, at = _many(tokens, at + 1, "]", ",", _field)
        return Function(tuple(pairs)), at
    if token == "(":
        pairs, at = _many(tokens, at + 1, ")", "@@", _mapping)
        return Function(tuple(pairs)), at
    if token.lstrip("-").isdigit():
        if tokens[at + 1 : at + 2] == [".."]:
            return Set(tuple(range(int(token), int(tokens[at + 2]) + 1))), at + 3
        return int(token), at + 1
    if token in ("TRUE", "FALSE"):
        return token == "TRUE", at + 1
    if token.startswith('"'):
        return Text(token[1:-1]), at + 1
    raise ValueError(token)


def _field(tokens: list[str], at: int) -> tuple[tuple[Value, Value], int]:
    if tokens[at + 1] != "|->":
        raise ValueError(tokens[at + 1])
    value, end = _value(tokens, at + 2)
    return (Text(tokens[at]), value), end


def _mapping(tokens: list[str], at: int) -> tuple[tuple[Value, Value], int]:
    key, at = _value(tokens, at)
    if tokens[at] != ":>":
        raise ValueError(tokens[at])
    value, at = _value(tokens, at + 1)
    return (key, value), at


def _many(
    tokens: list[str], at: int, end: str, separator: str, one: Callable[[list[str], int], tuple[_T, int]]
) -> tuple[list[_T], int]:
    found: list[_T] = []
    while tokens[at] != end:
        if found:
            if tokens[at] != separator:
                raise ValueError(tokens[at])
            at += 1
        item, at = one(tokens, at)
        found.append(item)
    return found, at + 1


# -- shapes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """What the numbers in a value stand for. `domain` for a single value; else the shapes of its parts."""

    domain: str = ""
    member: "Shape | None" = None
    index: "Shape | None" = None
    fields: Mapping[str, "Shape"] | None = None


def parse_shape(text: str, named: Mapping[str, str]) -> Shape:
    """Read a shape; `named` are other shapes that it may name. Raises CannotCheck if it is none."""
    tokens = _SHAPE_TOKEN.findall(text)
    try:
        shape, end = _shape(tokens, 0, named)
    except IndexError:
        end = -1
        shape = Shape()
    except ValueError as error:
        raise CannotCheck(f"the shape {text!r} of a variable cannot be read at {str(error)!r}") from error
    if end != len(tokens):
        raise CannotCheck(f"the shape {text!r} of a variable cannot be read to its end")
    return shape


def _shape(tokens: list[str], at: int, named: Mapping[str, str]) -> tuple[Shape, int]:
    token = tokens[at]
    if token in ("{", "<"):
        member, at = _shape(tokens, at + 1, named)
        _expect(tokens, at, "}" if token == "{" else ">")
        return Shape(member=member), at + 1
    if token == "[":
        index, at = _shape(tokens, at + 1, named)
        _expect(tokens, at, "->")
        member, at = _shape(tokens, at + 1, named)
        _expect(tokens, at, "]")
        return Shape(index=index, member=member), at + 1
    if token == "(":
        fields: dict[str, Shape] = {}
        while tokens[at] != ")":
            _expect(tokens, at + 2, ":")
            fields[tokens[at + 1]], at = _shape(tokens, at + 3, named)
            if tokens[at] not in (",", ")"):
                raise ValueError(tokens[at])
        return Shape(fields=fields), at + 1
    if not token.isidentifier():
        raise ValueError(token)
    if token in named:
        return parse_shape(named[token], named), at + 1
    return Shape(domain=token), at + 1


def _expect(tokens: list[str], at: int, token: str) -> None:
    if tokens[at] != token:
        raise ValueError(tokens[at])


# -- showing -----------------------------------------------------------------------------------------------------------

Decode = Callable[[str, int], str]
"""The text of an ordinal of a domain."""


def show(value: Value, shape: Shape | None, decode: Decode) -> str:
    """The value in the words of the trace, where its shape is known; else much as TLC prints it."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return decode(shape.domain, value) if shape is not None and shape.domain else str(value)
        case Text(text):
            return text
        case Set(members):
            inner = shape.member if shape is not None else None
            if shape is not None and shape.domain == "set":
                inner = Shape(domain="node")
            return "{" + ", ".join(show(member, inner, decode) for member in members) + "}"
        case Function(pairs):
            return _show_function(pairs, shape, decode)


def _show_function(pairs: tuple[tuple[Value, Value], ...], shape: Shape | None, decode: Decode) -> str:
    shape = shape or Shape()
    is_sequence = [key for key, _ in pairs] == list(range(1, len(pairs) + 1))
    if is_sequence and shape.index is None and not shape.fields:
        return "<" + ", ".join(show(value, shape.member, decode) for _, value in pairs) + ">"
    shown = []
    for key, value in pairs:
        name = show(key, shape.index, decode)
        shown.append(f"{name}: {show(value, (shape.fields or {}).get(name, shape.member), decode)}")
    return "(" + ", ".join(shown) + ")"
