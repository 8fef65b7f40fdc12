"""Carries out one planned fault: wait for its time, find its target, strike, hold, heal, and say what was seen."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from tracegen.backend.face import Cluster
from tracegen.errors import HarnessError, Lost, NotSent
from tracegen.history import Recorder
from tracegen.nemesis.archive_cut import ArchiveCut
from tracegen.nemesis.archive_down import ArchiveDown
from tracegen.nemesis.archive_late import ArchiveLate
from tracegen.nemesis.archive_lost_answer import ArchiveLostAnswer
from tracegen.nemesis.archive_slow import ArchiveSlow
from tracegen.nemesis.archive_throttle import ArchiveThrottle
from tracegen.nemesis.bit_rot import BitRot
from tracegen.nemesis.clock_jump import ClockJump
from tracegen.nemesis.clock_skew import ClockSkew
from tracegen.nemesis.delay import Delay
from tracegen.nemesis.disk_error import DiskError
from tracegen.nemesis.disk_full import DiskFull
from tracegen.nemesis.disk_lost import DiskLost
from tracegen.nemesis.drop import Drop
from tracegen.nemesis.face import Nemesis, Scene, Seen
from tracegen.nemesis.flap import Flap
from tracegen.nemesis.half_open import HalfOpen
from tracegen.nemesis.kill import Kill
from tracegen.nemesis.loss import Loss
from tracegen.nemesis.mangle import Mangle
from tracegen.nemesis.memory_limit import MemoryLimit
from tracegen.nemesis.one_way import OneWay
from tracegen.nemesis.partition import Partition
from tracegen.nemesis.pause import Pause
from tracegen.nemesis.power_cut import PowerCut
from tracegen.nemesis.restart import Restart
from tracegen.nemesis.slow_disk import SlowDisk
from tracegen.schedule import Link, PlannedFault, links

NEMESES: Final[dict[str, Callable[[], Nemesis]]] = {
    "kill": Kill,
    "pause": Pause,
    "restart": Restart,
    "partition": Partition,
    "one_way": OneWay,
    "flap": Flap,
    "delay": Delay,
    "drop": Drop,
    "power_cut": PowerCut,
    "disk_lost": DiskLost,
    "disk_full": DiskFull,
    "disk_error": DiskError,
    "slow_disk": SlowDisk,
    "bit_rot": BitRot,
    "clock_jump": ClockJump,
    "clock_skew": ClockSkew,
    "loss": Loss,
    "memory_limit": MemoryLimit,
    "mangle": Mangle,
    "half_open": HalfOpen,
    "archive_down": ArchiveDown,
    "archive_slow": ArchiveSlow,
    "archive_throttle": ArchiveThrottle,
    "archive_lost_answer": ArchiveLostAnswer,
    "archive_cut": ArchiveCut,
    "archive_late": ArchiveLate,
}
MID_WRITE_PATIENCE_S: Final = 2.0
MID_WRITE_S: Final = (0.001, 0.012)  # from the client's first byte to the middle of the write


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """One line of faults.ndjson. `overlapping` operations of clients ran while it lasted."""

    name: str
    nemesis: str
    nodes: tuple[str, ...]
    links: tuple[Link, ...]
    start_us: int
    end_us: int
    probe: str
    bit: bool
    overlapping: int = 0


async def inject(
    fault: PlannedFault,
    cluster: Cluster,
    recorder: Recorder,
    find_coordinator: Callable[[], Awaitable[str]],
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Injection, str | None]:
    """Do what was planned, beginning at `start_s` from now; what came of it, and what stays broken if healing failed.

    `say` is told when it strikes, and whom.
    `end_us` is when the fault was over: a killed node is ready again.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(fault.start_s)
    hit, broken_links, note = fault.nodes, fault.links, ""
    try:
        if not hit:
            hit = (await find_coordinator(),)
            broken_links = links(fault.spec, hit, cluster.nodes)
        if fault.spec.when == "mid_write":
            note = await _await_write(hit[0], recorder, fault.seed)
    except HarnessError as error:
        now_us = recorder.clock.now_us()
        return _injection(fault, hit, broken_links, now_us, now_us, Seen(False, str(error))), None
    scene = Scene(cluster, fault.spec, hit, broken_links, loop.time() + fault.spec.for_s, fault.seed)
    nemesis = NEMESES[fault.spec.nemesis]()
    say(f"{fault.spec.nemesis} {', '.join(hit)}")
    start_us = recorder.clock.now_us()
    problem: str | None = None
    try:
        await nemesis.strike(scene)
        seen = await nemesis.hold(scene)
    except HarnessError as error:
        seen = Seen(False, str(error))
    finally:
        try:
            await nemesis.heal(scene)
        except HarnessError as error:
            problem = f"{fault.name} could not be healed: {error}"
    seen = Seen(seen.bit, seen.text + note)
    return _injection(fault, hit, broken_links, start_us, recorder.clock.now_us(), seen), problem


async def _await_write(node: str, recorder: Recorder, seed: str) -> str:
    """Wait until a client's write to this node is under way; says when it was struck."""
    begun = recorder.next_write(node)
    try:
        async with asyncio.timeout(MID_WRITE_PATIENCE_S):
            await begun
    except TimeoutError:
        raise HarnessError(f"no client wrote to {node} within {MID_WRITE_PATIENCE_S:g} s: nothing to strike") from None
    after_s = random.Random(f"{seed}/mid_write").uniform(*MID_WRITE_S)
    await asyncio.sleep(after_s)
    return f"; struck {after_s * 1000:.0f} ms after a write to {node} began"


async def coordinator_of(path: str, cluster: Cluster) -> str:
    """The preferred node of a path, as the cluster itself says. Raises HarnessError if no node answers."""
    reasons = []
    for node in cluster.nodes:
        connection = cluster.connection(node)
        try:
            answer = await connection.request("GET", f"/_/api/v1/slots/resolve?path={path}", (), None, 1.0)
            return msgspec.json.decode(answer.body, type=_Resolved).replicas[0]
        except (NotSent, Lost, msgspec.MsgspecError, IndexError) as error:
            reasons.append(f"{node}: {error}")
        finally:
            connection.close()
    raise HarnessError(f"no node says who coordinates {path}: {'; '.join(reasons)}")


class _Resolved(msgspec.Struct):
    replicas: list[str]


def _injection(
    fault: PlannedFault, hit: tuple[str, ...], broken: tuple[Link, ...], start_us: int, end_us: int, seen: Seen
) -> Injection:
    return Injection(
        name=fault.name,
        nemesis=fault.spec.nemesis,
        nodes=hit,
        links=broken,
        start_us=start_us,
        end_us=end_us,
        probe=seen.text,
        bit=seen.bit,
    )
