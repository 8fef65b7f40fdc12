"""Only who knows the cluster's secret, and speaks now, of this very request, is let in."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.cluster.secret import DIGEST, PROOF, SKEW_MS, TIME, Secret
from impl.errors import Unauthorised

NOW_MS = 1_700_000_000_000
SECRET = Secret("0123456789abcdef")
TARGET = "/internal/v1/slots/3/heads/a%20b?x=1"


def signed(now_ms: int = NOW_MS, body: bytes = b"") -> dict[bytes, bytes]:
    headers = SECRET.headers("PUT", TARGET, now_ms, hashlib.sha256(body).hexdigest())
    return {name.encode(): value.encode() for name, value in headers.items()}


@given(st.integers(-SKEW_MS, SKEW_MS), st.binary(max_size=20))
def test_a_request_signed_with_the_secret_is_let_in_and_its_digest_told(skew_ms: int, body: bytes) -> None:
    assert SECRET.check("PUT", TARGET, signed(NOW_MS + skew_ms, body), NOW_MS) == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("other", ["", "0123456789abcdeF", "0123456789abcdef "])
def test_another_secret_is_refused(other: str) -> None:
    with pytest.raises(Unauthorised, match="one cluster_secret"):
        Secret(other).check("PUT", TARGET, signed(), NOW_MS)


@pytest.mark.parametrize(("method", "target"), [("GET", TARGET), ("PUT", TARGET + "0"), ("PUT", TARGET.upper())])
def test_a_proof_fits_no_other_request(method: str, target: str) -> None:
    with pytest.raises(Unauthorised):
        SECRET.check(method, target, signed(), NOW_MS)


@pytest.mark.parametrize("skew_ms", [-SKEW_MS - 1, SKEW_MS + 1, -NOW_MS])
def test_a_request_from_another_time_is_refused_though_its_proof_is_right(skew_ms: int) -> None:
    with pytest.raises(Unauthorised, match="clocks"):
        SECRET.check("PUT", TARGET, signed(NOW_MS + skew_ms), NOW_MS)


@pytest.mark.parametrize("name", [TIME, DIGEST, PROOF])
def test_a_header_that_is_missing_or_altered_is_refused(name: bytes) -> None:
    headers = signed()
    for value in (b"", headers[name][:-1], headers[name] + b"0", b"\xff\xfe", b"0" + headers[name][1:]):
        with pytest.raises(Unauthorised):
            SECRET.check("PUT", TARGET, {**headers, name: value}, NOW_MS)
    del headers[name]
    with pytest.raises(Unauthorised, match="internal API is for nodes"):
        SECRET.check("PUT", TARGET, headers, NOW_MS)
