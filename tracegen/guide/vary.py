"""Varies a drawn scenario: more of one thing, less of another, as a generator says. Pure.

Whatever comes out, a correct server must outlive, as with what is drawn: the rules of `swarm/draw.py` hold here too.
A variation keeps about the length of what it varies, so that a seed costs the same whoever chose it.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tracegen.operations import KINDS_OF
from tracegen.scenario import ARCHIVE_NEMESES, ClusterShape, FaultSpec, Scenario
from tracegen.swarm.draw import OF_LINKS, OF_NODES, draw_fault, may_both_be
from tracegen.swarm.draw_archive import draw_archive_fault

TRIES: Final = 12
FAULTS_MAX: Final = 6
KEYS_MAX: Final = 40
KINDS_BOOSTED: Final = 3

Variation = Callable[[random.Random, Scenario, Scenario], Scenario]
"""What makes a scenario of one, with another at hand to take from."""


def same_again(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Only the seed of the run is another: other latencies, other interleavings."""
    return scenario


def more_of_a_fault(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """One fault more, of a kind that it has or of any other."""
    able = _able(scenario)
    kinds = [fault.nemesis for fault in scenario.faults if fault.nemesis in able] if chance.random() < 0.6 else able
    if len(scenario.faults) >= FAULTS_MAX or not (kinds or able):
        return scenario
    return _with_fault(chance, scenario, chance.choice(kinds or able))


def other_faults(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """All faults drawn anew, of kinds that the other has."""
    able = _able(scenario)
    kinds = [fault.nemesis for fault in other.faults if fault.nemesis in able] or able
    varied = replace(scenario, faults=())
    for _ in range(max(1, len(scenario.faults))):
        varied = _with_fault(chance, varied, chance.choice(kinds))
    return varied


def other_replicas(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Other quorums, or the cluster of the other."""
    if chance.random() < 0.5:
        return _on(scenario, other.cluster)
    nodes, factor = scenario.cluster.nodes, chance.randint(1, scenario.cluster.nodes)
    return _on(scenario, ClusterShape(nodes, factor, chance.randint(factor // 2 + 1, factor)))


def more_keys(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Many keys meet every first step of a register often."""
    load = scenario.workload
    keys = min(KEYS_MAX, load.keys * chance.randint(2, 6))
    return _loaded(scenario, keys=keys, hot_share=round(load.hot_share * chance.random(), 2))


def fewer_keys(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Few keys, asked for at every node, make coordinators meet."""
    keys = max(1, scenario.workload.keys // 3)
    return _loaded(scenario, keys=keys, hot_keys=min(scenario.workload.hot_keys, keys), roam=1.0)


def more_of_some_kinds(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """A few kinds of operations more often, whether it had them or not."""
    mix = dict(scenario.workload.mix)
    for kind in chance.sample(KINDS_OF[scenario.workload.api], KINDS_BOOSTED):
        mix[kind] = round(max(mix.get(kind, 0.0), 1.0) * chance.uniform(2.0, 8.0), 1)
    return _loaded(scenario, mix=mix)


def only_some_kinds(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Only a few kinds of operations."""
    able = KINDS_OF[scenario.workload.api]
    kinds = {"put", *chance.sample(able, chance.randint(1, 5))}
    return _loaded(scenario, mix={kind: round(chance.uniform(1.0, 6.0), 1) for kind in able if kind in kinds})


def load_of_the_other(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Its cluster and faults, with the other's operations."""
    load = other.workload
    return _loaded(scenario, api=load.api, versioning=load.versioning, mix=load.mix)


def other_pace(chance: random.Random, scenario: Scenario, other: Scenario) -> Scenario:
    """Impatient clients that come back, or patient ones that do not."""
    return _loaded(
        scenario,
        deadline_s=round(chance.uniform(0.1, 2.0), 2),
        retries=chance.randint(0, 3),
        roam=round(chance.random(), 2),
        loop=chance.choice(("open", "closed")),
    )


VARIATIONS: Final[tuple[Variation, ...]] = (
    same_again,
    more_of_a_fault,
    other_faults,
    other_replicas,
    more_keys,
    fewer_keys,
    more_of_some_kinds,
    only_some_kinds,
    load_of_the_other,
    other_pace,
)


def _loaded(scenario: Scenario, **changed: object) -> Scenario:
    return replace(scenario, workload=replace(scenario.workload, **changed))  # type: ignore[arg-type]


def _able(scenario: Scenario) -> list[str]:
    """The kinds of faults that this cluster can suffer and outlive (see `swarm/draw.py`)."""
    has_parts = any(size.max_bytes > 65_536 for size in scenario.workload.sizes)
    able = [*OF_NODES, *(OF_LINKS if scenario.cluster.nodes > 1 else ())]
    able += ARCHIVE_NEMESES if scenario.archive.is_there else ()
    return able if has_parts and scenario.cluster.factor >= 3 else [kind for kind in able if kind != "bit_rot"]


def _with_fault(chance: random.Random, scenario: Scenario, nemesis: str) -> Scenario:
    for _ in range(TRIES):
        fault = _draw(chance, scenario, nemesis)
        if all(may_both_be(fault, known) for known in scenario.faults):
            return replace(scenario, faults=tuple(sorted((*scenario.faults, fault), key=lambda each: each.at_s)))
    return scenario


def _draw(chance: random.Random, scenario: Scenario, nemesis: str) -> FaultSpec:
    if nemesis in ARCHIVE_NEMESES:
        return draw_archive_fault(chance, scenario.cluster, scenario.archive, nemesis, scenario.duration_s)
    return draw_fault(chance, scenario.cluster, nemesis, scenario.duration_s)


def _on(scenario: Scenario, cluster: ClusterShape) -> Scenario:
    """The scenario on another cluster, with those of its faults that the cluster has nodes for."""
    clients = scenario.cluster.nodes * scenario.workload.clients_per_node
    varied = _loaded(scenario, clients_per_node=max(1, clients // cluster.nodes))
    varied = replace(varied, cluster=cluster)
    able = _able(varied)
    return replace(varied, faults=tuple(fault for fault in scenario.faults if _fits(fault, cluster, able)))


def _fits(fault: FaultSpec, cluster: ClusterShape, able: list[str]) -> bool:
    hit = set(fault.target.split("+")) if fault.target != "all" else set()
    if fault.nemesis not in able or not hit <= set(cluster.node_ids):
        return False
    return fault.nemesis not in OF_LINKS or len(hit) <= max(1, cluster.nodes // 2)
