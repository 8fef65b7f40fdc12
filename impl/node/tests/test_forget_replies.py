"""A coordinator that hears of a lost disk counts nothing that was replied before: it begins anew (spec: Meet)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from impl.cluster.peers import OnReply, Peers
from impl.doors import RealClock, RealRandom
from impl.errors import AmberioError
from impl.model import NO_BALLOT, ReplicaSet
from impl.node.coordinator import Coordinator
from impl.node.limits import Timing
from impl.node.naming import Naming
from impl.node.replica import Replica
from impl.node.rounds import Rounds
from impl.protocol.change import READ
from impl.protocol.messages import Accept, Failure, Prepare, Reply, Request, State
from impl.protocol.rules import HONEST
from impl.storage.tests.rig import Remembering, opened

GROUP = ReplicaSet(("n2", "n1", "n3"), 2)


class Silent:
    """This node's own replica, which does not vote."""

    def handle(self, request: Request, respond: Callable[[Reply], None]) -> None:
        respond(Failure("behind"))


class Asked:
    """The others, who answer when the test says so."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._waiting: dict[str, OnReply] = {}

    def start(self, nodes: Sequence[str], request: Request, timeout_s: float, on_reply: OnReply) -> None:
        self.requests.append(request)
        self._waiting = dict.fromkeys(nodes, on_reply)

    def promise(self, node: str) -> None:
        self._waiting[node](node, State(self.requests[-1].ballot, NO_BALLOT, None))  # type: ignore[union-attr]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 # many things end this
            await asyncio.sleep(0.001)


def tell(directory: Path, story: Callable[[Coordinator, Asked], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(directory) as store:
            store.life = 1
            rounds, asked, slot = Rounds("n1", store), Asked(), (7, GROUP)
            await rounds.open()
            coordinator = Coordinator(
                "n1",
                store,
                cast(Replica, Silent()),
                cast(Naming, None),
                cast(Peers, asked),
                Remembering(),
                rounds,
                lambda path: slot,
                RealClock(),
                RealRandom(),
                Timing(),
                HONEST,
            )
            running = asyncio.ensure_future(coordinator.run("p", READ))
            await until(lambda: asked.requests)
            try:
                await story(coordinator, asked)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_promises_of_a_quorum_are_followed_by_a_proposal(tmp_path: Path) -> None:
    async def story(coordinator: Coordinator, asked: Asked) -> None:
        asked.promise("n2")
        asked.promise("n3")
        await until(lambda: len(asked.requests) == 2)
        assert isinstance(asked.requests[1], Accept)

    tell(tmp_path, story)


def test_a_promise_from_before_a_disk_was_lost_is_not_counted_with_one_from_after(tmp_path: Path) -> None:
    async def story(coordinator: Coordinator, asked: Asked) -> None:
        asked.promise("n2")
        coordinator.forget_replies()
        asked.promise("n3")
        await until(lambda: len(asked.requests) == 2)
        assert isinstance(asked.requests[1], Prepare)
        assert asked.requests[1].ballot > cast(Prepare, asked.requests[0]).ballot

    tell(tmp_path, story)


def test_a_node_that_must_not_coordinate_yet_says_why(tmp_path: Path) -> None:
    async def story(coordinator: Coordinator, asked: Asked) -> None:
        coordinator.not_ready = lambda: "n3 must hear of it first"
        with pytest.raises(AmberioError, match="n3 must hear of it first"):
            await coordinator.run("q", READ)

    tell(tmp_path, story)
