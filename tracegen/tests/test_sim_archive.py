"""The simulated archive: same seed, same outcomes; what was sent happens, whoever dies; each fault is the one said."""

import asyncio
import contextvars
import hashlib
import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from impl.archive.remote import RemoteArchive
from impl.archive.retries import Limits
from impl.errors import (
    ArchiveCorrupted,
    ArchiveError,
    ArchiveRefused,
    ArchiveThrottled,
    ArchiveUnavailable,
)
from tracegen.backend.sim.archive import Faults, SimBucket
from tracegen.backend.sim.loop import OWNER, SimLoop
from tracegen.backend.sim.node import SimClock, SimRandom

Result = TypeVar("Result")
LIMITS = Limits(
    part_bytes=100, attempt_s=5, failures_max=5, pause_s=1, pause_max_s=10, in_flight_max=4, waiting_max=100
)
ONCE = replace(LIMITS, attempts_max=1, failures_max=1_000_000)
PARTS = frozenset({"upload_part"})
LARGE = bytes(range(250)) * 2


class World:
    """A bucket, and the archives that nodes make of it."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = SimLoop(100_000)
        self.bucket = SimBucket(self.loop, random.Random(f"{seed}/archive"))
        self._seed = seed

    def archive(self, node: str = "n1", limits: Limits = LIMITS) -> RemoteArchive:
        draw = random.Random(f"{self._seed}/{node}")
        return RemoteArchive(self.bucket.access(node), limits, SimClock(self.loop), SimRandom(draw))

    def run(self, story: Coroutine[Any, Any, Result]) -> Result:
        asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(story)
        finally:
            asyncio.set_event_loop(None)
            assert self.loop.errors == []
            self.loop.let_go()

    def body(self, key: str) -> bytes | None:
        found = self.bucket.objects().get(key)
        return None if found is None else found[1]


async def read(archive: RemoteArchive, key: str) -> bytes:
    return b"".join([piece async for piece in (await archive.get(key)).chunks])


# -- the same again


def outcomes(seed: int) -> list[str]:
    """What some clients saw, and when, of an archive with all its faults."""
    world = World(seed)
    world.bucket.faults = Faults(slow_s=0.3, throttle=0.1, fail=0.1, lose=0.1)
    seen: list[str] = []

    async def client(node: str) -> None:
        archive = world.archive(node)
        draw = random.Random(node)
        for turn in range(30):
            key = f"k{draw.randrange(4)}"
            try:
                match draw.randrange(4):
                    case 0:
                        said: object = await archive.put(key, draw.randbytes(draw.randrange(400)))
                    case 1:
                        said = hashlib.sha256(await read(archive, key)).hexdigest()
                    case 2:
                        await archive.delete(key)
                        said = "deleted"
                    case _:
                        said = await archive.list()
            except ArchiveError as error:
                said = repr(error)
            seen.append(f"{world.loop.time():.9f} {node} {turn} {said}")

    async def story() -> None:
        await asyncio.gather(*(client(f"n{number}") for number in range(3)))

    world.run(story())
    return [*seen, repr(sorted(world.bucket.objects().items())), repr(sorted(world.bucket.done.items()))]


def test_the_same_seed_gives_the_same_outcomes_at_the_same_times_and_another_does_not() -> None:
    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)


# -- nodes come and go


def test_what_a_node_sent_happens_though_it_is_killed_and_outlives_it() -> None:
    world = World()

    async def story() -> None:
        owner = world.loop.new_owner("n1")
        context = contextvars.copy_context()
        context.run(OWNER.set, owner)
        putting = world.loop.create_task(world.archive().put("a", b"body"), context=context)
        await asyncio.sleep(0.001)
        assert not world.bucket.requests, "it is on its way"
        world.loop.kill(owner)
        await asyncio.sleep(1)
        assert not putting.done()
        assert await read(world.archive("n2"), "a") == b"body"
        owner.forget()

    world.run(story())


def test_a_node_that_is_cut_off_hears_nothing_and_the_others_go_on() -> None:
    world = World()
    world.bucket.cut_off.add("n1")

    async def story() -> None:
        with pytest.raises(ArchiveUnavailable):
            await world.archive("n1", ONCE).put("a", b"n1")
        await world.archive("n2", ONCE).put("a", b"n2")
        world.bucket.cut_off.clear()
        assert await read(world.archive("n1", ONCE), "a") == b"n2"

    world.run(story())


# -- each fault


@pytest.mark.parametrize("outage", ("refuses", "silent"))
def test_nothing_arrives_during_an_outage_and_everything_does_after_it(outage: Any) -> None:
    world = World()
    archive = world.archive(limits=ONCE)

    async def story() -> None:
        world.bucket.faults = Faults(outage=outage)
        with pytest.raises(ArchiveUnavailable):
            await archive.put("a", b"body")
        with pytest.raises(ArchiveUnavailable):
            await archive.list()
        waited_s = world.loop.time()
        assert waited_s >= 2 * LIMITS.attempt_s if outage == "silent" else waited_s < 1
        assert not world.bucket.requests and world.bucket.done["outage"] == 2 and world.body("a") is None
        world.bucket.faults = Faults()
        await archive.put("a", b"body")
        assert await read(archive, "a") == b"body"

    world.run(story())


def test_an_outage_that_begins_while_a_request_is_worked_on_loses_the_answer() -> None:
    world = World()

    async def story() -> None:
        putting = asyncio.ensure_future(world.archive(limits=ONCE).put("a", b"body"))
        while not world.bucket.in_flight:  # noqa: ASYNC110 # nobody tells
            await asyncio.sleep(0.001)
        world.bucket.faults = Faults(outage="refuses")
        with pytest.raises(ArchiveUnavailable):
            await putting
        assert world.body("a") == b"body"

    world.run(story())


@pytest.mark.parametrize("body", (b"small", LARGE), ids=("whole", "in parts"))
def test_an_answer_that_is_lost_leaves_the_object_though_put_raised(body: bytes) -> None:
    world = World()
    world.bucket.faults = Faults(lose=1.0, only=frozenset({"put_object", "complete_upload"}))

    async def story() -> None:
        archive = world.archive(limits=ONCE)
        for turn in range(10):
            with pytest.raises(ArchiveUnavailable):
                await archive.put(f"k{turn}", body)
            assert world.body(f"k{turn}") == body
            assert await read(archive, f"k{turn}") == body
        assert world.bucket.done["lose"] == 10

    world.run(story())


def test_throttling_refuses_and_says_when_to_come_again() -> None:
    world = World()
    world.bucket.faults = Faults(throttle=1.0, retry_after_s=2.0)

    async def story() -> None:
        with pytest.raises(ArchiveThrottled) as caught:
            await world.archive(limits=ONCE).put("a", b"body")
        assert caught.value.after_s == 2.0 and world.body("a") is None
        with pytest.raises(ArchiveThrottled):
            await world.archive().put("a", b"body")
        assert world.bucket.done["throttle"] == 1 + LIMITS.attempts_max
        assert world.loop.time() >= 2.0 * (LIMITS.attempts_max - 1)

    world.run(story())


def test_failing_parts_make_no_object_and_their_uploads_are_aborted() -> None:
    world = World()

    async def story() -> None:
        archive = world.archive(limits=ONCE)
        world.bucket.faults = Faults(fail=1.0, only=PARTS)
        await archive.put("small", b"small")
        for _ in range(10):
            with pytest.raises(ArchiveUnavailable):
                await archive.put("large", LARGE)
        assert world.bucket.requests["upload_part"] == world.bucket.done["fail"] == 10
        assert world.bucket.requests["complete_upload"] == 0 and world.body("large") is None
        assert world.bucket.uploads == 0

    world.run(story())


def test_some_failing_parts_are_sent_again() -> None:
    world = World()
    world.bucket.faults = Faults(fail=0.3, only=PARTS)

    async def story() -> None:
        archive = world.archive()
        for _ in range(10):
            await archive.put("large", LARGE)
        assert await read(archive, "large") == LARGE
        assert world.bucket.requests["upload_part"] == 50 + world.bucket.done["fail"] > 60

    world.run(story())


def test_a_server_failure_did_what_it_was_asked_half_of_the_time() -> None:
    world = World()
    world.bucket.faults = Faults(fail=1.0)

    async def story() -> None:
        archive = world.archive(limits=ONCE)
        for turn in range(40):
            with pytest.raises(ArchiveUnavailable):
                await archive.put(f"k{turn}", b"body")
        assert 10 <= len(world.bucket.objects()) <= 30

    world.run(story())


def test_keys_that_are_not_valid_are_the_operators() -> None:
    world = World()
    world.bucket.faults = Faults(refuse=True)

    async def story() -> None:
        with pytest.raises(ArchiveRefused):
            await world.archive().put("a", b"body")
        assert world.bucket.done["refuse"] == 1 and world.body("a") is None

    world.run(story())


def test_rot_is_found_by_a_whole_read() -> None:
    world = World()

    async def story() -> None:
        archive = world.archive()
        await archive.put("a", LARGE, sha256=hashlib.sha256(LARGE).hexdigest())
        world.bucket.rot("a")
        with pytest.raises(ArchiveCorrupted):
            await read(archive, "a")

    world.run(story())


# -- the server's own rules, in virtual time


@pytest.mark.parametrize("outage", ("refuses", "silent"))
def test_ten_minutes_of_outage_cost_few_requests_and_end_soon_after_it(outage: Any) -> None:
    world = World()
    tried = 0

    async def story() -> None:
        nonlocal tried
        archive = world.archive()
        world.bucket.faults = Faults(outage=outage)
        while world.loop.time() < 600:
            tried += 1
            with pytest.raises(ArchiveUnavailable):
                await archive.put("a", b"body")
            await asyncio.sleep(0.1)
        sent = archive.metrics.requests()
        # until the circuit opens, and then a probe a pause
        assert sent <= LIMITS.failures_max + 600 / LIMITS.pause_max_s + 5
        assert tried > 20 * sent
        world.bucket.faults = Faults()
        healed_s = world.loop.time()
        while world.body("a") is None:
            try:
                await archive.put("a", b"body")
            except ArchiveUnavailable:
                await asyncio.sleep(0.1)
        assert world.loop.time() - healed_s <= LIMITS.pause_max_s + 1

    world.run(story())


def test_a_node_sends_no_more_requests_at_once_than_it_may() -> None:
    world = World()

    async def story() -> None:
        archive = world.archive()
        await asyncio.gather(*(archive.put(f"k{number}", b"body") for number in range(50)))
        assert len(world.bucket.objects()) == 50
        assert world.bucket.in_flight_most <= LIMITS.in_flight_max and world.bucket.in_flight == 0

    world.run(story())
