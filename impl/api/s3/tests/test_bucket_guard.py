"""The guard of buckets under every order of steps that Hypothesis thinks of, over registers that are linearizable."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from impl.api.s3 import bucket as registers
from impl.api.s3.bucket import Bucket
from impl.api.s3.bucket_guard import BucketGuard, is_marked
from impl.api.s3.errors import BucketNotEmpty, NoSuchBucket, OperationAborted
from impl.errors import OutcomeUnknown
from impl.model import Head, Stored
from impl.protocol.change import NO_CONDITION, Change, Condition, apply

NAME = "the-bucket"
KNOWN = NoSuchBucket | BucketNotEmpty | OperationAborted | OutcomeUnknown
OVERWRITTEN = [6, 6, 11, 5, 6, 7, 4, 1, 1, 1, 0, 1, 6, 8, 11, 1, 2, 2, 6, 4, 2, 9, 2, 11]
"""One write finds its bucket made again, after another one, which found none, has overwritten it (TLC found it)."""

BOTH_GONE = [6, 10, 2, 2, 8, 3, 0, 3, 8, 8, 3]
"""Two write versions of one key, and neither finds its bucket: each takes back its own."""


class _Written(msgspec.Struct, frozen=True):
    outcome: str
    generation: int
    etag: str | None = None
    version: int = 0


class _Page(msgspec.Struct, frozen=True):
    items: Sequence[tuple[str, Head]]
    next_after: str | None = None


class Registers:
    """Registers in memory. Every step waits for its turn, which `order` gives: it names one of those who wait."""

    def __init__(self, order: list[int]) -> None:
        self.heads: dict[str, Head] = {}
        self._order = order
        self._waiting: list[asyncio.Future[None]] = []
        self._writes = 0

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def run(self, *clients: Awaitable[object]) -> list[Any]:
        """Let these go on, one step after the other, until all are done."""
        everybody = asyncio.gather(*clients, return_exceptions=True)
        await asyncio.sleep(0)
        while not everybody.done():
            if self._waiting:
                chosen = self._order.pop() if self._order else 0
                turn = self._waiting.pop(chosen % len(self._waiting))
                if not turn.cancelled():
                    turn.set_result(None)
            await asyncio.sleep(0)
        return everybody.result()

    async def head(self, path: str) -> Head | None:
        await self._turn()
        return self.heads.get(path)

    async def list(self, prefix: str, limit: int, after: str | None, include_deleted: bool, with_older: bool) -> _Page:
        await self._turn()
        live = [(path, head) for path, head in sorted(self.heads.items()) if versions_of(head)]
        return _Page([item for item in live if item[0].startswith(prefix)][:limit])

    async def write(
        self,
        path: str,
        stored: Stored,
        *,
        condition: Condition,
        attributes: Any = (),
        versioned: bool = False,
        **_: Any,
    ) -> _Written:
        await self._turn()
        return self._apply(
            path, Change("put", None, condition, stored.etag, body=b"", attributes=attributes, versioned=versioned)
        )

    async def delete(self, path: str, *, condition: Condition, write_id: str | None, version: int = 0) -> _Written:
        await self._turn()
        return self._apply(path, Change("delete", None, condition, version=version))

    def _apply(self, path: str, change: Change) -> _Written:
        self._writes += 1
        result = apply(msgspec.structs.replace(change, write_id=f"w{self._writes}"), self.heads.get(path))
        if result.head is not None:
            self.heads[path] = result.head
        applied = result.applied
        return _Written(result.outcome, result.head.generation if result.head else 0, None, _version(applied))


def _version(applied: Any) -> int:
    return applied.version if applied is not None else 0


def versions_of(head: Head) -> set[int]:
    """The ids of all versions that a head has."""
    current = set() if head.deleted and not head.marker else {head.version}
    return current | {version.id for version in head.older}


async def create(node: Registers, token: str) -> None:
    bucket = Bucket(NAME, 1, "me", "here", creation_id=token)
    stored = Stored(b"", (), 0, token)
    await node.write(
        registers.path_of(NAME), stored, condition=Condition("absent"), attributes=registers.attributes(bucket)
    )


async def put(node: Registers, guard: BucketGuard, key: str, token: str, versioned: bool = False) -> tuple[str, int]:
    """What PutObject does; path and version once it is acknowledged."""
    head = await node.head(registers.path_of(NAME))
    if head is None or head.deleted:
        raise NoSuchBucket()
    bucket = registers.of_head(NAME, head)
    path = f"{NAME}/{key}"
    written: Any = await node.write(path, Stored(b"", (), 0, token), condition=NO_CONDITION, versioned=versioned)
    await guard.settle(bucket, path, written, token)
    return path, written.version


Clients = Callable[[Registers, BucketGuard], Sequence[Awaitable[object]]]


def played(order: list[int], clients: Clients) -> tuple[Registers, list[Any]]:
    async def play() -> tuple[Registers, list[Any]]:
        node = Registers(order)
        guard = BucketGuard(node)  # type: ignore[arg-type]  # what it asks of a node is here
        await node.run(create(node, "first"))
        return node, await node.run(*clients(node, guard))

    return asyncio.run(play())


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.integers(0, 11), max_size=80),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
)
@example(OVERWRITTEN, 2, 1, 1, True, False)
@example(BOTH_GONE, 2, 1, 1, False, True)
def test_what_was_acknowledged_is_there_and_its_bucket_too(
    order: list[int], writers: int, keys: int, deleters: int, again: bool, versioned: bool
) -> None:
    def clients(node: Registers, guard: BucketGuard) -> Sequence[Awaitable[object]]:
        started: list[Awaitable[object]] = [
            put(node, guard, f"k{at % keys}", f"put{at}", versioned) for at in range(writers)
        ]
        started += [guard.delete(NAME, f"delete{at}") for at in range(deleters)]
        return [*started, create(node, "second")] if again else started

    node, results = played(list(order), clients)
    for result in results:
        assert result is None or isinstance(result, tuple | KNOWN), result
    acknowledged = {result for result in results if isinstance(result, tuple)}
    there = {
        (path, version) for path, head in node.heads.items() if path.startswith(NAME) for version in versions_of(head)
    }
    in_doubt = any(isinstance(result, OutcomeUnknown) for result in results)
    assert there >= acknowledged if in_doubt else there == acknowledged
    assert not (acknowledged and node.heads[registers.path_of(NAME)].deleted)


def test_a_mark_whose_maker_crashed_is_taken_away_by_the_next_write() -> None:
    async def play() -> None:
        node = Registers([])
        guard = BucketGuard(node)  # type: ignore[arg-type]  # as above
        await node.run(create(node, "first"))
        deleter = asyncio.ensure_future(guard.delete(NAME, "d"))
        while not is_marked(node.heads[registers.path_of(NAME)]):
            await node.run(asyncio.sleep(0))
        deleter.cancel()
        await node.run(put(node, guard, "k", "p"))
        bucket = node.heads[registers.path_of(NAME)]
        assert not is_marked(bucket)
        assert registers.of_head(NAME, bucket).creation_id == "first"

    asyncio.run(play())


def test_deleting_a_bucket_that_is_not_empty_leaves_no_mark() -> None:
    def clients(node: Registers, guard: BucketGuard) -> Sequence[Awaitable[object]]:
        async def one_after_the_other() -> None:
            await put(node, guard, "k", "p")
            await guard.delete(NAME, "d")

        return [one_after_the_other()]

    node, results = played([], clients)
    assert isinstance(results[0], BucketNotEmpty)
    assert not is_marked(node.heads[registers.path_of(NAME)])
