"""The registers read or written last, bounded by bytes."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from impl.model import Register

ENTRY_BYTES: Final = 700
"""What an entry costs beside its path and body: head, ballots, a few recent writes."""
RECENT_BYTES: Final = 250
"""What each further recent write costs."""


class Cache:
    """Least recently used entries go first."""

    def __init__(self, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._size_bytes = 0
        self._entries: OrderedDict[str, tuple[Register, int]] = OrderedDict()

    @property
    def size(self) -> tuple[int, int]:
        """Entries, and bytes."""
        return len(self._entries), self._size_bytes

    def get(self, path: str) -> Register | None:
        entry = self._entries.get(path)
        if entry is None:
            return None
        self._entries.move_to_end(path)
        return entry[0]

    def drop(self, is_stale: Callable[[str], bool]) -> None:
        """Forget the paths of which this is so."""
        for path in [path for path in self._entries if is_stale(path)]:
            self._size_bytes -= self._entries.pop(path)[1]

    def put(self, path: str, register: Register) -> None:
        before = self._entries.pop(path, None)
        if before is not None:
            self._size_bytes -= before[1]
        size_bytes = _size_bytes(path, register)
        self._entries[path] = (register, size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > self._size_bytes_max and len(self._entries) > 1:
            _, (_, dropped_bytes) = self._entries.popitem(last=False)
            self._size_bytes -= dropped_bytes


def _size_bytes(path: str, register: Register) -> int:
    size_bytes = ENTRY_BYTES + len(path)
    head = register.head
    if head is not None:
        size_bytes += RECENT_BYTES * len(head.recent) + 160 * len(head.parts)
        if head.body is not None:
            size_bytes += len(head.body)
    return size_bytes
