"""Signing keys and signatures of AWS Signature Version 4 ("Authenticating Requests", the S3 API Reference)."""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

import msgspec

from impl.api.s3.credentials import Credential
from impl.api.s3.errors import SignatureDoesNotMatch

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
TERMINATOR: Final = "aws4_request"
CACHED_KEYS_MAX: Final = 4096


class Scope(msgspec.Struct, frozen=True):
    """What a signing key is good for: a day (YYYYMMDD), in a region, at S3. `text` is how it is signed."""

    date: str
    region: str
    text: str

    @classmethod
    def of(cls, date: str, region: str) -> "Scope":
        """The scope of S3 in a region on a day."""
        return cls(date, region, f"{date}/{region}/{SERVICE}/{TERMINATOR}")


def signing_key(secret: str, scope: Scope) -> bytes:
    """The key that signs within a scope."""
    key = b"AWS4" + secret.encode()
    for part in (scope.date, scope.region, SERVICE, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(key: bytes, text: bytes) -> str:
    """The signature of a text, 64 lower-case hex digits."""
    return hmac.digest(key, text, "sha256").hex()


def fits(key: bytes, text: bytes, signature: str) -> bool:
    """Is this the signature of the text? Takes as long for every wrong one."""
    return hmac.compare_digest(sign(key, text).encode(), signature.encode())


def string_to_sign(timestamp: str, scope: Scope, canonical_request: bytes) -> bytes:
    """What is signed of a request."""
    digest = hashlib.sha256(canonical_request).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope.text}\n{digest}".encode()


class SigningKeys:
    """Signing keys that were used before: making one costs four HMACs.

    Only what a right signature was checked with is kept (`keep`), so that nobody without credentials can fill it.
    """

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str], bytes] = {}

    def __repr__(self) -> str:
        return f"SigningKeys({len(self._keys)} cached)"

    def get(self, credential: Credential, scope: Scope) -> bytes:
        """The signing key of a credential in a scope, from the cache if it is there."""
        known = self._keys.get((credential.identity.access_key_id, scope.date, scope.region))
        return signing_key(credential.secret, scope) if known is None else known

    def keep(self, credential: Credential, scope: Scope, key: bytes) -> None:
        """Remember a key; when there are too many, forget all of them."""
        place = (credential.identity.access_key_id, scope.date, scope.region)
        if place not in self._keys:
            if len(self._keys) >= CACHED_KEYS_MAX:
                self._keys.clear()
            self._keys[place] = key


@dataclass(frozen=True, slots=True)
class ChunkChain:
    """Where the signatures of a body's chunks begin: each covers the one before, the first the request's (`seed`)."""

    key: bytes = field(repr=False)
    timestamp: str
    scope: Scope
    seed: str

    def check_chunk(self, previous: str, sha256: str, signature: str) -> None:
        """Raises SignatureDoesNotMatch unless `signature` is that of a chunk with this digest after `previous`."""
        text = f"{ALGORITHM}-PAYLOAD\n{self.timestamp}\n{self.scope.text}\n{previous}\n{_EMPTY_SHA256}\n{sha256}"
        if not fits(self.key, text.encode(), signature):
            raise SignatureDoesNotMatch("the signature of a chunk does not fit its bytes and the chunk before it")

    def check_trailer(self, previous: str, sha256: str, signature: str) -> None:
        """Raises SignatureDoesNotMatch unless `signature` is that of trailing headers with this digest."""
        text = f"{ALGORITHM}-TRAILER\n{self.timestamp}\n{self.scope.text}\n{previous}\n{sha256}"
        if not fits(self.key, text.encode(), signature):
            raise SignatureDoesNotMatch("x-amz-trailer-signature does not fit the trailing headers and the last chunk")


_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
