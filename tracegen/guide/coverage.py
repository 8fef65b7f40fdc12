"""Which actions and branches of the spec a swarm reached, and which it never did.

A branch is a value of one of the fields that spec/register.toml names as an action's `branches`.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final

from checker import manifest
from checker.errors import CannotCheck
from tracegen.errors import HarnessError
from tracegen.watch.reached import Reached

Branch = tuple[str, str]
"""An action, and `field=value`; nothing for the action itself."""

UNREACHABLE: Final[dict[Branch, str]] = {
    ("Claim", "outcome=replayed"): "a claim finds nothing, so no write of its was recorded",
    (
        "Claim",
        "operation=read",
    ): "replicas disagree on a path, and the preferred one, which reads, has heard nothing of it",
    ("Claim", "operation=amend"): "what is amended was read first, so somebody wrote it without a claim just before",
}
"""What the spec allows, and no client of the API can bring about, or only by the rarest chance; with the reason."""

OF_THE_ARCHIVE: Final = frozenset(("Look", "Ship", "Shipped", "Confirm", "Settle", "Doubt", "Evict", "Answer"))
"""The actions of Tiering.tla: only runs with an archive have them, so none are asked for here."""

WITH_AN_ARCHIVE: Final = frozenset({("Collect", "was_settled=true")})
"""The branches of other actions that only such runs have."""


def branches_of(tuples: Iterable[Reached]) -> frozenset[Branch]:
    """The actions and branches that these tuples are of."""
    fields = _fields()
    found: set[Branch] = set()
    for action, *values in tuples:
        found.add((action, ""))
        found.update((action, f"{field}={value}") for field, value in zip(fields.get(action, ()), values, strict=False))
    return frozenset(found)


def never_reached(tuples: Iterable[Reached]) -> list[Branch]:
    """All that the spec has and these tuples have not, but for what is unreachable; by action."""
    reached = branches_of(tuples)
    left_out = reached | UNREACHABLE.keys() | WITH_AN_ARCHIVE
    return [branch for branch in _all() if branch not in left_out and branch[0] not in OF_THE_ARCHIVE]


def said(branch: Branch) -> str:
    return " ".join(part for part in branch if part)


@cache
def _manifest() -> manifest.Manifest:
    try:
        return manifest.read(manifest.find())
    except CannotCheck as error:
        raise HarnessError(str(error)) from error


@cache
def _fields() -> dict[str, tuple[str, ...]]:
    return {name: kind.branches for name, kind in _manifest().kinds.items()}


@cache
def _all() -> tuple[Branch, ...]:
    spec = _manifest()
    found: list[Branch] = []
    for name, kind in spec.kinds.items():
        found.append((name, ""))
        for field in kind.branches:
            domain = spec.domains[kind.fields[field]]
            values = ("false", "true") if domain.type == "bool" else domain.values
            found.extend((name, f"{field}={value}") for value in values)
    return tuple(found)
