"""A directory as the archive, for machines without a cloud. Several processes of one machine may share it.

It is a bucket to `remote.py`, as S3 is; the files are `tree.py`'s, which blocks, and so runs on threads of its own.
"""

import asyncio
import errno
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from impl.archive.bucket import Condition, Label, UploadedPart
from impl.archive.face import Archived, Page
from impl.archive.remote import RemoteArchive
from impl.archive.retries import Limits
from impl.archive.tree import About, Part, Tree
from impl.doors import Clock, Disk, Random, RealDisk
from impl.errors import ArchiveRefused, ArchiveUnavailable, NotInArchive

THREADS: Final = 4
NEED_AN_OPERATOR: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR)
)

Answer = TypeVar("Answer")


async def open_directory(
    root: Path, clock: Clock, random: Random, limits: Limits | None = None, disk: Disk | None = None
) -> RemoteArchive:
    """The archive in this directory, which must be there, and be empty or an archive; raises ArchiveRefused."""
    threads = ThreadPoolExecutor(THREADS, "archive")
    tree = Tree(root, disk or RealDisk(), random)
    try:
        await asyncio.get_running_loop().run_in_executor(threads, _told, tree.open, str(root))
    except BaseException:
        threads.shutdown(wait=False)
        raise
    return RemoteArchive(DirectoryBucket(tree, threads, clock), limits or Limits(), clock, random)


class DirectoryBucket:
    """See `bucket.Bucket`. Uploads in parts end with the process."""

    def __init__(self, tree: Tree, threads: ThreadPoolExecutor, clock: Clock) -> None:
        self._tree = tree
        self._threads = threads
        self._clock = clock
        self._uploads: dict[str, tuple[Label, dict[int, Part]]] = {}

    async def put_object(self, key: str, body: bytes, sha256: str, label: Label, condition: Condition) -> str:
        await self._run(partial(self._put, key, body, sha256, label, condition), key)
        return sha256

    async def get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        return await self._run(partial(self._tree.read, key, start, stop, if_match), key)

    async def head_object(self, key: str) -> Archived:
        return (await self._run(partial(self._tree.about, key), key)).archived()

    async def delete_object(self, key: str, if_match: str | None) -> None:
        await self._run(partial(self._tree.delete, key, if_match), key)

    async def list_objects(self, prefix: str, after: str | None, limit: int) -> Page:
        return await self._run(partial(self._tree.page, prefix, after, limit), prefix)

    async def create_upload(self, key: str, label: Label) -> str:
        upload = self._tree.new_token()
        self._uploads[upload] = (label, {})
        return upload

    async def upload_part(self, key: str, upload: str, number: int, body: bytes, sha256: str) -> UploadedPart:
        _, parts = self._of(upload)
        part = await self._run(partial(self._tree.keep, key, body, sha256), key)
        replaced = parts.get(number)
        parts[number] = part
        if replaced is not None:
            await self._run(partial(self._tree.drop, key, (replaced,)), key)
        return UploadedPart(number, part.token, sha256)

    async def complete_upload(self, key: str, upload: str, parts: Sequence[UploadedPart], condition: Condition) -> str:
        label, kept = self._of(upload)
        digests = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
        about = self._about(key, f"{digests}-{len(parts)}", label, tuple(kept[part.number] for part in parts))
        await self._run(partial(self._tree.commit, about, condition), key)
        del self._uploads[upload]
        return about.etag

    async def abort_upload(self, key: str, upload: str) -> None:
        _, parts = self._uploads.pop(upload, (None, {}))
        await self._run(partial(self._tree.drop, key, tuple(parts.values())), key)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._tree.close()

    def _of(self, upload: str) -> tuple[Label, dict[int, Part]]:
        if upload not in self._uploads:
            raise NotInArchive(f"there is no upload {upload}")
        return self._uploads[upload]

    def _about(self, key: str, etag: str, label: Label, parts: tuple[Part, ...]) -> About:
        return About(key, etag, self._clock.now_ms(), label.content_type, dict(label.metadata), parts)

    def _put(self, key: str, body: bytes, sha256: str, label: Label, condition: Condition) -> None:
        part = self._tree.keep(key, body, sha256)
        try:
            self._tree.commit(self._about(key, sha256, label, (part,)), condition)
        except BaseException:
            self._tree.drop(key, (part,))
            raise

    async def _run(self, step: Callable[[], Answer], what: str) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _told, step, what)


def _told(step: Callable[[], Answer], what: str) -> Answer:
    try:
        return step()
    except OSError as error:
        text = f"the archive's directory, {what}: {error.strerror}"
        raise (ArchiveRefused if error.errno in NEED_AN_OPERATOR else ArchiveUnavailable)(text) from error
