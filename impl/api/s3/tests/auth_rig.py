"""Requests as S3's clients sign them: botocore signs, and what it would send is taken apart as our parser does it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from impl.api.s3.auth import Verified, Verifier
from impl.api.s3.credentials import Credential, Credentials, Identity

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OTHER_KEY = "other"
OTHER_SECRET = "not-the-same-secret"
REGION = "us-east-1"
MOMENT = datetime(2013, 5, 24, tzinfo=UTC)
NOW_S = MOMENT.timestamp()
ALICE = Identity(KEY, "alice", root=True)
CREDENTIALS = Credentials([Credential(ALICE, SECRET), Credential(Identity(OTHER_KEY, "bob"), OTHER_SECRET)])

HeaderPairs = Iterable[tuple[str, str]]


def verifier(region: str | None = REGION, simple_keys: bool = False) -> Verifier:
    """A verifier that has seen nothing yet."""
    return Verifier(CREDENTIALS, region, simple_keys)


class Sent(NamedTuple):
    """A request on the wire, as the verifier gets it."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]

    def verified(self, now_s: float = NOW_S, by: Verifier | None = None) -> Verified:
        return (by or verifier()).verify(self.method, self.path, self.query, self.headers, now_s)

    def with_headers(self, **changes: bytes | None) -> "Sent":
        """With some headers changed (`_` in a name stands for `-`); None removes one."""
        named = {name.replace("_", "-").encode(): value for name, value in changes.items()}
        merged = {**self.headers, **named}
        return self._replace(headers={name: value for name, value in merged.items() if value is not None})


def joined(pairs: HeaderPairs) -> dict[bytes, bytes]:
    """Headers as the connection layer has them: lower-case, without outer blanks, repeated ones joined."""
    headers: dict[bytes, bytes] = {}
    for name, text in pairs:
        value = text.strip(" \t").encode()
        earlier = headers.get(name.lower().encode())
        headers[name.lower().encode()] = value if earlier is None else earlier + b"," + value
    return headers


def sign_in_header(
    method: str = "GET",
    path: str = "/bucket/key",
    params: list[tuple[str, str]] | None = None,
    headers: HeaderPairs = (),
    body: bytes = b"",
    key: tuple[str, str] = (KEY, SECRET),
    region: str = REGION,
    moment: datetime = MOMENT,
    host: str = "node.example:8080",
) -> Sent:
    """A request that botocore signed in its Authorization header."""
    request = _request(method, path, params, headers, body, host)
    _sign(S3SigV4Auth(BotocoreCredentials(*key), "s3", region), request, moment)
    return _sent(request)


def presign(
    method: str = "GET",
    path: str = "/bucket/key",
    params: list[tuple[str, str]] | None = None,
    headers: HeaderPairs = (),
    key: tuple[str, str] = (KEY, SECRET),
    region: str = REGION,
    moment: datetime = MOMENT,
    expires_s: int = 3600,
    host: str = "node.example:8080",
) -> Sent:
    """A request with a URL that botocore presigned."""
    request = _request(method, path, None, headers, b"", host)
    request.params = dict(params or [])
    _sign(S3SigV4QueryAuth(BotocoreCredentials(*key), "s3", region, expires=expires_s), request, moment)
    return _sent(request)


def _request(
    method: str, path: str, params: list[tuple[str, str]] | None, headers: HeaderPairs, body: bytes, host: str
) -> AWSRequest:
    request = AWSRequest(method=method, url=f"http://{host}{path}", data=body)
    request.params = params or {}
    request.headers["host"] = host
    for name, value in headers:
        request.headers[name] = value
    return request


def _sign(signer: S3SigV4Auth | S3SigV4QueryAuth, request: AWSRequest, moment: datetime) -> None:
    with patch("botocore.auth.get_current_datetime", lambda: moment):
        signer.add_auth(request)


def _sent(request: AWSRequest) -> Sent:
    url = urlsplit(request.prepare().url)
    return Sent(request.method, url.path or "/", url.query, joined(request.headers.items()))
