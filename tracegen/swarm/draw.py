"""What a seed draws: its own cluster, its own load, its own mix of faults. Pure, and the same for ever for a seed.

Swarm testing (Groce et al., 2012): a run with few kinds of operations and faults goes deeper than one with all of them,
so each seed first draws what it leaves out. Whatever is drawn, a correct server must outlive: at most as many faults
as heal before the load ends, and no bit rots where there is no second copy.
"""

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Final

from tracegen.nemesis.inject import MID_WRITE_PATIENCE_S
from tracegen.operations import NATIVE, S3
from tracegen.scenario import ARCHIVE_NEMESES, ClusterShape, FaultSpec, Scenario, SizeRange, Workload
from tracegen.swarm.draw_archive import draw_archive

OPERATIONS: Final = 200
"""About so many operations the clients of one run carry out."""
NODES: Final = {1: 4, 2: 6, 3: 45, 4: 12, 5: 20, 6: 5, 7: 8}
"""How often a cluster has so many nodes."""
FAULTS: Final = {0: 8, 1: 26, 2: 28, 3: 22, 4: 16}
S3_SHARE: Final = 0.3
"""How many of the seeds have clients that speak S3."""
S3_OPERATIONS: Final = 80
ANSWER_MS: Final = 8.0
"""About what an operation takes in a cluster that is well."""
VERSIONING: Final = {"enabled": 6, "off": 2, "suspended": 2}
REST_S: Final = (0.0, 0.2, 1.0)
"""How long nodes rest between looking for what they have missed; 0: they never look, and catch up when written to."""
TOMBSTONE_GRACE_S: Final = (0.0, 2.5)
"""How old tombstones must be to be forgotten; 0: they are kept. A client tries no longer, so it finds its write."""
DISKS: Final = (1, 1, 1, 2)
"""How many disks each node has."""
GRACE_S: Final = (0.0, 0.1, 0.5)
"""How long a part is kept that no head names; 0: longer than any run."""
LOST_SHARE: Final = 0.5
"""How many of the runs in which a node dies have it lose its disk."""
QUIET_S: Final = 0.3
"""What a run has before its first fault, after its last one, and between two that would heal each other."""
TRIES: Final = 12

OF_NODES: Final = (
    "kill",
    "pause",
    "restart",
    "power_cut",
    "disk_full",
    "disk_error",
    "slow_disk",
    "bit_rot",
    "clock_jump",
    "clock_skew",
)
OF_BODIES: Final = ("kill", "power_cut", "bit_rot", "disk_full", "drop", "flap")
"""What bodies may be lost by: these need not hit at just that moment."""
OF_LINKS: Final = ("partition", "one_way", "flap", "delay", "drop", "mangle", "half_open")


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"{seed}/swarm")
    healing = random.Random(f"{seed}/healing")
    shape = replace(
        _shape(chance),
        heal_every_s=healing.choice(REST_S),
        disks_per_node=random.Random(f"{seed}/disks").choice(DISKS),
        parts_grace_s=healing.choice(GRACE_S),
        tombstone_grace_s=random.Random(f"{seed}/forgetting").choice(TOMBSTONE_GRACE_S),
    )
    duration_s = round(chance.uniform(2.0, 5.0), 2)
    workload = _workload(chance, shape, duration_s)
    speaks = random.Random(f"{seed}/swarm/api")
    if speaks.random() < S3_SHARE:
        workload = _in_s3(speaks, workload, shape, duration_s)
    if any(kind.startswith("multipart") for kind in workload.mix):
        # a part that is registered when its grace is over was never acknowledged, and the audit of disks cannot tell
        shape = replace(shape, parts_grace_s=0.0)
    has_parts = any(size.max_bytes > 65_536 for size in workload.sizes)
    kinds = _kinds(chance, shape, has_parts)
    faults = _with_a_lost_disk(random.Random(f"{seed}/lost"), shape, _faults(chance, shape, kinds, duration_s))
    name = f"swarm-{seed}"
    archive, of_archive = draw_archive(random.Random(f"{seed}/swarm/archive"), shape, f"{name}/", duration_s)
    return Scenario(
        name=name,
        says=f"What seed {seed} draws.",
        group="swarm",
        duration_s=duration_s,
        seed=seed,
        cluster=shape,
        workload=workload,
        faults=tuple(sorted((*faults, *of_archive), key=lambda fault: fault.at_s)),
        path=Path(f"{name}.toml"),
        archive=archive,
    )


def _shape(chance: random.Random) -> ClusterShape:
    nodes = _weighted(chance, NODES)
    factor = min(nodes, _weighted(chance, {1: 6, 2: 8, 3: 60, 4: 8, 5: 18}))
    majority = factor // 2 + 1
    needed = majority if chance.random() < 0.75 else chance.randint(majority, factor)
    return ClusterShape(nodes, factor, needed)


def _workload(chance: random.Random, shape: ClusterShape, duration_s: float) -> Workload:
    per_node = chance.randint(1, max(1, 8 // shape.nodes))
    clients = per_node * shape.nodes
    # with many keys, there is always one that a fault meets untouched
    keys = chance.randint(1, 6) if chance.random() < 0.85 else chance.randint(10, 24)
    hot_keys = chance.randint(0, min(2, keys))
    loop = chance.choice(("open", "closed"))
    kinds = {"put": 10.0, "get": 8.0} | {
        kind: round(chance.uniform(0.5, 6.0), 1) for kind in NATIVE if chance.random() < 0.5
    }
    if chance.random() < 0.15:
        del kinds["get"]
    return Workload(
        clients_per_node=per_node,
        loop=loop,
        rate_per_s=round(OPERATIONS / duration_s, 1),
        think_ms=_think_ms(OPERATIONS, duration_s, clients),
        keys=keys,
        hot_keys=hot_keys,
        hot_share=round(chance.random(), 2) if hot_keys else 0.0,
        roam=round(chance.choice((0.0, 0.2, 1.0)) * chance.random(), 2),
        deadline_s=round(chance.uniform(0.3, 2.0), 2),
        retries=chance.randint(0, 3),
        mix=kinds,
        sizes=_sizes(chance),
    )


def _in_s3(chance: random.Random, workload: Workload, shape: ClusterShape, duration_s: float) -> Workload:
    """The same load of clients that speak S3, with kinds of its own; fewer operations, as each is more work."""
    (versioning,) = chance.choices(tuple(VERSIONING), tuple(VERSIONING.values()))
    kinds = {"put": 10.0, "get": 8.0} | {
        kind: round(chance.uniform(0.5, 6.0), 1) for kind in S3 if chance.random() < 0.5
    }
    return replace(
        workload,
        api="s3",
        versioning=versioning,
        mix=kinds,
        rate_per_s=round(S3_OPERATIONS / duration_s, 1),
        think_ms=_think_ms(S3_OPERATIONS, duration_s, workload.clients_per_node * shape.nodes),
    )


def _think_ms(operations: int, duration_s: float, clients: int) -> float:
    """How long clients think, so that all of them together do about so many operations."""
    return round(max(0.0, 1000 * duration_s * clients / operations - ANSWER_MS), 1)


def _sizes(chance: random.Random) -> tuple[SizeRange, ...]:
    """Mostly small bodies; in some runs a few that have to be cut off from their heads, or are just at that border."""
    small = SizeRange(20.0, 0 if chance.random() < 0.3 else 1, chance.choice((8, 200, 2000)))
    what = chance.random()
    if what < 0.55:
        return (small,)
    if what < 0.7:
        return small, SizeRange(2.0, 65_530, 65_542)
    return small, SizeRange(chance.choice((3.0, 10.0, 40.0)), 66_000, chance.choice((70_000, 140_000)))


def _kinds(chance: random.Random, shape: ClusterShape, has_parts: bool) -> list[str]:
    """The kinds of faults that may happen in this run."""
    able = [*OF_NODES, *(OF_LINKS if shape.nodes > 1 else ())]
    if not has_parts or shape.factor < 3:
        able.remove("bit_rot")
    elif chance.random() < 0.5:
        able = list(OF_BODIES)  # bodies are rare, and few faults tell
    return chance.sample(able, min(len(able), chance.randint(1, 4)))


def _faults(chance: random.Random, shape: ClusterShape, kinds: list[str], duration_s: float) -> tuple[FaultSpec, ...]:
    found: list[FaultSpec] = []
    for _ in range(_weighted(chance, FAULTS)):
        for _ in range(TRIES):
            fault = draw_fault(chance, shape, chance.choice(kinds), duration_s)
            if all(may_both_be(fault, other) for other in found):
                found.append(fault)
                break
    return tuple(sorted(found, key=lambda fault: fault.at_s))


def _with_a_lost_disk(
    chance: random.Random, shape: ClusterShape, faults: tuple[FaultSpec, ...]
) -> tuple[FaultSpec, ...]:
    """The same faults, but that perhaps a node that dies comes back without its disk; one, as two may be all copies."""
    others = max(shape.min_write_replicas, shape.factor - shape.min_write_replicas + 1)
    ends = [fault for fault in faults if fault.nemesis in ("kill", "power_cut", "restart") and "+" not in fault.target]
    is_rotten = any(fault.nemesis == "bit_rot" for fault in faults)
    if not ends or is_rotten or others >= shape.factor or chance.random() >= LOST_SHARE:
        return faults
    dies = chance.choice(ends)
    return tuple(replace(fault, nemesis="disk_lost") if fault is dies else fault for fault in faults)


def may_both_be(one: FaultSpec, other: FaultSpec) -> bool:
    """Can two faults be told apart and healed, each by itself? Two of one node or of links must not meet in time."""
    if {one.nemesis, other.nemesis} <= {"bit_rot", "disk_lost"}:
        return False  # two copies may be all that there are
    if one.nemesis != other.nemesis and {one.nemesis, other.nemesis} & set(ARCHIVE_NEMESES):
        return True
    if (one.nemesis in OF_LINKS) != (other.nemesis in OF_LINKS):
        return True
    if one.nemesis in (*OF_NODES, "disk_lost") and not set(one.target.split("+")) & set(other.target.split("+")):
        return True
    first, second = sorted((one, other), key=lambda fault: fault.at_s)
    waits_s = MID_WRITE_PATIENCE_S if first.when == "mid_write" else 0.0
    return first.at_s + waits_s + first.for_s + QUIET_S <= second.at_s


def draw_fault(chance: random.Random, shape: ClusterShape, nemesis: str, duration_s: float) -> FaultSpec:
    for_s = round(min(chance.uniform(0.2, 2.0), duration_s - 2 * QUIET_S), 2)
    at_s = round(chance.uniform(QUIET_S, duration_s - for_s - QUIET_S), 2)
    about: dict[str, object] = {}
    match nemesis:
        case "partition" | "flap" | "one_way":
            about["how"] = chance.choice(("reset", "stall"))
            if nemesis == "one_way":
                about["direction"] = chance.choice(("out", "in"))
            elif nemesis == "flap":
                about["period_s"] = round(min(chance.uniform(0.1, 0.5), for_s / 3), 2)  # down, up, and down again
        case "delay":
            about["delay_ms"] = round(chance.choice((5.0, 50.0, 500.0)) * chance.uniform(0.5, 2.0), 1)
            about["delay_jitter_ms"] = round(chance.uniform(0.0, 100.0), 1)
        case "slow_disk":
            about["delay_ms"] = round(chance.choice((10.0, 100.0)) * chance.uniform(0.5, 2.0), 1)
            about["delay_jitter_ms"] = round(chance.uniform(0.0, 100.0), 1)
        case "drop":
            about["period_s"] = round(chance.uniform(0.1, 0.6), 2)
        case "kill" | "power_cut" | "pause" | "restart":
            about["when"] = chance.choice(("at_once", "mid_write"))
        case "disk_full":
            about["room_bytes"] = chance.choice((0, 5_000, 100_000))
        case "clock_jump" | "clock_skew":
            about["skew_ms"] = float(chance.choice((-1, 1)) * chance.choice((50, 2_000, 600_000, 86_400_000)))
        case "mangle":
            for share in ("drop_share", "double_share", "overtake_share"):
                about[share] = chance.choice((0.0, 0.05, 0.2)) if share != "overtake_share" else 0.1
    return FaultSpec(nemesis, at_s, for_s, target=_target(chance, shape, nemesis), **about)  # type: ignore[arg-type]


def _target(chance: random.Random, shape: ClusterShape, nemesis: str) -> str:
    """One node mostly; sometimes a few, or all of them. Links have two ends, so not every node can be cut off."""
    most = shape.nodes
    if nemesis in OF_LINKS:
        most = max(1, shape.nodes // 2)
    if nemesis in ("bit_rot", "restart"):
        most = 1
    count = 1 if chance.random() < 0.7 else chance.randint(1, most)
    return "+".join(sorted(chance.sample(shape.node_ids, count)))


def _weighted(chance: random.Random, weights: dict[int, int]) -> int:
    (found,) = chance.choices(tuple(weights), cum_weights=tuple(itertools.accumulate(weights.values())))
    return found
