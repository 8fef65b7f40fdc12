"""An archive over a bucket: parts of bounded size, nothing half done left behind, no wrong byte."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.archive.remote import PARTS_MAX, RemoteArchive, cut
from impl.archive.retries import Limits
from impl.archive.tests.rig import Chance, Clock, StubBucket
from impl.errors import (
    AmberioError,
    ArchiveChanged,
    ArchiveCorrupted,
    ArchiveUnavailable,
    TooLarge,
)

PART_BYTES = 10
LIMITS = Limits(part_bytes=PART_BYTES, attempts_max=1, failures_max=1_000)


def archive_of(bucket: StubBucket, limits: Limits = LIMITS) -> RemoteArchive:
    return RemoteArchive(bucket, limits, Clock(), Chance())


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(st.lists(st.binary(max_size=3 * PART_BYTES), max_size=8), st.booleans())
def test_a_body_is_cut_into_parts_of_one_size_and_the_last_is_known_as_such(pieces: list[bytes], whole: bool) -> None:
    async def story() -> None:
        body = b"".join(pieces) if whole else chunks(*pieces)
        parts = [part async for part in cut(body, PART_BYTES)]
        assert b"".join(part for part, _ in parts) == b"".join(pieces)
        assert [is_last for _, is_last in parts] == [False] * (len(parts) - 1) + [True]
        assert all(len(part) == PART_BYTES for part, is_last in parts if not is_last)
        assert 0 < len(parts[-1][0]) <= PART_BYTES or parts == [(b"", True)]

    asyncio.run(story())


def test_a_body_is_not_read_further_than_it_is_uploaded() -> None:
    async def story() -> None:
        bucket = StubBucket()
        given_bytes = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal given_bytes
            for _ in range(200):
                given_bytes += 5
                yield b"12345"

        async def before(operation: str) -> None:
            arrived = PART_BYTES * bucket.asked.count("upload_part")
            assert given_bytes <= arrived + 2 * PART_BYTES

        bucket.before = before
        await archive_of(bucket).put("a", endless())
        assert len(bucket.objects["a"][1]) == 1000

    asyncio.run(story())


@pytest.mark.parametrize("size_bytes", (PARTS_MAX, PARTS_MAX + 1, 3 * PARTS_MAX, 3 * PARTS_MAX + 1))
def test_a_huge_body_has_larger_parts_if_its_size_is_known(size_bytes: int) -> None:
    async def story() -> None:
        bucket = StubBucket()
        archive = archive_of(bucket, replace(LIMITS, part_bytes=1))
        await archive.put("a", chunks(bytes(size_bytes)), size_bytes=size_bytes)
        assert bucket.asked.count("upload_part") <= PARTS_MAX
        assert len(bucket.objects["a"][1]) == size_bytes

    asyncio.run(story())


def test_a_huge_body_of_unknown_size_is_refused_and_nothing_is_left() -> None:
    async def story() -> None:
        bucket = StubBucket()
        with pytest.raises(TooLarge):
            await archive_of(bucket, replace(LIMITS, part_bytes=1)).put("a", chunks(bytes(PARTS_MAX + 1)))
        assert not bucket.objects and not bucket.uploads

    asyncio.run(story())


@settings(deadline=None)
@given(st.sampled_from(("create_upload", "upload_part", "complete_upload")), st.integers(1, 4), st.booleans())
def test_an_upload_that_fails_anywhere_is_aborted(operation: str, at: int, is_cancelled: bool) -> None:
    async def story() -> None:
        bucket = StubBucket()
        archive = archive_of(bucket)

        async def before(asked: str) -> None:
            if asked == operation and bucket.asked.count(asked) == at:
                if is_cancelled:
                    putting.cancel()
                    await asyncio.sleep(1)
                raise ArchiveUnavailable("out")

        bucket.before = before
        putting = asyncio.ensure_future(archive.put("a", bytes(4 * PART_BYTES)))
        try:
            await putting
            assert bucket.objects and at > bucket.asked.count(operation)
        except (ArchiveUnavailable, asyncio.CancelledError):
            assert not bucket.objects
        await archive.close()
        assert not bucket.uploads

    asyncio.run(story())


def test_an_upload_whose_completion_lost_its_answer_is_found_to_be_complete() -> None:
    async def story() -> None:
        bucket = StubBucket()
        body = bytes(3 * PART_BYTES)

        async def after(operation: str) -> None:
            if operation == "complete_upload":
                raise ArchiveUnavailable("the answer was lost")

        bucket.after = after
        archive = archive_of(bucket, replace(LIMITS, attempts_max=3))
        assert await archive.put("a", body, sha256=hashlib.sha256(body).hexdigest()) == "etag"
        with pytest.raises(ArchiveUnavailable):
            # a condition is there to tell writers apart, and equal bytes do not
            await archive.put("b", body, sha256=hashlib.sha256(body).hexdigest(), if_absent=True)
        assert bucket.objects["b"][1] == body, "it raised, and did it all the same"

    asyncio.run(story())


@given(
    st.integers(1, 4 * PART_BYTES).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, 8 * size - 1))),
)
def test_a_flipped_bit_is_never_the_end_of_a_whole_body(where: tuple[int, int]) -> None:
    async def story() -> None:
        size_bytes, bit = where
        bucket = StubBucket()
        archive = archive_of(bucket)
        body = bytes(size_bytes)
        await archive.put("a", body, sha256=hashlib.sha256(body).hexdigest())
        rotten = bytearray(body)
        rotten[bit // 8] ^= 1 << bit % 8
        bucket.objects["a"] = (bucket.objects["a"][0], bytes(rotten))
        read = b""
        with pytest.raises(ArchiveCorrupted):
            async for piece in (await archive.get("a")).chunks:
                read += piece
        assert len(read) < size_bytes and archive.metrics.corrupted == 1

    asyncio.run(story())


def test_an_object_that_is_deleted_while_it_is_read_has_changed() -> None:
    async def story() -> None:
        bucket = StubBucket()
        archive = archive_of(bucket)
        await archive.put("a", bytes(3 * PART_BYTES))
        fetched = await archive.get("a")
        await archive.delete("a")
        with pytest.raises(ArchiveChanged):
            assert [len(piece) async for piece in fetched.chunks] == []

    asyncio.run(story())


def test_a_body_that_cannot_be_read_leaves_nothing_behind() -> None:
    class Broken(AmberioError):
        pass

    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(3 * PART_BYTES)
        raise Broken

    async def story() -> None:
        bucket = StubBucket()
        with pytest.raises(Broken):
            await archive_of(bucket).put("a", breaking())
        assert not bucket.objects and not bucket.uploads and "upload_part" in bucket.asked

    asyncio.run(story())
