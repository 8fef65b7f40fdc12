"""The files of a directory that is an archive. All of it blocks; `directory.py` gives it threads.

`names.py` says where things lie. A body's parts are files that are never changed, and are durable before what is kept
about the object names them; that file is replaced in one step, and so is the object. Of each part that nothing names,
as it is new, or replaced, or deleted, there is a note until it is named or gone: what a process left behind that is
gone, the next one finds by its notes. A process shows that it is there by a lock on its notes; who writes to a key
holds one of LOCKS locks. They are the system's, so several processes of one machine may share an archive.

This is the world outside (`face.py`), as S3 is: so it opens files by itself.
"""

import contextlib
import fcntl
import hashlib
import heapq
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import xxhash

from impl.archive.bucket import Condition
from impl.archive.face import Archived, Listed, Page
from impl.archive.names import Child, children, is_left, is_wanted, may_have, place
from impl.doors import Disk, Random
from impl.errors import (
    ArchiveChanged,
    ArchiveCorrupted,
    ArchiveRefused,
    ArchiveUnavailable,
    NotInArchive,
    RangeNotSatisfiable,
)

FORMAT: Final = b"amberio archive 1\n"
LOCKS: Final = 256
TRIES: Final = 16
"""How often others may get in the way of one step."""


class Part(msgspec.Struct, frozen=True):
    """A piece of a body, in a file that has the token in its name; `sha256` is lower-case hex."""

    token: str
    size_bytes: int
    sha256: str


class About(msgspec.Struct, frozen=True):
    """What is kept about an object, beside its parts."""

    key: str
    etag: str
    modified_at_ms: int
    content_type: str
    metadata: dict[str, str]
    parts: tuple[Part, ...]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def archived(self) -> Archived:
        return Archived(
            self.key, self.size_bytes, self.etag, self.modified_at_ms, self.content_type, self.metadata, None
        )


class Note(msgspec.Struct, frozen=True):
    """There may be a part that nothing names."""

    key: str
    token: str


class Tree:
    """An archive's files under `root`. Its methods raise OSError besides what they say."""

    def __init__(self, root: Path, disk: Disk, random: Random) -> None:
        self._root = root
        self._objects = root / "objects"
        self._notes = root / "notes"
        self._locks = root / "locks"
        self._mine = self._notes
        self._disk = disk
        self._random = random
        self._alive: int | None = None

    # -- its life

    def open(self) -> None:
        """Make the archive if the directory is empty, and sweep up after processes that are gone."""
        self._check_root()
        for directory in (self._objects, self._notes, self._locks):
            directory.mkdir(exist_ok=True)
        self._disk.write_durably(self._root / "format", (FORMAT,))
        while self._alive is None:
            self._mine = self._notes / self._random.token()
            self._alive = self._show_life(self._mine / "lock")
        for of_process in self._notes.iterdir():
            if of_process != self._mine:
                self._sweep(of_process)

    def close(self) -> None:
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise ArchiveRefused(f"there is no directory {self._root} for the archive; make it, or mount it")
        ours = {"format", "objects", "notes", "locks"}
        strange = sorted(name for name in _names(self._root) if name.partition(".")[0] not in ours)
        if strange:
            raise ArchiveRefused(f"{self._root} is no archive: it has {strange[0]!r}; give it an empty directory")
        with contextlib.suppress(FileNotFoundError):
            found = (self._root / "format").read_bytes()
            if found != FORMAT:
                raise ArchiveRefused(f"{self._root} is an archive of another format, {found[:40]!r}")

    def _show_life(self, file: Path) -> int | None:
        """Make and lock the file; None if somebody took us for dead before we had."""
        file.parent.mkdir()
        lock = None
        try:
            lock = _locked(file)
            file.stat()
        except FileNotFoundError:
            if lock is not None:
                os.close(lock)
            return None
        return lock

    def _sweep(self, of_process: Path) -> None:
        try:
            lock = _locked(of_process / "lock", wait=False)
        except BlockingIOError:
            return  # it lives, or another one sweeps
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                of_process.rmdir()
            return
        try:
            for file in of_process.iterdir():
                if file.name != "lock":
                    self._follow(file)
            (of_process / "lock").unlink()
            of_process.rmdir()
        finally:
            os.close(lock)

    def _follow(self, file: Path) -> None:
        try:
            note = msgspec.json.decode(file.read_bytes(), type=Note)
        except msgspec.DecodeError:
            file.unlink()  # it was being written, so the part was not there yet
            return
        with self._writing(note.key):
            directory, stem = self._at(note.key)
            about = self._found_or_rotten(note.key)
            named = about is not None and any(part.token == note.token for part in about.parts)
            for name in _names(directory):
                if is_left(name, stem, None if named else note.token):
                    (directory / name).unlink()
            self._prune(directory)
        file.unlink()

    # -- writing

    def new_token(self) -> str:
        """A name that nobody else has."""
        return self._random.token()

    def keep(self, key: str, body: bytes, sha256: str) -> Part:
        """Make a part durable, for an object that is to name it."""
        part = Part(self._random.token(), len(body), sha256)
        self._note(key, part)
        try:
            self._write(self._file(key, part), body)
        except OSError:
            self.drop(key, (part,))
            raise
        return part

    def drop(self, key: str, parts: Sequence[Part]) -> None:
        """Delete those of the parts that the object does not name."""
        with self._writing(key):
            about = self._found_or_rotten(key)
            named = set() if about is None else {part.token for part in about.parts}
            self._unlink(key, [part for part in parts if part.token not in named])

    def commit(self, about: About, condition: Condition) -> None:
        """Replace the object; raises ArchiveChanged."""
        key = about.key
        with self._writing(key):
            found = self._found_or_rotten(key)
            _check(key, found, condition)
            replaced = () if found is None else found.parts
            for part in replaced:
                self._note(key, part)
            encoded = msgspec.json.encode(about)
            directory, stem = self._at(key)
            self._write(directory / f"{stem}=m", b"%s\n%s" % (xxhash.xxh3_64_hexdigest(encoded).encode(), encoded))
            for part in about.parts:
                (self._mine / part.token).unlink(missing_ok=True)
            self._unlink(key, replaced)

    def delete(self, key: str, if_match: str | None) -> None:
        """Delete the object if it is there; raises ArchiveChanged."""
        with self._writing(key):
            found = self._found_or_rotten(key)
            _check(key, found, Condition(if_match))
            directory, stem = self._at(key)
            parts = () if found is None else found.parts
            for part in parts:
                self._note(key, part)
            try:
                (directory / f"{stem}=m").unlink()
            except FileNotFoundError:
                return
            _sync(directory)
            self._unlink(key, parts)

    def _note(self, key: str, part: Part) -> None:
        (self._mine / part.token).write_bytes(msgspec.json.encode(Note(key, part.token)))

    def _write(self, file: Path, content: bytes) -> None:
        for left in range(TRIES, 0, -1):
            try:
                _make_durably(file.parent)
                return self._disk.write_durably(file, (content,))
            except FileNotFoundError:
                if left == 1:
                    raise  # else somebody deleted the last object of a directory that we had just made sure of

    def _unlink(self, key: str, parts: Sequence[Part]) -> None:
        for part in parts:
            self._file(key, part).unlink(missing_ok=True)
        self._prune(self._at(key)[0])
        for part in parts:
            (self._mine / part.token).unlink(missing_ok=True)

    def _prune(self, directory: Path) -> None:
        while directory != self._objects:
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass  # but those above it may be there
            except OSError:
                return  # it is not empty
            directory = directory.parent

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        lock = _locked(self._locks / f"{xxhash.xxh3_64_intdigest(key.encode()) % LOCKS:02x}")
        try:
            yield
        finally:
            os.close(lock)

    # -- reading

    def about(self, key: str) -> About:
        """What is kept about an object; raises NotInArchive, ArchiveCorrupted."""
        about = self._found(key)
        if about is None:
            raise NotInArchive(f"there is no {key} in the archive")
        return about

    def read(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        """See `bucket.Bucket.get_object`; each part that is touched is checked against its digest."""
        for _ in range(TRIES):
            about = self.about(key)
            if if_match not in (None, about.etag):
                raise ArchiveChanged(f"{key} in the archive has the etag {about.etag}, not {if_match}")
            if start and start >= about.size_bytes:
                raise RangeNotSatisfiable(f"{key} in the archive has {about.size_bytes} bytes, none from {start}")
            try:
                return about.archived(), b"".join(self._pieces(about, start, stop))
            except FileNotFoundError as error:
                if self._found(key) == about:
                    raise ArchiveCorrupted(f"{key} in the archive: the file {error.filename} is missing") from None
        raise ArchiveUnavailable(f"{key} in the archive was replaced {TRIES} times while it was read")

    def page(self, prefix: str, after: str | None, limit: int) -> Page:
        """See `bucket.Bucket.list_objects`. It costs one look at each directory on the way to the page."""
        keys = self._keys(self._objects, b"", prefix.encode(), None if after is None else after.encode())
        abouts = filter(None, (self._found(key.decode()) for key in keys))
        objects = tuple(
            Listed(about.key, about.size_bytes, about.etag, about.modified_at_ms) for about in islice(abouts, limit + 1)
        )
        return Page(objects[:limit], objects[limit - 1].key if len(objects) > limit else None)

    def _keys(self, directory: Path, beginning: bytes, prefix: bytes, after: bytes | None) -> Iterator[bytes]:
        """The wanted keys in order. Directories may be a thousand deep, so they wait on a stack of ours."""
        waiting: list[Iterator[tuple[Path, Child]]] = [self._children(directory, beginning)]
        while waiting:
            directory, child = next(waiting[-1], (directory, None))
            if child is None:
                waiting.pop()
            elif not child.directories:
                if is_wanted(child.key, prefix, after):
                    yield child.key
            elif may_have(child.key, prefix, after):
                below = [(directory / name, beginning) for name, beginning in child.directories]
                if len(below) == 1:
                    waiting.append(self._children(*below[0]))
                else:
                    yield from heapq.merge(*(self._keys(*each, prefix, after) for each in below))

    def _children(self, directory: Path, beginning: bytes) -> Iterator[tuple[Path, Child]]:
        return ((directory, child) for child in children(_names(directory), beginning))

    def _pieces(self, about: About, start: int, stop: int) -> Iterator[bytes]:
        at = 0
        for part in about.parts:
            if at < stop and start < at + part.size_bytes:
                content = self._disk.read(self._file(about.key, part))
                if len(content) != part.size_bytes or hashlib.sha256(content).hexdigest() != part.sha256:
                    raise ArchiveCorrupted(f"{about.key} in the archive: part {part.token} has rotted")
                yield content[max(0, start - at) : stop - at]
            at += part.size_bytes

    def _found(self, key: str) -> About | None:
        directory, stem = self._at(key)
        try:
            check, _, encoded = self._disk.read(directory / f"{stem}=m").partition(b"\n")
        except FileNotFoundError:
            return None
        if check.decode("latin-1") != xxhash.xxh3_64_hexdigest(encoded):
            raise ArchiveCorrupted(f"what the archive keeps about {key} has rotted; write it anew")
        return msgspec.json.decode(encoded, type=About)

    def _found_or_rotten(self, key: str) -> About | None:
        """None, too, for what cannot be read any more: it may be replaced and deleted, like anything."""
        try:
            return self._found(key)
        except ArchiveCorrupted:
            return None

    def _at(self, key: str) -> tuple[Path, str]:
        directories, stem = place(key)
        return self._objects.joinpath(*directories), stem

    def _file(self, key: str, part: Part) -> Path:
        directory, stem = self._at(key)
        return directory / f"{stem}=b.{part.token}"


def _check(key: str, found: About | None, condition: Condition) -> None:
    etag = None if found is None else found.etag
    if (condition.if_match is not None and condition.if_match != etag) or (condition.if_absent and found is not None):
        there = "is not there" if etag is None else f"has the etag {etag}"
        raise ArchiveChanged(f"{key} in the archive {there}")


def _names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def _locked(file: Path, *, wait: bool = True) -> int:
    """A descriptor that holds the file's lock; raises BlockingIOError if another has it and we do not wait."""
    descriptor = os.open(file, os.O_RDWR | (os.O_CREAT if wait else 0) | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_durably(directory: Path) -> None:
    """Make a directory that may have a thousand missing above it, each of which is an entry of its parent."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        _sync(each.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
