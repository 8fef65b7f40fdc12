"""What a form may do: the policy that was signed with it ("Creating a POST Policy", the S3 API Reference)."""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec

from impl.api.s3.auth import Verifier
from impl.api.s3.auth.claim import ONLY_SIGV4, SIGNATURE, Claim, epoch_s, read_credential
from impl.api.s3.auth.signing import ALGORITHM
from impl.api.s3.credentials import ANONYMOUS, Identity
from impl.api.s3.errors import (
    AccessDenied,
    AuthorizationQueryParametersError,
    EntityTooLarge,
    EntityTooSmall,
    InvalidArgument,
    InvalidPolicyDocument,
    InvalidRequest,
    InvalidToken,
)
from impl.api.s3.forms import Form

SIGNED_FIELDS: Final = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
IGNORED_PREFIX: Final = "x-ignore-"
CONDITIONS_MAX: Final = 1000
_UNCONDITIONED: Final = frozenset({"policy", "x-amz-signature"})
_EXPIRATION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")


class Comparison(Enum):
    """What a condition asks of a field."""

    EQUAL = "eq"
    STARTS_WITH = "starts-with"


class Condition(msgspec.Struct, frozen=True):
    """A field (lower case) must equal `value`, or start with it."""

    comparison: Comparison
    field: str
    value: str

    def holds(self, value: str) -> bool:
        """Does the field's value meet it? A list of content types must meet it with each."""
        if self.comparison is Comparison.EQUAL:
            return value == self.value
        values = [part.strip() for part in value.split(",")] if self.field == "content-type" else [value]
        return all(part.startswith(self.value) for part in values)

    def __str__(self) -> str:
        return f'["{self.comparison.value}", "${self.field}", "{self.value}"]'


class SizeRange(msgspec.Struct, frozen=True):
    """How many bytes the file may have; `high_bytes` None: as many as the server allows."""

    low_bytes: int = 0
    high_bytes: int | None = None

    def check(self, size_bytes: int, ended: bool) -> None:
        """Raises EntityTooLarge as soon as the file is too large, EntityTooSmall once it has ended and is too small."""
        if self.high_bytes is not None and size_bytes > self.high_bytes:
            raise EntityTooLarge(ProposedSize=size_bytes, MaxSizeAllowed=self.high_bytes)
        if ended and size_bytes < self.low_bytes:
            raise EntityTooSmall(ProposedSize=size_bytes, MinSizeAllowed=self.low_bytes)

    def within(self, other: "SizeRange") -> "SizeRange":
        """What both allow."""
        highs = [high for high in (self.high_bytes, other.high_bytes) if high is not None]
        return SizeRange(max(self.low_bytes, other.low_bytes), min(highs, default=None))


class Policy(msgspec.Struct, frozen=True):
    """A policy document, read. `expires_s` is in seconds since 1970."""

    expires_s: float
    conditions: tuple[Condition, ...]
    size: SizeRange


class VerifiedForm(msgspec.Struct, frozen=True):
    """Who made a form, and how large its file may be."""

    identity: Identity
    size: SizeRange


def verify_form(verifier: Verifier, form: Form, bucket: str, now_s: float) -> VerifiedForm:
    """Who made a form, if its policy allows what it says. A form without policy and signature is anonymous.

    Raises InvalidArgument for missing fields, InvalidRequest for SigV2, SignatureDoesNotMatch, InvalidAccessKeyId,
    AuthorizationQueryParametersError, InvalidPolicyDocument, AccessDenied if the policy has expired or is not met.
    """
    fields = form.fields
    if "x-amz-algorithm" not in fields and ("awsaccesskeyid" in fields or "signature" in fields):
        raise InvalidRequest(ONLY_SIGV4)
    if not any(name in fields for name in SIGNED_FIELDS):
        return VerifiedForm(ANONYMOUS, SizeRange())
    for name in SIGNED_FIELDS:
        if not fields.get(name):
            raise InvalidArgument(
                f"Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the "
                "fields.",
                ArgumentName=name,
            )
    if "x-amz-security-token" in fields:
        raise InvalidToken()
    identity, _ = verifier.check(_claim(fields), [fields["policy"].encode()])
    policy = read_policy(fields["policy"])
    check_policy(policy, fields, bucket, now_s)
    return VerifiedForm(identity, policy.size)


def _claim(fields: Mapping[str, str]) -> Claim:
    wrong = AuthorizationQueryParametersError
    timestamp, signature = fields["x-amz-date"], fields["x-amz-signature"]
    time_s = epoch_s(timestamp)
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise wrong(f"x-amz-algorithm only supports {ALGORITHM}")
    if time_s is None:
        raise wrong("x-amz-date must be in the ISO8601 Long Format yyyyMMdd'T'HHmmss'Z'")
    if not SIGNATURE.fullmatch(signature):
        raise wrong("x-amz-signature must be 64 lower-case hex digits")
    access_key_id, scope = read_credential(fields["x-amz-credential"], timestamp, wrong)
    return Claim(access_key_id, scope, timestamp, time_s, (), signature, "", wrong)


def read_policy(encoded: str) -> Policy:
    """A policy from the form's field (base64 of JSON). Raises InvalidPolicyDocument."""
    try:
        document = msgspec.json.decode(base64.b64decode("".join(encoded.split()), validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        raise InvalidPolicyDocument("Invalid Policy: Invalid JSON, or not base64") from None
    if not isinstance(document, dict):
        raise InvalidPolicyDocument("Invalid Policy: the document must be an object")
    expiration, said = document.get("expiration"), document.get("conditions")
    if not isinstance(expiration, str) or not _EXPIRATION.fullmatch(expiration):
        raise InvalidPolicyDocument("Invalid Policy: 'expiration' must be a time such as 2030-01-01T12:00:00.000Z")
    if not isinstance(said, list) or len(said) > CONDITIONS_MAX:
        raise InvalidPolicyDocument(f"Invalid Policy: 'conditions' must be a list of at most {CONDITIONS_MAX}")
    try:
        expires_s = datetime.fromisoformat(expiration).timestamp()
    except ValueError:
        raise InvalidPolicyDocument("Invalid Policy: 'expiration' is no moment of a calendar") from None
    conditions: list[Condition] = []
    size = SizeRange()
    for item in said:
        if isinstance(item, list) and item and str(item[0]).lower() == "content-length-range":
            size = size.within(_size_range(item))
        else:
            conditions += _conditions(item)
    return Policy(expires_s, tuple(conditions), size)


def _conditions(item: object) -> list[Condition]:
    if isinstance(item, dict) and item and all(_is_scalar(value) for value in item.values()):
        return [Condition(Comparison.EQUAL, str(name).lower(), str(value)) for name, value in item.items()]
    match item:
        case [str(comparison), str(field), value] if field.startswith("$") and _is_scalar(value):
            for known in Comparison:
                if comparison.lower() == known.value:
                    return [Condition(known, field[1:].lower(), str(value))]
    raise InvalidPolicyDocument(
        'Invalid Policy: a condition must be {"name": "value"}, ["eq", "$name", "value"], '
        '["starts-with", "$name", "value"] or ["content-length-range", low, high]'
    )


def _size_range(item: list[object]) -> SizeRange:
    match item:
        case [_, int(low), int(high)] if 0 <= low <= high:
            return SizeRange(low, high)
    raise InvalidPolicyDocument("Invalid Policy: content-length-range must have two whole numbers, the smaller first")


def _is_scalar(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def check_policy(policy: Policy, fields: Mapping[str, str], bucket: str, now_s: float) -> None:
    """Raises AccessDenied unless the policy is still good, each condition is met, and each field has a condition."""
    if now_s > policy.expires_s:
        raise AccessDenied("Invalid according to Policy: Policy expired.")
    values = {**fields, "bucket": bucket}
    for condition in policy.conditions:
        if not condition.holds(values.get(condition.field, "")):
            raise AccessDenied(f"Invalid according to Policy: Policy Condition failed: {condition}"[:1000])
    covered = _UNCONDITIONED | {condition.field for condition in policy.conditions}
    extra = sorted(name for name in values if name not in covered and not name.startswith(IGNORED_PREFIX))
    if extra:
        raise AccessDenied(f"Invalid according to Policy: Extra input fields: {', '.join(extra)}"[:1000])
