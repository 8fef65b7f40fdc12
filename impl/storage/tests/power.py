"""A disk on which the power can fail, or a process be killed, or an fsync fail, at a given write; on real files.

SQLite writes through a VFS that passes everything on to the system and remembers what was not synced yet; parts are
written through a Disk door that does the same. When the moment has come, what is left is set down; whoever still writes
changes nothing of it any more.
"""

import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import apsw

from impl.doors import RealDisk

Trouble = Literal["power cut", "kill", "fsync fails"]


class _Durable:
    """What of a file is on the platter, and the writes since, in order; None for data is a truncation."""

    def __init__(self, content: bytes) -> None:
        self.synced = bytearray(content)
        self.unsynced: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        for offset, written in self.unsynced:
            _write(self.synced, offset, written)
        self.unsynced.clear()

    def left(self, chance: random.Random | None) -> bytes:
        """All of it, or what happened to reach the platter: each write whole, torn or not at all."""
        content = bytearray(self.synced)
        for offset, written in self.unsynced:
            fate = chance.random() if chance is not None else 1.0
            if fate < 0.5:
                continue
            if fate < 0.7 and chance is not None and written:
                written = written[: chance.randrange(len(written))]
            _write(content, offset, written)
        return bytes(content)


def _write(content: bytearray, offset: int, written: bytes | None) -> None:
    if written is None:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(written)] = written


class PoweredDisk(RealDisk):
    """The disk under one directory. While it exists, all of SQLite goes through it."""

    def __init__(self, directory: Path) -> None:
        self.is_dead = False
        self._directory = directory
        self._files: dict[str, _Durable] = {}
        self._left: dict[str, bytes] = {}
        self._trouble: Trouble | None = None
        self._writes_left = 0
        self._chance = random.Random(0)
        self._lock = threading.Lock()
        self._usual = apsw.vfs_names()[0]
        self._vfs = _Vfs(self, f"powered-{directory.name}")
        apsw.set_default_vfs(f"powered-{directory.name}")

    def close(self) -> None:
        apsw.set_default_vfs(self._usual)
        self._vfs.unregister()

    # -- what a test does to it

    def strike(self, trouble: Trouble, after_writes: int, seed: int) -> None:
        """Trouble comes when so many more writes and syncs were asked for; `seed` says what a power cut leaves."""
        self._trouble, self._writes_left, self._chance = trouble, after_writes, random.Random(seed)

    def start_again(self) -> None:
        """Everybody is gone who had files open: the files are what trouble left of them, and all is well again."""
        with self._lock:
            if not self.is_dead:
                self._die()
            for file in self._directory.rglob("*"):
                if file.is_file() and str(file) not in self._left:
                    file.unlink()
            self._files = {name: _Durable(content) for name, content in self._left.items()}
            for name, content in self._left.items():
                Path(name).write_bytes(content)
            self.is_dead, self._trouble = False, None

    # -- what SQLite and the parts' store do with it

    def opened(self, name: str) -> None:
        with self._lock:
            if name not in self._files:
                file = Path(name)
                self._files[name] = _Durable(file.read_bytes() if file.exists() else b"")

    def written(self, name: str, offset: int, written: bytes | None) -> None:
        with self._lock:
            self._count_down()
            if not self.is_dead:
                self._files[name].unsynced.append((offset, written))

    def synced(self, name: str) -> None:
        """Raises IOError if it is this sync that fails; so do all after it."""
        with self._lock:
            self._count_down()
            if self._trouble == "fsync fails" and self._writes_left < 0:
                raise apsw.IOError("fsync failed, as the test wants it")
            if not self.is_dead:
                self._files[name].sync()

    def deleted(self, name: str) -> None:
        with self._lock:
            if not self.is_dead:
                self._files.pop(name, None)

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        with self._lock:
            self._count_down()
            if self.is_dead:
                return
            kept = _Durable(b"")
            kept.unsynced.append((0, b"".join(chunks)))
            if is_fsynced:
                kept.sync()
            self._files[str(file)] = kept
        super().write_durably(file, chunks)

    def move(self, file: Path, to: Path) -> None:
        with self._lock:
            if kept := self._files.pop(str(file), None):
                self._files[str(to)] = kept
        super().move(file, to)

    def remove(self, file: Path) -> None:
        with self._lock:
            self._files.pop(str(file), None)
        super().remove(file)

    def rot(self, file: Path) -> None:
        """Flip a bit of a file."""
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        self._files[str(file)] = _Durable(bytes(content))

    def _count_down(self) -> None:
        if self._trouble is None or self.is_dead:
            return
        self._writes_left -= 1
        if self._writes_left < 0 and self._trouble != "fsync fails":
            self._die()

    def _die(self) -> None:
        self.is_dead = True
        chance = None if self._trouble == "kill" else self._chance
        self._left = {name: file.left(chance) for name, file in self._files.items()}


class _Vfs(apsw.VFS):
    def __init__(self, disk: PoweredDisk, name: str) -> None:
        self._disk = disk
        super().__init__(name, "unix")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.deleted(filename)
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: PoweredDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._name = os.fspath(name if isinstance(name, str) else name.filename()) if name is not None else ""
        disk.opened(self._name)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.written(self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.written(self._name, newsize, None)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.synced(self._name)
        super().xSync(flags)
