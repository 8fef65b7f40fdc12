"""The four doors: Clock, Random, Disk, Network. Whatever is not decided by our own code comes in through one of them.

Nothing below `impl/server.py` asks the system for time, chance, files or connections in another way; so the simulator
can put its own behind each. SQLite is the one exception here: it has a door of its own, APSW's VFS.
"""

import asyncio
import contextlib
import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol


class Clock(Protocol):
    """Time. `now_ms` is the wall clock, which may jump; nothing is ordered or timed by it."""

    def now_ms(self) -> int: ...
    def monotonic_s(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Random(Protocol):
    """Chance: `uniform` in [0, 1) for jitter, `token` 128 bits in hex that nobody else has."""

    def uniform(self) -> float: ...
    def token(self) -> str: ...


class Disk(Protocol):
    """Files that are written once and whole. All calls block: callers are threads, never the event loop.

    `vfs` names the APSW VFS through which SQLite reaches this disk; None is SQLite's own. `log_pages_max` is after how
    many pages SQLite copies its log back; None is our usual one.
    """

    @property
    def vfs(self) -> str | None: ...
    @property
    def log_pages_max(self) -> int | None: ...

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        """Make the file, with its directory, so that a power cut leaves all of it or nothing; raises OSError.

        Without `is_fsynced` that is a lie: for a mutant only.
        """
        ...

    def read(self, file: Path) -> bytes: ...
    def size_bytes(self, file: Path) -> int | None: ...
    def move(self, file: Path, to: Path) -> None: ...
    def names(self, directory: Path) -> list[str]:
        """What the files of a directory are called, in order; none where there is no such directory."""
        ...

    def remove(self, file: Path) -> None:
        """Have the file no more, now; a power cut may bring it back. Raises FileNotFoundError, OSError."""
        ...

    def open_to_append(self, file: Path) -> BinaryIO:
        """What is written there outlives the process from then on, though not a power cut; raises OSError."""
        ...


class Network(Protocol):
    """Connections to other nodes."""

    async def dial(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> None: ...


class RealClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RealRandom:
    def uniform(self) -> float:
        return random.random()

    def token(self) -> str:
        return secrets.token_hex(16)


class RealDisk:
    vfs: str | None = None
    log_pages_max: int | None = None

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        _make_directory_durably(file.parent)
        # a name of its own for each writer, so that two that write one part at once do not meet
        temporary = file.with_name(f"{file.name}.{secrets.token_hex(4)}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                _write_all(descriptor, chunks)
                if is_fsynced:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(file)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_directory(file.parent)

    def read(self, file: Path) -> bytes:
        return file.read_bytes()

    def size_bytes(self, file: Path) -> int | None:
        try:
            return file.stat().st_size
        except FileNotFoundError:
            return None

    def move(self, file: Path, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        file.replace(to)

    def names(self, directory: Path) -> list[str]:
        try:
            return sorted(file.name for file in directory.iterdir())
        except FileNotFoundError:
            return []

    def remove(self, file: Path) -> None:
        file.unlink()

    def open_to_append(self, file: Path) -> BinaryIO:
        return file.open("ab", buffering=0)


class RealNetwork:
    async def dial(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        await asyncio.get_running_loop().create_connection(factory, host, port)


def _write_all(descriptor: int, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]


def _make_directory_durably(directory: Path) -> None:
    """A new directory is an entry of its parent, which a power cut takes unless that is fsynced too."""
    if not directory.is_dir():
        _make_directory_durably(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
