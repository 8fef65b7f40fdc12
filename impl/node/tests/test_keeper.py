"""What goes on in the background survives its errors, tells of them, and lets the node end."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from impl.errors import InternalError
from impl.node import keeper
from impl.node.keeper import Keeper, KeeperMetrics

WAIT_S = 20.0


class Room:
    """Fails in the ways that it is given, one each look, then is content and stays so; `calls` is what was asked."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.calls: list[str] = []
        self.is_content = asyncio.Event()

    async def look(self) -> None:
        self.calls.append("look")
        if self._failures:
            raise self._failures.pop(0)
        self.is_content.set()

    async def rest(self) -> None:
        self.calls.append("rest")
        await asyncio.sleep(0)


async def kept(room: Room, *, rests_first: bool) -> Keeper:
    """A keeper that has looked until the room was content, and is closed."""
    looking = Keeper("tidying", room.look, room.rest, rests_first=rests_first)
    looking.start()
    await asyncio.wait_for(room.is_content.wait(), WAIT_S)
    await looking.close()
    return looking


@pytest.mark.parametrize(("rests_first", "begins"), [(True, ["rest", "look"]), (False, ["look"])])
def test_there_is_a_rest_before_each_look_but_perhaps_the_first(rests_first: bool, begins: list[str]) -> None:
    async def story() -> list[str]:
        room = Room(InternalError("for a while"))
        await kept(room, rests_first=rests_first)
        return room.calls

    calls = asyncio.run(story())
    assert calls[: len(begins) + 2] == [*begins, "rest", "look"]


def test_a_look_that_fails_is_counted_and_the_next_one_comes() -> None:
    async def story() -> dict[str, float]:
        looking = await kept(Room(InternalError("one"), InternalError("two")), rests_first=False)
        assert looking.looks >= 1
        return dict(counted(looking))

    assert asyncio.run(story())["amberio_keeper_errors_total"] == 2


def test_an_error_that_nobody_expects_is_told_and_does_not_end_the_keeping() -> None:
    told: list[Any] = []

    async def story() -> Keeper:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        return await kept(Room(ZeroDivisionError("a bug")), rests_first=False)

    looking = asyncio.run(story())
    assert [type(error) for error in told] == [ZeroDivisionError] and looking.errors == 1


def test_a_look_that_does_not_let_itself_be_given_up_does_not_keep_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "CLOSE_S", 0.05)

    async def story() -> None:
        may_end, began = asyncio.Event(), asyncio.Event()

        async def look() -> None:
            began.set()
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    continue

        looking = Keeper("stubborn", look, lambda: asyncio.sleep(WAIT_S), rests_first=False)
        looking.start()
        await began.wait()
        try:
            await asyncio.wait_for(looking.close(), WAIT_S)
        finally:
            may_end.set()

    asyncio.run(story())


def counted(*keepers: Keeper) -> Iterator[tuple[str, float]]:
    for family in KeeperMetrics(keepers).collect():
        for sample in family.samples:
            assert sample.labels == {"keeper": "tidying"}
            yield sample.name, sample.value
