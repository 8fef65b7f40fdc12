"""An aws-chunked body is what its sender put in, however it arrives; of a signed one, no forged byte comes out.

The oracle is an encoder that signs as AWS describes it, held against the examples that AWS publishes.
"""

import base64
import hashlib
import hmac
import io
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from impl.api.s3.auth import Payload, PayloadKind
from impl.api.s3.auth.signing import ChunkChain, Scope, sign, signing_key
from impl.api.s3.auth_errors import InvalidChunkSizeError, MalformedTrailerError
from impl.api.s3.chunked import (
    LINE_BYTES_MAX,
    SIGNED_CHUNK_BYTES_MAX,
    TRAILER_BYTES_MAX,
    ChunkDecoder,
    decoder_for,
    stored_encoding,
)
from impl.api.s3.errors import IncompleteBody, InvalidRequest, MissingContentLength, S3Error, SignatureDoesNotMatch
from impl.api.s3.tests.auth_rig import KEY, NOW_S, SECRET, Sent, joined, sign_in_header, verifier

SCOPE = Scope.of("20130524", "us-east-1")
SIGNING_KEY = signing_key(SECRET, SCOPE)
SEED = "5eed" * 16
CHAIN = ChunkChain(SIGNING_KEY, "20130524T000000Z", SCOPE, SEED)
PAYLOADS = {kind: Payload(kind, chain=CHAIN if kind.signed_chunks else None) for kind in PayloadKind if kind.chunked}
SIGNED, SIGNED_TRAILER, UNSIGNED = PAYLOADS.values()
Trailer = dict[str, str]


def encode(chunks: Sequence[bytes], trailer: Trailer, payload: Payload, seed: str = SEED, minio: bool = False) -> bytes:
    """A body as clients send it; `minio`: with the line ends of MinIO's clients in the trailer."""
    previous, pieces = seed, []
    for chunk in (*chunks, b""):
        line = f"{len(chunk):x}"
        if payload.chain is not None:
            previous = _signature(
                "PAYLOAD", previous, hashlib.sha256(b"").hexdigest(), hashlib.sha256(chunk).hexdigest()
            )
            line += f";chunk-signature={previous}"
        pieces.append(f"{line}\r\n".encode() + (chunk + b"\r\n" if chunk else b""))
    pieces += [f"{name}:{value}{'' if minio else chr(13)}\n".encode() for name, value in trailer.items()]
    if minio and trailer:
        pieces.append(b"\r\n")
    if payload.kind is PayloadKind.SIGNED_CHUNKS_TRAILER:
        canonical = "".join(f"{name}:{trailer[name]}\n" for name in sorted(trailer))
        signature = _signature("TRAILER", previous, sha256(canonical.encode()))
        pieces.append(f"x-amz-trailer-signature:{signature}\r\n".encode())
    return b"".join(pieces) + b"\r\n"


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _signature(what: str, *rest: str) -> str:
    text = "\n".join([f"AWS4-HMAC-SHA256-{what}", "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", *rest])
    return hmac.new(SIGNING_KEY, text.encode(), "sha256").hexdigest()


def decode(decoder: ChunkDecoder, body: bytes, cuts: Sequence[int] = ()) -> tuple[bytes, Trailer]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    decoded = [piece for start, end in pairwise(places) for piece in decoder.feed(body[start:end])]
    return b"".join(decoded), decoder.finish()


chunk_lists = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
payloads = st.sampled_from([SIGNED, SIGNED_TRAILER, UNSIGNED])
trailers = st.dictionaries(
    st.from_regex(r"x-amz-[a-z0-9-]{1,10}", fullmatch=True).filter(lambda name: name != "x-amz-trailer-signature"),
    st.from_regex(r"[!-~]([ -~]{0,8}[!-~])?", fullmatch=True),
    max_size=3,
)


@settings(deadline=None)
@given(chunk_lists, trailers, payloads, st.booleans(), st.lists(st.integers(0, 2000), max_size=30))
def test_a_body_decodes_to_the_same_in_whatever_pieces_it_comes(
    chunks: list[bytes], trailer: Trailer, payload: Payload, minio: bool, cuts: list[int]
) -> None:
    trailer = {} if payload is SIGNED else trailer
    body = encode(chunks, trailer, payload, minio=minio)
    size_bytes = sum(map(len, chunks))
    for places in (cuts, range(len(body))):
        decoder = ChunkDecoder(payload, size_bytes, frozenset(trailer))
        assert decode(decoder, body, places) == (b"".join(chunks), trailer)


@settings(deadline=None)
@given(chunk_lists, trailers, st.booleans(), st.booleans(), st.data())
def test_whatever_byte_of_a_signed_stream_is_altered_it_is_refused_and_nothing_after_it_comes_out(
    chunks: list[bytes], trailer: Trailer, minio: bool, whole: bool, draw: st.DataObject
) -> None:
    payload = SIGNED_TRAILER if trailer else SIGNED
    body = encode(chunks, trailer, payload, minio=minio)
    position = draw.draw(st.integers(0, len(body) - 1))
    byte = draw.draw(st.integers(0, 255).filter(lambda byte: byte != body[position]))
    altered = body[:position] + bytes([byte]) + body[position + 1 :]
    assume(not is_spelling(body, position, byte))
    decoder = ChunkDecoder(payload, sum(map(len, chunks)), frozenset(trailer))
    decoded = bytearray()
    with pytest.raises(S3Error):
        for piece in [altered] if whole else [altered[at : at + 1] for at in range(len(altered))]:
            decoded += b"".join(decoder.feed(piece))
        decoder.finish()
    ends = accumulate(84 + len(f"{len(chunk):x}") - 1 + len(chunk) + 2 for chunk in chunks)
    untouched = [chunk for chunk, end in zip(chunks, ends, strict=True) if end - 2 <= position]
    assert decoded == b"".join(untouched)[: len(decoded)]


@pytest.mark.parametrize("minio", [False, True])
def test_no_bit_of_a_signed_stream_may_be_altered(minio: bool) -> None:
    trailer = {"x-amz-checksum-crc32": "sOO8/Q==", "x-amz-meta": "a b"}
    body = encode([b"one", b"x" * 30], trailer, SIGNED_TRAILER, minio=minio)
    for position in range(len(body)):
        for bit in range(8):
            byte = body[position] ^ (1 << bit)
            if is_spelling(body, position, byte):
                continue
            with pytest.raises(S3Error):
                altered = body[:position] + bytes([byte]) + body[position + 1 :]
                decode(ChunkDecoder(SIGNED_TRAILER, 33, frozenset(trailer)), altered)


def is_spelling(body: bytes, position: int, byte: int) -> bool:
    """Does the byte only turn a letter of a size, or of a trailing header's name, into its other case?"""
    if bytes([body[position]]).lower() != bytes([byte]).lower():
        return False
    line = body[: position + 1].rpartition(b"\n")[2]
    rest = body[position + 1 :].partition(b"\n")[0]
    in_size = b";chunk-signature=" in rest and b";" not in line
    in_name = b":" in rest and b":" not in line and b";" not in line + rest
    return in_size or in_name


@settings(deadline=None)
@given(chunk_lists, trailers, payloads, st.data())
def test_a_body_that_is_cut_short_is_refused(
    chunks: list[bytes], trailer: Trailer, payload: Payload, draw: st.DataObject
) -> None:
    trailer = {} if payload is SIGNED else trailer
    body = encode(chunks, trailer, payload)
    end = draw.draw(st.integers(0, len(body) - 1))
    before_trailer = end <= len(encode(chunks, {}, SIGNED if payload is SIGNED_TRAILER else payload)) - 2
    with pytest.raises(IncompleteBody if before_trailer else MalformedTrailerError):
        decode(ChunkDecoder(payload, sum(map(len, chunks)), frozenset(trailer)), body[:end])


@settings(deadline=None)
@given(chunk_lists, payloads, st.integers(-40, 40).filter(bool), st.lists(st.integers(0, 500), max_size=5))
def test_a_body_must_be_as_long_as_it_was_said_to_be(
    chunks: list[bytes], payload: Payload, off_bytes: int, cuts: list[int]
) -> None:
    size_bytes = sum(map(len, chunks)) + off_bytes
    assume(size_bytes >= 0)
    with pytest.raises(IncompleteBody, match="x-amz-decoded-content-length"):
        decode(ChunkDecoder(payload, size_bytes), encode(chunks, {}, payload), cuts)


def test_a_chunk_that_is_too_much_is_refused_before_it_comes() -> None:
    decoder = ChunkDecoder(UNSIGNED, 5)
    assert decoder.feed(b"3\r\nabc\r\n") == [b"abc"]
    with pytest.raises(IncompleteBody, match="more than the 5 bytes"):
        decoder.feed(b"3\r\n")


@settings(deadline=None)
@given(st.binary(max_size=60), chunk_lists, payloads, st.lists(st.integers(0, 200), max_size=5))
@example(b"\r\n", [b"a"], SIGNED, [])
def test_nothing_may_come_after_the_end(rest: bytes, chunks: list[bytes], payload: Payload, cuts: list[int]) -> None:
    assume(rest)
    with pytest.raises(MalformedTrailerError):
        decode(ChunkDecoder(payload, sum(map(len, chunks))), encode(chunks, {}, payload) + rest, cuts)


def test_chunks_may_not_change_places_or_be_left_out_or_come_twice() -> None:
    body = encode([b"one", b"two", b"six"], {}, SIGNED)
    one, two, six, end = (body[at : at + 89] for at in (0, 89, 178, 267))
    assert decode(ChunkDecoder(SIGNED, 9), one + two + six + end)[0] == b"onetwosix"
    for chunks in ([two, one, six], [one, six], [one, one, two]):
        with pytest.raises(SignatureDoesNotMatch):
            decode(ChunkDecoder(SIGNED, 3 * len(chunks)), b"".join(chunks) + end)


def test_the_published_example_decodes_with_its_known_signatures() -> None:
    sent = published("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SEED_OF_PAYLOAD, content_length="66824")
    signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]
    body = published_chunks(signatures) + b"\r\n"
    assert len(body) == 66824
    verified = sent.verified()
    assert decode(decoder_for(verified.payload, sent.headers), body) == (b"a" * 66560, {})


def test_the_published_example_with_a_trailer_decodes_with_its_known_signatures() -> None:
    sent = published(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", SEED_OF_TRAILER, x_amz_trailer="x-amz-checksum-crc32c"
    )
    signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]
    trailer = (
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    )
    verified = sent.verified()
    decoded = decode(decoder_for(verified.payload, sent.headers), published_chunks(signatures) + trailer)
    assert decoded == (b"a" * 66560, {"x-amz-checksum-crc32c": "sOO8/Q=="})


SEED_OF_PAYLOAD = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SEED_OF_TRAILER = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"


def published(kind: str, seed: str, **more: str) -> Sent:
    """The request of the S3 API Reference's examples, with the signature that stands there."""
    named = {
        "content-encoding": "aws-chunked",
        "host": "s3.amazonaws.com",
        "x-amz-content-sha256": kind,
        "x-amz-date": "20130524T000000Z",
        "x-amz-decoded-content-length": "66560",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    named["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={';'.join(sorted(named))}, Signature={seed}"
    )
    return Sent("PUT", "/examplebucket/chunkObject.txt", "", joined(named.items()))


def published_chunks(signatures: list[str]) -> bytes:
    sizes = (65536, 1024, 0)
    lines = [f"{size:x};chunk-signature={signature}\r\n" for size, signature in zip(sizes, signatures, strict=True)]
    return b"".join(line.encode() + b"a" * size + b"\r\n" * bool(size) for line, size in zip(lines, sizes, strict=True))


def test_the_seed_is_the_signature_of_the_request() -> None:
    headers = [("x-amz-decoded-content-length", "3"), ("content-encoding", "aws-chunked")]
    sent = sign_in_header("PUT", headers=headers)
    with_kind = sent.with_headers(x_amz_content_sha256=PayloadKind.SIGNED_CHUNKS.value.encode())
    with pytest.raises(SignatureDoesNotMatch):
        with_kind.verified()
    published(PayloadKind.SIGNED_CHUNKS.value, SEED_OF_PAYLOAD, content_length="66824").verified(NOW_S, verifier())


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 300), st.lists(st.integers(0, 500), max_size=5))
def test_what_botocore_sends_in_chunks_decodes_with_its_checksum(raw: bytes, chunk_bytes: int, cuts: list[int]) -> None:
    name = "x-amz-checksum-crc32"
    body = AwsChunkedWrapper(io.BytesIO(raw), Crc32Checksum, name, chunk_size=chunk_bytes).read()
    checksum = base64.b64encode(zlib.crc32(raw).to_bytes(4, "big")).decode()
    assert decode(ChunkDecoder(UNSIGNED, len(raw), frozenset({name})), body, cuts) == (raw, {name: checksum})


def test_an_unsigned_body_comes_out_as_it_arrives() -> None:
    decoder = ChunkDecoder(UNSIGNED, 10**9)
    assert decoder.feed(b"3b9aca00\r\nabc") == [b"abc"]
    assert decoder.feed(b"def") == [b"def"]


def test_a_signed_chunk_is_held_until_its_last_byte() -> None:
    body = encode([b"x" * 1000], {}, SIGNED)
    decoder = ChunkDecoder(SIGNED, 1000)
    line = body.index(b"\n") + 1
    assert decoder.feed(body[: line + 999]) == []
    assert decoder.feed(body[line + 999 : line + 1000]) == [b"x" * 1000]


def test_a_signed_chunk_beyond_the_bound_is_refused_before_it_comes() -> None:
    decoder = ChunkDecoder(SIGNED, 2 * SIGNED_CHUNK_BYTES_MAX)
    with pytest.raises(InvalidChunkSizeError):
        decoder.feed(f"{SIGNED_CHUNK_BYTES_MAX + 1:x};chunk-signature={'0' * 64}\r\n".encode())
    right = ChunkDecoder(SIGNED, SIGNED_CHUNK_BYTES_MAX)
    assert right.feed(f"{SIGNED_CHUNK_BYTES_MAX:x};chunk-signature={'0' * 64}\r\n".encode()) == []


@pytest.mark.parametrize(
    ("payload", "piece", "error"),
    [
        (UNSIGNED, b"x" * LINE_BYTES_MAX, InvalidRequest),
        (SIGNED, b"0" * LINE_BYTES_MAX, InvalidRequest),
        (UNSIGNED, b"0\r\n" + b"x" * (TRAILER_BYTES_MAX + 1), MalformedTrailerError),
    ],
)
def test_what_is_not_understood_yet_is_bounded(payload: Payload, piece: bytes, error: type[S3Error]) -> None:
    for pieces in ([piece], [piece[at : at + 1] for at in range(len(piece))]):
        decoder = ChunkDecoder(payload, 0)
        with pytest.raises(error):
            for part in pieces:
                decoder.feed(part)


@pytest.mark.parametrize(
    "line", [b"-1", b"+1", b"0x1", b"1_0", b" 1", b"1 ", b"", b"g", b"1;x=y", b"11111111111111111", b"\xb9"]
)
def test_a_size_is_hex_digits_and_nothing_else(line: bytes) -> None:
    with pytest.raises(InvalidRequest):
        ChunkDecoder(UNSIGNED, 10**18).feed(line + b"\r\n")


@pytest.mark.parametrize("announced", [[], ["x-amz-a", "x-amz-b"], ["x-amz-b"]])
def test_the_trailing_headers_are_those_that_were_announced(announced: list[str]) -> None:
    with pytest.raises(MalformedTrailerError, match="x-amz-trailer announces"):
        decode(ChunkDecoder(UNSIGNED, 0, frozenset(announced)), encode([], {"x-amz-a": "1"}, UNSIGNED))


@pytest.mark.parametrize(
    "trailer",
    [
        b"x-amz-a:1\r\nx-amz-a:1\r\n\r\n",
        b"x-amz-a 1\r\n\r\n",
        b"x-amz-a:\r\n\r\n",
        b"x-amz-a:1 \r\n\r\n",
        b":1\r\n\r\n",
        b"x-amz-a:1\n\n",
        b"x-amz-a:1\x00\r\n\r\n",
        b"x-amz-a:1\r\nx-amz-trailer-signature:" + b"0" * 64 + b"\r\n\r\n",
    ],
)
def test_a_trailer_that_cannot_be_read_is_refused(trailer: bytes) -> None:
    with pytest.raises(MalformedTrailerError):
        decode(ChunkDecoder(UNSIGNED, 0, frozenset({"x-amz-a"})), b"0\r\n" + trailer)


def test_a_signed_trailer_must_be_signed() -> None:
    body = encode([], {"x-amz-a": "1"}, SIGNED_TRAILER)
    start = body.index(b"x-amz-trailer-signature")
    with pytest.raises(MalformedTrailerError, match="x-amz-trailer-signature is missing"):
        decode(ChunkDecoder(SIGNED_TRAILER, 0, frozenset({"x-amz-a"})), body[:start] + b"\r\n")
    forged = body[:start] + f"x-amz-trailer-signature:{sign(SIGNING_KEY, b'')}\r\n\r\n".encode()
    with pytest.raises(SignatureDoesNotMatch, match="x-amz-trailer-signature"):
        decode(ChunkDecoder(SIGNED_TRAILER, 0, frozenset({"x-amz-a"})), forged)


def test_after_an_error_there_is_only_that_error() -> None:
    decoder = ChunkDecoder(SIGNED, 6)
    good = encode([b"abc"], {}, SIGNED)
    with pytest.raises(InvalidRequest) as first:
        decoder.feed(b"nonsense\r\n")
    steps: list[Callable[[], object]] = [lambda: decoder.feed(good), decoder.finish, lambda: decoder.feed(b"")]
    for step in steps:
        with pytest.raises(InvalidRequest) as again:
            step()
        assert again.value is first.value


@pytest.mark.parametrize("said", [None, b"", b"-1", b"1.5", b"0x10", b"1" * 19, "１".encode(), b"\xb2"])
def test_the_decoded_length_must_be_said(said: bytes | None) -> None:
    headers = {} if said is None else {b"x-amz-decoded-content-length": said}
    with pytest.raises(MissingContentLength, match="x-amz-decoded-content-length"):
        decoder_for(UNSIGNED, headers)


def test_the_announced_names_are_read_from_the_header_in_any_case() -> None:
    headers = {b"x-amz-decoded-content-length": b"0", b"x-amz-trailer": b"X-Amz-A , x-amz-b,"}
    trailer = {"x-amz-a": "1", "x-amz-b": "2"}
    assert decode(decoder_for(UNSIGNED, headers), encode([], trailer, UNSIGNED))[1] == trailer


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("aws-chunked", ""),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, AWS-Chunked", "gzip"),
        ("", ""),
        ("br, gzip", "br,gzip"),
    ],
)
def test_aws_chunked_is_not_kept_as_an_encoding(said: str, kept: str) -> None:
    assert stored_encoding(said) == kept


syntax = st.sampled_from([b"\r\n", b"0", b"a", b";chunk-signature=", b"0" * 64, b"x-amz-a:1", b"\n", b"5\r\nabcde\r\n"])


@settings(deadline=None)
@given(payloads, st.lists(syntax | st.binary(max_size=8), max_size=12), st.lists(st.integers(0, 500), max_size=9))
def test_whatever_arrives_nothing_but_an_s3_error_is_raised(
    payload: Payload, pieces: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(pieces)
    results = []
    for places in ((), cuts):
        try:
            results.append(decode(ChunkDecoder(payload, 5, frozenset({"x-amz-a"})), body, places))
        except S3Error as error:
            results.append((type(error).__name__.encode(), {}))
    assert results[0] == results[1]
