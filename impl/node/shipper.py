"""Ships the head of one path to the archive, and puts on record what the archive holds. Spec: Look, Ship, Confirm.

Any node may ship any path, and two may at once: what is sent takes the place of what was seen only, so one of them is
refused and looks again. What is decided is in `impl/protocol/tiering.py`; when to ship is `archivist.py`'s to say.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Literal

import msgspec
import structlog

from impl.archive import labels
from impl.archive.face import Archive
from impl.archive.settings import ArchiveSettings
from impl.cluster.peers import Peers
from impl.doors import Clock
from impl.errors import ArchiveChanged, ArchiveUnavailable, NotInArchive
from impl.model import Head
from impl.node.fetcher import Fetcher
from impl.node.locate import Locate
from impl.node.reader import Known, Reader
from impl.node.turns import Turns
from impl.node.uploads import Uploads
from impl.protocol import events
from impl.protocol.messages import Told
from impl.protocol.rules import HONEST, Rules
from impl.protocol.tiering import NOTHING, Seen, as_ours, holds, on_confirm, on_doubt, on_settle, way_of
from impl.storage.face import Registers
from impl.storage.steps import Committed
from impl.trace import Tracer

LOOKS_MAX: Final = 8
"""How often one shipment looks at the archive, when others write there at the same time."""

log = structlog.get_logger(__name__)


class Shipped(msgspec.Struct, frozen=True):
    """The archive holds this generation, or a newer one; `event` says how that is known. 0: there is no head at all."""

    generation: int
    event: str


class Looked(msgspec.Struct, frozen=True):
    """A head, and what the archive held of it; `began_s` is when the head began to be read."""

    head: Head
    seen: Seen
    event: str
    began_s: float

    @property
    def is_held(self) -> bool:
        """Does the archive hold the head?"""
        return holds(self.head, self.seen)


class Shipper:
    """Ships for one node; one round at a time for a path."""

    def __init__(
        self,
        node_id: str,
        cluster_id: str,
        settings: ArchiveSettings,
        archive: Archive,
        store: Registers,
        peers: Peers,
        reader: Reader,
        uploads: Uploads,
        fetcher: Fetcher,
        locate: Locate,
        tracer: Tracer,
        clock: Clock,
        rules: Rules = HONEST,
    ) -> None:
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._settings = settings
        self._archive = archive
        self._store = store
        self._peers = peers
        self._reader = reader
        self._uploads = uploads
        self._fetcher = fetcher
        self._locate = locate
        self._tracer = tracer
        self._clock = clock
        self._rules = rules
        self._turns = Turns()
        self.objects = 0
        self.size_bytes = 0

    async def ship(self, path: str, may_send: bool = True) -> Shipped | None:
        """Have the archive hold the path's head; None if it does not and nothing may be sent.

        Raises what Archive does, and what reading the head and the body does. After ArchiveUnavailable it may be there
        nevertheless, or come to be there.
        """
        async with self._turn(path):
            return await self._ship(path, None, may_send)

    async def through(self, path: str, known: Known) -> None:
        """Have the archive hold the head that a write has just chosen, before its client is answered.

        Raises as `ship` does.
        """
        async with self._turn(path):
            if self._rules.ack_write_through_early:
                shipped = Shipped(0, "")
            else:
                held = await self._ship(path, known, may_send=True)
                assert held is not None  # it may send
                shipped = held
            self._tracer.emit(
                events.Answer(
                    path=path,
                    cause=tuple(filter(None, (known.event, shipped.event))),
                    generation=known.head.generation if known.head else 0,
                )
            )

    async def settle(self, path: str, archived: int, waited_s: float) -> bool | None:
        """Look again at what is on record for so long, and put on record what is found (spec: Settle, Doubt).

        True if the archive still holds it, False if not: then it is shipped again. None if there is a newer head.
        """
        async with self._turn(path):
            began_s = self._clock.monotonic_s()
            known = await self._reader.known(path)
            if known.head is None or known.head.generation != archived:
                return None
            looked = await self._look(path, known, known.head, began_s)
            if looked is None:
                return None
            slot, _ = self._locate(path)
            if not looked.is_held:
                doubt = partial(on_doubt, path=path, generation=archived, cause=looked.event)
                await self._store.apply(path, slot, doubt)
                return False
            settle = partial(
                on_settle,
                path=path,
                generation=archived,
                waited_s=waited_s,
                request_life_s=self._settings.request_life_s,
                cause=looked.event,
            )
            committed = await self._store.apply(path, slot, settle)
            if committed.taken:
                self._tell(path, committed)
            return True

    async def _ship(self, path: str, known: Known | None, may_send: bool) -> Shipped | None:
        is_in_doubt = False
        for _ in range(LOOKS_MAX):
            began_s = self._clock.monotonic_s()
            known = known or await self._reader.known(path)
            if known.head is None:
                return Shipped(0, "")
            looked = await self._look(path, known, known.head, began_s)
            known = None
            if looked is None:
                continue
            if looked.is_held and not self._rules.ship_old_over_new:
                return await self._confirm(path, looked.head.generation, "look", looked.event)
            if not may_send:
                return None
            try:
                return await self._send(path, looked)
            except ArchiveChanged:
                pass
            except ArchiveUnavailable:
                # the answer may be all that was lost: another look tells
                if is_in_doubt:
                    raise
                is_in_doubt = True
        raise ArchiveUnavailable(f"{path!r} changes in the archive all the time; ask again")

    async def _look(self, path: str, known: Known, head: Head, began_s: float) -> Looked | None:
        """What the archive holds of this head; None if it is of a newer one, which has to be read first."""
        await self._store.read(path)  # tells the trace how this incarnation found the register
        seen = await self._seen(path)
        if seen.generation > head.generation:
            # read after the look: what is there was chosen before
            newest = await self._reader.known(path)
            if newest.head is None or newest.head.generation != head.generation:
                return None
        seen = as_ours(head, seen)
        event = self._tracer.emit(
            events.Look(
                path=path,
                cause=tuple(filter(None, (known.event, seen.ship))),
                accepted=known.accepted,
                generation=head.generation,
                deleted=head.deleted,
                found_present=seen.is_present,
                found_generation=seen.generation,
                found_etag=seen.etag,
            )
        )
        return Looked(head, seen, event, began_s)

    async def _seen(self, path: str) -> Seen:
        try:
            return labels.seen(await self._archive.head(self._settings.key_of(path)), self._cluster_id)
        except NotInArchive:
            return NOTHING

    async def _send(self, path: str, looked: Looked) -> Shipped:
        head, seen = looked.head, looked.seen
        is_blind = self._rules.ship_old_over_new
        ship = self._tracer.emit(
            events.Ship(
                path=path,
                cause=(looked.event,) if looked.event else (),
                generation=head.generation,
                deleted=head.deleted,
                etag=head.etag,
                found_present=seen.is_present,
                found_generation=seen.generation,
                condition="none" if is_blind else "etag_is" if seen.is_present else "absent",
                condition_etag=None if is_blind else seen.etag,
            )
        )
        self._tracer.flush()
        if self._rules.confirm_before_shipped:
            await self._confirm(path, head.generation, "ship", ship)
        half_life_s = self._settings.request_life_s / 2
        try:
            # no request is sent longer after its head was read: by then, another half later, all are dead
            async with asyncio.timeout(looked.began_s + half_life_s - self._clock.monotonic_s()):
                if way_of(head, seen, self._rules) == "delete":
                    await self._archive.delete(self._settings.key_of(path), if_match=seen.etag)
                else:
                    await self._put(path, head, seen, ship)
        except TimeoutError:
            raise ArchiveUnavailable(
                f"{path!r} took longer to ship than {half_life_s:g} s; is the archive slow? "
                "raise archive.request_life_s for objects that need so long"
            ) from None
        self.objects += 1
        self.size_bytes += head.size_bytes
        done = self._tracer.emit(events.Shipped(path=path, cause=(ship,) if ship else (), generation=head.generation))
        return await self._confirm(path, head.generation, "ship", done)

    async def _put(self, path: str, head: Head, seen: Seen, ship: str) -> None:
        content_type, metadata = labels.label(head, self._cluster_id, ship)
        is_blind = self._rules.ship_old_over_new
        await self._archive.put(
            self._settings.key_of(path),
            head.body if head.body is not None else self._parts(path, head),
            content_type=content_type,
            metadata=metadata,
            size_bytes=head.size_bytes,
            if_match=None if is_blind else seen.etag,
            if_absent=not seen.is_present and not is_blind,
        )

    async def _parts(self, path: str, head: Head) -> AsyncIterator[bytes]:
        slot, group = self._locate(path)
        source = self._fetcher.source(path, head)  # an amended head is shipped anew, and its parts may be evicted
        async for piece in self._uploads.read(slot, group, head, 0, head.size_bytes, source):
            yield bytes(piece)

    async def _confirm(self, path: str, generation: int, by: Literal["ship", "look"], event: str) -> Shipped:
        """Put on record, here and with the other replicas, that the archive holds a generation."""
        slot, group = self._locate(path)
        if self._node_id in group.nodes:
            decide = partial(on_confirm, path=path, generation=generation, by=by, cause=event)
            committed = await self._store.apply(path, slot, decide)
            if committed.taken:
                self._tell(path, committed)
        return Shipped(generation, event)

    def _tell(self, path: str, committed: Committed) -> None:
        register = committed.register
        told = Told(path, register.archived, register.is_settled, committed.event_id)
        self._peers.tell([node for node in self._locate(path)[1].nodes if node != self._node_id], told)

    @contextlib.asynccontextmanager
    async def _turn(self, path: str) -> AsyncIterator[None]:
        await self._turns.take(path)
        try:
            yield
        finally:
            self._turns.give_back(path)
