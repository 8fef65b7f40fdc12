"""The manifest: all that the checker knows of a spec and of the traces that it judges.

A manifest is a TOML file beside the spec's modules (spec/README.md says what stands where). It names the trace module,
what to split a run by, how each field of each event becomes a TLA+ value, what may cause what, and how to corrupt a
trace so that it must be refused. Here it is read and checked; nothing else in the checker has a word of any protocol.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from checker.errors import CannotCheck

DomainType = Literal["symbol", "int", "rank", "pair", "enum", "set", "list", "bool", "node"]
ParamDefault = Literal["all", "first", "majority", "none"]


class Domain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the values of a field become TLA+ values.

    symbol: any text, numbered in each trace (None is 0; with `sorted`, in the order of the texts). int: itself, from 0.
    rank: an integer, as its rank among the trace's (None is 0). pair: [round, node], ordered by round and then by node
    (None is 0, round 0 of node i is i). enum: one of `values`, a string in TLA+. set: a set of nodes. list:
    integers from 0, as a sequence. bool. node.
    """

    type: DomainType
    sorted: bool = False
    values: tuple[str, ...] = ()


BUILT_IN: Mapping[str, Domain] = {
    "int": Domain("int"),
    "bool": Domain("bool"),
    "node": Domain("node"),
    "set": Domain("set"),
    "list": Domain("list"),
}


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that a correct spec checks: a trace with another value there must be refused."""

    event: str
    field: str


class Param(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A constant of one trace: from its first event with a field of this name, else the default over all nodes."""

    domain: str
    default: ParamDefault


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event on the first line of every file, and which of its fields say the format's version and the nodes."""

    event: str
    version_field: str
    version: int
    nodes_field: str | None = None


class Enabled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else the node of a refused event, `n` in the TLA+ expression `of`, could have done in that state."""

    of: str
    shape: str


@dataclass(frozen=True, slots=True)
class Causes:
    """What may cause an event: `count` events, or one on each of the nodes in the set field `each`.

    With `parts`, one for each part instead: of one of its kinds, and only where its field in `when`, if it has one,
    says something. Those of a kind in `own` must be of the same node.

    `carries` maps each kind that may be a cause to what must be equal: a field of the event -> a field of the cause.
    `by_kind` says, for a field of the event, what it must be for each kind of cause. With `once`, no two events of
    this kind name the same cause.
    """

    carries: Mapping[str, Mapping[str, str]]
    by_kind: Mapping[str, Mapping[str, str | bool]]
    count: int = 0
    each: str | None = None
    once: bool = False
    parts: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    when: Mapping[str, str] = dataclasses.field(default_factory=dict)
    own: frozenset[str] = frozenset()


class Everywhere(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of all keys, or only of those in the slots that its field `slots` lists, where that is not null.

    The slot of a key is the xxh3_64 of its UTF-8 bytes modulo the number in the event's field `total`.
    """

    slots: str
    total: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: the operator that replays it, its fields with their domains, and what may cause it.

    `branches` are the enum and bool fields that tell the branches of its action apart, for the coverage. `opens` are
    kinds whose first event of a key, in an incarnation after a node's first, must come after one of this kind. What is
    `everywhere` has no key, and is an event of each key.
    """

    name: str
    replay: str
    fields: Mapping[str, str]
    causes: Causes
    branches: tuple[str, ...]
    opens: tuple[str, ...] = ()
    everywhere: Everywhere | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read and checked.

    `history` names the check of the clients' histories, if there is one: generations (checker/history.py). `explore`
    is the module that goes on from where traces end, if there is one (checker/explore.py). `state` has the shapes of
    the spec's variables and `shapes` those that they name (checker/tla_value.py); with `enabled`, for explanations
    only.
    """

    path: Path
    name: str
    modules: Path
    trace_module: str
    split_by: str
    domains: Mapping[str, Domain]
    kinds: Mapping[str, Kind]
    ignored: frozenset[str]
    start: Start | None
    stop: str | None
    params: Mapping[str, Param]
    canaries: tuple[Canary, ...]
    history: str | None
    explore: str | None
    state: Mapping[str, str]
    shapes: Mapping[str, str]
    enabled: Mapping[str, Enabled]

    @property
    def trace_config(self) -> Path:
        return self.modules / f"{self.trace_module}.cfg"


class _KindFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    replay: str
    fields: dict[str, str] = {}
    causes: dict[str, bool | int | str | list[str] | dict[str, str | list[str] | dict[str, str | bool]]] = {}
    branches: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    everywhere: Everywhere | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    trace_module: str
    split_by: str
    canary: tuple[Canary, ...]
    event: dict[str, _KindFile]
    modules: str = "."
    schema: str | None = None
    ignored: tuple[str, ...] = ()
    start: Start | None = None
    stop: str | None = None
    domain: dict[str, Domain] = {}
    param: dict[str, Param] = {}
    history: Literal["generations"] | None = None
    explore: str | None = None
    state: dict[str, str] = {}
    shape: dict[str, str] = {}
    enabled: dict[str, Enabled] = {}


def find() -> Path:
    """The manifest to use when none is named: the only one in ./spec, or else in the spec folder beside checker/."""
    for folder in (Path("spec"), Path(__file__).parent.parent / "spec"):
        found = sorted(folder.glob("*.toml"))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path) for path in found)
            raise CannotCheck(f"there are several manifests ({names}); name one with --manifest")
    raise CannotCheck("there is no manifest in ./spec; name one with --manifest")


def read(path: Path) -> Manifest:
    """Read and check a manifest; raises CannotCheck with the key that is wrong."""
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise CannotCheck(f"{path}: cannot be read ({error.strerror}); name a manifest with --manifest") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CannotCheck(f"{path}: is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise CannotCheck(f"{path}: {error}") from error
    domains = {**BUILT_IN, **file.domain}
    kinds = {name: _kind(path, name, kind, domains) for name, kind in file.event.items()}
    manifest = Manifest(
        path=path,
        name=file.name,
        modules=path.parent / file.modules,
        trace_module=file.trace_module,
        split_by=file.split_by,
        domains=domains,
        kinds=kinds,
        ignored=_ignored(file),
        start=file.start,
        stop=file.stop,
        params=file.param,
        canaries=file.canary,
        history=file.history,
        explore=file.explore,
        state=file.state,
        shapes=file.shape,
        enabled=file.enabled,
    )
    _check(manifest)
    return manifest


def _ignored(file: _File) -> frozenset[str]:
    bounds = (file.start.event if file.start else None, file.stop)
    return frozenset((*file.ignored, *(event for event in bounds if event is not None)))


def _kind(path: Path, name: str, file: _KindFile, domains: Mapping[str, Domain]) -> Kind:
    for field, domain in file.fields.items():
        if domain not in domains:
            raise CannotCheck(f"{path}: event.{name}.fields.{field}: there is no domain {domain!r}; declare it")
    for field in file.branches:
        if domains[file.fields.get(field, "int")].type not in ("enum", "bool"):
            raise CannotCheck(f"{path}: event.{name}.branches: {field!r} is no enum or bool field of the event")
    return Kind(name, file.replay, file.fields, _causes(path, name, file), file.branches, file.opens, file.everywhere)


def _causes(path: Path, name: str, file: _KindFile) -> Causes:
    carries: dict[str, Mapping[str, str]] = {}
    by_kind: dict[str, Mapping[str, str | bool]] = {}
    parts: dict[str, frozenset[str]] = {}
    when: dict[str, str] = {}
    own: frozenset[str] = frozenset()
    count, each, once = 0, None, False
    for key, value in file.causes.items():
        if key == "once" and isinstance(value, bool):
            once = value
        elif key == "count" and isinstance(value, int):
            count = value
        elif key == "each" and isinstance(value, str):
            each = value
        elif key == "by_kind" and isinstance(value, dict):
            by_kind = {field: values for field, values in value.items() if isinstance(values, dict)}
        elif key == "parts" and isinstance(value, dict):
            parts = {part: frozenset(kinds) for part, kinds in value.items() if isinstance(kinds, list)}
        elif key == "when" and isinstance(value, dict):
            when = {part: field for part, field in value.items() if isinstance(field, str)}
        elif key == "own" and isinstance(value, list):
            own = frozenset(value)
        elif isinstance(value, list):
            carries[key] = {field: field for field in value}
        elif isinstance(value, dict):
            carries[key] = {field: other for field, other in value.items() if isinstance(other, str)}
        else:
            raise CannotCheck(
                f"{path}: event.{name}.causes.{key} is {value!r}; give count, each, parts, when, own, once, by_kind or "
                "a kind with its equal fields"
            )
    return Causes(carries, by_kind, count, each, once, parts, when, own)


def _check(manifest: Manifest) -> None:
    """What the types of the file cannot say: names that must exist elsewhere in it."""
    path = manifest.path
    for kind in manifest.kinds.values():
        if kind.causes.each is not None and manifest.domains[kind.fields.get(kind.causes.each, "int")].type != "set":
            raise CannotCheck(
                f"{path}: event.{kind.name}.causes.each: {kind.causes.each!r} is no set field of the event"
            )
        for cause, pairs in kind.causes.carries.items():
            if cause not in manifest.kinds:
                raise CannotCheck(f"{path}: event.{kind.name}.causes: there is no event {cause!r}")
            for own, other in pairs.items():
                if own not in {"node", *kind.fields} or other not in {"node", *manifest.kinds[cause].fields}:
                    raise CannotCheck(
                        f"{path}: event.{kind.name}.causes.{cause}: {own!r} must be a field of {kind.name} and "
                        f"{other!r} one of {cause}"
                    )
        for own, values in kind.causes.by_kind.items():
            if own not in kind.fields or not values.keys() <= kind.causes.carries.keys():
                raise CannotCheck(
                    f"{path}: event.{kind.name}.causes.by_kind: {own!r} must be a field of {kind.name}, with a value "
                    f"for kinds that may be its cause: {', '.join(kind.causes.carries) or 'none'}"
                )
        named = kind.causes.own.union(*kind.causes.parts.values())
        if not named <= kind.causes.carries.keys():
            raise CannotCheck(
                f"{path}: event.{kind.name}.causes: {', '.join(sorted(named - kind.causes.carries.keys()))} may be no "
                "cause of it; name the kind with its equal fields"
            )
        for part, said in kind.causes.when.items():
            if part not in kind.causes.parts or said not in kind.fields:
                raise CannotCheck(
                    f"{path}: event.{kind.name}.causes.when: {part!r} must be one of parts and {said!r} a field of "
                    f"{kind.name}"
                )
        for opened in kind.opens:
            if opened not in manifest.kinds or opened == kind.name:
                raise CannotCheck(f"{path}: event.{kind.name}.opens: there is no other event {opened!r}")
    for canary in manifest.canaries:
        if canary.event not in manifest.kinds or canary.field not in manifest.kinds[canary.event].fields:
            raise CannotCheck(f"{path}: canary: there is no field {canary.field!r} of an event {canary.event!r}")
        if manifest.domains[manifest.kinds[canary.event].fields[canary.field]].type in ("set", "list"):
            raise CannotCheck(
                f"{path}: canary: {canary.field!r} has several values at once; choose a field with a single value"
            )
    for name, param in manifest.params.items():
        if param.domain not in manifest.domains:
            raise CannotCheck(f"{path}: param.{name}: there is no domain {param.domain!r}; declare it")
    module = manifest.modules / f"{manifest.trace_module}.tla"
    for file in (module, manifest.trace_config):
        if not file.is_file():
            raise CannotCheck(f"{path}: trace_module is {manifest.trace_module!r}, but there is no {file}")
    for suffix in (".tla", ".cfg") if manifest.explore is not None else ():
        file = manifest.modules / f"{manifest.explore}{suffix}"
        if not file.is_file():
            raise CannotCheck(f"{path}: explore is {manifest.explore!r}, but there is no {file}")
