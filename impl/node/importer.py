"""Takes over what the archive's bucket held before there was this cluster: page by page, bodies only when wanted.

Each object becomes a head that says where its body is, written only where nothing was ever written: so it does not
matter if two nodes import, or one imports twice. How far it got is a register of the cluster, so any node goes on from
there. Until all is imported, a path that is not there yet is looked for in the archive.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from impl.archive import labels
from impl.archive.face import Archive, Archived, Listed
from impl.archive.settings import ArchiveSettings, ScanSettings
from impl.doors import Clock
from impl.errors import NotInArchive
from impl.model import SYSTEM_START, Head, PathError, ReplicaSet, normalise_path
from impl.node.coordinator import Coordinator
from impl.node.keeper import Keeper
from impl.node.reader import Reader
from impl.protocol.change import Change, Condition

PROGRESS_PATH: Final = SYSTEM_START + "import"
AT_ONCE: Final = 16
"""Objects of one page that are looked at at a time."""
AGAIN_S: Final = 2.0
NEVER_WRITTEN: Final = Condition("generation_is", generation=0)

log = structlog.get_logger(__name__)


class Progress(msgspec.Struct, frozen=True):
    """How far the import got: the archive's token of the next page, objects imported and left out so far."""

    token: str | None = None
    imported: int = 0
    left_out: int = 0
    is_done: bool = False


class Liveness(Protocol):
    def first_live(self, nodes: Sequence[str]) -> str | None: ...


OnBucket = Callable[[str], Awaitable[None]]


async def no_bucket(name: str) -> None:
    """Nobody wants to hear of buckets."""


class Importer:
    """The import, as one node does it or waits for it."""

    def __init__(
        self,
        node_id: str,
        settings: ArchiveSettings,
        scan: ScanSettings,
        archive: Archive,
        reader: Reader,
        coordinator: Coordinator,
        locate: Callable[[str], tuple[int, ReplicaSet]],
        liveness: Liveness,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._settings = settings
        self._scan = scan
        self._archive = archive
        self._reader = reader
        self._coordinator = coordinator
        self._locate = locate
        self._liveness = liveness
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.keeper = Keeper("import", self._look, self._rest, rests_first=False)
        self._buckets: set[str] = set()
        self.progress = Progress(is_done=not scan.enabled)
        self._on_bucket: OnBucket = no_bucket

    def start(self, on_bucket: OnBucket) -> None:
        """Begin to import, or to wait until another node has done so.

        `on_bucket` is told of what comes before the first slash of a path, before anything there is imported.
        """
        self._on_bucket = on_bucket
        if not self.progress.is_done:
            self.keeper.start()

    async def close(self) -> None:
        """Stop; it is gone on with from the last page."""
        await self.keeper.close()

    async def look_for(self, path: str, head: Head | None) -> Head | None:
        """The head of a path, imported now if the import has not come to it yet. Raises what Archive does."""
        if head is not None or self.progress.is_done or path.startswith(SYSTEM_START):
            return head
        try:
            about = await self._archive.head(self._settings.key_of(path))
        except NotInArchive:
            return None
        await self._import(path, about)
        return await self._reader.head(path)

    async def _look(self) -> None:
        """Import page after page while that is ours to do, from where the cluster got. Raises AmberioError."""
        while not self.progress.is_done:
            head = await self._reader.head(PROGRESS_PATH)
            if head is not None and head.body is not None:
                self.progress = msgspec.json.decode(head.body, type=Progress)
            group = self._locate(PROGRESS_PATH)[1]
            if self.progress.is_done:
                break
            if self._liveness.first_live(group.nodes) != self._node_id:
                return
            await self._import_page(0 if head is None else head.generation)
        log.info("imported", objects=self.progress.imported, left_out=self.progress.left_out)

    async def _rest(self) -> None:
        if self.progress.is_done:
            await asyncio.get_running_loop().create_future()  # for good: there is nothing left to import
        await self._clock.sleep(AGAIN_S)

    async def _import_page(self, generation: int) -> None:
        """The next page, and then how far it got; two nodes that do so at once count its objects once."""
        page = await self._archive.list(self._settings.key_prefix, self.progress.token, self._scan.page_size)
        done = await asyncio.gather(*map(self._import_listed, page.objects), return_exceptions=True)
        for failed in done:
            if isinstance(failed, BaseException):
                raise failed
        imported = done.count(True)
        progress = Progress(
            page.next_token,
            self.progress.imported + imported,
            self.progress.left_out + len(done) - imported,
            page.next_token is None,
        )
        body = msgspec.json.encode(progress)
        change = Change(
            operation="put",
            write_id=f"import-{self._node_id}-{generation}",
            condition=Condition("generation_is", generation=generation),
            etag=f"{progress.imported}",
            size_bytes=len(body),
            content_type="application/json",
            updated_at_ms=self._clock.now_ms(),
            body=body,
        )
        chosen = await self._coordinator.run(PROGRESS_PATH, change)
        if chosen.outcome == "applied":
            self.progress = progress
            log.info("imported a page", objects=progress.imported, left_out=progress.left_out)

    async def _import_listed(self, listed: Listed) -> bool:
        """Import one object of a list; False if its key cannot be a path, or it is gone."""
        path = listed.key.removeprefix(self._settings.key_prefix)
        try:
            is_path = normalise_path(path) == path
        except PathError as error:
            is_path = False
            log.warning("not imported", key=listed.key, reason=str(error))
        if not is_path:
            return False
        async with self._turns:
            try:
                about = await self._archive.head(listed.key)
            except NotInArchive:
                return False
            await self._import(path, about)
        return True

    async def _import(self, path: str, about: Archived) -> None:
        """Write the head of an object, if nothing was ever written at its path."""
        bucket, slash, _ = path.partition("/")
        if slash and bucket not in self._buckets:
            await self._on_bucket(bucket)
            self._buckets.add(bucket)
        change = Change(
            operation="put",
            write_id=f"import-{about.etag}",
            condition=NEVER_WRITTEN,
            etag=about.etag,
            size_bytes=about.size_bytes,
            content_type=about.content_type,
            updated_at_ms=about.modified_at_ms,
            attributes=labels.attributes(about.metadata),
            is_imported=True,
        )
        await self._coordinator.run(path, change)
