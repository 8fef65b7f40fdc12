"""Registers that are no objects (buckets, uploads) never show up where clients ask for objects."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from impl.model import Ballot, Head, Register, ReplicaSet, Rows
from impl.node.limits import Timing
from impl.node.lister import Lister

NODE = "n1"
HEAD = Head(1, False, "e", 0, "text/plain", 0, b"", (), ())
PATHS = st.lists(st.sampled_from("!./0ab/é\U0010ffff"), min_size=1, max_size=4).map("".join)


class OneStore:
    """A store of one node, as `RegisterStore.scan` has it."""

    behind: frozenset[int] = frozenset()

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = sorted(set(paths), key=str.encode)

    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool) -> Rows:
        register = Register(Ballot(1, NODE), Ballot(1, NODE), HEAD)
        found = [
            path
            for path in self._paths
            if path.startswith(prefix) and (after is None or path.encode() > after.encode())
        ]
        return Rows([(path, register) for path in found[:limit]], has_more=len(found) >= limit)


def lister(paths: Sequence[str]) -> Lister:
    unused: Any = SimpleNamespace()
    store: Any = OneStore(paths)
    return Lister(NODE, (NODE,), store, unused, unused, lambda path: (0, ReplicaSet((NODE,), 1)), Timing())


async def every_path(of: Lister, prefix: str, limit: int) -> list[str]:
    listed: list[str] = []
    after: str | None = None
    while True:
        page = await of.page(prefix, limit, after, include_deleted=False)
        listed += [path for path, _ in page.items]
        after = page.next_after
        if after is None:
            return listed


@example(["/\U0010ffffa", "/\U0010ffff!", "\xe9"], 1)  # a page that ends there was read for ever
@given(st.lists(PATHS, max_size=30), st.integers(1, 5))
def test_a_list_of_everything_has_all_objects_and_no_system_path(paths: list[str], limit: int) -> None:
    expected = sorted({path for path in paths if not path.startswith("/")}, key=str.encode)
    assert asyncio.run(every_path(lister(paths), "", limit)) == expected


@given(st.lists(PATHS, max_size=30), st.integers(1, 5))
def test_system_paths_are_listed_for_who_asks_for_them(paths: list[str], limit: int) -> None:
    expected = sorted({path for path in paths if path.startswith("/")}, key=str.encode)
    assert asyncio.run(every_path(lister(paths), "/", limit)) == expected
