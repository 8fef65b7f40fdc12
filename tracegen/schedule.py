"""What a seed makes of a scenario's fault schedule: who is hit, and when. Pure.

Every draw comes from a generator seeded with the run's seed and the fault's place in the schedule, so that one fault
more in a file moves no other.
"""

import random
from dataclasses import dataclass
from typing import Final

from tracegen.scenario import FaultSpec, Scenario

OF_LINKS: Final = ("partition", "one_way", "flap", "delay", "drop", "mangle", "half_open", "loss")
"""The nemeses that break what is between nodes; the others break nodes."""

Link = tuple[str, str]
"""An ordered pair of nodes: bytes that the first sends to the second."""


@dataclass(frozen=True)
class PlannedFault:
    """One injection. `nodes` is empty when the target is only known while the cluster runs (the coordinator)."""

    name: str
    spec: FaultSpec
    nodes: tuple[str, ...]
    links: tuple[Link, ...]
    start_s: float
    end_s: float
    seed: str


def plan(scenario: Scenario, seed: int) -> tuple[PlannedFault, ...]:
    """Every injection of a run, by time."""
    nodes = scenario.cluster.node_ids
    planned = [
        _injection(spec, place, turn, nodes, seed)
        for place, spec in enumerate(scenario.faults)
        for turn in range(spec.times)
    ]
    return tuple(sorted(planned, key=lambda fault: (fault.start_s, fault.name)))


def _injection(spec: FaultSpec, place: int, turn: int, nodes: tuple[str, ...], seed: int) -> PlannedFault:
    schedule = random.Random(f"{seed}/fault/{place}")
    offset = schedule.randrange(len(nodes))
    own_seed = f"{seed}/fault/{place}/{turn}"
    draw = random.Random(own_seed)
    start_s = max(0.0, spec.at_s + turn * spec.every_s + draw.uniform(-spec.jitter_s, spec.jitter_s))
    hit = _targets(spec, nodes, draw, (offset + turn) % len(nodes))
    return PlannedFault(
        name=f"{spec.nemesis}-{place + 1}" + (f".{turn + 1}" if spec.times > 1 else ""),
        spec=spec,
        nodes=hit,
        links=links(spec, hit, nodes),
        start_s=start_s,
        end_s=start_s + spec.for_s,
        seed=own_seed,
    )


def _targets(spec: FaultSpec, nodes: tuple[str, ...], draw: random.Random, turn: int) -> tuple[str, ...]:
    match spec.target:
        case "random":
            return (draw.choice(nodes),)
        case "next":
            return (nodes[turn],)
        case "minority":
            return tuple(sorted(draw.sample(nodes, max(1, (len(nodes) - 1) // 2))))
        case "all":
            return nodes
        case "coordinator":
            return ()
        case some:
            return tuple(some.split("+"))


def links(spec: FaultSpec, hit: tuple[str, ...], nodes: tuple[str, ...]) -> tuple[Link, ...]:
    """The links that a fault on these nodes changes: those across the cut, or all when every node is hit."""
    if spec.nemesis not in OF_LINKS:
        return ()
    if spec.shape == "ring":
        apart = [(a, b) for at, a in enumerate(nodes) for b in nodes[at + 2 :] if (a, b) != (nodes[0], nodes[-1])]
        return tuple(apart) + tuple((b, a) for a, b in apart)
    if spec.shape == "bridge":
        others = [node for node in nodes if node not in hit]
        half = len(others) // 2
        across = [(a, b) for a in others[:half] for b in others[half:]]
        return tuple(across) + tuple((b, a) for a, b in across)
    if spec.target == "all":
        return tuple((a, b) for a in nodes for b in nodes if a != b)
    out = tuple((a, b) for a in nodes for b in nodes if a in hit and b not in hit)
    into = tuple((b, a) for a, b in out)
    if spec.nemesis == "one_way":
        return out if spec.direction == "out" else into
    return out + into
