"""The archive's part in the end of a node: it is waited for, but not for ever."""

import asyncio
from types import SimpleNamespace
from typing import Any, Final

import pytest

from impl.archive.settings import ArchiveSettings
from impl.node import tiering
from impl.node.keeper import Keeper
from impl.node.tiering import Tiering

WAIT_S: Final = 20.0


class Room:
    """Any room of the node; `closed` is given its name when it has ended."""

    def __init__(self, name: str, closed: list[str], *, is_silent: bool = False) -> None:
        self._name = name
        self._is_silent = is_silent
        self._closed = closed

    async def close(self) -> None:
        if self._is_silent:
            await asyncio.Event().wait()
        self._closed.append(self._name)


def tiered(closed: list[str], *, is_silent: bool) -> Tiering:
    """As start.py makes one; of what it is given, only what ends is there."""
    absent: Any = SimpleNamespace()
    archive, archivist, fetcher, importer = (
        Room(name, closed, is_silent=is_silent and name == "archive")
        for name in ("archive", "archivist", "fetcher", "importer")
    )
    keepers = [Keeper("shipping", absent, absent, rests_first=True)]
    given: list[Any] = [archive, absent, archivist, fetcher, absent, importer, keepers, absent, absent, absent, absent]
    return Tiering(ArchiveSettings(), *given)


def test_an_archive_that_does_not_answer_does_not_keep_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiering, "CLOSE_S", 0.05)
    closed: list[str] = []
    asyncio.run(asyncio.wait_for(tiered(closed, is_silent=True).close(), WAIT_S))
    assert closed == ["importer", "archivist", "fetcher"]


def test_what_uses_the_archive_ends_before_it() -> None:
    closed: list[str] = []
    asyncio.run(asyncio.wait_for(tiered(closed, is_silent=False).close(), WAIT_S))
    assert closed == ["importer", "archivist", "fetcher", "archive"]
