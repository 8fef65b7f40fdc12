"""Parts: content-addressed pieces of bodies, a file each, durable before anyone is told; checked whenever read.

Whoever puts a part, reads it or holds it keeps it from being collected (`uses.py`), however long ago it was stored.
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
from impl.storage.uses import Part, Uses

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
        self._collected = 0
        self._collected_bytes = 0
        self.uses = Uses()

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

    async def check(self, slot: int, digest: str) -> int | None:
        """Read a part and see whether it has rotted; its size in bytes, None if it is not here. Raises BadBytes.

        Nobody uses it thereby.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, slot, digest)

    async def hold(self, slot: int, digests: Collection[str], needed: Collection[str]) -> list[str]:
        """Keep all these parts from being collected, until as often `let_go`; of those `needed`, which are not here?

        The parts that are missing are held all the same. Raises InternalError if the disk fails; then nothing is held.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hold, slot, digests, needed)

    async def missing(self, slot: int, digests: Collection[str]) -> list[str]:
        """Those of these parts that are not here. Raises InternalError if the disk fails."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._missing, slot, digests)

    def let_go(self, slot: int, digests: Collection[str]) -> None:
        """What was held is named by a durable head by now, or will never be."""
        self.uses.let_go((slot, digest) for digest in digests)

    async def names(self, slots: Sequence[int]) -> list[tuple[int, str]]:
        """What lies among the parts of these slots: slot and name, which is a digest unless a put was broken off."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._names, slots)

    async def sizes(self, slots: Sequence[int]) -> dict[Part, int]:
        """The parts of these slots, and their bytes. Raises InternalError if the disk fails."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._sizes, slots)

    @property
    def stored_bytes(self) -> int:
        """Bytes of parts written since the start."""
        return self._stored_bytes

    async def discard(self, slot: int, digest: str) -> bool:
        """Have a part no more, unless somebody has used it since it was seen unused; True if it is gone."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._discard, slot, digest)

    async def close(self) -> None:
        """Finish what is under way."""
        await asyncio.to_thread(self._threads.shutdown)

    def collect(self) -> Iterator[Metric]:
        """The families of this room, as Prometheus wants them."""
        yield CounterMetricFamily("amberio_parts_stored", "Parts written.", self._stored)
        yield CounterMetricFamily("amberio_parts_stored_bytes", "Bytes of parts written.", self._stored_bytes)
        yield CounterMetricFamily("amberio_parts_read", "Parts read and found right.", self._read)
        yield CounterMetricFamily("amberio_parts_rotten", "Parts that did not match their digest.", self._rotten)
        yield CounterMetricFamily("amberio_parts_collected", "Parts deleted as no head names them.", self._collected)
        yield CounterMetricFamily("amberio_parts_collected_bytes", "Bytes of these.", self._collected_bytes)

    def _put(self, slot: int, digest: str, chunks: Sequence[bytes], verified: bool) -> bool:
        if not verified and sha256(chunks) != digest:
            raise DigestMismatch(f"the bytes do not have the SHA-256 {digest}; the part was not stored")
        file = self._layout.parts(slot) / digest
        size_bytes = sum(map(len, chunks))
        self.uses.used((slot, digest))  # before it is looked for: from here on nobody takes it away
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

    def _get(self, slot: int, digest: str) -> bytes:
        self.uses.used((slot, digest))
        part = self._right(slot, digest)
        self._read += 1
        return part

    def _check(self, slot: int, digest: str) -> int | None:
        try:
            return len(self._right(slot, digest))
        except NeverWritten:
            return None

    def _hold(self, slot: int, digests: Collection[str], needed: Collection[str]) -> list[str]:
        parts = [(slot, digest) for digest in digests]
        self.uses.hold(parts)
        try:
            return self._missing(slot, needed)
        except AmberioError:
            self.uses.let_go(parts)
            raise

    def _missing(self, slot: int, digests: Collection[str]) -> list[str]:
        directory = self._layout.parts(slot)
        try:
            return [digest for digest in digests if self._disk.size_bytes(directory / digest) is None]
        except OSError as error:
            raise InternalError(f"the disk failed on the parts of slot {slot}: {error.strerror}") from error

    def _names(self, slots: Sequence[int]) -> list[tuple[int, str]]:
        try:
            return [(slot, name) for slot in slots for name in self._disk.names(self._layout.parts(slot))]
        except OSError as error:
            raise InternalError(f"the disk failed on a list of parts: {error.strerror}") from error

    def _sizes(self, slots: Sequence[int]) -> dict[Part, int]:
        sizes: dict[Part, int] = {}
        for slot, name in self._names(slots):
            try:
                size_bytes = self._disk.size_bytes(self._layout.parts(slot) / name)
            except OSError as error:
                raise InternalError(f"the disk failed on part {name}: {error.strerror}") from error
            if size_bytes is not None:
                sizes[slot, name] = size_bytes
        return sizes

    def _discard(self, slot: int, digest: str) -> bool:
        file = self._layout.parts(slot) / digest
        try:
            size_bytes = self._disk.size_bytes(file) or 0
            is_careless = self._rules.collect_reused_part
            if not self.uses.remove_unused((slot, digest), lambda: self._disk.remove(file), is_careless=is_careless):
                return False
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _as_error(error, digest) from error
        self._collected += 1
        self._collected_bytes += size_bytes
        return True

    def _right(self, slot: int, digest: str) -> bytes:
        """The part's bytes, once they are seen to be right; what has rotted is moved aside."""
        file = self._layout.parts(slot) / digest
        try:
            part = self._disk.read(file)
        except FileNotFoundError:
            raise NeverWritten(f"there is no part {digest} here") from None
        except OSError as error:
            raise _as_error(error, digest) from error
        if self._rules.part_unverified or sha256((part,)) == digest:
            return part
        aside = self._layout.rotten(slot, digest)
        try:
            self._disk.move(file, aside)
            if sha256((self._disk.read(aside),)) == digest:
                # it was put anew since we read it
                self._disk.move(aside, file)
                return self._disk.read(file)
        except FileNotFoundError:
            raise NeverWritten(f"there is no part {digest} here any more") from None
        except OSError as error:
            raise _as_error(error, digest) from error
        self._rotten += 1
        log.error("part does not match its digest; moved aside", digest=digest, slot=slot)
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
