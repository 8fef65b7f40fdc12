"""What a request says of its own signature, read and not yet believed: from the Authorization header or the query."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import msgspec

from impl.api.s3.auth.canonical import Pairs
from impl.api.s3.auth.payload import payload_said
from impl.api.s3.auth.signing import ALGORITHM, SERVICE, TERMINATOR, Scope
from impl.api.s3.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidArgument,
    InvalidRequest,
    S3Error,
)

EXPIRES_S_MAX: Final = 7 * 24 * 3600
CREDENTIAL_CHARACTERS_MAX: Final = 256
_HEADER: Final = re.compile(
    rf"{ALGORITHM} +Credential=([^ ,]+) *, *SignedHeaders=([^ ,]+) *, *Signature=([0-9a-f]{{64}}) *"
)
SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_EXPIRES: Final = re.compile(r"[0-9]{1,9}")
_NAMES: Final = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
_QUERY_NAMES: Final = frozenset(f"X-Amz-{name}" for name in _NAMES)
_QUERY_PAYLOAD: Final = "X-Amz-Content-Sha256"
ONLY_SIGV4: Final = f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}."


class Claim(msgspec.Struct, frozen=True):
    """A signature and what it is said to cover.

    `timestamp` is YYYYMMDDTHHMMSSZ, `time_s` the same in seconds since 1970. `signed` are the lower-case names of the
    signed headers, in the order in which they are signed. `payload` is what the request says of its body, "" if
    nothing, which only a presigned URL may. Such a URL is good for `expires_s` seconds, a header has None.
    `malformed` is the error that tells of a wrong scope.
    """

    access_key_id: str
    scope: Scope
    timestamp: str
    time_s: int
    signed: tuple[bytes, ...]
    signature: str
    payload: str
    malformed: type[S3Error]
    expires_s: int | None = None


def header_claim(headers: Mapping[bytes, bytes]) -> Claim:
    """The claim of the Authorization header.

    Raises AuthorizationHeaderMalformed, AccessDenied without a date, InvalidRequest without x-amz-content-sha256 and
    for another mechanism than SigV4, InvalidArgument for what is none of AWS's.
    """
    text = headers[b"authorization"].decode("latin-1")
    match = _HEADER.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    credential, names, signature = match.groups()
    timestamp, time_s = _header_time(headers)
    access_key_id, scope = read_credential(credential, timestamp, AuthorizationHeaderMalformed)
    payload = payload_said(headers)
    if not payload:
        raise InvalidRequest("Missing required header for this request: x-amz-content-sha256")
    return Claim(
        access_key_id,
        scope,
        timestamp,
        time_s,
        tuple(names.encode("latin-1").split(b";")),
        signature,
        payload,
        AuthorizationHeaderMalformed,
    )


def _unreadable(text: str) -> S3Error:
    """What to say of an Authorization header that is no SigV4; never the header itself, which may be a password."""
    if text.startswith(f"{ALGORITHM} ") or text == ALGORITHM:
        return AuthorizationHeaderMalformed(
            "the Authorization header cannot be read; it must be "
            f"{ALGORITHM} Credential=KEY/DATE/REGION/{SERVICE}/{TERMINATOR}, SignedHeaders=NAME;NAME, Signature=64 hex"
        )
    if text.startswith("AWS"):
        return InvalidRequest(ONLY_SIGV4)
    return InvalidArgument("Unsupported Authorization Type", ArgumentName="Authorization")


def _header_time(headers: Mapping[bytes, bytes]) -> tuple[str, int]:
    said = headers.get(b"x-amz-date") or headers.get(b"date")
    if not said:
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header")
    text = said.strip().decode("latin-1")
    time_s = epoch_s(text)
    if time_s is not None:
        return text, time_s
    try:
        moment = parsedate_to_datetime(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header") from None
    return f"{moment:%Y%m%dT%H%M%SZ}", int(moment.timestamp())


def is_presigned(pairs: Pairs) -> bool:
    """Has this query (canonical) any of the parameters of a presigned URL?"""
    return any(name in _QUERY_NAMES for name, _ in pairs)


def refuse_sigv2(pairs: Pairs) -> None:
    """Raises InvalidRequest for a URL that was presigned with SigV2."""
    names = {name for name, _ in pairs}
    if "AWSAccessKeyId" in names and "Signature" in names:
        raise InvalidRequest(ONLY_SIGV4)


def query_claim(pairs: Pairs, headers: Mapping[bytes, bytes]) -> Claim:
    """The claim of a presigned URL, from its canonical query. Raises AuthorizationQueryParametersError."""
    wrong = AuthorizationQueryParametersError
    said: dict[str, str] = {}
    for name, value in pairs:
        if name in said:
            raise wrong(f"{name} is given twice; give it once")
        if name in _QUERY_NAMES or name == _QUERY_PAYLOAD:
            said[name] = unquote(value, encoding="latin-1") if "%" in value else value
    if missing := sorted(name for name in _QUERY_NAMES if not said.get(name)):
        raise wrong(f"a presigned URL must have {', '.join(missing)}")
    if said["X-Amz-Algorithm"] != ALGORITHM:
        raise wrong(f"X-Amz-Algorithm only supports {ALGORITHM}")
    if not SIGNATURE.fullmatch(said["X-Amz-Signature"]):
        raise wrong("X-Amz-Signature must be 64 lower-case hex digits")
    timestamp = said["X-Amz-Date"]
    time_s = epoch_s(timestamp)
    if time_s is None:
        raise wrong("X-Amz-Date must be in the ISO8601 Long Format yyyyMMdd'T'HHmmss'Z'")
    expires = said["X-Amz-Expires"]
    if not _EXPIRES.fullmatch(expires):
        raise wrong("X-Amz-Expires should be a number, not negative")
    if int(expires) > EXPIRES_S_MAX:
        raise wrong(f"X-Amz-Expires must be less than a week (in seconds): use at most {EXPIRES_S_MAX}")
    access_key_id, scope = read_credential(said["X-Amz-Credential"], timestamp, wrong)
    names = tuple(said["X-Amz-SignedHeaders"].encode("latin-1").split(b";"))
    payload = said.get(_QUERY_PAYLOAD) or payload_said(headers)
    return Claim(access_key_id, scope, timestamp, time_s, names, said["X-Amz-Signature"], payload, wrong, int(expires))


def read_credential(text: str, timestamp: str, wrong: type[S3Error]) -> tuple[str, Scope]:
    """Access key id and scope of `KEY/DATE/REGION/s3/aws4_request`. Raises `wrong`."""
    if len(text) > CREDENTIAL_CHARACTERS_MAX:
        raise wrong(f"the credential has more than {CREDENTIAL_CHARACTERS_MAX} characters")
    access_key_id, scope, fault = _split_credential(text)
    if fault:
        raise wrong(fault)
    if scope.date != timestamp[:8]:
        raise wrong(f"the credential's date is {scope.date[:9]!r}; it is not that of the request, {timestamp[:8]!r}")
    return access_key_id, scope


@lru_cache(maxsize=4096)
def _split_credential(text: str) -> tuple[str, Scope, str]:
    """Access key id, scope, and what is wrong with it ("" if nothing)."""
    access_key_id, *scope = text.rsplit("/", 4)
    if len(scope) != 4 or not access_key_id:
        return "", Scope("", "", ""), f"the credential is mal-formed; use KEY/YYYYMMDD/REGION/{SERVICE}/{TERMINATOR}"
    date, region, service, terminator = scope
    fault = ""
    if terminator != TERMINATOR:
        fault = f"the credential's terminator is {terminator[:40]!r}; it must be {TERMINATOR!r}"
    elif service != SERVICE:
        fault = f"the credential's service is {service[:40]!r}; this endpoint belongs to {SERVICE!r}"
    return access_key_id, Scope.of(date, region), fault


def epoch_s(timestamp: str) -> int | None:
    """YYYYMMDDTHHMMSSZ in seconds since 1970, None if it is no such moment."""
    return _epoch_s(timestamp) if len(timestamp) == 16 else None


@lru_cache(maxsize=4096)
def _epoch_s(timestamp: str) -> int | None:
    match = _TIMESTAMP.fullmatch(timestamp)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None
