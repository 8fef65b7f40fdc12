"""How the body of a request is to be checked, as its x-amz-content-sha256 says."""

import hmac
import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from impl.api.s3.auth.signing import ChunkChain
from impl.api.s3.errors import InvalidArgument, InvalidRequest, XAmzContentSHA256Mismatch

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


class PayloadKind(Enum):
    """What x-amz-content-sha256 can say; EXACT stands for a digest."""

    EXACT = "sha256"
    UNSIGNED = UNSIGNED
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @property
    def chunked(self) -> bool:
        """Is the body aws-chunked (`impl/api/s3/chunked.py` decodes it)?"""
        return self not in (PayloadKind.EXACT, PayloadKind.UNSIGNED)

    @property
    def signed_chunks(self) -> bool:
        """Does every chunk have a signature?"""
        return self in (PayloadKind.SIGNED_CHUNKS, PayloadKind.SIGNED_CHUNKS_TRAILER)


class Payload(msgspec.Struct, frozen=True):
    """What the body must be. `sha256` is lower-case hex with EXACT, else ""; `chain` is there with signed chunks."""

    kind: PayloadKind
    sha256: str = ""
    chain: ChunkChain | None = None

    def check_digest(self, sha256: str) -> None:
        """Raises XAmzContentSHA256Mismatch if the whole body, which has this digest (hex), is not the signed one."""
        if self.kind is PayloadKind.EXACT and not hmac.compare_digest(self.sha256.encode(), sha256.lower().encode()):
            raise XAmzContentSHA256Mismatch(
                "the body does not have the digest of x-amz-content-sha256; nothing was written",
                ClientComputedContentSHA256=self.sha256,
                S3ComputedContentSHA256=sha256,
            )


_STREAMING: Final = {kind.value: kind for kind in PayloadKind if kind.chunked}
_UNSIGNED_BODY: Final = Payload(PayloadKind.UNSIGNED)
_UNSIGNED_CHUNKS: Final = Payload(PayloadKind.UNSIGNED_CHUNKS_TRAILER)


def payload_said(headers: Mapping[bytes, bytes]) -> str:
    """The value of x-amz-content-sha256, "" if it is missing or empty."""
    return headers.get(b"x-amz-content-sha256", b"").strip().decode("latin-1")


def payload_of(said: str, content_encoding: bytes, chain: ChunkChain | None) -> Payload:
    """What x-amz-content-sha256 (`said`, "" if it is missing) asks for.

    `chain` is None for a request that has no signature: its chunks can have none either. A body that nothing is said of
    is unsigned, and aws-chunked if its content encoding says so. Raises InvalidArgument, InvalidRequest.
    """
    if _SHA256.fullmatch(said):
        return Payload(PayloadKind.EXACT, said.lower())
    if said == UNSIGNED:
        return _UNSIGNED_BODY
    if not said:
        return _UNSIGNED_CHUNKS if b"aws-chunked" in content_encoding.lower() else _UNSIGNED_BODY
    kind = _STREAMING.get(said)
    if kind is None:
        raise InvalidArgument(
            f"x-amz-content-sha256 must be {UNSIGNED}, {', '.join(_STREAMING)} or a SHA-256 in hex",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=said[:100],
        )
    if not kind.signed_chunks:
        return _UNSIGNED_CHUNKS
    if chain is None:
        raise InvalidRequest(
            f"x-amz-content-sha256 is {said}, but the request itself is not signed; sign it with SigV4"
        )
    return Payload(kind, chain=chain)
