"""What a seed makes of the scenarios that come with the harness: one of them, often with a fault of another. Pure."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tracegen.scenario import ARCHIVE_NEMESES, NODES_FOR, FaultSpec, Scenario
from tracegen.schedule import OF_LINKS

CROSSED_SHARE: Final = 0.6
QUIET_S: Final = 1.0
"""Between the end of one fault and the beginning of another one of the same sort, so that they can be told apart."""
APART: Final = ({"loss", "delay"}, {"loss", "drop"})
"""What no cluster can have in one run: links either have the kernel's filters, or the harness's proxies."""
MUTANTS: Final = "mutants"
"""The group of scenarios that are made for one broken rule."""


def draw(seed: int, catalogue: Sequence[Scenario], is_able: Callable[[Scenario], bool]) -> Scenario:
    """The scenario of this seed, of those in the catalogue that the backend is able to do."""
    able = [scenario for scenario in catalogue if scenario.group != MUTANTS and is_able(scenario)]
    chance = random.Random(f"{seed}/soak")
    base = chance.choice(able)
    others = [fault for other in able if other is not base for fault in other.faults if may_join(fault, base)]
    faults, says = base.faults, base.says
    if others and chance.random() < CROSSED_SHARE:
        more = chance.choice(others)
        faults = (*faults, more)
        says = f"{says} And {more.nemesis} of {more.target} at {more.at_s:g} s."
    return replace(base, name=f"soak-{base.name}", says=says, seed=seed, faults=faults, prefix=base.key_prefix)


def may_join(fault: FaultSpec, base: Scenario) -> bool:
    """Can the scenario have this fault, too: has it what is broken, and can all be told apart and healed?"""
    nodes = base.cluster.node_ids
    named = set(fault.target.split("+")) - {"random", "next", "minority", "coordinator", "all"}
    has_all = named <= set(nodes) and len(nodes) >= NODES_FOR[fault.shape]
    if fault.nemesis in OF_LINKS:
        has_all = has_all and len(nodes) > 1
    if fault.nemesis in ARCHIVE_NEMESES:
        is_late = fault.nemesis == "archive_late" and fault.late_s >= base.archive.request_life_s
        has_all = has_all and base.archive.kind == "s3" and not is_late
    if any({fault.nemesis, other.nemesis} in APART for other in base.faults):
        return False
    return has_all and fault.ends_s <= base.duration_s and all(may_meet(fault, other) for other in base.faults)


def may_meet(one: FaultSpec, other: FaultSpec) -> bool:
    """Two faults of nodes, of links, or of one sort at the archive must not meet in time."""
    if _sort(one) != _sort(other):
        return True
    first, second = sorted((one, other), key=lambda fault: fault.at_s)
    return first.ends_s + QUIET_S <= second.at_s - second.jitter_s


def _sort(fault: FaultSpec) -> str:
    if fault.nemesis in ARCHIVE_NEMESES:
        return fault.nemesis
    return "links" if fault.nemesis in OF_LINKS else "nodes"
