"""What a run says of itself (run.json), and whether it is evidence of anything. Pure.

A run in which a fault did not bite, or struck while nobody asked for anything, would let a broken system pass: it is
not adequate, and the checker refuses to call it accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from tracegen.nemesis.inject import Injection

OPERATIONS_MIN: Final = 50
OVERLAPPING_MIN: Final = 50
"""So many operations must be under way while a fault lasts; where one run is of thousands of small ones, one."""
SCHEMA: Final = 1


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """run.json. `problems` are what went wrong beside the protocol: a node that ended by itself, a strange answer.

    `load_from_us` is when the clients began, by the run's clock; `stages` are seconds of a person's time.
    """

    schema: int = SCHEMA
    id: str
    scenario: str
    says: str
    seed: int
    backend: str
    started_ms: int
    epoch_ms_at_zero_us: int
    duration_s: float
    nodes: tuple[str, ...]
    replication: dict[str, int]
    mutants: tuple[str, ...]
    adequate: bool
    inadequate: list[str]
    problems: list[str]
    operations: dict[str, int]
    kinds: dict[str, int]
    stages: dict[str, float]
    versions: dict[str, str]
    load_from_us: int = 0


@dataclass(frozen=True)
class Evidence:
    """What a run came to, as far as its adequacy goes. A list of operations is as long as its author wanted."""

    injections: tuple[Injection, ...]
    outcomes: Mapping[str, int]
    writes_acknowledged: int
    traced_nodes: frozenset[str]
    nodes: tuple[str, ...]
    operations_min: int = OPERATIONS_MIN
    overlapping_min: int = OVERLAPPING_MIN


def reasons_against(evidence: Evidence) -> list[str]:
    """Why this run is no evidence, one line each; none when it is."""
    reasons = []
    for injection in evidence.injections:
        if not injection.bit:
            reasons.append(f"{injection.name} did not bite: {injection.probe}")
        elif injection.overlapping < evidence.overlapping_min:
            reasons.append(
                f"{injection.name} overlapped only {injection.overlapping} operations of clients; "
                f"{evidence.overlapping_min} at least"
            )
    total = sum(evidence.outcomes.values())
    if evidence.outcomes.get("ok", 0) < evidence.operations_min:
        reasons.append(
            f"only {evidence.outcomes.get('ok', 0)} of {total} operations succeeded; {evidence.operations_min} at least"
        )
    if not evidence.writes_acknowledged:
        reasons.append("no write was acknowledged")
    for node in evidence.nodes:
        if node not in evidence.traced_nodes:
            reasons.append(f"{node} left no trace")
    return reasons
