"""The archive that a seed may draw, and what breaks the nodes' ways there. Pure, and with chance of its own.

So what else a seed draws is the same with and without an archive.
"""

import itertools
import random
from typing import Final

from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape, ModeRule
from tracegen.scenario import ARCHIVE_NEMESES, ClusterShape, FaultSpec

SHARE: Final = 0.35
"""How many of the seeds have an archive behind their cluster."""
FAULTS: Final = {0: 15, 1: 35, 2: 30, 3: 20}
MODES: Final = ("write_through", "write_back")
REQUEST_LIFE_S: Final = (1.0, 3.0)
LEAD_S: Final = 0.3
"""What a run has before the first of these faults, and after the last one."""


def draw_archive(
    chance: random.Random, shape: ClusterShape, key_prefix: str, duration_s: float
) -> tuple[ArchiveShape, list[FaultSpec]]:
    """An archive with its faults, each of another kind: they may come together."""
    if chance.random() >= SHARE:
        return NO_ARCHIVE, []
    rules = [ModeRule(f"{key_prefix}k000", chance.choice(("none", *MODES)))] if chance.random() < 0.3 else []
    archive = ArchiveShape(
        kind="s3",
        mode=chance.choice(MODES),
        rules=tuple(rules),
        lag_bytes_max=chance.choice((0, 0, 20_000, 400_000)),
        evict_above_bytes=chance.choice((0, 1, 200_000)),
        request_life_s=chance.choice(REQUEST_LIFE_S),
    )
    (count,) = chance.choices(tuple(FAULTS), cum_weights=tuple(itertools.accumulate(FAULTS.values())))
    kinds = chance.sample(ARCHIVE_NEMESES, count)
    return archive, [draw_archive_fault(chance, shape, archive, kind, duration_s) for kind in kinds]


def draw_archive_fault(
    chance: random.Random, shape: ClusterShape, archive: ArchiveShape, nemesis: str, duration_s: float
) -> FaultSpec:
    """A fault of the ways to this archive: mostly of all of them, as if it were its own."""
    for_s = round(min(chance.uniform(0.3, 3.0), duration_s - 2 * LEAD_S), 2)
    at_s = round(chance.uniform(LEAD_S, duration_s - for_s - LEAD_S), 2)
    about: dict[str, object] = {}
    match nemesis:
        case "archive_down":
            about["how"] = chance.choice(("reset", "stall"))
        case "archive_slow":
            about["delay_ms"] = round(chance.choice((20.0, 300.0)) * chance.uniform(0.5, 2.0), 1)
            about["delay_jitter_ms"] = round(chance.uniform(0.0, 300.0), 1)
        case _:
            about["share"] = chance.choice((0.1, 0.5, 1.0))
    if nemesis == "archive_late":
        about["late_s"] = round(chance.uniform(0.2, 0.9) * archive.request_life_s, 2)
    target = "all" if chance.random() < 0.6 else chance.choice(shape.node_ids)
    return FaultSpec(nemesis, at_s, for_s, target=target, **about)  # type: ignore[arg-type]
