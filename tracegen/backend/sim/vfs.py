"""A simulated disk: files in memory that remember what was not synced yet, for parts and, as an APSW VFS, for SQLite.

A power cut takes what was not synced: each write since the last sync may be there, or be gone, or be torn. A process
that is killed loses nothing that it wrote. Faults are switched on by the harness: no room, errors, bit rot, slowness.
"""

import errno
import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import apsw

SECTOR_BYTES: Final = 512
TRACE_BUFFER_BYTES: Final = 1 << 20
LOG_PAGES: Final = (20, 200, 8000)
"""After how many pages SQLite copies its log back; with its usual number a run would be over long before."""


class _File:
    """A file's bytes as programs see them, and how to undo each write since the last sync."""

    __slots__ = ("content", "undo")

    def __init__(self) -> None:
        self.content = bytearray()
        self.undo: list[tuple[int, bytes | bytearray, int, bytes]] = []  # offset, bytes before, size before, written

    def write(self, data: bytes, offset: int) -> None:
        content = self.content
        size_bytes = len(content)
        if offset == size_bytes:  # as a log is written
            self.undo.append((offset, b"", size_bytes, data))
            content += data
            return
        self.undo.append((offset, content[offset : offset + len(data)], size_bytes, data))
        if offset > size_bytes:
            content.extend(bytes(offset - size_bytes))
        content[offset : offset + len(data)] = data

    def truncate(self, size_bytes: int) -> None:
        self.undo.append((size_bytes, bytes(self.content[size_bytes:]), len(self.content), b""))
        del self.content[size_bytes:]

    def sync(self) -> None:
        self.undo.clear()

    def lose(self, draw: random.Random) -> None:
        """A power cut: back to what was synced, and then those later writes that happened to reach the platter."""
        written = self.undo
        self.undo = []
        for offset, before, size_before, _ in reversed(written):
            self.content[offset:] = self.content[offset:][: max(0, size_before - offset)]
            self.content[offset : offset + len(before)] = before
            del self.content[size_before:]
            self.content.extend(bytes(size_before - len(self.content)))
        for offset, _, _, data in written:
            fate = draw.random()
            if fate < 0.5 or not data:
                continue
            if fate < 0.7:
                data = data[: draw.randrange(0, len(data) + 1, SECTOR_BYTES) if len(data) > SECTOR_BYTES else 0]
            self.write(data, offset)
        self.undo = []


class SimDisk:
    """The disk of one node; it outlives the node's incarnations. The Disk door of `impl/doors.py`."""

    def __init__(self, name: str, draw: random.Random) -> None:
        self.vfs: str | None = f"sim-{name}"
        self.room_bytes: int | None = None
        self.is_failing = False
        self.refusals = 0
        self.is_replaced = False
        self.session = 0
        self.delay_s = self.jitter_s = 0.0
        self.slowed = 0
        self.rotted: set[str] = set()
        self.removed: set[str] = set()
        self._writes_left: int | None = None
        self._is_over = False  # the session is, and no other one has begun
        self.log_pages_max: int | None = draw.choice(LOG_PAGES)
        self._draw = draw
        self._files: dict[str, _File] = {}
        self._vfs = _Vfs(self, f"sim-{name}")

    def close(self) -> None:
        self._vfs.unregister()

    def at(self, directory: Path) -> "SimDisk":
        """The disk of a data directory: this one, as there is no other."""
        return self

    # -- what the harness does to it

    def leave_room(self, room_bytes: int | None) -> None:
        """So much fits on it from now on; None: anything."""
        self.room_bytes = room_bytes

    def refused(self) -> int:
        """How many calls failed so far."""
        return self.refusals

    def cut_power(self) -> int:
        """What was not synced is lost or torn; whoever has files open can do nothing with them any more.

        How many writes were not synced.
        """
        self.let_go()
        unsynced = sum(len(file.undo) for file in self._files.values())
        for file in self._files.values():
            file.lose(self._draw)
        return unsynced

    def empty(self) -> int:
        """An empty disk takes its place; how many files were lost."""
        self.let_go()
        lost = len(self._files)
        self._files.clear()
        self.is_replaced = True
        return lost

    def let_go(self) -> None:
        """The process that had files open is gone; what it wrote is there."""
        self.session += 1
        self._writes_left, self._is_over = None, False

    def break_off_after(self, writes: int) -> None:
        """The process that has files open is being killed: so many more of its writes arrive, and no others."""
        self._writes_left = writes

    def rot(self) -> str | None:
        """Flip a bit in the newest part that is whole; its digest, None if there is none."""
        names = (name for name in reversed(self._files) if "/parts/" in name and len(self._files[name].content))
        name = next((name for name in names if name.rpartition("/")[2] not in self.rotted), None)
        if name is None:
            return None
        content = self._files[name].content
        content[self._draw.randrange(len(content))] ^= 1 << self._draw.randrange(8)
        digest = name.rpartition("/")[2]
        self.rotted.add(digest)
        return digest

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file and its bytes, as a program would read them now."""
        return ((name, bytes(file.content)) for name, file in self._files.items())

    def is_rotten(self, digest: str) -> bool:
        """Are the bytes of this part, as they lie there, not those that its name promises?"""
        kept = (file.content for name, file in self._files.items() if name.endswith(f"/{digest}"))
        return any(hashlib.sha256(content).hexdigest() != digest for content in kept)

    def is_durable(self, digest: str) -> bool:
        """Would a power cut leave a file of this name, as it was written? Or has its node removed it on purpose?"""
        return digest in self.removed or any(
            name.endswith(f"/{digest}") and not file.undo for name, file in self._files.items()
        )

    def next_delay_s(self) -> float:
        """By how much a slow disk makes the next work on it longer."""
        if not self.delay_s:
            return 0.0
        self.slowed += 1
        return self.delay_s + self._draw.uniform(0, self.jitter_s)

    # -- what the node does with it

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        self._need_room(sum(map(len, chunks)))
        if self.is_broken_off():
            return
        made = _File()
        made.write(b"".join(chunks), 0)
        if is_fsynced:
            made.sync()
        self._files[str(file)] = made

    def read(self, file: Path) -> bytes:
        self._check()
        found = self._files.get(str(file))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
        return bytes(found.content)

    def size_bytes(self, file: Path) -> int | None:
        self._check()
        found = self._files.get(str(file))
        return None if found is None else len(found.content)

    def move(self, file: Path, to: Path) -> None:
        self._check()
        found = self._files.pop(str(file), None)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
        self._files[str(to)] = found

    def names(self, directory: Path) -> list[str]:
        self._check()
        start = f"{directory}/"
        return sorted(name[len(start) :] for name in self._files if name.startswith(start))

    def remove(self, file: Path) -> None:
        self._check()
        if str(file) not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
        if not self.is_broken_off():
            del self._files[str(file)]
            self.removed.add(file.name)

    def _check(self) -> None:
        if self.is_failing:
            self.refusals += 1
            raise OSError(errno.EIO, "the simulated disk fails")

    def _need_room(self, size_bytes: int) -> None:
        self._check()
        if not self.take_room(size_bytes):
            raise OSError(errno.ENOSPC, "the simulated disk is full")

    def take_room(self, size_bytes: int) -> bool:
        """Use up so much of what room there is; False if there is not so much."""
        if self.room_bytes is None or size_bytes <= 0:
            return True
        if size_bytes > self.room_bytes:
            self.refusals += 1
            return False
        self.room_bytes -= size_bytes
        return True

    @property
    def is_troubled(self) -> bool:
        """May a write not arrive as if nothing were?"""
        return self.is_failing or self._writes_left is not None or self._is_over

    def is_broken_off(self) -> bool:
        """Asked before each write: is the process that writes being killed, and this one too late?"""
        if self._is_over or self._writes_left is None:
            return self._is_over
        if self._writes_left == 0:
            self.session += 1
            self._writes_left, self._is_over = None, True
            return True
        self._writes_left -= 1
        return False

    def open_to_append(self, file: Path) -> BinaryIO:
        """A real file, for the checker: a kill loses nothing that was written, so how soon it is there is all one."""
        return file.open("ab", buffering=TRACE_BUFFER_BYTES)

    # -- files for SQLite

    def lose(self, file: _File) -> None:
        """What of a file was not synced is lost or torn."""
        file.lose(self._draw)

    @property
    def next_session(self) -> int:
        """The session of whoever opens a file now: none if it is being killed."""
        return -1 if self._is_over else self.session

    def open(self, name: str) -> _File:
        return self._files.setdefault(name, _File())

    def exists(self, name: str) -> bool:
        return name in self._files

    def delete(self, name: str) -> None:
        if not self._is_over:
            self._files.pop(name, None)


class _Vfs(apsw.VFS):
    """SQLite's way to a SimDisk."""

    def __init__(self, disk: SimDisk, name: str) -> None:
        self._disk = disk
        super().__init__(name, "", maxpathname=1024)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_VfsFile":  # type: ignore[override]
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        return _VfsFile(self._disk, text or "temporary")

    def xAccess(self, pathname: str, flags: int) -> bool:
        return self._disk.exists(pathname)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.delete(filename)

    def xFullPathname(self, name: str) -> str:
        return name


class _VfsFile:
    """One open file. Once its session is over, what it writes goes nowhere: the process that had it is dead."""

    def __init__(self, disk: SimDisk, name: str) -> None:
        self._disk = disk
        self._session = disk.next_session
        self._file = disk.open(name)

    def _check(self) -> None:
        if self._disk.is_failing and self._session == self._disk.session:
            self._disk.refusals += 1
            raise apsw.IOError("the simulated disk fails")

    def _may_write(self) -> bool:
        """Does a write of this session arrive? Raises IOError if the disk fails."""
        disk = self._disk
        if self._session != disk.session:
            return False
        if not disk.is_troubled:
            return True
        self._check()
        return not disk.is_broken_off()

    def xRead(self, amount: int, offset: int) -> bytes:
        self._check()
        return bytes(self._file.content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        if not self._may_write():
            return
        # what changes is written anew, as on a copy-on-write file system: so all of it needs room
        if not self._disk.take_room(len(data)):
            raise apsw.FullError("the simulated disk is full")
        self._file.write(bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        if self._may_write():
            self._file.truncate(newsize)

    def xSync(self, flags: int) -> None:
        """A sync that fails may leave anything of what it was to make durable: asking again proves nothing."""
        if self._session == self._disk.session and self._disk.is_failing:
            self._disk.lose(self._file)
        if self._may_write():
            self._file.sync()

    def xFileSize(self) -> int:
        return len(self._file.content)

    def xLock(self, level: int) -> None:
        return None

    def xUnlock(self, level: int) -> None:
        return None

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        return None

    def xSectorSize(self) -> int:
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:
        """As SQLite takes real disks to be: what a write does not name, it does not change, whatever becomes of it."""
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False
