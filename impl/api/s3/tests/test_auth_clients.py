"""Whatever boto3 sends, over HTTP or HTTPS, with checksums in headers or trailers, is believed and decoded."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from impl.api.s3.auth import AuthKind, PayloadKind, Verified
from impl.api.s3.auth.claim import epoch_s
from impl.api.s3.chunked import decoder_for
from impl.api.s3.tests.auth_rig import ALICE, KEY, REGION, SECRET, Sent, joined, verifier

BODY = b"some bytes " * 20_000
KEYS = ["plain", "a b+c/d//e/../f", "é/日本/😀", "year=2020/x&y$z,@:;?#[]!'()*", "%2F%", "~-_."]

Call = Callable[[Any, str], object]


class Wire:
    """Stands in for the network: keeps what was sent, answers with nothing."""

    def __init__(self) -> None:
        self.requests: list[AWSPreparedRequest] = []

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.requests.append(request)
        return AWSResponse(request.url, 200, {}, _Nothing())


class _Nothing:
    def stream(self, **_: object) -> Iterator[bytes]:
        return iter(())

    def read(self, *_: object) -> bytes:
        return b""


def client(wire: Wire, endpoint: str, **config: object) -> Any:
    made = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, **config),
    )
    made.meta.events.register("before-send.s3", wire)
    return made


def received(request: AWSPreparedRequest) -> tuple[Sent, bytes]:
    """What a server gets of a request. botocore leaves the Host header to its HTTP client."""
    url = urlsplit(request.url)
    pairs = [(name, value.decode() if isinstance(value, bytes) else value) for name, value in request.headers.items()]
    body = request.body.read() if hasattr(request.body, "read") else request.body or b""
    headers = {b"host": url.netloc.encode(), **joined(pairs)}
    return Sent(request.method, url.path, url.query, headers), body


def believed(sent: Sent) -> Verified:
    now_s = epoch_s(sent.headers[b"x-amz-date"].decode())
    assert now_s is not None
    return sent.verified(now_s, verifier())


CALLS: dict[str, Call] = {
    "put": lambda s3, key: s3.put_object(Bucket="b", Key=key, Body=BODY, Metadata={"a": "x  y", "b": ""}),
    "put with SHA-256": lambda s3, key: s3.put_object(Bucket="b", Key=key, Body=BODY, ChecksumAlgorithm="SHA256"),
    "put nothing": lambda s3, key: s3.put_object(Bucket="b", Key=key, Body=b"", IfNoneMatch="*"),
    "part": lambda s3, key: s3.upload_part(Bucket="b", Key=key, UploadId="u+/=", PartNumber=3, Body=BODY),
    "get": lambda s3, key: s3.get_object(Bucket="b", Key=key, Range="bytes=0-9", ResponseContentType="a/b; c=d e"),
    "head": lambda s3, key: s3.head_object(Bucket="b", Key=key, VersionId="null"),
    "copy": lambda s3, key: s3.copy_object(Bucket="b", Key=key, CopySource={"Bucket": "b", "Key": key}),
    "delete": lambda s3, key: s3.delete_object(Bucket="b", Key=key),
    "delete many": lambda s3, key: s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": key}]}),
    "tag": lambda s3, key: s3.put_object(Bucket="b", Key=key, Body=BODY, Tagging="a=b%20c&d="),
    "list": lambda s3, key: s3.list_objects_v2(Bucket="b", Prefix=key, Delimiter="/", StartAfter=key),
    "create upload": lambda s3, key: s3.create_multipart_upload(
        Bucket="b", Key=key, ContentType="text/é".encode().hex()
    ),
}


@pytest.mark.parametrize("endpoint", ["http://node.example:8080", "https://node.example"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_what_boto3_sends_is_believed_and_its_body_is_the_one_it_was_given(call: Call, endpoint: str) -> None:
    wire = Wire()
    s3 = client(wire, endpoint)
    for key in KEYS:
        call(s3, key)
    assert len(wire.requests) == len(KEYS)
    for request in wire.requests:
        sent, body = received(request)
        verified = believed(sent)
        assert (verified.identity, verified.kind) == (ALICE, AuthKind.HEADER)
        if verified.payload.kind.chunked:
            decoder = decoder_for(verified.payload, sent.headers)
            assert b"".join(decoder.feed(body)) == BODY[: decoder.size_bytes]
            assert list(decoder.finish()) == [sent.headers[b"x-amz-trailer"].decode()]
        else:
            verified.payload.check_digest(hashlib.sha256(body).hexdigest())


def test_boto3_sends_unsigned_chunks_with_a_trailer_over_https() -> None:
    wire = Wire()
    client(wire, "https://node.example").put_object(Bucket="b", Key="k", Body=BODY)
    sent, _ = received(wire.requests[0])
    assert believed(sent).payload.kind is PayloadKind.UNSIGNED_CHUNKS_TRAILER


def test_boto3_with_sigv2_is_told_to_use_sigv4() -> None:
    wire = Wire()
    client(wire, "http://node.example", signature_version="s3").list_buckets()
    sent, _ = received(wire.requests[0])
    with pytest.raises(Exception, match="Please use AWS4-HMAC-SHA256"):
        sent.verified()
