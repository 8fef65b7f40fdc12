"""Checksums against the definitions of the CRCs, bit by bit, and against botocore's; headers against S3's rules."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
from botocore.httpchecksum import _CHECKSUM_CLS
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3.checksums import (
    Algorithm,
    Checksum,
    ChecksumType,
    Declared,
    Digests,
    checked_type,
    checksum_of,
    composite,
    declared_by,
    full_object,
    multipart_etag,
    of_new_upload,
    read_value,
    trailing_checksum,
)
from impl.api.s3.errors import BadDigest, InvalidDigest, InvalidRequest

BODIES = st.binary(max_size=200) | st.binary(min_size=4000, max_size=5000)
ALGORITHMS = st.sampled_from(Algorithm)
CRCS = st.sampled_from([Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME])
POLYNOMIALS = {
    Algorithm.CRC32: (32, 0xEDB88320),
    Algorithm.CRC32C: (32, 0x82F63B78),
    Algorithm.CRC64NVME: (64, 0x9A6C9329AC4BC9B5),
}


def crc_by_definition(algorithm: Algorithm, body: bytes) -> bytes:
    width, polynomial = POLYNOMIALS[algorithm]
    mask = (1 << width) - 1
    crc = mask
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
    return (crc ^ mask).to_bytes(width // 8, "big")


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@given(CRCS, st.binary(max_size=100))
def test_crcs_are_what_their_polynomials_say(algorithm: Algorithm, body: bytes) -> None:
    assert checksum_of(algorithm, body).raw == crc_by_definition(algorithm, body)


@given(ALGORITHMS, BODIES)
def test_botocore_finds_the_same_checksum(algorithm: Algorithm, body: bytes) -> None:
    theirs = _CHECKSUM_CLS[algorithm.lower()]()
    theirs.update(body)
    assert checksum_of(algorithm, body).value == theirs.b64digest()


@pytest.mark.parametrize(
    "algorithm, hexadecimal",
    [
        (Algorithm.CRC32, "cbf43926"),
        (Algorithm.CRC32C, "e3069283"),
        (Algorithm.CRC64NVME, "ae8b14860a799888"),
        (Algorithm.SHA1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (Algorithm.SHA256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_known_checksums_of_one_to_nine(algorithm: Algorithm, hexadecimal: str) -> None:
    assert checksum_of(algorithm, b"123456789") == Checksum(algorithm, b64(bytes.fromhex(hexadecimal)))


@given(BODIES, st.lists(st.integers(0, 5000)), st.sampled_from([bytes, bytearray, memoryview]))
def test_digests_do_not_depend_on_the_pieces(
    body: bytes, cuts: list[int], kind: Callable[[bytes], bytes | bytearray | memoryview]
) -> None:
    digests = Digests(Algorithm)
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    for start, end in pairwise(edges):
        digests.update(kind(body[start:end]))
    assert digests.md5 == hashlib.md5(body).digest()
    for algorithm in Algorithm:
        assert digests.checksum(algorithm) == checksum_of(algorithm, body)


@given(CRCS, st.lists(BODIES, min_size=1, max_size=5))
def test_crcs_of_parts_give_the_crc_of_the_object(algorithm: Algorithm, parts: list[bytes]) -> None:
    joined = full_object([(checksum_of(algorithm, part), len(part)) for part in parts])
    assert joined == checksum_of(algorithm, b"".join(parts))


@given(ALGORITHMS, st.lists(BODIES, min_size=1, max_size=5))
def test_a_composite_checksum_is_that_of_the_checksums_of_the_parts(algorithm: Algorithm, parts: list[bytes]) -> None:
    raws = [base64.b64decode(checksum_of(algorithm, part).value) for part in parts]
    expected = f"{checksum_of(algorithm, b''.join(raws)).value}-{len(parts)}"
    assert composite([checksum_of(algorithm, part) for part in parts]) == Checksum(
        algorithm, expected, ChecksumType.COMPOSITE
    )
    assert read_value(algorithm, expected, of_upload=True).value == expected


def test_the_etag_of_an_upload_is_that_of_s3() -> None:
    parts = [hashlib.md5(b"a" * 5).digest(), hashlib.md5(b"b").digest()]
    assert multipart_etag(parts) == hashlib.md5(parts[0] + parts[1]).hexdigest() + "-2"


@given(ALGORITHMS, BODIES, BODIES)
def test_only_the_declared_body_passes(algorithm: Algorithm, body: bytes, sent: bytes) -> None:
    headers = {
        "content-md5": b64(hashlib.md5(body).digest()),
        algorithm.header: checksum_of(algorithm, body).value,
        "x-amz-sdk-checksum-algorithm": algorithm.value,
    }
    declared = declared_by(headers)
    for said in (declared, Declared(md5=declared.md5), Declared(checksum=declared.checksum)):
        digests = Digests([algorithm])
        digests.update(sent)
        try:
            digests.check(said)
            assert sent == body
        except BadDigest:
            assert sent != body


@given(ALGORITHMS, BODIES, BODIES)
def test_only_the_body_of_the_trailer_passes(algorithm: Algorithm, body: bytes, sent: bytes) -> None:
    declared = declared_by({"x-amz-trailer": algorithm.header, "x-amz-sdk-checksum-algorithm": algorithm.lower()})
    assert declared == Declared(trailer=algorithm)
    trailing = trailing_checksum(algorithm, {algorithm.header: checksum_of(algorithm, body).value})
    digests = Digests([algorithm], with_md5=False)
    digests.update(sent)
    try:
        digests.check(declared, trailing)
        assert sent == body
    except BadDigest:
        assert sent != body


CRC32 = {"x-amz-checksum-crc32": "y/Q5Jg=="}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "y/Q5Jg"},
        {"x-amz-checksum-crc32": "y/Q5JgAA"},
        {"x-amz-checksum-crc32": "y/Q5Jg==-2"},
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-crc32": "é"},
        {"x-amz-checksum-xxhash3": "y/Q5Jg=="},
        CRC32 | {"x-amz-checksum-crc32c": "y/Q5Jg=="},
        CRC32 | {"x-amz-trailer": "x-amz-checksum-crc32"},
        CRC32 | {"x-amz-sdk-checksum-algorithm": "SHA1"},
        CRC32 | {"x-amz-sdk-checksum-algorithm": "SHA3"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-trailer": "x-amz-meta-a"},
        {"x-amz-trailer": "x-amz-checksum-type"},
        {"x-amz-trailer": "x-amz-checksum-md4"},
        {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
    ],
)
def test_what_cannot_be_a_declaration_is_refused(headers: Mapping[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        declared_by(headers)


def test_headers_about_checksums_are_not_checksums() -> None:
    assert declared_by({"x-amz-checksum-mode": "ENABLED", "x-amz-checksum-algorithm": "CRC32"}) == Declared()


@pytest.mark.parametrize("value", ["", "x", "1B2M2Y8AsgTpgAmY7PhCfg", "y/Q5Jg==", "é"])
def test_a_content_md5_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidDigest):
        declared_by({"content-md5": value})


def test_a_trailer_that_was_announced_and_did_not_come_is_missed() -> None:
    with pytest.raises(InvalidRequest):
        trailing_checksum(Algorithm.CRC32, {"x-amz-checksum-crc32c": "y/Q5Jg=="})


@pytest.mark.parametrize(
    "algorithm, type_name, expected",
    [
        ("CRC32", None, ChecksumType.COMPOSITE),
        ("crc32c", "FULL_OBJECT", ChecksumType.FULL_OBJECT),
        ("CRC64NVME", None, ChecksumType.FULL_OBJECT),
        ("SHA1", "COMPOSITE", ChecksumType.COMPOSITE),
        ("SHA256", None, ChecksumType.COMPOSITE),
    ],
)
def test_which_checksum_an_upload_has(algorithm: str, type_name: str | None, expected: ChecksumType) -> None:
    headers = {"x-amz-checksum-algorithm": algorithm} | ({"x-amz-checksum-type": type_name} if type_name else {})
    assert of_new_upload(headers) == (Algorithm(algorithm.upper()), expected)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "MD4"},
        {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "SHA1", "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "HALF"},
    ],
)
def test_checksums_that_no_upload_can_have_are_refused(headers: Mapping[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        of_new_upload(headers)


def test_an_upload_without_a_word_about_checksums_has_none_declared() -> None:
    assert of_new_upload({}) is None
    assert checked_type(Algorithm.CRC32, "full_object") is ChecksumType.FULL_OBJECT
