"""What lies where in a data directory, and that one process at a time uses it. Each disk of a node has one.

cluster.json      the cluster's configuration (impl/cluster/registry)
lock              held while a process uses the directory
registers.db      every register of this node (registers.py), with its -wal and -shm; its format is the directory's
registers.db.format-<n>.backup    what it was before it was migrated (migrate.py)
slots/<slot>/parts/<digest>       the parts of bodies (parts.py)
rotten/<digest>   parts that no longer matched their digest, kept for whoever wants to know why
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from impl.errors import ConfigError

DATABASE: Final = "registers.db"
LOCK: Final = "lock"


class PartPlaces(Protocol):
    """Where the parts of each slot lie; what is moved aside stays on their disk."""

    def parts(self, slot: int) -> Path: ...
    def rotten(self, slot: int, digest: str) -> Path: ...


class Layout:
    """Names within one data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._parts: dict[int, Path] = {}

    @property
    def database(self) -> Path:
        return self.directory / DATABASE

    def parts(self, slot: int) -> Path:
        directory = self._parts.get(slot)
        if directory is None:  # made once: whoever goes through all slots would mostly do this
            directory = self._parts[slot] = self.directory / "slots" / str(slot) / "parts"
        return directory

    def rotten(self, slot: int, digest: str) -> Path:
        return self.directory / "rotten" / digest


class Dealt:
    """The parts of a node with several disks; `directories[slot]` is the data directory of the slot's disk."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._layouts = {directory: Layout(directory) for directory in directories}
        self._directories = tuple(directories)

    def parts(self, slot: int) -> Path:
        return self._layouts[self._directories[slot]].parts(slot)

    def rotten(self, slot: int, digest: str) -> Path:
        return self._layouts[self._directories[slot]].rotten(slot, digest)


class Lock:
    """Keeps a second process out of the directory until it is released or the process ends."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError if another process has it, or the directory cannot be used."""
        file = directory / LOCK
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"{directory}: cannot be used: {error.strerror}; check disks[].path") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 64, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise ConfigError(
                f"{directory}: process {holder or '(unknown)'} uses this data directory; "
                "stop it, or give this node a directory of its own"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
