"""A checked body is what its client sent, in whatever pieces it came, or it is an error: never a bit of both.

The oracles are hashlib, zlib and botocore's own checksums.
"""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from botocore.httpchecksum import (
    CrtCrc32cChecksum,
    CrtCrc32Checksum,
    CrtCrc64NvmeChecksum,
    Sha1Checksum,
    Sha256Checksum,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.api.s3 import bodies
from impl.api.s3.auth import Payload, PayloadKind
from impl.api.s3.bodies import CheckedBody
from impl.api.s3.checksums import Algorithm, Checksum, Declared
from impl.api.s3.errors import (
    BadDigest,
    EntityTooLarge,
    MaxMessageLengthExceeded,
    MissingContentLength,
    S3Error,
    XAmzContentSHA256Mismatch,
)
from impl.api.s3.tests.test_chunked import PAYLOADS, encode
from impl.errors import BodyCutShort

UNSIGNED = Payload(PayloadKind.UNSIGNED)
ORACLES = {
    Algorithm.CRC32: CrtCrc32Checksum,
    Algorithm.CRC32C: CrtCrc32cChecksum,
    Algorithm.CRC64NVME: CrtCrc64NvmeChecksum,
    Algorithm.SHA1: Sha1Checksum,
    Algorithm.SHA256: Sha256Checksum,
}
algorithms = st.sampled_from(Algorithm)
wholes = st.binary(max_size=300)
cuts = st.lists(st.integers(0, 300), max_size=8)


class Arriving:
    """A body that comes in pieces; `error` instead of its end."""

    def __init__(self, pieces: Sequence[bytes], size_bytes: int | None, error: Exception | None = None) -> None:
        self.size_bytes = size_bytes
        self.reads = 0
        self._left = list(pieces)
        self._error = error

    async def read(self) -> bytes:
        self.reads += 1
        await asyncio.sleep(0)
        if self._left:
            return self._left.pop(0)
        if self._error is not None:
            raise self._error
        return b""


def cut(whole: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    return [whole[start:end] for start, end in pairwise(ends)]


def oracle(algorithm: Algorithm, whole: bytes) -> Checksum:
    return Checksum(algorithm, ORACLES[algorithm]().handle(whole))


def md5(whole: bytes) -> bytes:
    return hashlib.md5(whole).digest()


def exact(whole: bytes) -> Payload:
    return Payload(PayloadKind.EXACT, hashlib.sha256(whole).hexdigest())


def read_to_end(body: CheckedBody) -> bytes:
    async def read() -> bytes:
        pieces = []
        while piece := await body.read():
            pieces.append(piece)
        assert await body.read() == b"", "the end stays the end"
        return b"".join(pieces)

    return asyncio.run(read())


def refused_twice(body: CheckedBody, error: type[Exception]) -> bool:
    """Is the body refused, and again when somebody reads on?"""

    async def read() -> bool:
        with pytest.raises(error):
            while await body.read():
                pass
        with pytest.raises(error):
            await body.read()
        return body.md5 == "" and body.checksum is None

    return asyncio.run(read())


@pytest.fixture(params=[1, 64, 1024 * 1024], autouse=True)
def hashed_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a thread at every byte, now and then, and never."""
    monkeypatch.setattr(bodies, "HASHED_AT_ONCE_BYTES", request.param)


def patient(examples: int = 60) -> settings:
    return settings(max_examples=examples, deadline=None)


@patient()
@given(wholes, cuts, algorithms, st.booleans())
def test_a_body_comes_out_as_it_came_in_with_its_digests(
    whole: bytes, places: list[int], algorithm: Algorithm, is_declared: bool
) -> None:
    checksum = oracle(algorithm, whole)
    declared = Declared(md5(whole), checksum if is_declared else None)
    arriving = Arriving(cut(whole, places), len(whole))
    body = CheckedBody(arriving, exact(whole), {}, declared, None if is_declared else algorithm)
    assert body.size_bytes == body.announced_bytes == len(whole)
    assert read_to_end(body) == whole
    assert (body.md5, body.checksum) == (md5(whole).hex(), checksum)


@patient()
@given(wholes, st.sampled_from(list(PAYLOADS.values())), st.lists(st.integers(0, 400), max_size=8), cuts, algorithms)
def test_a_chunked_body_comes_out_decoded_with_its_trailer_checked(
    whole: bytes, payload: Payload, places: list[int], chunk_places: list[int], algorithm: Algorithm
) -> None:
    has_trailer = payload.kind is not PayloadKind.SIGNED_CHUNKS
    checksum = oracle(algorithm, whole)
    trailer = {algorithm.header: checksum.value} if has_trailer else {}
    chunks = [chunk for chunk in cut(whole, chunk_places) if chunk]
    wire = encode(chunks, trailer, payload)
    headers = {b"x-amz-decoded-content-length": str(len(whole)).encode(), b"x-amz-trailer": algorithm.header.encode()}
    if not has_trailer:
        del headers[b"x-amz-trailer"]
    declared = Declared(md5(whole), None, algorithm if has_trailer else None)
    body = CheckedBody(Arriving(cut(wire, places), len(wire)), payload, headers, declared)
    assert body.size_bytes == len(whole)
    assert read_to_end(body) == whole
    assert (body.md5, body.checksum) == (md5(whole).hex(), checksum if has_trailer else None)


@patient()
@given(wholes, cuts, algorithms, st.integers(0, 299), st.integers(0, 7))
def test_one_wrong_bit_is_refused_by_whatever_was_said_and_reading_on_does_not_help(
    whole: bytes, places: list[int], algorithm: Algorithm, at: int, bit: int
) -> None:
    sent = bytearray(whole or b"x")
    meant = bytes(sent)
    sent[at % len(sent)] ^= 1 << bit
    for payload, declared, error in (
        (UNSIGNED, Declared(md5(meant)), BadDigest),
        (UNSIGNED, Declared(None, oracle(algorithm, meant)), BadDigest),
        (exact(meant), Declared(), XAmzContentSHA256Mismatch),
    ):
        for arriving in (bytes(sent), Arriving(cut(bytes(sent), places), len(sent))):
            assert refused_twice(CheckedBody(arriving, payload, {}, declared), error)


@patient()
@given(wholes, algorithms, algorithms)
def test_a_trailer_that_is_wrong_or_missing_is_refused(whole: bytes, announced: Algorithm, sent: Algorithm) -> None:
    wrong = Checksum(sent, base64.b64encode(bytes(len(oracle(sent, whole).raw))).decode())
    payload = PAYLOADS[PayloadKind.UNSIGNED_CHUNKS_TRAILER]
    headers = {b"x-amz-decoded-content-length": str(len(whole)).encode(), b"x-amz-trailer": announced.header.encode()}
    chunks = [whole] if whole else []
    for trailer in ({}, {sent.header: wrong.value}):
        if trailer and wrong == oracle(sent, whole):
            continue  # a CRC of nothing is nothing but zeros
        body = CheckedBody(encode(chunks, trailer, payload), payload, headers, Declared(None, None, announced))
        assert refused_twice(body, S3Error)


@patient()
@given(wholes, cuts)
def test_a_body_that_is_cut_short_never_ends_well(whole: bytes, places: list[int]) -> None:
    body = CheckedBody(Arriving(cut(whole, places), len(whole) + 1, BodyCutShort("gone")), UNSIGNED, {}, Declared())
    assert refused_twice(body, BodyCutShort)


@patient()
@given(wholes, st.integers(0, 300))
def test_what_is_too_large_is_refused_before_it_is_read(whole: bytes, bytes_max: int) -> None:
    arriving = Arriving([whole] if whole else [], len(whole))
    body = CheckedBody(arriving, UNSIGNED, {}, Declared())
    if len(whole) <= bytes_max:
        body.check_size(bytes_max)
        assert asyncio.run(body.read_all(bytes_max)) == whole
        return
    with pytest.raises(EntityTooLarge):
        body.check_size(bytes_max)
    with pytest.raises(MaxMessageLengthExceeded):
        asyncio.run(body.read_all(bytes_max))
    assert arriving.reads == 0


def test_a_body_that_does_not_say_how_long_it_is_is_refused_before_it_is_read() -> None:
    arriving = Arriving([b"x"], None)
    with pytest.raises(MissingContentLength):
        CheckedBody(arriving, UNSIGNED, {}, Declared())
    assert arriving.reads == 0
