"""Parts: content-addressed pieces of bodies, a file each, durable before anyone is told; checked whenever read.

Blocking work runs on a few threads of its own, so that no request makes the event loop wait for the disk.
"""

import asyncio
import errno
import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from impl.doors import Disk
from impl.errors import AmberioError, BadBytes, DigestMismatch, DiskFull, InternalError, NeverWritten
from impl.protocol.rules import HONEST, Rules
from impl.storage.layout import PartPlaces

THREADS: Final = 4

log = structlog.get_logger(__name__)


class PartStore(Collector):
    """The parts of one node."""

    def __init__(self, layout: PartPlaces, disk: Disk, rules: Rules = HONEST) -> None:
        self._layout = layout
        self._disk = disk
        self._rules = rules
        self._threads = ThreadPoolExecutor(THREADS, "parts")
        self._stored = 0
        self._stored_bytes = 0
        self._read = 0
        self._rotten = 0

    async def put(self, slot: int, digest: str, chunks: Sequence[bytes], *, verified: bool = False) -> bool:
        """Keep a part, fsynced on return; True if it was here already.

        `verified` says that the caller has just made the digest from these very bytes. Raises DigestMismatch, DiskFull.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._put, slot, digest, chunks, verified
        )

    async def get(self, slot: int, digest: str) -> bytes:
        """The part's bytes, checked against its digest. Raises NeverWritten, or BadBytes for one that has rotted."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._get, slot, digest)

    async def missing(self, slot: int, digests: Collection[str]) -> list[str]:
        """Those of these parts that are not here. Raises InternalError if the disk fails."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._missing, slot, digests)

    async def close(self) -> None:
        """Finish what is under way."""
        await asyncio.to_thread(self._threads.shutdown)

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        yield CounterMetricFamily("amberio_parts_stored", "Parts written.", self._stored)
        yield CounterMetricFamily("amberio_parts_stored_bytes", "Bytes of parts written.", self._stored_bytes)
        yield CounterMetricFamily("amberio_parts_read", "Parts read and found right.", self._read)
        yield CounterMetricFamily("amberio_parts_rotten", "Parts that did not match their digest.", self._rotten)

    def _put(self, slot: int, digest: str, chunks: Sequence[bytes], verified: bool) -> bool:
        if not verified and sha256(chunks) != digest:
            raise DigestMismatch(f"the bytes do not have the SHA-256 {digest}; the part was not stored")
        file = self._layout.parts(slot) / digest
        size_bytes = sum(map(len, chunks))
        try:
            # the name alone proves nothing: a part that has rotted since is written anew
            if self._disk.size_bytes(file) == size_bytes and sha256((self._disk.read(file),)) == digest:
                return True
            self._disk.write_durably(file, chunks, is_fsynced=not self._rules.part_not_fsynced)
        except OSError as error:
            raise _as_error(error, digest) from error
        self._stored += 1
        self._stored_bytes += size_bytes
        return False

    def _missing(self, slot: int, digests: Collection[str]) -> list[str]:
        directory = self._layout.parts(slot)
        try:
            return [digest for digest in digests if self._disk.size_bytes(directory / digest) is None]
        except OSError as error:
            raise InternalError(f"the disk failed on the parts of slot {slot}: {error.strerror}") from error

    def _get(self, slot: int, digest: str) -> bytes:
        file = self._layout.parts(slot) / digest
        try:
            part = self._disk.read(file)
        except FileNotFoundError:
            raise NeverWritten(f"there is no part {digest} here") from None
        except OSError as error:
            raise _as_error(error, digest) from error
        if self._rules.part_unverified or sha256((part,)) == digest:
            self._read += 1
            return part
        self._rotten += 1
        log.error("part does not match its digest; moved aside", digest=digest, slot=slot)
        self._disk.move(file, self._layout.rotten(slot, digest))
        raise BadBytes(f"part {digest} has rotted on this disk")


def sha256(chunks: Sequence[bytes]) -> str:
    """The digest that names a part made of these chunks."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _as_error(error: OSError, digest: str) -> AmberioError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"the disk is full; part {digest} was not stored here")
    return InternalError(f"the disk failed on part {digest}: {error.strerror}")
