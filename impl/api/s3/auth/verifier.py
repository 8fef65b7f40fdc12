"""Decides who sent a request. The one place where a claim becomes an identity."""

import hmac
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Final

import msgspec

from impl.api.s3.auth.canonical import Pairs, canonical_pairs, canonical_path, canonical_request
from impl.api.s3.auth.claim import Claim, header_claim, is_presigned, query_claim, refuse_sigv2
from impl.api.s3.auth.payload import UNSIGNED, Payload, payload_of, payload_said
from impl.api.s3.auth.signing import ChunkChain, SigningKeys, fits, string_to_sign
from impl.api.s3.credentials import ANONYMOUS, Credential, Credentials, Identity
from impl.api.s3.errors import (
    AccessDenied,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidToken,
    RequestExpired,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
)

SKEW_S: Final = 15 * 60
SIMPLE_KEY: Final = b"x-access-key"
SIMPLE_SECRET: Final = b"x-secret-key"
_TOKEN: Final = b"x-amz-security-token"
_NO_TOKENS: Final = "there are no session tokens here; use an access key of the credentials file without one"


class AuthKind(Enum):
    """How a request proved who sent it; the values are those of the policy condition s3:authType."""

    ANONYMOUS = ""
    HEADER = "REST-HEADER"
    QUERY = "REST-QUERY-STRING"
    FORM = "POST"
    SIMPLE = "SIMPLE"


class Verified(msgspec.Struct, frozen=True):
    """What is certain of a request: who sent it, how that was proved, and what its body must be."""

    identity: Identity
    kind: AuthKind
    payload: Payload


class Verifier:
    """Checks requests against the keys of `credentials`.

    `region` is the only one that a scope may name, None allows any. `simple_keys` allows key and secret in the clear,
    in the headers x-access-key and x-secret-key.
    """

    def __init__(self, credentials: Credentials, region: str | None, simple_keys: bool = False) -> None:
        self._credentials = credentials
        self._region = region
        self._simple_keys = simple_keys
        self._signing_keys = SigningKeys()

    def verify(self, method: str, path: str, query: str, headers: Mapping[bytes, bytes], now_s: float) -> Verified:
        """Who sent a request, at the time `now_s` (seconds since 1970).

        `path` and `query` are as on the wire, percent-encoded, each character one byte; header names are lower-case,
        and values of a header that came several times are joined with ",". Raises S3Error, and nothing else.
        """
        pairs = canonical_pairs(query)
        presigned = bool(pairs) and is_presigned(pairs)
        if b"authorization" in headers:
            if presigned or (self._simple_keys and SIMPLE_KEY in headers):
                raise InvalidArgument(
                    "Only one auth mechanism allowed: the Authorization header, a presigned URL, or keys"
                )
            return self._signed(AuthKind.HEADER, header_claim(headers), method, path, pairs, headers, now_s)
        if presigned:
            return self._presigned(method, path, pairs, headers, now_s)
        refuse_sigv2(pairs)
        payload = payload_of(payload_said(headers), headers.get(b"content-encoding", b""), None)
        if SIMPLE_KEY in headers or SIMPLE_SECRET in headers:
            return Verified(self._simple(headers), AuthKind.SIMPLE, payload)
        return Verified(ANONYMOUS, AuthKind.ANONYMOUS, payload)

    def check(self, claim: Claim, texts: Iterable[bytes]) -> tuple[Identity, bytes]:
        """Who signed, and the signing key, if the claim's signature is that of one of `texts`, which are UTF-8.

        Raises InvalidAccessKeyId, SignatureDoesNotMatch, and the claim's own error for another region than ours.
        """
        if self._region is not None and claim.scope.region != self._region:
            raise claim.malformed(
                f"the region {claim.scope.region[:64]!r} is wrong; expecting {self._region!r}", Region=self._region
            )
        credential = self._credential(claim.access_key_id)
        key = self._signing_keys.get(credential, claim.scope)
        tried = []
        for text in texts:
            if fits(key, text, claim.signature):
                break
            tried.append(text)
        else:
            raise SignatureDoesNotMatch(AWSAccessKeyId=claim.access_key_id, StringToSign=tried[0].decode()[:2048])
        self._signing_keys.keep(credential, claim.scope, key)
        return credential.identity, key

    def _presigned(
        self, method: str, path: str, pairs: Pairs, headers: Mapping[bytes, bytes], now_s: float
    ) -> Verified:
        claim = query_claim(pairs, headers)
        if any(name == "X-Amz-Security-Token" for name, _ in pairs):
            raise InvalidToken(_NO_TOKENS)
        unsigned = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
        return self._signed(AuthKind.QUERY, claim, method, path, unsigned, headers, now_s)

    def _signed(
        self,
        kind: AuthKind,
        claim: Claim,
        method: str,
        path: str,
        pairs: Pairs,
        headers: Mapping[bytes, bytes],
        now_s: float,
    ) -> Verified:
        if _TOKEN in headers:
            raise InvalidToken(_NO_TOKENS)
        _check_time(claim, now_s)
        _check_headers(claim, headers)
        identity, key = self.check(claim, _texts(claim, method, path, pairs, headers))
        chain = None
        if claim.payload.startswith("STREAMING"):
            chain = ChunkChain(key, claim.timestamp, claim.scope, claim.signature)
        return Verified(identity, kind, payload_of(claim.payload, headers.get(b"content-encoding", b""), chain))

    def _simple(self, headers: Mapping[bytes, bytes]) -> Identity:
        if not self._simple_keys:
            raise AccessDenied("x-access-key and x-secret-key are not enabled here; sign the request with SigV4")
        credential = self._credential(headers.get(SIMPLE_KEY, b"").decode("latin-1"))
        if not hmac.compare_digest(credential.secret.encode(), headers.get(SIMPLE_SECRET, b"")):
            raise AccessDenied("x-secret-key is not the secret of x-access-key")
        return credential.identity

    def _credential(self, access_key_id: str) -> Credential:
        credential = self._credentials.find(access_key_id)
        if credential is None:
            raise InvalidAccessKeyId(AWSAccessKeyId=access_key_id[:128])
        return credential


def _texts(claim: Claim, method: str, path: str, pairs: Pairs, headers: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """What the claim may have signed: S3's canonical form, or else with the path as it was sent, which says the same.

    S3's form turns `%2F` into `/`, and some clients sign what they send.
    """
    payload = (claim.payload or UNSIGNED).encode("latin-1")
    strict = canonical_path(path)
    for form in (strict, path):
        canonical = canonical_request(method, form, pairs, claim.signed, headers, payload)
        yield string_to_sign(claim.timestamp, claim.scope, canonical)
        if path == strict or not (path.isascii() and path.isprintable()):
            return


def _check_time(claim: Claim, now_s: float) -> None:
    ahead_s = claim.time_s - now_s
    if claim.expires_s is None:
        if abs(ahead_s) > SKEW_S:
            raise RequestTimeTooSkewed(
                RequestTime=claim.timestamp,
                ServerTime=_iso(now_s),
                MaxAllowedSkewMilliseconds=SKEW_S * 1000,
            )
    elif ahead_s > SKEW_S:
        raise AccessDenied("Request is not valid yet", ServerTime=_iso(now_s))
    elif -ahead_s > claim.expires_s:
        expires = _iso(claim.time_s + claim.expires_s)
        raise RequestExpired(Expires=expires, ServerTime=_iso(now_s))


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _check_headers(claim: Claim, headers: Mapping[bytes, bytes]) -> None:
    """Every signed header is there, and what S3 wants signed is: host and all x-amz-*."""
    signed = claim.signed
    for name in signed:
        if name not in headers:
            raise SignatureDoesNotMatch(
                f"the header {name.decode('latin-1')[:80]!r} was signed, but is not in the request"
            )
    unsigned = [name for name in headers if name[:6] == b"x-amz-" and name not in signed]
    if b"host" not in signed:
        unsigned.append(b"host")
    if unsigned:
        raise AccessDenied(
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(name.decode("latin-1") for name in unsigned),
        )
