"""What a scenario says: cluster, workload, faults, duration. Declarative, and checked whole before anything starts.

Scenarios are TOML files in `scenarios/` (or anywhere: a path does as well as a name). What the seed makes of a
fault schedule is in `schedule.py`; how a workload is drawn is in `workload/mix.py`.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracegen import operations
from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape, read_archive
from tracegen.errors import ScenarioError
from tracegen.operations import Listed
from tracegen.reading import TableReader

SCENARIOS: Final = Path(__file__).parent / "scenarios"
APIS: Final = tuple(operations.KINDS_OF)
VERSIONING: Final = ("off", "enabled", "suspended")
MACHINE_NEMESES: Final = (
    "power_cut",
    "disk_full",
    "disk_error",
    "slow_disk",
    "bit_rot",
    "clock_jump",
    "clock_skew",
    "mangle",
    "half_open",
)
"""What befalls a node's machine, which not every backend has under its hand (`backend/choice.py`)."""
CONTAINER_NEMESES: Final = ("memory_limit", "loss")
"""What takes a kernel that counts what a node uses, and that has its packets in hand."""
ARCHIVE_NEMESES: Final = (
    "archive_down",
    "archive_slow",
    "archive_throttle",
    "archive_lost_answer",
    "archive_cut",
    "archive_late",
)
"""What breaks the way from nodes to their archive, which must be an S3."""
NEMESES: Final = (
    *("kill", "pause", "restart", "disk_lost", "partition", "one_way", "flap", "delay", "drop"),
    *MACHINE_NEMESES,
    *CONTAINER_NEMESES,
    *ARCHIVE_NEMESES,
)
SYMBOLIC_TARGETS: Final = ("random", "next", "minority", "coordinator", "all")
NODES_MAX: Final = 9
DISKS_MAX: Final = 4
KEYS_MAX: Final = 1000  # one page of a list holds them all
SIZE_BYTES_MAX: Final = operations.SIZE_BYTES_MAX
DURATION_S_MAX: Final = 3600.0
KEPT_S: Final = 24 * 3600.0
SKEW_MS_MAX: Final = 24 * 3600 * 1000.0


@dataclass(frozen=True)
class ClusterShape:
    """`heal_every_s`: how long a node rests before it looks again for what it has missed; 0: it never looks.

    What befalls the disk of a node with `disks_per_node` of them befalls one only.

    `parts_grace_s`: for how long no head has named a part before it is collected; 0: as long as nodes usually wait.

    `tombstone_grace_s`: how long a tombstone is kept at least, and how often a node looks for such; 0: it keeps them.
    """

    nodes: int = 3
    factor: int = 3
    min_write_replicas: int = 2
    heal_every_s: float = 1.0
    disks_per_node: int = 1
    parts_grace_s: float = 0.0
    tombstone_grace_s: float = 0.0

    @property
    def tombstones(self) -> tuple[float, float]:
        """The least age of tombstones that are forgotten, and how often a node looks for such; in seconds."""
        return (self.tombstone_grace_s, self.tombstone_grace_s / 4) if self.tombstone_grace_s else (KEPT_S, KEPT_S)

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))


@dataclass(frozen=True)
class SizeRange:
    """Bodies of `min_bytes` to `max_bytes`, uniformly, with this weight among the ranges."""

    weight: float
    min_bytes: int
    max_bytes: int


@dataclass(frozen=True)
class Workload:
    """What the clients do. `mix` gives each operation's weight; `hot_share` of operations go to the `hot_keys`.

    A closed loop waits for an answer, thinks (`think_ms` on average) and asks again; an open loop takes arrivals at
    `rate_per_s` over all clients, however slow the answers are. `roam` is the share of operations that a client sends
    to another node than its own. An attempt has `deadline_s`; an unknown outcome is retried `retries` times at most.
    Clients speak `api`: native, or s3 to one bucket, whose `versioning` is off, enabled or suspended.
    """

    api: str = "native"
    versioning: str = "off"
    clients_per_node: int = 3
    loop: str = "closed"
    rate_per_s: float = 200.0
    think_ms: float = 10.0
    keys: int = 40
    hot_keys: int = 4
    hot_share: float = 0.4
    roam: float = 0.2
    deadline_s: float = 0.7
    retries: int = 2
    mix: Mapping[str, float] = field(default_factory=lambda: {"put": 40.0, "get": 50.0, "delete": 4.0, "list": 1.0})
    sizes: tuple[SizeRange, ...] = (SizeRange(95, 16, 2000), SizeRange(5, 66_000, 200_000))

    @property
    def key_names(self) -> tuple[str, ...]:
        """Every key, the hot ones first."""
        return tuple(f"k{number:03}" for number in range(self.keys))


@dataclass(frozen=True)
class FaultSpec:
    """One line of the fault schedule; `times` injections, `every_s` apart, each moved by up to `jitter_s` either way.

    target: a node id (or some: "n1+n2"), or random, next (one node after the other), minority, coordinator (the
    preferred node of the hottest key), all (see FOR_ALL). shape, of a partition: `split` between those who are hit and
    the others, `bridge` (who is hit reaches both halves of the others, which do not reach each other), or `ring` (of
    all: each reaches only the one before and the one after it). how: `reset` ends connections, `stall` lets bytes wait
    without a word.
    when = mid_write: wait for a write that the target coordinates, then strike while it runs.
    room_bytes: what is left on the disk when it fills up, or of the memory. skew_ms: by how much a clock goes wrong,
    either way. The shares are of the frames on a mangled link, or of packets.
    `share` is that of the requests to the archive which are hit; a late one arrives up to `late_s` after it was sent.
    """

    nemesis: str
    at_s: float
    for_s: float
    jitter_s: float = 0.0
    target: str = "random"
    times: int = 1
    every_s: float = 0.0
    how: str = "reset"
    direction: str = "out"
    shape: str = "split"
    delay_ms: float = 100.0
    delay_jitter_ms: float = 20.0
    period_s: float = 0.4
    when: str = "at_once"
    room_bytes: int = 20_000
    skew_ms: float = 60_000.0
    drop_share: float = 0.05
    double_share: float = 0.1
    overtake_share: float = 0.1
    share: float = 0.5
    late_s: float = 2.0

    @property
    def ends_s(self) -> float:
        """The latest second at which its last injection can be over."""
        return self.at_s + (self.times - 1) * self.every_s + self.jitter_s + self.for_s


@dataclass(frozen=True)
class Scenario:
    """`operations` are what the clients do, if they are listed; the workload then says only how long they wait."""

    name: str
    says: str
    group: str
    duration_s: float
    seed: int
    cluster: ClusterShape
    workload: Workload
    faults: tuple[FaultSpec, ...]
    path: Path
    operations: tuple[Listed, ...] = ()
    prefix: str = ""
    archive: ArchiveShape = NO_ARCHIVE

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that clients ask for, the one that most ask for first."""
        names = operations.keys(self.operations) if self.operations else self.workload.key_names
        return tuple(self.key_prefix + name for name in names)

    @property
    def key_prefix(self) -> str:
        """What all keys begin with: its name and a slash, if it says nothing else."""
        return self.prefix or f"{self.name}/"

    @property
    def bucket(self) -> str:
        """The bucket that S3 clients use: what stands before the first slash of all keys."""
        return self.key_prefix.partition("/")[0]


def names() -> list[str]:
    """The scenarios that come with the harness, in the order in which they are worth reading."""
    found = [load(path) for path in SCENARIOS.glob("*.toml")]
    return [scenario.name for scenario in sorted(found, key=lambda found: (found.group, found.name))]


def find(name_or_path: str) -> Scenario:
    """The scenario of this name, or in this file.

    Raises ScenarioError when there is none, or when the file has faults (all of them listed).
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ScenarioError(f"{path}: no such file")
        return load(path)
    path = SCENARIOS / f"{name_or_path}.toml"
    if not path.is_file():
        raise ScenarioError(f"no scenario is called {name_or_path!r}; there are: {', '.join(names())}")
    return load(path)


def load(path: Path) -> Scenario:
    """Read and check one file; raises ScenarioError with one line a fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: is not TOML: {error}") from error
    return parse(table, path)


def parse(table: Mapping[str, object], path: Path) -> Scenario:
    """Check a whole scenario; raises ScenarioError with one line a fault."""
    faults: list[str] = []
    reader = TableReader(table, "", faults)
    cluster = _cluster(reader.table("cluster"))
    duration_s = reader.number("duration_s", 10.0, 1.0, DURATION_S_MAX)
    workload = _workload(reader.table("workload"), is_listed=reader.has("operations"))
    kinds = operations.KINDS_OF[workload.api]
    name = reader.text("name")
    prefix = reader.text("prefix", "-") if reader.has("prefix") else ""
    archive = read_archive(reader.table("archive"), prefix or f"{name}/")
    scenario = Scenario(
        name=name,
        says=reader.text("says"),
        group=reader.text("group", "more"),
        duration_s=duration_s,
        seed=reader.integer("seed", 1, 0, 2**32),
        cluster=cluster,
        workload=workload,
        faults=tuple(_fault(entry, cluster, archive, duration_s) for entry in reader.tables("faults")),
        path=path,
        operations=operations.read_all(reader.tables("operations"), cluster.node_ids, duration_s, kinds),
        prefix=prefix,
        archive=archive,
    )
    if workload.api == "s3" and not _BUCKET.fullmatch(scenario.bucket):
        key = "prefix" if scenario.prefix else "name"
        reader.fault(key, f"makes {scenario.bucket!r} the bucket", "use 3 to 63 lower-case letters, digits and hyphens")
    reader.finish()
    if faults:
        raise ScenarioError("\n".join(f"{path}: {fault}" for fault in faults))
    return scenario


def _cluster(reader: TableReader) -> ClusterShape:
    nodes = reader.integer("nodes", 3, 1, NODES_MAX)
    factor = reader.integer("factor", min(3, nodes), 1, NODES_MAX)
    if factor > nodes:
        reader.fault("factor", f"is {factor}", f"there are {nodes} nodes: use 1 to {nodes}")
    least = reader.integer("min_write_replicas", factor // 2 + 1, 1, NODES_MAX)
    if least > factor:
        reader.fault("min_write_replicas", f"is {least}", f"the factor is {factor}: use 1 to {factor}")
    heal_every_s = reader.number("heal_every_s", ClusterShape().heal_every_s, 0.0, 3600.0)
    disks_per_node = reader.integer("disks_per_node", 1, 1, DISKS_MAX)
    parts_grace_s = reader.number("parts_grace_s", ClusterShape().parts_grace_s, 0.0, 86_400.0)
    tombstone_grace_s = reader.number("tombstone_grace_s", ClusterShape().tombstone_grace_s, 0.0, 3600.0)
    reader.finish()
    return ClusterShape(nodes, factor, least, heal_every_s, disks_per_node, parts_grace_s, tombstone_grace_s)


_OF_LISTED: Final = ("api", "versioning", "deadline_s")
_BUCKET: Final = re.compile("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def _workload(reader: TableReader, *, is_listed: bool) -> Workload:
    usual = Workload()
    for key in reader.keys if is_listed else ():
        if key not in _OF_LISTED:
            reader.fault(key, "does nothing beside [[operations]]", f"leave it out; {', '.join(_OF_LISTED)} counts")
    keys = reader.integer("keys", usual.keys, 1, KEYS_MAX)
    hot_keys = reader.integer("hot_keys", min(usual.hot_keys, keys), 0, KEYS_MAX)
    if hot_keys > keys:
        reader.fault("hot_keys", f"is {hot_keys}", f"there are {keys} keys: use 0 to {keys}")
    api = reader.choice("api", usual.api, APIS)
    if api != "s3" and reader.has("versioning"):
        reader.fault("versioning", f"does nothing for {api}", 'leave it out; it is for api = "s3"')
    workload = Workload(
        api=api,
        versioning=reader.choice("versioning", usual.versioning, VERSIONING),
        clients_per_node=reader.integer("clients_per_node", usual.clients_per_node, 1, 64),
        loop=reader.choice("loop", usual.loop, ("closed", "open")),
        rate_per_s=reader.number("rate_per_s", usual.rate_per_s, 0.1, 100_000),
        think_ms=reader.number("think_ms", usual.think_ms, 0, 60_000),
        keys=keys,
        hot_keys=hot_keys,
        hot_share=reader.number("hot_share", usual.hot_share if hot_keys else 0.0, 0, 1),
        roam=reader.number("roam", usual.roam, 0, 1),
        deadline_s=reader.number("deadline_s", usual.deadline_s, 0.05, 60),
        retries=reader.integer("retries", usual.retries, 0, 10),
        mix=reader.weights("mix", operations.KINDS_OF[api], usual.mix),
        sizes=tuple(_size(entry) for entry in reader.tables("sizes")) or usual.sizes,
    )
    reader.finish()
    return workload


def _size(reader: TableReader) -> SizeRange:
    weight = reader.number("weight", 1.0, 0.0, 1e6)
    low = reader.integer("min_bytes", 0, 0, SIZE_BYTES_MAX)
    high = reader.integer("max_bytes", max(low, 1024), 0, SIZE_BYTES_MAX)
    if high < low:
        reader.fault("max_bytes", f"is {high}", f"min_bytes is {low}: use {low} or more")
    reader.finish()
    return SizeRange(weight, low, high)


# which keys only some nemeses know; the others refuse them, as they would do nothing
ONLY_FOR: Final = {
    "how": ("partition", "one_way", "flap", "archive_down"),
    "direction": ("one_way",),
    "shape": ("partition",),
    "delay_ms": ("delay", "slow_disk", "archive_slow"),
    "delay_jitter_ms": ("delay", "slow_disk", "archive_slow"),
    "period_s": ("flap", "drop", "clock_skew"),
    "when": ("kill", "pause", "restart", "power_cut", "disk_lost"),
    "room_bytes": ("disk_full", "memory_limit"),
    "skew_ms": ("clock_jump", "clock_skew"),
    "drop_share": ("mangle", "loss"),
    "double_share": ("mangle",),
    "overtake_share": ("mangle",),
    "share": ("archive_throttle", "archive_lost_answer", "archive_cut", "archive_late"),
    "late_s": ("archive_late",),
}
NODES_FOR: Final = {"split": 1, "bridge": 3, "ring": 4}
"""The shapes of a partition, and how many nodes each takes at least."""
FOR_ALL: Final = (
    *("delay", "drop", "loss", "slow_disk", "clock_jump", "clock_skew", "mangle", "half_open"),
    *ARCHIVE_NEMESES,
)


def _fault(reader: TableReader, cluster: ClusterShape, archive: ArchiveShape, duration_s: float) -> FaultSpec:
    nemesis = reader.choice("nemesis", None, NEMESES)
    if nemesis in ARCHIVE_NEMESES and archive.kind != "s3":
        reader.fault("nemesis", f"is {nemesis}", 'it breaks the way to an S3: say [archive] kind = "s3"')
    for key, nemeses in ONLY_FOR.items():
        if reader.has(key) and nemesis not in nemeses:
            reader.fault(key, f"does nothing for {nemesis}", f"leave it out; it is for {', '.join(nemeses)}")
    spec = FaultSpec(
        nemesis=nemesis,
        at_s=reader.number("at_s", 1.0, 0.0, duration_s),
        for_s=reader.number("for_s", 1.0, 0.1, DURATION_S_MAX),
        jitter_s=reader.number("jitter_s", 0.0, 0.0, 60.0),
        target=_target(reader, cluster),
        times=reader.integer("times", 1, 1, 100),
        every_s=reader.number("every_s", 0.0, 0.0, DURATION_S_MAX),
        how=reader.choice("how", "stall" if nemesis == "one_way" else "reset", ("reset", "stall")),
        direction=reader.choice("direction", "out", ("out", "in")),
        shape=reader.choice("shape", "split", tuple(NODES_FOR)),
        delay_ms=reader.number("delay_ms", 100.0, 1.0, 10_000),
        delay_jitter_ms=reader.number("delay_jitter_ms", 20.0, 0.0, 10_000),
        period_s=reader.number("period_s", 0.4, 0.05, 60.0),
        when=reader.choice("when", "at_once", ("at_once", "mid_write")),
        room_bytes=reader.integer("room_bytes", 20_000, 0, 2**40),
        skew_ms=reader.number("skew_ms", 60_000.0, -SKEW_MS_MAX, SKEW_MS_MAX),
        drop_share=reader.number("drop_share", 0.05, 0.0, 1.0),
        double_share=reader.number("double_share", 0.1, 0.0, 1.0),
        overtake_share=reader.number("overtake_share", 0.1, 0.0, 1.0),
        share=reader.number("share", 0.5, 0.01, 1.0),
        late_s=reader.number("late_s", 2.0, 0.05, 60.0),
    )
    if cluster.nodes < NODES_FOR[spec.shape]:
        reader.fault("shape", f"is {spec.shape!r}", f"that takes {NODES_FOR[spec.shape]} nodes or more")
    if spec.shape == "ring" and spec.target != "all":
        reader.fault("target", f"is {spec.target!r}", 'a ring is of all nodes: use target = "all"')
    if spec.target == "all" and nemesis not in FOR_ALL and spec.shape != "ring":
        reader.fault("target", "is 'all'", f"only {', '.join(FOR_ALL)} can hit all; name a node or use random")
    if spec.drop_share + spec.double_share + spec.overtake_share > 1:
        reader.fault("drop_share", "is too much", "drop_share, double_share and overtake_share add up to 1 at most")
    if nemesis == "archive_late" and spec.late_s >= archive.request_life_s:
        told = f"archive.request_life_s is {archive.request_life_s:g}, and the archive refuses what is older: use less"
        reader.fault("late_s", f"is {spec.late_s:g}", told)
    if spec.times > 1 and spec.every_s < spec.for_s + 2 * spec.jitter_s:
        reader.fault("every_s", f"is {spec.every_s:g}", "injections would overlap: use for_s + 2 jitter_s or more")
    if spec.ends_s > duration_s:
        reader.fault("at_s", f"is {spec.at_s:g}", f"it may last until {spec.ends_s:g} s, the load {duration_s:g} s")
    reader.finish()
    return spec


def _target(reader: TableReader, cluster: ClusterShape) -> str:
    target = reader.text("target", "random")
    some = target.split("+")
    if target not in SYMBOLIC_TARGETS and (not set(some) <= set(cluster.node_ids) or len(set(some)) < len(some)):
        allowed = ", ".join((*SYMBOLIC_TARGETS, *cluster.node_ids))
        reader.fault("target", f"is {target!r}", f"use one of {allowed}, or several nodes as n1+n2")
        return "random"
    return target
