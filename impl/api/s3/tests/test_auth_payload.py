"""What a body must be is what the request says of it, and that is signed."""

import hashlib

import pytest

from impl.api.s3.auth import PayloadKind
from impl.api.s3.auth.signing import Scope, signing_key
from impl.api.s3.errors import InvalidArgument, InvalidRequest, XAmzContentSHA256Mismatch
from impl.api.s3.tests.auth_rig import SECRET, Sent, presign, sign_in_header

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
STREAMS = [kind for kind in PayloadKind if kind.chunked]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_is_recognised_and_signed_chunks_begin_at_the_request(kind: PayloadKind) -> None:
    sent = presign("PUT", headers=[("x-amz-content-sha256", kind.value)])
    payload = sent.verified().payload
    assert payload.kind is kind and (payload.chain is not None) == kind.signed_chunks
    if payload.chain is not None:
        assert payload.chain.seed in sent.query
        key = signing_key(SECRET, Scope.of("20130524", "us-east-1"))
        assert payload.chain.key == key and repr(key)[2:-1] not in repr(payload)


def test_a_body_that_was_not_signed_is_refused() -> None:
    payload = sign_in_header("PUT", body=b"abc").verified().payload
    payload.check_digest(hashlib.sha256(b"abc").hexdigest())
    with pytest.raises(XAmzContentSHA256Mismatch):
        payload.check_digest(hashlib.sha256(b"abd").hexdigest())


@pytest.mark.parametrize("said", ["", "abc", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", EMPTY_SHA256[:-1], "é"])
def test_a_digest_that_is_none_is_refused(said: str) -> None:
    sent = presign("PUT", headers=[("x-amz-content-sha256", said)] if said else ())
    if said:
        with pytest.raises(InvalidArgument, match="x-amz-content-sha256"):
            sent.verified()
    else:
        assert sent.verified().payload.kind is PayloadKind.UNSIGNED


def test_an_unsigned_request_may_have_unsigned_chunks_but_no_signed_ones() -> None:
    sent = Sent("PUT", "/b/k", "", {b"host": b"h", b"content-encoding": b"aws-chunked"})
    assert sent.verified().payload.kind is PayloadKind.UNSIGNED_CHUNKS_TRAILER
    with pytest.raises(InvalidRequest, match="not signed"):
        sent.with_headers(x_amz_content_sha256=b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD").verified()
