"""Keeps the archive up with this node's registers, in the background: what is unshipped is shipped, then settled.

The registers themselves are the queue, so it is as durable as they are, and every replica of a slot has it. The first
live node of the slot's replica set ships; if two think that they are, both are right to (`shipper.py`). The others wait
to be told, then look for themselves at what they were not told about, and then ship it themselves. Spec: Settle, Doubt.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import structlog

from impl.archive.settings import ArchiveSettings
from impl.doors import Clock
from impl.errors import AmberioError, ArchiveThrottled, ArchiveUnavailable, NoQuorum, Overloaded
from impl.model import NOTHING_AFTER, Unshipped
from impl.node.locate import Locate
from impl.node.shipper import Shipper
from impl.storage.face import Registers

PAGE_MAX: Final = 256
POLL_S: Final = 1.0
"""How often the queue is looked through if nothing new has come: for what failed, or was another node's to ship."""
THROUGH_S: Final = 5.0
"""So long a write-through is left to the node that serves it."""
LEFT_S: Final = 10.0
"""So long another node is left to ship and tell us."""
WAITS_MAX: Final = 10_000
"""Paths of which it is known since when they wait, or when to try again."""
PAUSE_FIRST_S: Final = 0.1
PAUSE_MOST_S: Final = 5.0
AGAIN_S: Final = 30.0
"""When to try what failed for a reason of its own, such as a part that is nowhere."""

log = structlog.get_logger(__name__)


class Liveness(Protocol):
    def first_live(self, nodes: Sequence[str]) -> str | None: ...


class Archivist:
    """Ships what one node has to, and settles it."""

    def __init__(
        self,
        node_id: str,
        settings: ArchiveSettings,
        store: Registers,
        shipper: Shipper,
        liveness: Liveness,
        locate: Locate,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._settings = settings
        self._store = store
        self._shipper = shipper
        self._liveness = liveness
        self._locate = locate
        self._clock = clock
        self._turns = asyncio.Semaphore(settings.ships_at_once)
        self._shipping: dict[str, asyncio.Task[None]] = {}
        self._again_s: dict[str, float] = {}
        self._waits_since_s: dict[str, float] = {}
        self._left: set[str] = set()
        self._confirmed_since: dict[str, tuple[int, float]] = {}
        self._pause_s = 0.0
        self._paused_until_s = 0.0
        self._oldest_ms: int | None = None
        # since when something waits without a break, by a clock that does not jump; what an earlier process left may
        # have waited for longer
        self._waiting_since_s = clock.monotonic_s()
        self._is_left_over = store.backlog.registers > 0
        self.failures = 0
        self.settled = 0
        self.doubted = 0

    async def close(self) -> None:
        """Give up what is under way; it is shipped by whoever comes next."""
        tasks = tuple(self._shipping.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def oldest_s(self) -> float:
        """How long the oldest head waits that is not shipped, by the wall clock of whoever wrote it.

        A clock that was wrong makes it no longer than this node knows it to be.
        """
        if self._oldest_ms is None:
            return 0.0
        told_s = max(0.0, (self._clock.now_ms() - self._oldest_ms) / 1000)
        return told_s if self._is_left_over else min(told_s, self._clock.monotonic_s() - self._waiting_since_s)

    @property
    def pending(self) -> tuple[int, int]:
        """How many registers wait here to be shipped, by whoever, and their bytes."""
        return self._store.backlog.registers, self._store.backlog.size_bytes

    def check_room(self) -> None:
        """Raises Overloaded if so much waits to be shipped that no more must come."""
        size_bytes = self._store.backlog.size_bytes
        if size_bytes > self._settings.lag_bytes_max:
            raise Overloaded(
                f"{size_bytes} bytes wait for the archive, archive.lag_bytes_max is {self._settings.lag_bytes_max}; "
                "nothing was written; try again when the archive has caught up"
            )
        if self.oldest_s > self._settings.lag_s_max:
            raise Overloaded(
                f"a write waits for the archive since {self.oldest_s:.0f} s, archive.lag_s_max is "
                f"{self._settings.lag_s_max:g}; nothing was written; try again when the archive has caught up"
            )

    # -- shipping

    async def ship_due(self) -> None:
        """Begin to ship what is ours to ship, those first that wait longest; until the archive is in trouble.

        Raises InternalError if the queue cannot be read.
        """
        self._store.backlog.grew.clear()
        after = NOTHING_AFTER
        waiting: set[str] = set()
        oldest_ms: int | None = None
        while True:
            page = await self._store.unshipped(after, PAGE_MAX)
            for row in page:
                oldest_ms = row.since_ms if oldest_ms is None else oldest_ms
                waiting.add(row.path)
                if not self._is_due(row):
                    continue
                await self._turns.acquire()
                if self._clock.monotonic_s() < self._paused_until_s:
                    self._turns.release()
                    self._oldest_ms = oldest_ms
                    return
                self._begin(row.path, self._is_ours(row))
            if len(page) < PAGE_MAX:
                break
            after = page[-1].since_ms, page[-1].path
        self._oldest_ms = oldest_ms
        if not waiting:
            self._waiting_since_s, self._is_left_over = self._clock.monotonic_s(), False
        for gone in (self._waits_since_s.keys() | self._again_s.keys() | self._left) - waiting:
            self._waits_since_s.pop(gone, None)
            self._again_s.pop(gone, None)
            self._left.discard(gone)

    async def until_more(self) -> None:
        """Wait until there may be something to ship, and the archive is not left alone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._store.backlog.grew.wait()
        pause_s = self._paused_until_s - self._clock.monotonic_s()
        if pause_s > 0:
            await self._clock.sleep(pause_s)

    def _is_ours(self, row: Unshipped) -> bool:
        return self._liveness.first_live(self._locate(row.path)[1].nodes) == self._node_id

    def _is_due(self, row: Unshipped) -> bool:
        """Is it time to ship this, or to look whether somebody else has?"""
        if row.path in self._shipping:
            return False
        now_s = self._clock.monotonic_s()
        if now_s < self._again_s.get(row.path, 0.0):
            return False
        is_through = self._settings.mode_of(row.path) == "write_through"
        wait_s = LEFT_S if not self._is_ours(row) else THROUGH_S if is_through else 0.0
        if not wait_s:
            return True
        if row.path not in self._waits_since_s and len(self._waits_since_s) >= WAITS_MAX:
            return False
        return now_s - self._waits_since_s.setdefault(row.path, now_s) >= wait_s

    def _begin(self, path: str, is_ours: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._ship(path, is_ours))
        self._shipping[path] = task
        task.add_done_callback(partial(self._ended, path))

    def _ended(self, path: str, task: asyncio.Task[None]) -> None:
        del self._shipping[path]
        self._turns.release()

    async def _ship(self, path: str, is_ours: bool) -> None:
        try:
            # whose it is to ship may not even have it, as it was away when it was written
            shipped = await self._shipper.ship(path, may_send=is_ours or path in self._left)
        except (ArchiveUnavailable, ArchiveThrottled, NoQuorum) as error:
            self.failures += 1
            self._pause(error)
        except AmberioError as error:
            self.failures += 1
            log.warning("not shipped", path=path, error=str(error))
            if len(self._again_s) < WAITS_MAX:
                self._again_s[path] = self._clock.monotonic_s() + AGAIN_S
        else:
            self._pause_s = 0.0
            self._waits_since_s.pop(path, None)
            if not is_ours:
                self._waits_since_s[path] = self._clock.monotonic_s()
            if shipped is None and len(self._left) < WAITS_MAX:
                self._left.add(path)

    def _pause(self, error: AmberioError) -> None:
        """The archive is in trouble: leave it alone for a while, longer each time."""
        now_s = self._clock.monotonic_s()
        if now_s < self._paused_until_s:
            return
        self._pause_s = min(max(2 * self._pause_s, PAUSE_FIRST_S), PAUSE_MOST_S)
        after_s = getattr(error, "after_s", None) or 0.0
        self._paused_until_s = now_s + max(self._pause_s, min(after_s, PAUSE_MOST_S))
        log.warning("shipping pauses", error=str(error), pause_s=round(self._pause_s, 2))

    # -- settling

    @property
    def settle_every_s(self) -> float:
        """How often `settle_due` finds something to do, about."""
        return min(self._settings.request_life_s / 4, 60.0)

    async def settle_due(self) -> None:
        """Look again at what is on record for longer than any request lives. Raises AmberioError."""
        after = ""
        seen: set[str] = set()
        while True:
            page = await self._store.unsettled(after, PAGE_MAX)
            for path, archived in page:
                seen.add(path)
                now_s = self._clock.monotonic_s()
                since = self._confirmed_since.get(path)
                if since is None or since[0] != archived:
                    if since is not None or len(self._confirmed_since) < WAITS_MAX:
                        self._confirmed_since[path] = archived, now_s
                elif now_s - since[1] >= self._settings.request_life_s:
                    await self._settle(path, archived, now_s - since[1])
            if len(page) < PAGE_MAX:
                break
            after = page[-1][0]
        for gone in self._confirmed_since.keys() - seen:
            del self._confirmed_since[gone]

    async def _settle(self, path: str, archived: int, waited_s: float) -> None:
        is_held = await self._shipper.settle(path, archived, waited_s)
        if is_held:
            self.settled += 1
        elif is_held is False:
            self.doubted += 1
            log.warning("the archive lost what it had; it is shipped again", path=path, generation=archived)
