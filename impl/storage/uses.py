"""Which parts somebody is about to rely on, and since when the others were seen to be named by no head.

A part is collected only if it was seen unused, and nobody has put, read or held it from then until its file is gone:
all of that happens under one lock. A hold lasts until the head that names the part is durable, or is not to be.
Memory only: after a restart, nothing has been seen unused yet.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

UNUSED_MAX: Final = 100_000
"""Parts remembered as unused; further ones have to wait until some of these are collected."""

RECENT_MAX: Final = 100_000
"""Parts of which it is remembered when they were used; others count as not used since the start."""

Part = tuple[int, str]
"""A part's slot and its digest."""


class Uses:
    """The uses of one node's parts. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds: Counter[Part] = Counter()
        self._unused_since_s: dict[Part, float] = {}
        self._recent: OrderedDict[Part, None] = OrderedDict()

    def used(self, part: Part) -> None:
        """Somebody puts or reads the part: it has just been of use."""
        with self._lock:
            self._unused_since_s.pop(part, None)
            self._recent[part] = None
            self._recent.move_to_end(part)
            if len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)

    def oldest_first(self, parts: Iterable[Part]) -> list[Part]:
        """These parts, those first that were used longest ago; what was not since the start comes before all others."""
        with self._lock:
            order = {part: number for number, part in enumerate(self._recent)}
        return sorted(parts, key=lambda part: (order.get(part, -1), part))

    def hold(self, parts: Iterable[Part]) -> None:
        """Somebody is about to name these parts: they stay until as many times let go."""
        with self._lock:
            for part in parts:
                self._holds[part] += 1
                self._unused_since_s.pop(part, None)

    def let_go(self, parts: Iterable[Part]) -> None:
        """What was held is durable, or is not to be."""
        with self._lock:
            for part in parts:
                self._holds[part] -= 1
                if not self._holds[part]:
                    del self._holds[part]

    def seen(self, named: Iterable[Part], unused: Collection[Part], now_s: float) -> Mapping[Part, float]:
        """No head names `unused`, as far as anybody can tell who looked; since when was each seen so, without a break?

        That is `now_s` for one that is seen so for the first time since somebody used it. What is held is not unused.
        """
        with self._lock:
            for part in named:
                self._unused_since_s.pop(part, None)
            for part in unused:
                if part not in self._holds and len(self._unused_since_s) < UNUSED_MAX:
                    self._unused_since_s.setdefault(part, now_s)
            return {part: self._unused_since_s[part] for part in unused if part in self._unused_since_s}

    def remove_unused(self, part: Part, remove: Callable[[], None], *, is_careless: bool = False) -> bool:
        """Call `remove` unless somebody has used the part since it was seen unused; True if it was called.

        `is_careless` is for a mutant only: it asks nobody.
        """
        with self._lock:
            if not is_careless and (part not in self._unused_since_s or part in self._holds):
                return False
            self._unused_since_s.pop(part, None)
            remove()
            return True
