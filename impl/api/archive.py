"""The archive, as operators see it, beside the native API (rows A5, B4): what waits, what is there, on demand.

Served only where there is an archive.
"""

from typing import Final

import msgspec

from impl.api import arguments
from impl.api.http.exchange import Answer, Operation, Request, json_answer
from impl.api.http.routes import Route
from impl.api.node_face import ArchiveKeeper, Indexed, Restorer

PREFIX: Final = "/_/api/v1/archive"


class Range(msgspec.Struct, frozen=True):
    """A part of a body: bytes `start` to `end` (exclusive) of the object in the archive; is it on this node's disk?"""

    sha256: str
    start: int
    end: int
    is_here: bool


class IndexItem(msgspec.Struct, frozen=True):
    """What this node has on record of a path: `target` is its key in the archive, which holds `archived_generation`."""

    path: str
    generation: int
    version: int
    deleted: bool
    size_bytes: int
    target: str
    archived_generation: int
    is_archived: bool
    is_settled: bool
    ranges: list[Range]


class IndexAnswer(msgspec.Struct, frozen=True):
    items: list[IndexItem]
    next_cursor: str | None


class ArchivedAnswer(msgspec.Struct, frozen=True):
    path: str
    generation: int
    target: str


class RestoredAnswer(msgspec.Struct, frozen=True):
    path: str
    size_bytes: int


class ArchiveApi:
    """The operations of one node."""

    def __init__(self, node: Restorer, keeper: ArchiveKeeper) -> None:
        self._node = node
        self._keeper = keeper

    def routes(self) -> tuple[Route, ...]:
        """Where each operation is served."""
        return (
            Route(PREFIX, {"GET": Operation("archive", self.status)}),
            Route(PREFIX + "/index", {"GET": Operation("archive_index", self.index)}),
            Route(PREFIX + "/blobs/.+", {"POST": Operation("archive_put", self.archive)}),
            Route(PREFIX + "/restore/.+", {"POST": Operation("archive_restore", self.restore)}),
        )

    async def status(self, request: Request) -> Answer:
        """What waits on this node to be shipped, and how far the import is."""
        return json_answer(200, self._keeper.lag())

    async def index(self, request: Request) -> Answer:
        """What this node has on record, of the paths of which it is a replica: a page, by the paths' bytes."""
        asked = arguments.query_arguments(request.query)
        found, after = await self._keeper.index(
            arguments.list_prefix(asked.get("prefix", "")),
            arguments.decode_cursor(asked.get("cursor")),
            arguments.list_limit(asked.get("limit")),
        )
        cursor = None if after is None else arguments.encode_cursor(after)
        return json_answer(200, IndexAnswer([_item(indexed) for indexed in found], cursor))

    async def archive(self, request: Request) -> Answer:
        """Have the archive hold a path's head now, whatever its mode."""
        path = arguments.object_path(request.path.removeprefix(f"{PREFIX}/blobs/"))
        generation, target = await self._keeper.archive(path)
        return json_answer(200, ArchivedAnswer(path, generation, target))

    async def restore(self, request: Request) -> Answer:
        """Have the whole body of a path on the disks of its replicas again."""
        path = arguments.object_path(request.path.removeprefix(f"{PREFIX}/restore/"))
        return json_answer(200, RestoredAnswer(path, await self._node.restore(path)))


def _item(indexed: Indexed) -> IndexItem:
    head = indexed.head
    ranges = []
    start = 0
    for ref in head.parts:
        ranges.append(Range(ref.digest, start, start + ref.size_bytes, ref.digest in indexed.here))
        start += ref.size_bytes
    return IndexItem(
        path=indexed.path,
        generation=head.generation,
        version=head.version,
        deleted=head.deleted,
        size_bytes=head.size_bytes,
        target=indexed.target,
        archived_generation=indexed.archived,
        is_archived=head.is_imported or indexed.archived >= head.generation,
        is_settled=indexed.is_settled,
        ranges=ranges,
    )
