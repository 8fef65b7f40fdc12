"""Scrubbing: whatever lies on this node's disk is read, at a bounded rate, and had anew where it has rotted.

Parts are checked against the digests that name them; one that has rotted is moved aside (parts.py) and had from another
replica. SQLite has no checksums of its own pages here, so small bodies, which ride in the registers' rows, are checked
too: an object's etag is the MD5 or the first half of the SHA-256 of such a body, whichever API wrote it. One that has
neither is written anew from a replica that has accepted the same ballot, as the head that it is; no ballot changes, so
the protocol does not see it. Rows of which nothing can be said are left to SQLite, which reports a page that makes no
sense: system registers, whose etags are no digests, and the heads themselves, whose rot shows as an error when read.

Where it stands is kept with the registers, a slot at a time, so that a restart goes on there; a slot is begun anew. It
waits after each read for as long as that many bytes may take, and after a whole pass for a rest.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.cluster.peers import Peers
from impl.doors import Clock
from impl.errors import AmberioError, BadBytes
from impl.model import SYSTEM_START, Head, PartRef, Register, ReplicaSet
from impl.node.limits import Timing
from impl.node.locate import Locate
from impl.node.uploads import Uploads
from impl.protocol.acceptor import Step
from impl.protocol.messages import Read, State
from impl.storage.face import Registers
from impl.storage.parts import PartStore

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
PLACE: Final = "scrubbed_slots"
"""The counter of the node that says how many of its slots the pass that is under way has done."""
REMEMBER_S: Final = 10.0
SLOTS_AT_ONCE: Final = 32
ROWS_PAGE: Final = 64
"""Bodies read at once: 4 MiB at most."""

log = structlog.get_logger(__name__)


class Scrubbed(msgspec.Struct):
    """What scrubbing came to since the start."""

    passes: int = 0
    parts: int = 0
    bodies: int = 0
    size_bytes: int = 0
    rotten: int = 0
    repaired: int = 0


class Scrubber(Collector):
    """Reads what lies on one node's disk, over and over."""

    def __init__(
        self,
        node_id: str,
        incarnation: int,
        groups: Sequence[ReplicaSet],
        store: Registers,
        parts: PartStore,
        peers: Peers,
        uploads: Uploads,
        locate: Locate,
        clock: Clock,
        timing: Timing,
        bytes_per_s: int,
    ) -> None:
        self._node_id = node_id
        self._prefix = f"{node_id}.{incarnation}.s"
        self._groups = groups
        self._slots = [slot for slot, group in enumerate(groups) if node_id in group.nodes]
        self._store = store
        self._parts = parts
        self._peers = peers
        self._uploads = uploads
        self._locate = locate
        self._clock = clock
        self._timing = timing
        self._bytes_per_s = bytes_per_s
        self._place = 0
        self.total = Scrubbed()

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        total = self.total
        yield CounterMetricFamily("amberio_scrub_passes", "Whole passes over this node's disk.", total.passes)
        yield CounterMetricFamily("amberio_scrub_parts", "Parts read and checked.", total.parts)
        yield CounterMetricFamily("amberio_scrub_bodies", "Bodies in registers read and checked.", total.bodies)
        yield CounterMetricFamily("amberio_scrub_bytes", "Bytes of both.", total.size_bytes)
        yield CounterMetricFamily("amberio_scrub_rotten", "Of both, those that had rotted.", total.rotten)
        yield CounterMetricFamily("amberio_scrub_repaired", "Of these, those had anew.", total.repaired)
        yield GaugeMetricFamily("amberio_scrub_place", "Slots that the pass under way has done.", self._place)

    async def scrub(self) -> None:
        """Go on with the pass that is under way, to its end. Raises InternalError if the disk fails."""
        self._place = await self._store.recall(PLACE)
        remembered_s = self._clock.monotonic_s()
        for first in range(self._place, len(self._slots), SLOTS_AT_ONCE):
            names = await self._parts.names(self._slots[first : first + SLOTS_AT_ONCE])
            for place, slot in enumerate(self._slots[first : first + SLOTS_AT_ONCE], start=first):
                for _, digest in (each for each in names if each[0] == slot and DIGEST.fullmatch(each[1])):
                    await self._check_part(slot, digest)
                self._place = place + 1
                if self._clock.monotonic_s() - remembered_s >= REMEMBER_S:
                    await self._store.remember(PLACE, self._place)
                    remembered_s = self._clock.monotonic_s()
        await self._check_bodies()
        await self._store.remember(PLACE, 0)
        self._place = 0
        self.total.passes += 1

    async def _check_part(self, slot: int, digest: str) -> None:
        try:
            size_bytes = await self._parts.check(slot, digest)
        except BadBytes:
            self.total.rotten += 1
            await self._mend_part(slot, digest)
            return
        if size_bytes is not None:
            self.total.parts += 1
            await self._pay(size_bytes)

    async def _mend_part(self, slot: int, digest: str) -> None:
        try:
            await self._uploads.have(slot, self._groups[slot], [PartRef(digest, 0)])
        except AmberioError as error:
            # the garbage collector asks again for what a head names, and misses nothing else
            log.error("a part has rotted, and no other replica has it", slot=slot, digest=digest, reason=str(error))
        else:
            self.total.repaired += 1

    async def _pay(self, size_bytes: int) -> None:
        self.total.size_bytes += size_bytes
        await self._clock.sleep(size_bytes / self._bytes_per_s)

    async def _check_bodies(self) -> None:
        after: str | None = ""
        while after is not None:
            rotten, count, size_bytes, after = await self._store.bodies_page(after, ROWS_PAGE, is_right)
            self.total.bodies += count
            for path in rotten:
                self.total.rotten += 1
                log.error("a body in a register does not match its etag", path=path)
                await self._mend_body(path)
            await self._pay(size_bytes)

    async def _mend_body(self, path: str) -> None:
        slot, group = self._locate(path)
        for node in group.nodes:
            if node == self._node_id:
                continue
            read = f"{self._prefix}{self.total.rotten}"
            answer = await self._peers.ask(node, Read(path, read, body=True), self._timing.step_s)
            if not isinstance(answer, State) or answer.head is None or not is_right(path, answer.head):
                continue
            committed = await self._store.apply(path, slot, partial(_with_body_of, found=answer))
            if committed.taken:
                self.total.repaired += 1
                return


def is_right(path: str, head: Head) -> bool:
    """Does a head with an inline body say the truth of it, as far as can be told?"""
    body = head.body
    if body is None or path.startswith(SYSTEM_START) or head.deleted:
        return True
    if len(body) != head.size_bytes:
        return False
    return head.etag in (hashlib.sha256(body).hexdigest()[:32], hashlib.md5(body, usedforsecurity=False).hexdigest())


def _with_body_of(register: Register, found: State) -> Step:
    """The register with its body as another replica has it; not taken if either has accepted something else since."""
    head, right = register.head, found.head
    if head is None or right is None or found.accepted != register.accepted or head.etag != right.etag:
        return Step(register, False, None)
    mended = msgspec.structs.replace(head, body=right.body)
    return Step(msgspec.structs.replace(register, head=mended), True, None)
