"""An archive that is a bucket behind a network: large bodies in parts, digests both ways, lost answers looked up.

`requests.py` decides when a request is sent; this decides which. It knows nothing of S3's wire: the bucket is given.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec
import structlog

from impl.archive.bucket import ALWAYS, Bucket, Condition, Label, UploadedPart
from impl.archive.face import (
    CONTENT_TYPE,
    DIGEST_NAME,
    NO_METADATA,
    PAGE_MAX,
    Archived,
    Body,
    Fetched,
    Page,
    check_digest,
    check_key,
    check_metadata,
    check_page,
    check_range,
)
from impl.archive.metrics import ArchiveMetrics
from impl.archive.requests import InDoubt, Requests
from impl.archive.retries import Limits
from impl.doors import Clock, Random
from impl.errors import (
    ArchiveChanged,
    ArchiveCorrupted,
    ArchiveError,
    ArchiveUnavailable,
    BodyCutShort,
    InvalidArgument,
    NotInArchive,
    TooLarge,
)

PARTS_MAX: Final = 10_000
"""So many parts S3 takes an object."""
INLINE_HASH_BYTES_MAX: Final = 64 * 1024
"""Less is hashed in less time than a thread takes to be asked."""

log = structlog.get_logger(__name__)


class RemoteArchive:
    """See `face.Archive`; each chunk of a body that is read is one request, of `Limits.part_bytes` at most."""

    def __init__(
        self, bucket: Bucket, limits: Limits, clock: Clock, random: Random, metrics: ArchiveMetrics | None = None
    ) -> None:
        self.metrics = metrics or ArchiveMetrics()
        self._bucket = bucket
        self._limits = limits
        self._requests = Requests(limits, clock, random, self.metrics)
        self._threads = ThreadPoolExecutor(1, "archive-digests")
        self._aborts: set[asyncio.Task[None]] = set()

    async def put(
        self,
        key: str,
        body: Body,
        *,
        content_type: str = CONTENT_TYPE,
        metadata: Mapping[str, str] = NO_METADATA,
        sha256: str | None = None,
        size_bytes: int | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        check_key(key)
        check_metadata(content_type, metadata)
        check_digest(sha256)
        if if_match is not None and if_absent:
            raise InvalidArgument("an object cannot both have an etag and be absent; give one condition")
        label = Label(content_type, metadata)
        condition = Condition(if_match, if_absent)
        reading = _Reading(key, sha256, size_bytes)
        part_bytes = max(self._limits.part_bytes, -(-(size_bytes or 0) // PARTS_MAX))
        async with aclosing(cut(body, part_bytes)) as parts:
            first, is_last = await anext(parts)
            digest = await self._digest(reading, first)
            if is_last:
                self._check_put(reading)
                return await self._put_object(key, first, digest, label, condition)
            return await self._put_parts(key, first, digest, parts, reading, label, condition)

    async def get(self, key: str, start: int = 0, stop: int | None = None, *, if_match: str | None = None) -> Fetched:
        check_key(key)
        check_range(start, stop)
        first_stop = start + self._limits.part_bytes
        first_stop = first_stop if stop is None else min(stop, first_stop)
        about, piece = await self._get_object(key, start, first_stop, if_match)
        about = _with_digest(about)
        end = about.size_bytes if stop is None else min(stop, about.size_bytes)
        return Fetched(about, start, end, self._pieces(about, start, end, piece))

    async def head(self, key: str) -> Archived:
        check_key(key)
        return _with_digest(await self._requests.ask("head_object", partial(self._bucket.head_object, key)))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        check_key(key)
        await self._requests.ask("delete_object", partial(self._bucket.delete_object, key, if_match))

    async def list(self, prefix: str = "", token: str | None = None, limit: int = PAGE_MAX) -> Page:
        check_page(token, limit)
        return await self._requests.ask("list_objects", partial(self._bucket.list_objects, prefix, token, limit))

    async def close(self) -> None:
        """Finish what is under way, aborts of uploads too, and let go."""
        while self._aborts:
            await asyncio.wait(self._aborts)
        await self._bucket.close()
        await asyncio.to_thread(self._threads.shutdown)

    # -- writing

    async def _put_object(self, key: str, body: bytes, digest: str, label: Label, condition: Condition) -> str:
        put = partial(self._bucket.put_object, key, body, digest, _labelled(label, digest), condition)
        etag = await self._requests.ask("put_object", put)
        self.metrics.sent_bytes += len(body)
        return etag

    async def _put_parts(
        self,
        key: str,
        body: bytes,
        digest: str,
        rest: AsyncIterator[tuple[bytes, bool]],
        reading: "_Reading",
        label: Label,
        condition: Condition,
    ) -> str:
        if reading.sha256 is not None:
            label = _labelled(label, reading.sha256)
        upload = await self._requests.ask("create_upload", partial(self._bucket.create_upload, key, label))
        try:
            parts = [await self._upload_part(key, upload, 1, body, digest)]
            async for body, _ in rest:
                if len(parts) == PARTS_MAX:
                    raise TooLarge(
                        f"{key} has more than {PARTS_MAX} parts of {len(body)} bytes; say its size beforehand"
                    )
                digest = await self._digest(reading, body)
                parts.append(await self._upload_part(key, upload, len(parts) + 1, body, digest))
            self._check_put(reading)
            return await self._complete(key, upload, parts, condition, label, reading)
        except (Exception, asyncio.CancelledError) as error:
            abort = asyncio.ensure_future(self._abort(key, upload))
            self._aborts.add(abort)
            abort.add_done_callback(self._aborts.discard)
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.shield(abort)
            raise

    async def _upload_part(self, key: str, upload: str, number: int, body: bytes, digest: str) -> UploadedPart:
        send = partial(self._bucket.upload_part, key, upload, number, body, digest)
        try:
            part = await self._requests.ask("upload_part", send)
        except NotInArchive as error:
            raise ArchiveUnavailable(f"the upload of {key} is gone; begin again") from error
        self.metrics.sent_bytes += len(body)
        return part

    async def _complete(
        self,
        key: str,
        upload: str,
        parts: Sequence[UploadedPart],
        condition: Condition,
        label: Label,
        reading: "_Reading",
    ) -> str:
        complete = partial(self._bucket.complete_upload, key, upload, parts, condition)
        try:
            return await self._requests.ask("complete_upload", complete)
        except NotInArchive as error:
            raise ArchiveUnavailable(f"the upload of {key} is gone; begin again") from error
        except InDoubt as doubt:
            # equal bytes do not say whose they are, and a condition is there to tell writers apart
            if condition != ALWAYS or DIGEST_NAME not in label.metadata:
                raise
            return await self._is_there_after_all(key, reading.size_bytes, label, doubt)

    async def _is_there_after_all(self, key: str, size_bytes: int, label: Label, doubt: InDoubt) -> str:
        """The etag of what is there, if it is just what was to be written: an earlier attempt has completed it."""
        try:
            there = await self._requests.ask("head_object", partial(self._bucket.head_object, key))
        except ArchiveError:
            raise doubt from None
        if (there.size_bytes, there.content_type, there.metadata) != (size_bytes, label.content_type, label.metadata):
            raise doubt
        return there.etag

    async def _abort(self, key: str, upload: str) -> None:
        try:
            await self._requests.ask("abort_upload", partial(self._bucket.abort_upload, key, upload))
        except ArchiveError as error:
            self.metrics.uploads_left += 1
            log.warning("an upload was not aborted; let the bucket expire it", key=key, upload=upload, error=str(error))

    # -- reading

    async def _get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        about, piece = await self._requests.ask(
            "get_object", partial(self._bucket.get_object, key, start, stop, if_match)
        )
        self.metrics.received_bytes += len(piece)
        return about, piece

    async def _pieces(self, about: Archived, start: int, stop: int, piece: bytes) -> AsyncIterator[bytes]:
        is_whole = start == 0 and stop == about.size_bytes
        reading = _Reading(about.key, about.sha256 if is_whole else None, stop - start)
        at = start
        while True:
            at += len(piece)
            await self._digest(reading, piece)
            if at >= stop:
                break
            yield piece
            try:
                _, piece = await self._get_object(about.key, at, min(stop, at + self._limits.part_bytes), about.etag)
            except NotInArchive:
                raise ArchiveChanged(f"{about.key} was deleted while it was read") from None
        if reading.fault() is not None:
            self.metrics.corrupted += 1
            raise ArchiveCorrupted(f"{about.key} in the archive: {reading.fault()}")
        if piece:
            yield piece

    # -- digests

    async def _digest(self, reading: "_Reading", piece: bytes) -> str:
        """Take a piece into the whole body's digest; the piece's own."""
        if len(piece) <= INLINE_HASH_BYTES_MAX:
            return reading.take(piece)
        return await asyncio.get_running_loop().run_in_executor(self._threads, reading.take, piece)

    def _check_put(self, reading: "_Reading") -> None:
        fault = reading.fault()
        if fault is None:
            return
        if reading.is_of_another_size:
            raise BodyCutShort(f"the body for {reading.key}: {fault}; nothing was written")
        self.metrics.corrupted += 1
        raise ArchiveCorrupted(f"the body for {reading.key}: {fault}; nothing was written")


class _Reading:
    """A body while it is read: its digest and size so far, and what they must come to."""

    def __init__(self, key: str, sha256: str | None, size_bytes: int | None) -> None:
        self.key = key
        self.sha256 = sha256
        self.size_bytes = 0
        self._wanted_bytes = size_bytes
        self._digest = hashlib.sha256()

    def take(self, piece: bytes) -> str:
        """Take the next piece; its own digest."""
        is_first = not self.size_bytes
        self.size_bytes += len(piece)
        self._digest.update(piece)
        return self._digest.hexdigest() if is_first else hashlib.sha256(piece).hexdigest()

    @property
    def is_of_another_size(self) -> bool:
        return self._wanted_bytes is not None and self.size_bytes != self._wanted_bytes

    def fault(self) -> str | None:
        """What is wrong with the whole body; None if nothing is."""
        if self.is_of_another_size:
            return f"it has {self.size_bytes} bytes, and {self._wanted_bytes} were promised"
        if self.sha256 is not None and self._digest.hexdigest() != self.sha256:
            return f"it has the SHA-256 {self._digest.hexdigest()}, and {self.sha256} was promised"
        return None


async def cut(body: Body, part_bytes: int) -> AsyncGenerator[tuple[bytes, bool], None]:
    """The body in parts of `part_bytes`, with for each whether it is the last; an empty body is one empty part."""
    if isinstance(body, bytes):
        for start in range(0, max(len(body), 1), part_bytes):
            yield body[start : start + part_bytes], start + part_bytes >= len(body)
        return
    buffer = bytearray()
    async for chunk in body:
        buffer += chunk
        while len(buffer) > part_bytes:
            yield bytes(memoryview(buffer)[:part_bytes]), False
            del buffer[:part_bytes]
    yield bytes(buffer), True


def _labelled(label: Label, digest: str) -> Label:
    return Label(label.content_type, {**label.metadata, DIGEST_NAME: digest})


def _with_digest(about: Archived) -> Archived:
    """The digest is kept among the metadata, where none but us looks for it."""
    metadata = {name: value for name, value in about.metadata.items() if name != DIGEST_NAME}
    return msgspec.structs.replace(about, metadata=metadata, sha256=about.metadata.get(DIGEST_NAME))
