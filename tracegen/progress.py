"""What a run is at: a spinner's line on a terminal, a line now and then in a log. Always on standard error."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.status import Status

LOG_EVERY_S: Final = 2.0
Say = Callable[[str], None]
"""Told what is going on, again and again."""


class Progress:
    """`say` replaces the line. `label` is put before every line, and can change between runs."""

    def __init__(self, label: str = "") -> None:
        self.label = label
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._status: Status | None = None
        self._last_s = time.monotonic()

    def say(self, text: str) -> None:
        line = f"{self.label}: {text}" if self.label else text
        if self._status is not None:
            self._status.update(line)
        elif time.monotonic() - self._last_s >= LOG_EVERY_S:
            self._last_s = time.monotonic()
            self._console.print(line)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
