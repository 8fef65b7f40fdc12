"""Whether an archive held what it should, from what happened to its objects and from what clients were told. Pure.

The rules are those that anybody may expect who knows only the modes: nothing here knows how nodes ship.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tracegen.archive.face import Change, Held
from tracegen.archive.shape import ArchiveShape
from tracegen.history import Operation

AT_ONCE_US: Final = 10
"""Times this close may be the same one: they are whole microseconds in the history."""
FOREVER_US: Final = 1 << 62
DELETES: Final = ("delete", "mark")


@dataclass(frozen=True)
class Current:
    """What clients may read of a path now; `sha256` is None where it is deleted."""

    generation: int
    sha256: str | None
    size_bytes: int = 0


@dataclass(frozen=True)
class Keys:
    """The keys of the archive are `prefix` and a path; the paths are those that begin with `paths`."""

    prefix: str
    paths: str


def compare(current: Mapping[str, Current], held: Mapping[str, Held], shape: ArchiveShape, keys: Keys) -> list[str]:
    """A line for each difference between what clients may read and what the archive holds, when all is shipped."""
    lines = []
    for path, head in sorted(current.items()):
        wrong = _difference(head, held.get(keys.prefix + path), shape.mode_of(path))
        if wrong:
            lines.append(f"{path} {wrong}")
    known = {keys.prefix + path for path in current}
    for key in sorted(held.keys() - known):
        what = (
            "clients find nothing there, nor that it was deleted"
            if key.startswith(keys.prefix + keys.paths)
            else "no node has such a key"
        )
        lines.append(f"the archive holds {key}: {what}")
    return lines


def _difference(head: Current, held: Held | None, mode: str) -> str:
    if mode == "none":
        return "" if held is None else f"has mode none, and the archive holds its generation {held.generation}"
    if head.sha256 is None:
        gone = f"was deleted as generation {head.generation}"
        return "" if held is None else f"{gone}, and the archive holds its generation {held.generation}"
    if held is None:
        return f"is at generation {head.generation}, and the archive does not hold it"
    if held.generation is None:
        return "is in the archive without its generation among the metadata"
    if held.generation > head.generation:
        return f"is at generation {head.generation}, and the archive is ahead: {held.generation}"
    if (held.sha256, held.size_bytes) != (head.sha256, head.size_bytes):
        return (
            f"is at generation {head.generation} with {head.size_bytes} bytes, "
            f"and the archive holds other bytes: {held.size_bytes} of generation {held.generation}"
        )
    return ""


class Past:
    """What happened to each object of an archive, in order."""

    def __init__(self, changes: Iterable[Change], prefix: str, zero_s: float) -> None:
        """zero_s: when the run's clock stood at 0, by the clock of the changes."""
        self._of: defaultdict[str, list[Change]] = defaultdict(list)
        self._zero_s = zero_s
        for change in changes:
            self._of[change.key.removeprefix(prefix)].append(change)

    def steps_back(self) -> list[str]:
        """A line for each object that was replaced by an older one, against any condition that its writer could make.

        Two things no condition of S3's tells a late write: that there was something newer which is gone, and that what
        is there only has the bytes of what was there before. That these do not stay is for the last look to say.
        """
        lines = []
        for path, changes in sorted(self._of.items()):
            lines += [f"the archive went back: {path} {told}" for told in _steps_back(changes)]
        return lines

    def newest(self, path: str, at_us: int) -> int:
        """The highest generation that the archive ever had of it until then."""
        return max((change.generation or 0 for change in self._until(path, at_us)), default=0)

    def kept(self, path: str, from_us: int, to_us: int) -> int:
        """The newest generation that it held of all that time; 0 if it held none of it at some moment."""
        before = self._until(path, from_us - 2 * AT_ONCE_US)
        seen = [*before[-1:], *self._until(path, to_us)[len(before) :]]
        if not before or not all(change.is_there for change in seen):
            return 0
        return max(change.generation or 0 for change in seen)

    def _until(self, path: str, at_us: int) -> Sequence[Change]:
        changes = self._of.get(path, [])
        return changes[: bisect_right(changes, self._zero_s + (at_us + AT_ONCE_US) / 1e6, key=lambda each: each.at_s)]


def _steps_back(changes: Sequence[Change]) -> Iterator[str]:
    seen: set[tuple[int, str | None]] = set()  # generations, with the etags of their bytes
    for before, after in pairwise(changes):
        was, now = before.generation or 0, after.generation or 0
        seen.add((was, before.etag))
        is_older = before.is_there and after.is_there and now < was
        if is_older and not any(earlier < now and etag == before.etag for earlier, etag in seen):
            yield f"was at generation {was}, and then at {now}"


def told_too_early(operations: Sequence[Operation], past: Past, shape: ArchiveShape) -> list[str]:
    """A line for each write in mode write_through that a client was told of before the archive had it, or lost it.

    A write may be overtaken by a deletion that is under way at the same time, or, if it is told of again, by one that
    came after it: then it need never have been there. And
    what a deletion has deleted may be back for a while, as a late write arrived.
    """
    deleted: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    made: Counter[tuple[str, int | None]] = Counter()
    for operation in operations:
        if operation.kind in DELETES and operation.outcome != "failed":
            made[operation.path, operation.generation] += 1
            # one without an answer may happen at any time
            over_us = FOREVER_US if operation.return_us is None else operation.return_us
            deleted[operation.path].append((operation.invoke_us, over_us, operation.generation or 0))
    lines = []
    for operation in operations:
        if operation.outcome != "ok" or operation.return_us is None or operation.generation is None:
            continue
        if shape.mode_of(operation.path) != "write_through":
            continue
        path, generation, at_us = operation.path, operation.generation, operation.return_us
        told = f"{operation.client}/{operation.op} was told at {at_us / 1e6:.3f} s that {path} is"
        if operation.kind in ("put", "copy"):
            newest = past.newest(path, at_us)
            is_overtaken = any(
                began <= at_us and (over >= operation.invoke_us or of > generation) for began, over, of in deleted[path]
            )
            if newest < generation and not is_overtaken:
                lines.append(f"{told} at generation {generation}, and the archive had only had {newest}")
        elif operation.kind in DELETES and operation.of_version is None and operation.deleted:
            if made[path, None] or made[path, generation] > 1:
                continue  # perhaps it found the path deleted, and wrote nothing
            held = past.kept(path, operation.invoke_us, at_us)
            if 0 < held < generation:
                lines.append(f"{told} deleted as generation {generation}, and the archive still held {held}")
    return lines
