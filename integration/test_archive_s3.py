"""S3 on a real socket, whose server fails, throttles, lies, goes away: what is raised, what is there, at what cost."""

import asyncio
import hashlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import botocore.httpsession
import pytest

from impl.archive.face import Archive
from impl.archive.remote import RemoteArchive
from impl.archive.retries import Limits
from impl.archive.s3 import open_s3
from impl.archive.settings import S3Settings
from impl.doors import RealRandom
from impl.errors import (
    ArchiveCorrupted,
    ArchiveError,
    ArchiveRefused,
    ArchiveThrottled,
    ArchiveUnavailable,
    NotInArchive,
)
from integration.archives import bucket_of, open_moto, s3_settings
from integration.cluster import free_ports
from integration.moto_server import Fault, Moto, running

PART_BYTES = 100
LIMITS = Limits(part_bytes=PART_BYTES, backoff_s=0.001, backoff_max_s=0.01, failures_max=1_000_000, attempt_s=20)
ONCE = replace(LIMITS, attempts_max=1)
LARGE = bytes(range(250)) * 2
LARGE_PARTS = 5


class VirtualClock:
    """Stands still, but when somebody sleeps or the test says so."""

    def __init__(self) -> None:
        self.s = 0.0

    def now_ms(self) -> int:
        return int(self.s * 1000)

    def monotonic_s(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        self.s += seconds


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with running() as moto:
        yield moto


@pytest.fixture
def moto(server: Moto) -> Moto:
    server.reset()
    return server


def in_turn(*faults: Fault | None, of: str = "") -> Any:
    """The first requests that have this in their query meet these faults, the last for ever."""
    left = itertools.chain(faults[:-1], itertools.repeat(faults[-1]))
    return lambda environ: next(left) if of in environ["QUERY_STRING"] else None


async def read(archive: Archive, key: str) -> bytes:
    return b"".join([piece async for piece in (await archive.get(key)).chunks])


def there(moto: Moto, archive: RemoteArchive, key: str) -> bytes | None:
    """What is really in the bucket."""
    moto.trouble = lambda _: None
    try:
        return moto.client.get_object(Bucket=bucket_of(archive), Key=key)["Body"].read()
    except moto.client.exceptions.NoSuchKey:
        return None


def uploads(moto: Moto, archive: RemoteArchive) -> list[Any]:
    moto.trouble = lambda _: None
    return moto.client.list_multipart_uploads(Bucket=bucket_of(archive)).get("Uploads", [])


@pytest.mark.parametrize("fault", ("throttle", "fail", "cut", "lose"))
def test_what_fails_for_a_while_is_done_after_all(fault: Fault, moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, LIMITS)
        for work in (
            lambda: archive.put("a", b"body"),
            lambda: archive.put("large", LARGE),
            lambda: read(archive, "a"),
        ):
            moto.trouble = in_turn(fault, fault, None)
            await work()
        assert (await read(archive, "a"), await read(archive, "large")) == (b"body", LARGE)
        moto.trouble = in_turn(fault, None)
        assert [each.key for each in (await archive.list()).objects] == ["a", "large"]
        moto.trouble = in_turn(fault, None)
        await archive.delete("a")
        assert there(moto, archive, "a") is None
        await archive.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "kind"),
    (
        ("throttle", ArchiveThrottled),
        ("fail", ArchiveUnavailable),
        ("cut", ArchiveUnavailable),
        ("lose", ArchiveUnavailable),
        ("refuse", ArchiveRefused),
    ),
)
def test_what_fails_for_ever_is_named_and_asked_a_few_times(fault: Fault, kind: type[ArchiveError], moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, LIMITS)
        attempts = 1 if fault == "refuse" else LIMITS.attempts_max
        for work in (
            archive.put("a", b"body"),
            archive.get("a"),
            archive.head("a"),
            archive.delete("a"),
            archive.list(),
            archive.put("a", LARGE),
        ):
            moto.seen.clear()
            moto.trouble = lambda _: fault
            with pytest.raises(kind):
                await work
            assert len(moto.seen) == attempts
        moto.trouble = lambda _: None
        await archive.close()

    asyncio.run(story())


@pytest.mark.parametrize("body", (b"body", LARGE), ids=("whole", "in parts"))
def test_an_answer_that_is_lost_leaves_the_object_though_put_raised(body: bytes, moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, ONCE)
        moto.trouble = lambda environ: "lose" if is_last_of_put(environ) else None
        with pytest.raises(ArchiveUnavailable):
            await archive.put("a", body)
        assert there(moto, archive, "a") == body and uploads(moto, archive) == []
        await archive.close()

    asyncio.run(story())


def is_last_of_put(environ: dict[str, Any]) -> bool:
    """Does this request make the object?"""
    query = environ["QUERY_STRING"]
    return (environ["REQUEST_METHOD"] == "PUT" and not query) or (
        environ["REQUEST_METHOD"] == "POST" and "uploadId" in query
    )


def test_a_conditional_put_that_meets_its_own_object_is_in_doubt_and_not_refused(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, LIMITS)
        moto.trouble = in_turn("lose", None)
        with pytest.raises(ArchiveUnavailable):
            await archive.put("a", b"body", if_absent=True)
        assert there(moto, archive, "a") == b"body"
        await archive.close()

    asyncio.run(story())


@pytest.mark.parametrize("fault", ("throttle", "fail", "cut", "refuse"))
@pytest.mark.parametrize("part", range(1, LARGE_PARTS + 1))
def test_a_part_that_fails_makes_no_object_and_leaves_no_upload(fault: Fault, part: int, moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, ONCE)
        moto.trouble = in_turn(fault, of=f"partNumber={part}")
        with pytest.raises(ArchiveError):
            await archive.put("a", LARGE)
        assert there(moto, archive, "a") is None and uploads(moto, archive) == []
        assert archive.metrics.uploads_left == 0
        await archive.close()

    asyncio.run(story())


def test_an_upload_that_cannot_be_aborted_is_counted(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, ONCE)
        moto.trouble = in_turn("fail", of="uploadId")
        with pytest.raises(ArchiveUnavailable):
            await archive.put("a", LARGE)
        assert archive.metrics.uploads_left == 1 == len(uploads(moto, archive))
        await archive.close()

    asyncio.run(story())


def test_a_completion_that_says_200_and_means_500_is_a_failure(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, ONCE)
        moto.trouble = lambda environ: "unsaid" if is_last_of_put(environ) else None
        with pytest.raises(ArchiveUnavailable):
            await archive.put("a", LARGE)
        assert there(moto, archive, "a") is None and uploads(moto, archive) == []
        await archive.close()

    asyncio.run(story())


def test_whoever_gives_up_a_large_put_leaves_no_upload(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, ONCE)
        moto.hold_s = 0.05
        putting = asyncio.ensure_future(archive.put("a", LARGE))
        while not any("partNumber=2" in seen for seen in moto.seen):  # noqa: ASYNC110 # the server does not tell
            await asyncio.sleep(0.01)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await archive.close()
        assert there(moto, archive, "a") is None and uploads(moto, archive) == []

    asyncio.run(story())


def test_bytes_that_are_damaged_on_the_way_are_not_the_end_of_a_body(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, LIMITS)
        await archive.put("a", b"body")
        await archive.put("large", LARGE, sha256=hashlib.sha256(LARGE).hexdigest())
        for key in ("a", "large"):
            moto.trouble = lambda _: "damage"
            with pytest.raises(ArchiveCorrupted):
                await read(archive, key)
        await archive.close()

    asyncio.run(story())


def test_a_bucket_that_is_not_there_is_no_missing_object(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_s3(s3_settings(moto, "no-such-bucket"), VirtualClock(), RealRandom(), LIMITS)
        for work in (
            archive.get("a"),
            archive.head("a"),
            archive.put("a", b"body"),
            archive.put("a", b"body", if_match="etag"),
            archive.put("a", LARGE),
            archive.delete("a"),
            archive.list(),
        ):
            with pytest.raises(ArchiveRefused):
                await work
        await archive.close()
        archive = await open_moto(moto, LIMITS)
        for work in (archive.get("a"), archive.head("a")):
            with pytest.raises(NotInArchive):
                await work
        await archive.close()

    asyncio.run(story())


def test_an_outage_costs_no_more_requests_than_the_calls_and_the_budget(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, replace(LIMITS, retry_budget=10))
        moto.trouble = lambda _: "fail"
        moto.seen.clear()
        for _ in range(30):
            with pytest.raises(ArchiveUnavailable):
                await archive.put("a", b"body")
        assert len(moto.seen) == 30 + 10 == archive.metrics.requests()
        moto.trouble = lambda _: None
        await archive.close()

    asyncio.run(story())


def test_the_circuit_opens_while_nobody_answers_and_closes_when_somebody_does(moto: Moto) -> None:
    async def story() -> None:
        clock = VirtualClock()
        (port,) = free_ports(1)
        limits = replace(LIMITS, failures_max=3, pause_s=10, pause_max_s=20)
        settings = s3_settings(moto, "circuit")
        moto.client.create_bucket(Bucket="circuit")
        archive = await open_s3(replace(settings, connect_s=1), clock, RealRandom(), limits)
        gone = await open_s3(
            S3Settings("b", endpoint_url=f"http://127.0.0.1:{port}", access_key_id="a", secret_access_key="b"),
            clock,
            RealRandom(),
            limits,
        )
        for _ in range(10):
            with pytest.raises(ArchiveUnavailable):
                await gone.put("a", b"body")
        assert gone.metrics.requests() == limits.failures_max and gone.metrics.opened == 1
        moto.trouble = lambda _: "cut"
        moto.seen.clear()
        for _ in range(10):
            with pytest.raises(ArchiveUnavailable):
                await archive.head("a")
        assert len(moto.seen) == limits.failures_max
        moto.trouble = lambda _: None
        with pytest.raises(ArchiveUnavailable):
            await archive.put("a", b"body")
        assert len(moto.seen) == limits.failures_max, "sent, though the circuit is open"
        clock.s += limits.pause_s
        await archive.put("a", b"body")
        assert await read(archive, "a") == b"body"
        await archive.close()
        await gone.close()

    asyncio.run(story())


def test_no_more_requests_are_under_way_than_there_are_threads(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, replace(LIMITS, in_flight_max=3))
        moto.hold_s = 0.02
        moto.most = 0
        await asyncio.gather(*(archive.put(f"k{number}", b"body") for number in range(30)))
        assert 2 <= moto.most <= 3
        await archive.close()

    asyncio.run(story())


def test_threads_that_nobody_waits_for_any_more_count_too(moto: Moto) -> None:
    async def story() -> None:
        archive = await open_moto(moto, replace(ONCE, in_flight_max=2, attempt_s=0.05))
        moto.hold_s = 0.3
        moto.most = 0
        answers = await asyncio.gather(
            *(archive.put(f"k{number}", b"body") for number in range(8)), return_exceptions=True
        )
        assert all(isinstance(answer, ArchiveUnavailable) for answer in answers)
        await archive.close()
        assert moto.most <= 2

    asyncio.run(story())


def test_no_request_blocks_the_event_loop(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    send = botocore.httpsession.URLLib3Session.send

    def watched(self: Any, request: Any) -> Any:
        threads.add(threading.current_thread().name.rpartition("_")[0])
        return send(self, request)

    async def story() -> None:
        archive = await open_moto(moto, LIMITS)
        monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", watched)
        await archive.put("a", LARGE)
        assert await read(archive, "a") == LARGE
        await archive.head("a")
        await archive.list()
        await archive.delete("a")
        await archive.close()

    asyncio.run(story())
    assert threads == {"archive"}
