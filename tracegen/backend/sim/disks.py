"""The disks of a simulated node that has several: one `SimDisk` a data directory, found by the names of files.

To the node it is the Disk door of `impl/doors.py`; what happens to the whole machine happens to each. What the harness
does to "the disk" of the node (room, errors, slowness) it does to one of them, always the same in a run: the node must
go on with the others.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from tracegen.backend.sim.vfs import SimDisk


class SimDisks:
    """Stands where a node with one disk has its `SimDisk`."""

    vfs: str | None = None
    log_pages_max: int | None = None

    def __init__(self, disks: Mapping[Path, SimDisk], draw: random.Random) -> None:
        self._disks = dict(disks)
        self._all = tuple(disks.values())
        self._below = tuple((f"{directory}/", disk) for directory, disk in disks.items())
        self._bad = draw.choice(self._all)

    def at(self, directory: Path) -> SimDisk:
        """The disk of a data directory."""
        return self._disks[directory]

    def close(self) -> None:
        for disk in self._all:
            disk.close()

    # -- what the harness does to all of them

    def cut_power(self) -> int:
        """The machine has no power: how many writes were not synced."""
        return sum(disk.cut_power() for disk in self._all)

    def empty(self) -> int:
        """Empty ones take the place of all; how many files were lost."""
        return sum(disk.empty() for disk in self._all)

    @property
    def is_replaced(self) -> bool:
        """Was any of them lost?"""
        return any(disk.is_replaced for disk in self._all)

    def let_go(self) -> None:
        """The process that had files open is gone."""
        for disk in self._all:
            disk.let_go()

    def break_off_after(self, writes: int) -> None:
        """The process is being killed in the midst of its work on one of them."""
        for disk in self._all:
            disk.break_off_after(writes)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file and its bytes."""
        return (file for disk in self._all for file in disk.files())

    def is_durable(self, digest: str) -> bool:
        """Would a power cut leave a file of this name, as it was written?"""
        return any(disk.is_durable(digest) for disk in self._all)

    def rot(self) -> str | None:
        """Flip a bit in the newest part of some disk; its digest, None if there is none."""
        return next(filter(None, (disk.rot() for disk in self._all)), None)

    def is_rotten(self, digest: str) -> bool:
        """Are the bytes of this part not those that its name promises?"""
        return any(disk.is_rotten(digest) for disk in self._all)

    @property
    def rotted(self) -> set[str]:
        """The parts of which the harness flipped a bit."""
        return set[str]().union(*(disk.rotted for disk in self._all))

    @property
    def removed(self) -> set[str]:
        """The parts that the node removed on purpose."""
        return set[str]().union(*(disk.removed for disk in self._all))

    # -- what it does to one of them

    def leave_room(self, room_bytes: int | None) -> None:
        self._bad.leave_room(room_bytes)

    def refused(self) -> int:
        return self._bad.refused()

    @property
    def is_failing(self) -> bool:
        return self._bad.is_failing

    @is_failing.setter
    def is_failing(self, is_failing: bool) -> None:
        self._bad.is_failing = is_failing

    @property
    def delay_s(self) -> float:
        return self._bad.delay_s

    @delay_s.setter
    def delay_s(self, delay_s: float) -> None:
        self._bad.delay_s = delay_s

    @property
    def jitter_s(self) -> float:
        return self._bad.jitter_s

    @jitter_s.setter
    def jitter_s(self, jitter_s: float) -> None:
        self._bad.jitter_s = jitter_s

    @property
    def refusals(self) -> int:
        return self._bad.refusals

    @property
    def slowed(self) -> int:
        return self._bad.slowed

    def next_delay_s(self) -> float:
        """By how much the next work takes longer; which disk it is on is not known here."""
        return self._bad.next_delay_s()

    # -- what the node does with them

    def write_durably(self, file: Path, chunks: Sequence[bytes], *, is_fsynced: bool = True) -> None:
        self._of(file).write_durably(file, chunks, is_fsynced=is_fsynced)

    def read(self, file: Path) -> bytes:
        return self._of(file).read(file)

    def size_bytes(self, file: Path) -> int | None:
        return self._of(file).size_bytes(file)

    def move(self, file: Path, to: Path) -> None:
        assert self._of(file) is self._of(to), "a file is not moved from disk to disk"
        self._of(file).move(file, to)

    def names(self, directory: Path) -> list[str]:
        return self._of(directory).names(directory)

    def remove(self, file: Path) -> None:
        self._of(file).remove(file)

    def open_to_append(self, file: Path) -> BinaryIO:
        return self._all[0].open_to_append(file)

    def _of(self, file: Path) -> SimDisk:
        name = str(file)
        return next(disk for start, disk in self._below if name.startswith(start))
