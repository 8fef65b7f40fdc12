"""What is on a disk, and what a power cut would take away again: operations on a directory, and their undo.

Everything is done to the files at once, so that whoever reads sees it; beside it is kept what was there before, until a
sync makes the new durable. What a sync makes durable is what POSIX says, no more, but for one thing that every file
system does: who syncs a file that is new has its name, too.

- the bytes and the size of a file: by an fsync of that file;
- that a name was made, changed or removed: by an fsync of its directory.
"""

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NOT_FOR_DISKS: Final = "-shm"
"""How names end of what SQLite keeps in a file only to share it as memory; it makes these anew after any crash."""


@dataclass
class _Before:
    """A file as it was when it was last synced: its size, and what stood where was written since."""

    size_bytes: int
    written: list[tuple[int, bytes]] = field(default_factory=list)
    writes: int = 0


@dataclass
class _Made:
    """A name that is new."""

    name: Path


@dataclass
class _Renamed:
    """A name that was another one; `replaced` is where the file lies that had the new one."""

    old: Path
    name: Path
    replaced: Path | None


@dataclass
class _Removed:
    """A name that was; `kept` is where its file lies now."""

    name: Path
    kept: Path


_Change = _Made | _Renamed | _Removed


class Platter:
    """A directory as a disk. Its methods may be called by several threads; paths are absolute, below `root`.

    `aside` is a directory on the same file system, for what is gone but may come back.
    """

    def __init__(self, root: Path, aside: Path) -> None:
        self.root = root
        self._aside = aside
        self._before: dict[int, _Before] = {}
        self._changes: list[_Change] = []
        self._kept = 0
        self._is_held = False
        self._lock = threading.RLock()
        aside.mkdir(parents=True, exist_ok=True)

    # -- files

    def write(self, handle: int, content: bytes, offset: int) -> int:
        with self._lock:
            before = self._remember(handle)
            if before is not None:
                end = min(offset + len(content), before.size_bytes)
                if end > offset:
                    before.written.append((offset, os.pread(handle, end - offset, offset)))
                before.writes += 1
            return os.pwrite(handle, content, offset)

    def truncate(self, handle: int, size_bytes: int) -> None:
        with self._lock:
            before = self._remember(handle)
            if before is not None:
                if size_bytes < before.size_bytes:
                    lost = os.pread(handle, before.size_bytes - size_bytes, size_bytes)
                    before.written.append((size_bytes, lost))
                before.writes += 1
            os.ftruncate(handle, size_bytes)

    def sync(self, handle: int, path: Path) -> None:
        """The file's bytes are durable, and its name if that is new."""
        with self._lock:
            self._before.pop(os.fstat(handle).st_ino, None)
            new = {path, *path.parents}
            self._changes = [one for one in self._changes if not (isinstance(one, _Made) and one.name in new)]

    # -- names

    def made(self, path: Path) -> None:
        """A file or a directory of this name was made."""
        with self._lock:
            self._changes.append(_Made(path))

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            replaced = self._put_aside(new) if new.exists() and not new.is_dir() else None
            old.rename(new)
            self._changes.append(_Renamed(old, new, replaced))

    def unlink(self, path: Path) -> None:
        with self._lock:
            os.lstat(path)  # raises what an unlink would
            self._changes.append(_Removed(path, self._put_aside(path)))

    def rmdir(self, path: Path) -> None:
        """An empty directory does not come back: nothing is lost with it."""
        with self._lock:
            path.rmdir()
            self._changes = [one for one in self._changes if one.name != path]

    def sync_directory(self, path: Path) -> None:
        """Its names are durable."""
        with self._lock:
            durable = [one for one in self._changes if one.name.parent == path]
            self._changes = [one for one in self._changes if one.name.parent != path]
            self._let_go(durable)

    def write_back(self) -> None:
        """All that was done so far is durable, as when the kernel writes back what lay about for a while."""
        with self._lock:
            if self._is_held:
                return
            self._before.clear()
            durable, self._changes = self._changes, []
            self._let_go(durable)

    # -- the power is cut

    def hold(self) -> None:
        """The power is about to be cut: nothing is written back until then."""
        self._is_held = True

    def cut(self) -> int:
        """All that was not synced is gone; how many writes and changes of names those were. Nobody may use it now."""
        with self._lock:
            lost = sum(before.writes for before in self._before.values()) + len(self._changes)
            for change in reversed(self._changes):
                self._undo(change)
            self._changes.clear()
            for file in (each for each in self.root.rglob("*") if each.is_file()):
                before = self._before.get(file.stat().st_ino)
                if before is not None:
                    _restore(file, before)
            self._before.clear()
            self._is_held = False
            return lost

    def _undo(self, change: _Change) -> None:
        match change:
            case _Made(name):
                if name.is_dir():
                    shutil.rmtree(name)
                else:
                    name.unlink(missing_ok=True)
            case _Renamed(old, name, replaced):
                old.parent.mkdir(parents=True, exist_ok=True)
                name.rename(old)
                if replaced is not None:
                    replaced.rename(name)
            case _Removed(name, kept):
                name.parent.mkdir(parents=True, exist_ok=True)
                kept.rename(name)

    def _let_go(self, durable: list[_Change]) -> None:
        """What was replaced or removed does not come back."""
        for one in durable:
            kept = one.replaced if isinstance(one, _Renamed) else one.kept if isinstance(one, _Removed) else None
            if kept is not None:
                with suppress(FileNotFoundError):
                    self._before.pop(kept.stat().st_ino, None)
                    kept.unlink()

    def _remember(self, handle: int) -> _Before | None:
        """How the file was; made when it is first changed after a sync. None: it is not for disks."""
        about = os.fstat(handle)
        if about.st_ino not in self._before:
            if str(Path(f"/proc/self/fd/{handle}").readlink()).endswith(NOT_FOR_DISKS):
                return None
            self._before[about.st_ino] = _Before(about.st_size)
        return self._before[about.st_ino]

    def _put_aside(self, path: Path) -> Path:
        self._kept += 1
        kept = self._aside / str(self._kept)
        path.rename(kept)
        return kept


def _restore(file: Path, before: _Before) -> None:
    with file.open("r+b") as opened:
        for offset, content in reversed(before.written):
            opened.seek(offset)
            opened.write(content)
        opened.truncate(before.size_bytes)
