"""What the archive means for one node's requests: who must wait for it, and where a body may come from.

A node without an archive has none of this.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import msgspec
import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.archive.face import Archive
from impl.archive.settings import ArchiveSettings, Mode
from impl.errors import AmberioError, NeverWritten, OutcomeUnknown
from impl.model import SYSTEM_START, Head
from impl.node.archivist import Archivist
from impl.node.coordinator import Chosen
from impl.node.evictor import Evictor
from impl.node.fetcher import Fetcher
from impl.node.importer import Importer
from impl.node.keeper import Keeper
from impl.node.locate import Locate
from impl.node.reader import Known, Reader
from impl.node.shipper import Shipper
from impl.node.uploads import Source
from impl.protocol.change import Change
from impl.storage.face import Registers
from impl.storage.parts import PartStore

THROUGH_S: Final = 30.0
"""So long a client waits for the archive."""


CLOSE_S: Final = 5.0
"""So long the end of a node waits for it."""

log = structlog.get_logger(__name__)


class Lag(msgspec.Struct, frozen=True):
    """What waits on one node to be shipped: registers, their bytes, and for how long the oldest one does.

    Besides, how far the import of what the archive had before is, as far as this node knows: objects that were
    imported, and left out.
    """

    pending: int
    pending_bytes: int
    oldest_s: float
    shipping_failures: int
    circuit: str
    mode: Mode
    is_import_done: bool
    imported: int
    left_out: int


class Indexed(msgspec.Struct, frozen=True):
    """What this node has on record of a path and the archive; `here` are the parts that lie on its disk."""

    path: str
    head: Head
    archived: int
    is_settled: bool
    target: str
    here: frozenset[str]


class Tiering(Collector):
    """The archive's part in the requests of one node."""

    def __init__(
        self,
        settings: ArchiveSettings,
        archive: Archive,
        shipper: Shipper,
        archivist: Archivist,
        fetcher: Fetcher,
        evictor: Evictor,
        importer: Importer,
        keepers: Sequence[Keeper],
        reader: Reader,
        store: Registers,
        parts: PartStore,
        locate: Locate,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._shipper = shipper
        self._archivist = archivist
        self._fetcher = fetcher
        self._evictor = evictor
        self.keepers = keepers
        self.importer = importer
        self._reader = reader
        self._store = store
        self._parts = parts
        self._locate = locate
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """What tells Prometheus of the archive and of what goes there."""
        of_archive = getattr(self._archive, "metrics", None)
        return (self, self._fetcher, self._evictor, *((of_archive,) if of_archive is not None else ()))

    def start(self) -> None:
        """Begin to ship, settle and evict in the background."""
        for keeper in self.keepers:
            keeper.start()

    async def close(self) -> None:
        """Stop shipping, and let go of the archive."""
        await self.importer.close()
        for keeper in self.keepers:
            await keeper.close()
        await self._archivist.close()
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self._fetcher.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._archive.close()
        except TimeoutError:
            log.warning("the archive does not answer; what was under way there is given up", waited_s=CLOSE_S)

    def check_room(self, path: str) -> None:
        """Raises Overloaded if a write of this path must wait until the archive has caught up."""
        if self._settings.mode_of(path) == "write_back":
            self._archivist.check_room()

    def may_be_elsewhere(self, path: str) -> bool:
        """May a body be in the archive and on no disk?"""
        return self._settings.kind != "none" and not path.startswith(SYSTEM_START)

    def source(self, path: str, head: Head) -> Source | None:
        """Where the parts of a path's current version come from that no replica has."""
        return self._fetcher.source(path, head)

    def imported(self, path: str, slot: int, head: Head, start: int, end: int) -> AsyncIterator[memoryview]:
        """The bytes [start, end) of a body that was imported."""
        return self._fetcher.imported(path, slot, head, start, end)

    async def look_for(self, path: str, head: Head | None) -> Head | None:
        """The head of a path, which may be one that the import has not come to yet."""
        return await self.importer.look_for(path, head)

    async def before_change(self, path: str, change: Change) -> None:
        """What a change finds must be imported first: a precondition may be about it, or a delete."""
        if not self.importer.progress.is_done and not path.startswith(SYSTEM_START):
            await self.importer.look_for(path, await self._reader.head(path))

    async def through(self, path: str, change: Change, chosen: Chosen) -> None:
        """If the path's mode is write-through, return when the archive has what was written, or something newer.

        Raises OutcomeUnknown if it does not in time: then the write is chosen, and shipped later.
        """
        if self._settings.mode_of(path) != "write_through" or chosen.result.head is None:
            return
        # a delete may find what an earlier one, whose outcome is unknown, has deleted already
        is_again = chosen.outcome == "unchanged" and change.operation in ("delete", "mark")
        if chosen.outcome not in ("applied", "replayed") and not is_again:
            return
        known = Known(chosen.result.head, chosen.ballot, chosen.event)
        shipping = asyncio.get_running_loop().create_task(self._shipper.through(path, known))
        self._waiting.add(shipping)
        shipping.add_done_callback(self._ended)
        try:
            # a client that goes away, or is told to wait no longer, does not take the shipment with it
            async with asyncio.timeout(THROUGH_S):
                await asyncio.shield(shipping)
        except (AmberioError, TimeoutError) as error:  # of whatever kind: the write is chosen
            reason = str(error) or f"it did not answer within {THROUGH_S:g} s"
            raise OutcomeUnknown(
                f"{path!r} is written, but not yet in the archive: {reason}; it is shipped as soon as that can be: "
                "retry with the same x-amberio-write-id to find out"
            ) from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has been told; the archivist tries again

    async def archive(self, path: str) -> tuple[int, str]:
        """Have the archive hold a path's head; its generation, and the key. Raises NeverWritten, what Shipper does."""
        shipped = await self._shipper.ship(path)
        if shipped is None or not shipped.generation:
            raise NeverWritten(f"{path!r} was never written")
        return shipped.generation, self._settings.key_of(path)

    async def index(self, prefix: str, after: str | None, limit: int) -> tuple[list[Indexed], str | None]:
        """What this node has on record, of the next paths; the last one that was looked at if there are more."""
        rows = await self._store.scan(prefix, after, limit)
        found = []
        for path, register in rows.registers:
            head = register.head
            if head is None or path.startswith(SYSTEM_START):
                continue
            digests = [ref.digest for ref in head.parts]
            missing = await self._parts.missing(self._locate(path)[0], digests) if digests else ()
            here = frozenset(digests) - frozenset(missing)
            target = self._settings.key_of(path)
            found.append(Indexed(path, head, register.archived, register.is_settled, target, here))
        return found, rows.registers[-1][0] if rows.has_more and rows.registers else None

    def lag(self) -> Lag:
        """What waits to be shipped here."""
        registers, size_bytes = self._archivist.pending
        progress = self.importer.progress
        return Lag(
            registers,
            size_bytes,
            self._archivist.oldest_s,
            self._archivist.failures,
            self._circuit(),
            self._settings.mode,
            progress.is_done,
            progress.imported,
            progress.left_out,
        )

    def _circuit(self) -> str:
        metrics = getattr(self._archive, "metrics", None)
        return "closed" if metrics is None or metrics.pressure is None else str(metrics.pressure.circuit)

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        lag = self.lag()
        yield GaugeMetricFamily("amberio_unshipped", "Registers that wait for the archive.", lag.pending)
        yield GaugeMetricFamily("amberio_unshipped_bytes", "Bytes that wait for the archive.", lag.pending_bytes)
        yield GaugeMetricFamily("amberio_unshipped_oldest_seconds", "For how long the oldest waits.", lag.oldest_s)
        yield CounterMetricFamily("amberio_shipped", "Objects shipped by this node.", self._shipper.objects)
        yield CounterMetricFamily("amberio_shipped_bytes", "Their bytes.", self._shipper.size_bytes)
        yield CounterMetricFamily("amberio_shipping_failures", "Shipments that failed.", lag.shipping_failures)
        yield CounterMetricFamily("amberio_settled", "Objects found again after a while.", self._archivist.settled)
        yield CounterMetricFamily("amberio_doubted", "Objects not found again.", self._archivist.doubted)
