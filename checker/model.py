"""Checks a spec's bounded models, and that its invariants are evidence: each is broken by a twin of the spec.

A model is a file `<Spec>MC.<name>.cfg` beside the modules; its head says how many distinct states it has, so that a
model that quietly became smaller is a fault, and which module it is of if that is not `<Spec>MC`. A twin is the spec
with one line changed (spec/twins/<spec>.toml); TLC must refute it by the very invariant that the twin names, in the
model that it names. An invariant that no twin can break says nothing, and is reported too.

Functions without output: the command is in model_command.py.
"""

import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checker import tlc
from checker.errors import CannotCheck

DEEP = "deep"  # models with names that begin so take minutes, and are checked on request only
HEAP_MB = 4096
_COUNT = re.compile(r"^\\\*\s*distinct states:\s*([\d,]+)\s*$", re.MULTILINE)
_MODULE = re.compile(r"^\\\*\s*module:\s*(\w+)\s*$", re.MULTILINE)
_CHECKED = {"INVARIANT", "INVARIANTS", "PROPERTY", "PROPERTIES"}
_SECTION = re.compile(
    r"^(SPECIFICATION|INIT|NEXT|CONSTANTS?|INVARIANTS?|PROPERTY|PROPERTIES|(?:ACTION_)?CONSTRAINTS?|SYMMETRY|VIEW)\b"
)


@dataclass(frozen=True, slots=True)
class Model:
    """A bounded model: `states` is the number of distinct states that its head promises, None if it promises none."""

    name: str
    says: str
    module: Path
    config: Path
    states: int | None
    checks: tuple[str, ...]

    @property
    def is_deep(self) -> bool:
        return self.name.startswith(DEEP)

    @property
    def is_short(self) -> bool:
        """Is it so small that TLC begins longer than it searches?"""
        return self.states is not None and self.states <= tlc.SHORT_STATES_MAX


class Twin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of one module changed, and the invariant that must not survive it in the named model."""

    name: str
    model: str
    module: str
    find: str
    replace: str
    breaks: str
    why: str


class _Twins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    twin: list[Twin]


class ModelResult(msgspec.Struct, frozen=True):
    """What came of one model. `fault` says what is wrong with it (None: nothing), `cannot` why there is no answer."""

    model: str
    says: str
    distinct_states: int
    seconds: float
    violated: str | None = None
    fault: str | None = None
    cannot: str | None = None
    behaviour: list[str] = []


class TwinResult(msgspec.Struct, frozen=True):
    """What came of one twin; it is refuted if both `fault` and `cannot` are None."""

    twin: str
    model: str
    breaks: str
    distinct_states: int
    seconds: float
    fault: str | None = None
    cannot: str | None = None


# -- reading ----------------------------------------------------------------------------------------------------------


def find_models(spec: str, directory: Path) -> list[Model]:
    """The bounded models of a spec in its directory of modules, quickest first. Raises CannotCheck if it has none."""
    wanted = spec.replace("_", "").lower() + "mc"
    configs = [path for path in directory.glob("*MC.*.cfg") if path.name.partition(".")[0].lower() == wanted]
    if not configs:
        raise CannotCheck(
            f"{directory}: there is no model of the spec {spec!r} here (a file like {spec.title()}MC.x.cfg)"
        )
    models = [_read_model(path) for path in configs]
    return sorted(models, key=lambda model: (model.is_deep, model.states or 0, model.name))


def _read_model(config: Path) -> Model:
    module_name, _, name = config.name.removesuffix(".cfg").partition(".")
    text = config.read_text()
    if other := _MODULE.search(text):
        module_name = other.group(1)
    count = _COUNT.search(text)
    first = text.partition("\n")[0]
    return Model(
        name=name,
        says=first.removeprefix("\\*").strip() if first.startswith("\\*") else "",
        module=config.with_name(f"{module_name}.tla"),
        config=config,
        states=int(count.group(1).replace(",", "")) if count else None,
        checks=tuple(word for keyword, body in sections(text) if keyword in _CHECKED for word in body.split()),
    )


def sections(config: str) -> Iterator[tuple[str, str]]:
    """The sections of a configuration as (keyword, what follows it), comments left out."""
    keyword, lines = "", list[str]()
    for line in config.splitlines():
        code = line.partition("\\*")[0]
        if start := _SECTION.match(code):
            if keyword:
                yield keyword, "\n".join(lines)
            keyword, lines = start.group(1), [code[start.end() :]]
        else:
            lines.append(code)
    if keyword:
        yield keyword, "\n".join(lines)


def checking_only(config: str, check: str) -> str:
    """A model's configuration with one invariant in place of all that it checks."""
    kept = [f"{keyword}{body.rstrip()}\n" for keyword, body in sections(config) if keyword not in _CHECKED]
    return "".join(kept) + f"INVARIANT {check}\n"


def read_twins(path: Path, models: Sequence[Model]) -> list[Twin]:
    """The twins of a spec. Raises CannotCheck if one cannot be made or names what is not there."""
    try:
        twins = msgspec.convert(tomllib.loads(path.read_text()), _Twins).twin
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CannotCheck(f"{path}: {error}") from error
    checks = {model.name: model.checks for model in models}
    for twin in twins:
        if twin.model not in checks:
            raise CannotCheck(
                f"{path}: twin {twin.name}: there is no model {twin.model!r}; there are {', '.join(checks)}"
            )
        if twin.breaks not in checks[twin.model]:
            raise CannotCheck(f"{path}: twin {twin.name}: the model {twin.model!r} does not check {twin.breaks!r}")
        changed_module(models[0].module.parent, twin)
    return twins


@dataclass(frozen=True, slots=True)
class Suite:
    """All models and twins of one spec."""

    models: list[Model]
    twins: list[Twin]

    def model(self, name: str) -> Model:
        return next(model for model in self.models if model.name == name)

    def unbroken(self) -> list[str]:
        """What the models check that no twin is there to break."""
        broken = {twin.breaks for twin in self.twins}
        return sorted({check for model in self.models for check in model.checks} - broken)


def read_suite(spec: str, specs: Path) -> Suite:
    """Read the models in `specs`/tla and the twins in `specs`/twins. Raises CannotCheck on what cannot be used."""
    models = find_models(spec, specs / "tla")
    return Suite(models, read_twins(specs / "twins" / f"{spec}.toml", models))


# -- checking ---------------------------------------------------------------------------------------------------------


def check_model(tool: tlc.Tool, model: Model, *, workers: int, timeout_s: float) -> ModelResult:
    """Search the whole model, and compare with what its head promises."""
    outcome = tlc.run(
        tool,
        model.module,
        model.config,
        workers=workers,
        heap_mb=HEAP_MB,
        is_short=model.is_short,
        timeout_s=timeout_s,
    )
    fault = cannot = None
    if outcome.violated is not None:
        fault = f"{outcome.violated} is violated"
    elif outcome.error is not None:
        cannot = outcome.error
    elif model.states is None:
        fault = f"{model.config.name} promises no number of states: add \\* distinct states: {outcome.distinct}"
    elif outcome.distinct != model.states:
        fault = f"{outcome.distinct} distinct states, but {model.config.name} promises {model.states}"
    return ModelResult(
        model=model.name,
        says=model.says,
        distinct_states=outcome.distinct,
        seconds=outcome.seconds,
        violated=outcome.violated,
        fault=fault,
        cannot=cannot,
        behaviour=outcome.behaviour,
    )


def check_twin(tool: tlc.Tool, model: Model, twin: Twin, *, workers: int, timeout_s: float) -> TwinResult:
    """Make the twin in a directory of its own, and see whether the invariant that it names is violated."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="twin-") as scratch:
        directory = Path(scratch)
        for module in model.module.parent.glob("*.tla"):
            shutil.copy(module, directory)
        (directory / f"{twin.module}.tla").write_text(changed_module(directory, twin))
        config = directory / model.config.name
        config.write_text(checking_only(model.config.read_text(), twin.breaks))
        outcome = tlc.run(
            tool,
            directory / model.module.name,
            config,
            workers=workers,
            heap_mb=HEAP_MB,
            is_short=model.is_short,
            timeout_s=timeout_s,
        )
    fault = cannot = None
    if outcome.error is not None:
        cannot = outcome.error
    elif outcome.violated != twin.breaks:
        fault = f"TLC did not refute it: {twin.breaks} holds in all {outcome.distinct} states"
    return TwinResult(
        twin=twin.name,
        model=twin.model,
        breaks=twin.breaks,
        distinct_states=outcome.distinct,
        seconds=time.monotonic() - began,
        fault=fault,
        cannot=cannot,
    )


def changed_module(directory: Path, twin: Twin) -> str:
    """The twin's module with its change; raises CannotCheck unless there is exactly one place for it, on one line."""
    module = directory / f"{twin.module}.tla"
    if not module.is_file():
        raise CannotCheck(f"twin {twin.name}: there is no module {module}")
    text = module.read_text()
    found = text.count(twin.find)
    if found != 1 or "\n" in twin.find:
        raise CannotCheck(
            f"twin {twin.name}: {twin.find!r} must stand exactly once, on one line, in {module.name}; found {found}"
        )
    return text.replace(twin.find, twin.replace)


class Report(msgspec.Struct, frozen=True):
    """All that was checked of one spec; `unbroken` are invariants that no twin is there to break."""

    models: list[ModelResult]
    twins: list[TwinResult]
    unbroken: list[str]

    @property
    def exit_code(self) -> int:
        """0: all as it should be; 1: something is wrong with the spec, a model or a twin; 2: there is no answer."""
        results: list[ModelResult | TwinResult] = [*self.models, *self.twins]
        if any(result.cannot is not None for result in results):
            return 2
        return 1 if self.unbroken or any(result.fault is not None for result in results) else 0


def check(
    tool: tlc.Tool,
    suite: Suite,
    models: Sequence[Model],
    twins: Sequence[Twin],
    *,
    workers: int,
    timeout_s: float,
    seen: Callable[[ModelResult | TwinResult], None] = lambda _: None,
) -> Report:
    """Check these of the suite's models and twins one after the other; `seen` gets each result as it comes."""
    model_results, twin_results = list[ModelResult](), list[TwinResult]()
    for model in models:
        model_results.append(check_model(tool, model, workers=workers, timeout_s=timeout_s))
        seen(model_results[-1])
    for twin in twins:
        twin_results.append(check_twin(tool, suite.model(twin.model), twin, workers=workers, timeout_s=timeout_s))
        seen(twin_results[-1])
    return Report(model_results, twin_results, suite.unbroken())
