"""Evaluates, in the state before a refused event, the conditions of the action that should have allowed it.

The one trace is replayed again up to that state, and there TLC evaluates each conjunct by its name, with both sides of
each comparison, the variables, and what the manifest says the node could have done instead. What the conjuncts say is
read from the modules (checker/tla_source.py); numbers are shown as the values of the trace that they stand for.

That takes a TLC for each event. Of many refused events, one TLC tells for each its first false conjunct, with both
sides (`first_false`): as TLC does itself, it evaluates nothing behind that, so everything has a value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from checker import tla_source as source
from checker.load import Event, spelled
from checker.pack import PackedTrace, Packer
from checker.replay import Replay
from checker.tla_value import Function, Set, Shape, Value, parse, parse_shape, show
from checker.verdict import Conjunct

RUNS_MAX: Final = 4
"""TLC stops at an expression that has no value; so often it is run again without it."""

MODULE: Final = "Explain"
EVENT: Final = "RefusedEvent"
AND: Final = " /\\ "
FIRST_FALSE: Final = "FirstFalse"
CURSOR_VARIABLES: Final = frozenset(("trace", "cursor"))
_PRINTED = re.compile(r'^<<\s*"([^"]+)"\s*,\s*(.*?)\s*>>$', re.DOTALL)
_PRINTED_OF = re.compile(r'^<<\s*(\d+)\s*,\s*"([^"]+)"\s*,\s*(.*?)\s*>>$', re.DOTALL)
_PATH = re.compile(r"^(\w+)((?:\[.*\]|\.\w+)*)$", re.DOTALL)

Shapes = Mapping[str, Shape | None]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What TLC found. `enabled` are lines; `note` says why there is nothing, if so."""

    conjuncts: list[Conjunct] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)
    enabled: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Condition:
    """One conjunct of an operator: `name` is how TLC knows it; sides are expressions, with what they stand for."""

    of: str
    text: str
    name: str
    left: str = ""
    right: str = ""
    left_shape: Shape | None = None
    right_shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """An application of an operator of the spec, to show with its arguments' values."""

    tag: str
    operator: source.Definition
    arguments: Sequence[str]
    shapes: Shapes


class Words:
    """Shows numbers of TLC as what they stand for in one trace: the one that the packer packed last."""

    def __init__(self, packer: Packer) -> None:
        ordinals = packer.ordinals
        self._types = {name: domain.type for name, domain in packer.manifest.domains.items()}
        self._texts: dict[str, dict[int, str]] = {}
        for name, table in ordinals.tables.items():
            if self._types[name] in ("symbol", "rank", "pair", "node"):
                self._texts[name] = {ordinal: spelled(value) for value, ordinal in table.items()}
        self._nodes = packer.traces.nodes
        self._pair_base = ordinals.pair_base

    def decode(self, domain: str, ordinal: int) -> str:
        texts = self._texts.get(domain)
        if texts is None:
            return str(ordinal)
        if ordinal in texts or ordinal == 0:
            return texts.get(ordinal, "none")
        return f"{domain} {ordinal}, which no event of the trace has"

    def show(self, text: str, shape: Shape | None) -> str:
        """A printed value of TLC."""
        return show(parse(text), shape, self.decode)


class Explanation:
    """Evaluates the conditions for one event of one trace."""

    def __init__(self, replay: Replay, modules: source.Source, key: int, place: int, event: Event) -> None:
        self._replay = replay
        self._manifest = replay.manifest
        # up to the refused event: what comes after it is nothing to TLC
        self._packed = replay.packed(key, place + 1)
        self._words = Words(replay.packer)
        self._place = place
        self._kind = self._manifest.kinds[event.kind]
        self._source = modules
        named = self._manifest.shapes
        self._state = {name: parse_shape(text, named) for name, text in self._manifest.state.items()}
        self._enabled_shapes = {
            name: parse_shape(enabled.shape, named) for name, enabled in self._manifest.enabled.items()
        }
        # a parameter with the name of a shape has that shape
        self._named = {name: parse_shape(name, named) for name in named}
        self._calls: list[_Call] = []
        replays = self._source.definitions.get(self._kind.replay)
        self.conditions = list(self._conditions(replays, [EVENT], {})) if replays and replays.conjuncts else []

    @property
    def packed(self) -> PackedTrace:
        return self._packed

    @property
    def kind(self) -> str:
        return self._kind.name

    def evaluate(self) -> Evaluated:
        if not self.conditions:
            return Evaluated(note=f"{self._kind.replay} is no flat list of conjuncts, so it cannot be taken apart")
        conditions = self.conditions
        variables = [name for name in self._source.variables if name not in CURSOR_VARIABLES]
        probes: dict[str, str] = {}
        for number, condition in enumerate(conditions):
            probes[f"holds {number}"] = condition.name
            if condition.left:
                probes[f"left {number}"], probes[f"right {number}"] = condition.left, condition.right
        for call in self._calls:
            probes.update((f"{call.tag} {argument}", argument) for argument in call.arguments)
        probes.update((f"variable {name}", name) for name in variables)
        node = f"{self._kind.name}_node({EVENT})"
        probes.update((f"enabled {name}", f"Enabled_{n}({node})") for n, name in enumerate(self._manifest.enabled))
        values = self._run(probes)
        return Evaluated(
            conjuncts=[self._conjunct(condition, number, values) for number, condition in enumerate(conditions)],
            state={
                name: self._words.show(values[f"variable {name}"], self._state.get(name))
                for name in variables
                if f"variable {name}" in values
            },
            enabled=list(self._enabled(values)),
            note="" if values else "TLC could evaluate nothing in that state",
        )

    def until_false(self) -> str:
        """A TLA+ expression that prints the first false conjunct of an event of this kind, with both its sides."""
        text = "TRUE"
        for number, condition in reversed(list(enumerate(self.conditions))):
            said = [_said(f"holds {number}", "FALSE")]
            if condition.left:
                said += [_said(f"left {number}", condition.left), _said(f"right {number}", condition.right)]
            text = f"IF ~({condition.name}) THEN {AND.join(said)}\n      ELSE {text}"
        arguments = {f"{call.tag} {argument}": argument for call in self._calls for argument in call.arguments}
        return AND.join([*(_said(tag, argument) for tag, argument in arguments.items()), f"({text})"])

    def told(self, values: Mapping[str, str]) -> Evaluated:
        """What `until_false` printed, for this event: the conjuncts as far as the first false one."""
        end = next((number for number in range(len(self.conditions)) if f"holds {number}" in values), None)
        if end is None:
            return Evaluated()
        known = {**values, **{f"holds {number}": "TRUE" for number in range(end)}}
        return Evaluated(
            [self._conjunct(condition, number, known) for number, condition in enumerate(self.conditions[: end + 1])]
        )

    # -- what to evaluate ----------------------------------------------------------------------------------------------

    def _conditions(
        self, operator: source.Definition, arguments: Sequence[str], shapes: Shapes
    ) -> Iterator[_Condition]:
        """The unprimed conjuncts of an application, and of the actions that it applies in turn."""
        applied = f"{operator.name}({', '.join(arguments)})" if arguments else operator.name
        of = f"{operator.name}({', '.join(operator.parameters)})" if arguments else operator.name
        for number, text in enumerate(operator.conjuncts, start=1):
            if source.has_prime(text):
                continue
            inner = source.call(text)
            called = self._source.definitions.get(inner[0]) if inner else None
            if inner is not None and called is not None and called.is_action and called.conjuncts:
                given = [_substituted(argument, operator.parameters, arguments) for argument in inner[1]]
                inner_shapes = {
                    parameter: self._shape(argument, shapes) or self._named.get(parameter)
                    for parameter, argument in zip(called.parameters, given, strict=False)
                }
                self._calls.append(_Call(f"argument {len(self._calls)}", called, given, inner_shapes))
                yield from self._conditions(called, given, inner_shapes)
            else:
                yield self._condition(of, text, f"{applied}!{number}", shapes)

    def _condition(self, of: str, text: str, name: str, shapes: Shapes) -> _Condition:
        compared = source.comparison(text)
        if compared is not None:
            left, right = self._side_shapes(compared, shapes)
            return _Condition(of, text, name, f"{name}!1", f"{name}!2", left, right)
        quantified = source.for_all(text)
        if quantified is None:
            return _Condition(of, text, name)
        variable, domain, body = quantified
        body_compared = source.comparison(body)
        if body_compared is None:
            return _Condition(of, text, name)
        # both sides for each that fails
        members = self._shape(domain, shapes)
        index = members.member if members is not None else None
        left, right = self._side_shapes(body_compared, {**shapes, variable: index})
        failing = f"{{x_ \\in {name}!1 : ~({name}!(x_))}}"
        return _Condition(
            of,
            text,
            name,
            f"[x_ \\in {failing} |-> {name}!(x_)!1]",
            f"[x_ \\in {failing} |-> {name}!(x_)!2]",
            Shape(index=index or Shape(), member=left),
            Shape(index=index or Shape(), member=right),
        )

    def _side_shapes(self, compared: tuple[str, str, str], shapes: Shapes) -> tuple[Shape | None, Shape | None]:
        left, operator, right = compared
        left_shape, right_shape = self._shape(left, shapes), self._shape(right, shapes)
        if operator in ("\\in", "\\notin"):
            if right_shape is None and left_shape is not None:
                right_shape = Shape(member=left_shape)
            elif left_shape is None and right_shape is not None:
                left_shape = right_shape.member
        else:
            left_shape, right_shape = left_shape or right_shape, right_shape or left_shape
        return left_shape, right_shape

    def _shape(self, text: str, shapes: Shapes) -> Shape | None:
        """What the value of an expression stands for, where its text says so."""
        text = text.strip()
        if text in shapes:
            return shapes[text]
        if text.startswith("DOMAIN "):
            inner = self._shape(text.removeprefix("DOMAIN "), shapes)
            return Shape(member=inner.index) if inner is not None and inner.index is not None else None
        applied = source.call(text)
        if applied is not None:
            prefix, _, name = applied[0].partition("_")
            kind = self._manifest.kinds.get(prefix)
            domain = "node" if name == "node" else kind.fields.get(name) if kind else None
            if kind is None or domain is None:
                return None
            is_set = self._manifest.domains[domain].type == "set"
            return Shape(member=Shape(domain="node")) if is_set else Shape(domain=domain)
        path = _PATH.match(text)
        shape = self._state.get(path[1]) if path else None
        if path is None or shape is None:
            return None
        for step in _steps(path[2]):
            shape = shape.member if step == "[]" else (shape.fields or {}).get(step)
            if shape is None:
                return None
        return shape

    # -- evaluating ----------------------------------------------------------------------------------------------------

    def _run(self, probes: Mapping[str, str]) -> dict[str, str]:
        """The printed value of each expression that has one."""
        values: dict[str, str] = {}
        failed: set[str] = set()
        for _ in range(RUNS_MAX):
            waiting = {tag: probe for tag, probe in probes.items() if tag not in failed}
            outcome, _ = self._replay.run_beside(
                [self._packed], MODULE, self._definitions(waiting), "CONSTRAINT Probed"
            )
            for line in outcome.printed:
                if match := _PRINTED.match(line):
                    values[match[1]] = match[2]
            missing = next((tag for tag in waiting if tag not in values), None)
            if missing is None:
                break
            failed.add(missing)
        return values

    def _definitions(self, probes: Mapping[str, str]) -> str:
        enabled = "\n".join(
            f"Enabled_{number}(n) == {each.of}" for number, each in enumerate(self._manifest.enabled.values())
        )
        printed = "\n".join(f'    /\\ PrintT(<<"{tag}", {probe}>>)' for tag, probe in probes.items())
        return (
            f"{EVENT} == Traces[trace][cursor]\n{enabled}\nProbes ==\n{printed}\n"
            f"Probed == cursor = {self._place + 1} => Probes"
        )

    # -- what it means -------------------------------------------------------------------------------------------------

    def _conjunct(self, condition: _Condition, number: int, values: Mapping[str, str]) -> Conjunct:
        holds = values.get(f"holds {number}")
        left, right = values.get(f"left {number}"), values.get(f"right {number}")
        if left is not None and _is_empty(parse(left)) and condition.left.startswith("[x_"):
            left = right = None
        return Conjunct(
            text=condition.text,
            holds=None if holds is None else holds == "TRUE",
            left="" if left is None else self._words.show(left, condition.left_shape),
            right="" if right is None else self._words.show(right, condition.right_shape),
            of=self._applied(condition.of, values),
        )

    def _applied(self, of: str, values: Mapping[str, str]) -> str:
        """An operator's name with the values of its arguments, as far as they are short."""
        for call in self._calls:
            operator = call.operator
            if of != f"{operator.name}({', '.join(operator.parameters)})":
                continue
            shown = []
            for parameter, argument in zip(operator.parameters, call.arguments, strict=True):
                value = values.get(f"{call.tag} {argument}")
                text = "?" if value is None else self._words.show(value, call.shapes.get(parameter))
                shown.append(f"{parameter} = {text}")
            return f"{operator.name}({', '.join(shown)})"
        return of

    def _enabled(self, values: Mapping[str, str]) -> Iterator[str]:
        for name, shape in self._enabled_shapes.items():
            value = parse(values.get(f"enabled {name}", "FALSE"))
            if value is True:
                yield name
            elif value is not False and not _is_empty(value):
                yield f"{name}: {show(value, shape, self._words.decode)}"


def first_false(replay: Replay, explanations: Sequence[Explanation]) -> list[Evaluated]:
    """For each refused event its first false conjunct: one TLC for all of them."""
    texts = {each.kind: each.until_false() for each in explanations if each.conditions}
    if not texts:
        return [Evaluated()] * len(explanations)
    # names that no module of a spec has
    kinds = "\n".join(f"Explained__{kind} ==\n      {text}" for kind, text in texts.items())
    cases = "\n      [] ".join(f"Kind({EVENT}) = K_{kind} -> Explained__{kind}" for kind in texts)
    definitions = (
        f"{EVENT} == Traces[trace][cursor]\n{kinds}\n"
        f"Explained__ == CASE {cases}\n      [] OTHER -> TRUE\n"
        "ExplainedOnce__ == cursor = Len(Traces[trace]) => Explained__"
    )
    outcome, _ = replay.run_beside(
        [each.packed for each in explanations], FIRST_FALSE, definitions, "CONSTRAINT ExplainedOnce__"
    )
    values: dict[int, dict[str, str]] = {}
    for line in outcome.printed:
        if match := _PRINTED_OF.match(line):
            values.setdefault(int(match[1]), {})[match[2]] = match[3]
    return [each.told(values.get(number, {})) for number, each in enumerate(explanations, start=1)]


def _said(tag: str, expression: str) -> str:
    return f'PrintT(<<trace, "{tag}", {expression}>>)'


def _is_empty(value: Value) -> bool:
    return value == Set(()) or value == Function(())


def _substituted(text: str, parameters: Sequence[str], arguments: Sequence[str]) -> str:
    """The text with arguments in the place of parameters."""
    for parameter, argument in zip(parameters, arguments, strict=True):
        # TLA+ text has backslashes, which a replacement would read as escapes
        text = re.sub(rf"\b{re.escape(parameter)}\b", argument.replace("\\", r"\\"), text)
    return text


def _steps(path: str) -> Iterator[str]:
    """The steps of `[a][b].c`: "[]", "[]", "c"."""
    depth, name = 0, ""
    for character in path + ".":
        if character == "[":
            depth += 1
            if depth == 1 and name:
                yield name
                name = ""
        elif character == "]":
            depth -= 1
            if depth == 0:
                yield "[]"
        elif depth == 0 and character == ".":
            if name:
                yield name
            name = ""
        elif depth == 0:
            name += character
