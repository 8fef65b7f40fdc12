"""Questions to a node's internal API from the command line: signed, their answers proved, in a bounded time."""

import hashlib
from typing import Final

import msgspec
import urllib3

from impl.cluster.secret import PROOF, TIME, Secret
from impl.config import Address
from impl.doors import Clock
from impl.errors import AmberioError, ConfigError, PeerError

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


class _Message(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Message


def ask(address: Address, method: str, target: str, secret: Secret, clock: Clock, body: bytes = b"") -> bytes:
    """The body of the answer, from a node that knows the secret too.

    Raises PeerError if there is no answer (it may come later), ConfigError if it is not to be had.
    """
    asked = secret.headers(method, target, clock.now_ms(), hashlib.sha256(body).hexdigest())
    try:
        with urllib3.PoolManager(timeout=urllib3.Timeout(total=TIMEOUT_S), retries=False) as http:
            reply = http.request(method, f"http://{address}{target}", body=body, headers=asked, preload_content=False)
            content = reply.read(ANSWER_BYTES_MAX + 1)
            status, proof = reply.status, reply.headers.get(PROOF.decode(), "")
            reply.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise PeerError(f"{address} does not answer: {brief(error)}") from None
    if status != 200:
        raise _refusal(address, status, content)
    expected = secret.proof("200", asked[TIME.decode()], asked[PROOF.decode()], hashlib.sha256(content).hexdigest())
    if proof != expected:
        raise ConfigError(f"{address} does not know the cluster's secret, so it is no node of ours; check the address")
    return content


def brief(error: Exception) -> str:
    """What went wrong, without urllib3's own objects, which its texts begin with."""
    return str(error).rpartition(">: ")[2] or type(error).__name__


def _refusal(address: Address, status: int, content: bytes) -> AmberioError:
    try:
        text = msgspec.json.decode(content, type=_ErrorBody).error.message
    except msgspec.DecodeError:
        return ConfigError(f"{address} is no Amberio node that could be asked: HTTP status {status}; check the address")
    if status == 403:
        return ConfigError(f"{address} does not let us in: {text}")
    if status in (429, 503):
        return PeerError(f"{address} is not ready: {text}")
    return ConfigError(f"{address}: {text}")
