"""The import goes on from where it got, whatever the archive does meanwhile, and overwrites nothing."""

import asyncio
from collections.abc import Callable
from typing import Final

from impl.archive.face import Archived, Listed, Page
from impl.archive.settings import ArchiveSettings, ScanSettings
from impl.archive.tests.rig import Clock
from impl.errors import ArchiveUnavailable, NotInArchive
from impl.model import NO_BALLOT, Head, ReplicaSet
from impl.node.coordinator import Chosen
from impl.node.importer import PROGRESS_PATH, Importer, no_bucket
from impl.protocol.change import Change, Condition, apply

WAIT_S: Final = 20.0
KEYS: Final = tuple(f"bucket/{number:02}" for number in range(25))
PAGE_SIZE: Final = 10


class Cluster:
    """Registers that are one dict, each change made as the acceptors' chosen ones are."""

    def __init__(self) -> None:
        self.heads: dict[str, Head] = {}

    async def head(self, path: str) -> Head | None:
        return self.heads.get(path)

    async def run(self, path: str, change: Change) -> Chosen:
        found = self.heads.get(path)
        result = apply(change, found)
        if result.head is not None:
            self.heads[path] = result.head
        return Chosen(result, result.outcome, found, 1, NO_BALLOT, "")

    def first_live(self, nodes: tuple[str, ...]) -> str:
        return nodes[0]


class Bucket:
    """What was in the archive before; `before` is called with each request, and may raise."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self._before = before

    async def list(self, prefix: str, token: str | None, limit: int) -> Page:
        self._before("list")
        first = int(token or 0)
        last = min(first + limit, len(KEYS))
        listed = tuple(Listed(key, 1, f"etag of {key}", 0) for key in KEYS[first:last])
        return Page(listed, str(last) if last < len(KEYS) else None)

    async def head(self, key: str) -> Archived:
        self._before(key)
        if key not in KEYS:
            raise NotInArchive(key)
        return Archived(key, 1, f"etag of {key}", 0, "text/plain", {}, None)


async def imported(cluster: Cluster, bucket: Bucket) -> Importer:
    """An importer that has come to its end, and was closed."""
    importer = Importer(
        "n1",
        ArchiveSettings(kind="s3", mode="write_back"),
        ScanSettings(enabled=True, page_size=PAGE_SIZE),
        bucket,  # type: ignore[arg-type]  # what an import asks of an archive
        cluster,  # type: ignore[arg-type]  # what it asks of a reader
        cluster,  # type: ignore[arg-type]  # and of a coordinator
        lambda path: (0, ReplicaSet(("n1",), 1)),
        cluster,  # type: ignore[arg-type]
        Clock(),
    )
    importer.start(no_bucket)
    try:
        async with asyncio.timeout(WAIT_S):
            while not importer.progress.is_done:  # noqa: ASYNC110
                await asyncio.sleep(0)
    finally:
        await importer.close()
    return importer


def test_every_object_becomes_a_head_but_where_something_was_written_already() -> None:
    cluster = Cluster()
    change = Change("put", "w", Condition(), "ours", 3, "text/plain", 0, b"new")
    asyncio.run(cluster.run(KEYS[7], change))
    importer = asyncio.run(imported(cluster, Bucket()))
    assert cluster.heads.keys() == {*KEYS, PROGRESS_PATH}
    assert {path for path, head in cluster.heads.items() if head.is_imported} == set(KEYS) - {KEYS[7]}
    assert cluster.heads[KEYS[7]].etag == "ours" and importer.progress.imported == len(KEYS)


def test_an_archive_that_fails_in_the_midst_of_a_page_only_delays_the_import() -> None:
    failing = ["list", KEYS[3], KEYS[4], KEYS[3], KEYS[24]]

    def fail(asked: str) -> None:
        if asked in failing:
            failing.remove(asked)
            raise ArchiveUnavailable("for a while")

    cluster = Cluster()
    asyncio.run(imported(cluster, Bucket(fail)))
    assert not failing and cluster.heads.keys() == {*KEYS, PROGRESS_PATH}


def test_an_error_that_nobody_expects_only_delays_the_import_too() -> None:
    failing = [KEYS[3]]

    def fail(asked: str) -> None:
        if asked in failing:
            failing.remove(asked)
            raise ZeroDivisionError("a bug")

    cluster = Cluster()
    asyncio.run(imported(cluster, Bucket(fail)))
    assert cluster.heads.keys() == {*KEYS, PROGRESS_PATH}


def test_a_node_goes_on_from_the_page_that_another_came_to() -> None:
    cluster, asked = Cluster(), list[str]()

    def stop(key: str) -> None:
        asked.append(key)
        if key == KEYS[14]:
            raise ArchiveUnavailable("for good")

    async def story() -> None:
        first = asyncio.ensure_future(imported(cluster, Bucket(stop)))
        while KEYS[14] not in asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait((first,))
        asked.clear()
        await imported(cluster, Bucket(asked.append))

    asyncio.run(story())
    assert not set(KEYS[:PAGE_SIZE]) & set(asked), "what is done is not looked at again"
    assert cluster.heads.keys() == {*KEYS, PROGRESS_PATH}
