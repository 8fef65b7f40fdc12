"""Histories of a few paths with versions, for tests: of registers that do what they should (spec/tla/Register.tla).

Each operation takes effect at one instant between its invoke and its return; one whose answer was lost, at any time
after its invoke, or never.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from checker.operations import ListedVersion, Operation
from checker.tests.honest_register import etag_of, sha256_of

PATHS = ("b/k", "b/l")
KINDS = ("put", "put", "mark", "delete_version", "tag", "copy", "get", "get_version", "list", "list_versions")


@dataclass(frozen=True)
class Version:
    id: int
    body: str  # the write whose bytes it has; nothing for a delete marker

    @property
    def shown(self) -> dict[str, Any]:
        told: dict[str, Any] = {"version": self.id or None, "deleted": not self.body}
        return told | ({"etag": etag_of(self.body), "sha256": sha256_of(self.body)} if self.body else {})


@dataclass
class Path:
    """One path's head; `keeps` says whether writes make versions of their own."""

    keeps: bool
    generation: int = 0
    versions: list[Version] = field(default_factory=list)

    @property
    def current(self) -> Version:
        return self.versions[-1] if self.versions else Version(0, "")

    def make(self, body: str) -> Version:
        self.generation += 1
        made = Version(self.generation if self.keeps else 0, body)
        self.versions = [each for each in self.versions if each.id != made.id] + [made]
        return made

    def remove(self, version: int) -> None:
        kept = [each for each in self.versions if each.id != version]
        self.generation += len(kept) < len(self.versions)
        self.versions = kept

    def refuses(self, operation: Operation) -> bool:
        body = self.current.body
        match operation.condition:
            case "absent":
                return bool(body)
            case "exists":
                return not body
            case "etag_is":
                return not body or etag_of(body) != operation.condition_etag
            case _:
                return False


def _applied(paths: dict[str, Path], asked: Operation) -> Operation:
    """Carry an operation out; the answer."""
    path = paths.get(asked.path, Path(True))
    if asked.kind == "list":
        listed = [(name, etag_of(each.current.body)) for name, each in sorted(paths.items()) if each.current.body]
        return msgspec.structs.replace(asked, listed=listed)
    if asked.kind == "list_versions":
        versions = [
            ListedVersion(name, each.id, each is own.current, not each.body, etag_of(each.body) if each.body else None)
            for name, own in sorted(paths.items())
            for each in reversed(own.versions)
        ]
        return msgspec.structs.replace(asked, versions=versions)
    if asked.kind == "get":
        found = path.current
        if asked.of_version is not None:
            found = next((each for each in path.versions if each.id == asked.of_version), Version(0, ""))
        return msgspec.structs.replace(asked, generation=path.generation, **found.shown)
    if path.refuses(asked):
        return msgspec.structs.replace(asked, outcome="failed", status=412 if path.current.body else 404)
    match asked.kind:
        case "delete":
            assert asked.of_version is not None
            path.remove(asked.of_version)
            return msgspec.structs.replace(asked, generation=path.generation)
        case "tag":
            if not path.current.body:
                return msgspec.structs.replace(asked, outcome="failed", status=404)
            path.generation += 1
            return msgspec.structs.replace(asked, generation=path.generation, version=path.current.id or None)
    source = paths[asked.source].current.body if asked.source else ""
    if asked.kind == "copy" and not source:
        return msgspec.structs.replace(asked, outcome="failed", status=404)
    body = "" if asked.kind == "mark" else source or (asked.write_id or "")
    made = path.make(body)
    etag = made.shown.get("etag")
    return msgspec.structs.replace(
        asked, generation=path.generation, version=made.id or None, deleted=not body, etag=etag, versioned=path.keeps
    )


@st.composite
def honest_histories(draw: st.DrawFn, operations_max: int = 12) -> list[Operation]:
    """The operations of clients that do one thing each, on paths that all keep versions, or none does."""
    keeps = draw(st.booleans())
    asked: list[tuple[int, Operation]] = []
    for number in range(draw(st.integers(1, operations_max))):
        kind = draw(st.sampled_from(KINDS))
        invoke_us = draw(st.integers(0, 40))
        effect_us = invoke_us + draw(st.integers(0, 8))
        is_write = kind not in ("get", "get_version", "list", "list_versions")
        is_lost = is_write and draw(st.integers(0, 5)) == 0
        condition = draw(st.sampled_from(["none", "none", "absent", "exists", "etag_is"])) if kind == "put" else "none"
        name = f"c{number}"
        operation = Operation(
            client=name,
            op=1,
            kind={"get_version": "get", "delete_version": "delete"}.get(kind, kind),  # type: ignore[arg-type]
            path="b/" if kind.startswith("list") else draw(st.sampled_from(PATHS)),
            invoke_us=invoke_us,
            return_us=None if is_lost else effect_us + draw(st.integers(0, 8)),
            outcome="unknown" if is_lost else "ok",
            status=200,
            write_id=name if is_write else None,
            condition=condition,
            condition_etag=etag_of(f"c{draw(st.integers(0, operations_max))}") if condition == "etag_is" else None,
            sha256=sha256_of(name) if kind == "put" else None,
            of_version=draw(st.integers(0, 5)) if kind.endswith("_version") else None,
            source=draw(st.sampled_from(PATHS)) if kind == "copy" else None,
            versioned=keeps and kind in ("put", "copy", "mark"),
        )
        asked.append((effect_us + (draw(st.integers(0, 30)) if is_lost else 0), operation))
    paths = {path: Path(keeps) for path in PATHS}
    told: list[Operation] = []
    for _, operation in sorted(asked, key=lambda pair: pair[0]):
        if operation.outcome == "unknown":
            if draw(st.booleans()):
                _applied(paths, operation)
            told.append(operation)
        else:
            told.append(_applied(paths, operation))
    return told
