"""Reads a little of TLA+ source: the modules that extend each other, their definitions, and flat lists of conjuncts.

TLC can evaluate the i-th conjunct of a definition by name (`Op(x)!i`, section 17 of "TLA+2: A Preliminary Guide"), but
cannot say what its text is. So actions must be written as flat lists `/\\ a /\\ b`, a conjunct beginning each line, and
definitions must begin in the first column. No more is understood here, and nothing is judged by it: only explained.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMPARISONS: Final = ("\\subseteq", "\\notin", "\\in", "/=", ">=", "<=", "=<", "=", "#", ">", "<")
_CONNECTIVES: Final = ("\\/", "/\\", "<=>", "=>", "~", "\\A", "\\E", "IF", "CASE", "LET", "==")
_TOKEN = re.compile(
    r'"[^"]*"|<<|>>|<=>|=>|==|\|->|:>|@@|\\/|/\\|\\[A-Za-z]+|/=|>=|<=|=<|\.\.|[A-Za-z_][A-Za-z0-9_]*|[^\s]'
)
_DEFINITION = re.compile(r"^([A-Za-z_]\w*)(?:\(([^()=]*)\))?\s*==(?!=)[ ]?", re.MULTILINE)
_SECTION = re.compile(
    r"^(?:[A-Za-z_]\w*(?:\([^()=]*\))?\s*==(?!=)|VARIABLES?\b|CONSTANTS?\b|ASSUME\b|THEOREM\b|LEMMA\b|-{4,}|={4,}"
    r"|LOCAL\b|INSTANCE\b|RECURSIVE\b)",
    re.MULTILINE,
)
_EXTENDS = re.compile(r"^EXTENDS\s+([\w\s,]+?)(?=\n\s*\n|\n[A-Z-]|\Z)", re.MULTILINE)
_VARIABLES = re.compile(r"^VARIABLES?\b([\w\s,]+?)(?=\n\S|\Z)", re.MULTILINE)
_PRIMED = re.compile(r"[\w\])]'|\bUNCHANGED\b")
_CALL = re.compile(r"^([A-Za-z_]\w*)\((.*)\)$", re.DOTALL)
_QUANTIFIED = re.compile(r"^\\A\s+(\w+)\s+\\in\s+([^:]+?)\s*:\s*(.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Definition:
    """`name(parameters) == body`; `conjuncts` are the texts of its flat list, empty if its body is no such list.

    `lines` are the lines of its module, counted from 0, that each conjunct stands on.
    """

    name: str
    parameters: tuple[str, ...]
    conjuncts: tuple[str, ...]
    is_action: bool
    module: str
    lines: tuple[range, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A module with all that it extends: definitions by name, variables in order, and the names of the modules."""

    definitions: Mapping[str, Definition]
    variables: tuple[str, ...]
    modules: frozenset[str]


def read(folder: Path, module: str) -> Source:
    """Read a module and, where they lie in the same folder, the modules that it extends."""
    definitions: dict[str, Definition] = {}
    variables: list[str] = []
    waiting, seen = [module], {module}
    while waiting:
        name = waiting.pop()
        path = folder / f"{name}.tla"
        if not path.is_file():
            continue
        text = without_comments(path.read_text(encoding="utf-8"))
        definitions.update((definition.name, definition) for definition in _definitions(text, name))
        for declared in _VARIABLES.finditer(text):
            variables.extend(each for each in re.findall(r"\w+", declared[1]) if each not in variables)
        for extended in _EXTENDS.finditer(text):
            for other in re.findall(r"\w+", extended[1]):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
    return Source(definitions, tuple(variables), frozenset(seen))


def without_comments(text: str) -> str:
    """The same text with blanks for its comments, so that columns stay."""
    kept: list[str] = []
    depth, position = 0, 0
    while position < len(text):
        pair = text[position : position + 2]
        if pair == "(*":
            depth += 1
        if depth:
            closes = pair == "*)"
            width = 2 if pair in ("(*", "*)") else 1
            kept.append("".join("\n" if character == "\n" else " " for character in text[position : position + width]))
            depth -= closes
            position += width
        elif pair == "\\*":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        else:
            kept.append(text[position])
            position += 1
    return "".join(kept)


def _definitions(text: str, module: str) -> Iterator[Definition]:
    for match in _DEFINITION.finditer(text):
        following = _SECTION.search(text, match.end())
        end = following.start() if following else len(text)
        line = text.rfind("\n", 0, match.end()) + 1
        # blanks for the head, so that the columns of a list that begins on the same line stay
        body = " " * (match.end() - line) + text[match.end() : end]
        parameters = tuple(name.strip() for name in match[2].split(",")) if match[2] else ()
        conjuncts = _conjuncts(body)
        first = text.count("\n", 0, line)
        yield Definition(
            match[1],
            parameters,
            tuple(conjunct for conjunct, _ in conjuncts),
            has_prime(body),
            module,
            tuple(range(first + lines.start, first + lines.stop) for _, lines in conjuncts),
        )


def _conjuncts(body: str) -> list[tuple[str, range]]:
    """The texts of the flat list that the body is, with their lines in it, or nothing if it is none."""
    if not body.lstrip().startswith("/\\"):
        return []
    lines = [(number, line) for number, line in enumerate(body.splitlines()) if line.strip()]
    column = len(lines[0][1]) - len(lines[0][1].lstrip())
    found: list[tuple[str, range]] = []
    for number, line in lines:
        indent = len(line) - len(line.lstrip())
        if indent == column and line.lstrip().startswith("/\\"):
            found.append((line.strip()[2:].strip(), range(number, number + 1)))
        elif indent > column:
            text, before = found[-1]
            found[-1] = f"{text} {line.strip()}", range(before.start, number + 1)
        else:
            return []
    return found


def has_prime(text: str) -> bool:
    """Does it speak of the next state?"""
    return _PRIMED.search(text) is not None


def call(text: str) -> tuple[str, list[str]] | None:
    """The operator and the arguments, if the text is nothing but one application of an operator."""
    match = _CALL.match(text.strip())
    if match is None:
        return None
    arguments = [""]
    depth = 0
    for token in _spaced(match[2]):
        depth += (token in ("(", "[", "{", "<<")) - (token in (")", "]", "}", ">>"))
        if depth < 0:
            return None  # the bracket that opened first closes before the end
        if token == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += token
    return match[1], [argument.strip() for argument in arguments]


def comparison(text: str) -> tuple[str, str, str] | None:
    """(left, operator, right) if the text is one comparison and no more."""
    depth, position = 0, 0
    found: tuple[int, str] | None = None
    for token in _spaced(text):
        stripped = token.strip()
        depth += (stripped in ("(", "[", "{", "<<")) - (stripped in (")", "]", "}", ">>"))
        if depth == 0 and stripped in _CONNECTIVES:
            return None
        if depth == 0 and stripped in COMPARISONS:
            if found is not None:
                return None
            found = position + token.index(stripped), stripped
        position += len(token)
    if found is None:
        return None
    at, operator = found
    return text[:at].strip(), operator, text[at + len(operator) :].strip()


def for_all(text: str) -> tuple[str, str, str] | None:
    """(variable, set, body) if the text is `\\A x \\in S : body`."""
    match = _QUANTIFIED.match(text.strip())
    return (match[1], match[2], match[3]) if match else None


def tokens(text: str) -> Iterator[tuple[int, str]]:
    """The tokens, each with where it begins."""
    return ((match.start(), match.group()) for match in _TOKEN.finditer(text))


def _spaced(text: str) -> Iterator[str]:
    """The tokens, each with the blanks after it, so that they add up to the text."""
    position = 0
    for match in _TOKEN.finditer(text):
        if match.start() > position:
            yield text[position : match.start()]
        yield match.group()
        position = match.end()
    if position < len(text):
        yield text[position:]
