"""What waits to be shipped to the archive, in numbers: kept up to date with every commit, so that nobody has to count.

The registers themselves are the queue (`database.unshipped`); this is what back-pressure and metrics look at, and what
wakes the shipper.
"""

import asyncio
from collections.abc import Callable

from impl.model import Register


class Backlog:
    """The backlog of one node: registers whose head the archive is not known to hold, and their bytes."""

    def __init__(self, is_tiered: Callable[[str], bool]) -> None:
        self.registers = 0
        self.size_bytes = 0
        self.grew = asyncio.Event()
        self._is_tiered = is_tiered

    def load(self, registers: int, size_bytes: int) -> None:
        """Begin with what a disk has, each with its own."""
        self.registers += registers
        self.size_bytes += size_bytes
        if registers:
            self.grew.set()

    def change(self, path: str, before: Register, after: Register) -> None:
        """A register has another state now."""
        is_tiered = self._is_tiered(path)
        if before.head is not None and before.waits_for_archive(is_tiered):
            self.registers -= 1
            self.size_bytes -= before.head.size_bytes
        if after.head is not None and after.waits_for_archive(is_tiered):
            self.registers += 1
            self.size_bytes += after.head.size_bytes
            self.grew.set()
