"""The proof that somebody knows the cluster's secret: an HMAC over method, target, time and the body's digest.

It authenticates, it does not encrypt: put TLS around it where others share the network. A request can be repeated by
whoever saw it, within SKEW_MS, and only to say the same again.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from impl.errors import Unauthorised

SKEW_MS: Final = 300_000
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
TIME: Final = b"x-amberio-time"
DIGEST: Final = b"x-amberio-content-sha256"
PROOF: Final = b"x-amberio-proof"


class Secret:
    """Makes and checks proofs. Never printed."""

    def __init__(self, cluster_secret: str) -> None:
        self._key = cluster_secret.encode()

    def headers(self, method: str, target: str, now_ms: int, body_sha256: str = EMPTY_SHA256) -> dict[str, str]:
        """The headers that go with a request."""
        return {
            TIME.decode(): str(now_ms),
            DIGEST.decode(): body_sha256,
            PROOF.decode(): self.proof(method, target, str(now_ms), body_sha256),
        }

    def proof(self, *said: str) -> str:
        """The HMAC-SHA256, in hex, over these texts, one a line."""
        return hmac.new(self._key, "\n".join(said).encode(), hashlib.sha256).hexdigest()

    def check(self, method: str, target: str, headers: Mapping[bytes, bytes], now_ms: int) -> str:
        """The SHA-256 that the body must have; raises Unauthorised. Header names are lower-case."""
        time, digest, proof = (headers.get(name, b"").decode("latin-1") for name in (TIME, DIGEST, PROOF))
        if not (time and digest and proof):
            names = ", ".join(name.decode() for name in (TIME, DIGEST, PROOF))
            raise Unauthorised(f"the internal API is for nodes: send {names}, made with the cluster's secret")
        expected = self.proof(method, target, time, digest)
        if not hmac.compare_digest(expected.encode(), proof.encode()):
            raise Unauthorised("the proof does not fit the request; check that both sides have one cluster_secret")
        if not time.isascii() or not time.isdigit() or abs(int(time) - now_ms) > SKEW_MS:
            raise Unauthorised(f"the request says its time is {time[:20]}, here it is {now_ms}: set the clocks right")
        return digest
