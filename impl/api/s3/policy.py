"""Bucket policies: what is one, and what it says of a request. Pure.

AWS's policy language (IAM, "JSON policy elements", version 2012-10-17) as far as S3's bucket policies have it here: an
explicit denial counts above all, then a permission, and what no statement is about is left to others. What we could not
keep to the letter is refused when the policy is put, because a condition that is ignored may open what was to be shut.
"""

import json
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from impl.api.s3.actions import ON_BUCKETS, ON_OBJECTS, OWNERS_ALWAYS, PUBLIC_READS
from impl.api.s3.errors import MalformedPolicy
from impl.api.s3.policy_conditions import Condition, Context, condition
from impl.api.s3.shapes import CannedAcl
from impl.api.s3.wildcards import PATTERN_CHARS_MAX, matches

POLICY_BYTES_MAX: Final = 20 * 1024
ARN: Final = "arn:aws:s3:::"

_PRINCIPAL_KINDS: Final = frozenset({"AWS", "CanonicalUser"})


class Decision(Enum):
    DENY = "deny"
    ALLOW = "allow"
    SILENT = "silent"


class Asks(msgspec.Struct, frozen=True):
    """Who asks for what. `names` are all by which a principal may mean the caller; an anonymous one has none."""

    action: str
    resource: str
    names: frozenset[str]
    context: Context


class Pick(msgspec.Struct, frozen=True):
    """What a statement is about of one kind: what matches one of the patterns, or if `but` what matches none."""

    patterns: tuple[str, ...]
    but: bool = False

    def has(self, text: str) -> bool:
        return any(matches(pattern, text) for pattern in self.patterns) != self.but


class Who(msgspec.Struct, frozen=True):
    """Callers by their names; `*` is everyone, also who has no name."""

    names: frozenset[str]
    but: bool = False

    def has(self, names: frozenset[str]) -> bool:
        return ("*" in self.names or not self.names.isdisjoint(names)) != self.but


class Statement(msgspec.Struct, frozen=True):
    """Actions are in lower case here."""

    allows: bool
    who: Who
    actions: Pick
    resources: Pick
    conditions: tuple[Condition, ...]

    def is_about(self, asks: Asks) -> bool:
        return (
            self.who.has(asks.names)
            and self.actions.has(asks.action.lower())
            and self.resources.has(asks.resource)
            and all(one.holds(asks.context) for one in self.conditions)
        )


class Policy(msgspec.Struct, frozen=True):
    statements: tuple[Statement, ...]

    def decide(self, asks: Asks) -> Decision:
        said = {statement.allows for statement in self.statements if statement.is_about(asks)}
        if False in said:
            return Decision.DENY
        return Decision.ALLOW if said else Decision.SILENT


def is_public(policy: Policy) -> bool:
    """Does it let somebody do something whom it does not name?

    A condition on the caller's address or user name makes a statement private, as S3 has it ("The meaning of public"),
    if it says which: one that only excludes some, or takes in half the Internet, does not.
    """
    return any(
        statement.allows
        and ("*" in statement.who.names or statement.who.but)
        and not any(condition.narrows for condition in statement.conditions)
        for statement in policy.statements
    )


def resource_of(bucket: str, key: str | None = None) -> str:
    """The ARN of a bucket, or of an object in it."""
    return f"{ARN}{bucket}" if key is None else f"{ARN}{bucket}/{key}"


def is_allowed(asks: Asks, *, is_owner: bool, policy: Policy | None, acl: CannedAcl) -> bool:
    """May this be done? `acl` is that of the bucket or object that is asked for; owners may do what is not denied."""
    if is_owner and asks.action in OWNERS_ALWAYS:
        return True
    decision = policy.decide(asks) if policy else Decision.SILENT
    if decision is Decision.SILENT:
        return is_owner or (acl is CannedAcl.PUBLIC_READ and asks.action in PUBLIC_READS)
    return decision is Decision.ALLOW


_Strings = str | list[str]
_Scalar = str | bool | int | float


class _Statement(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    effect: Literal["Allow", "Deny"]
    sid: str = ""
    principal: str | dict[str, _Strings] | None = None
    not_principal: str | dict[str, _Strings] | None = None
    action: _Strings | None = None
    not_action: _Strings | None = None
    resource: _Strings | None = None
    not_resource: _Strings | None = None
    condition: dict[str, dict[str, _Scalar | list[_Scalar]]] = {}


class _Document(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    statement: _Statement | list[_Statement]
    version: Literal["2012-10-17", "2008-10-17"] = "2008-10-17"
    id: str = ""


@lru_cache(maxsize=256)
def parse(document: bytes, bucket: str) -> Policy:
    """The policy of a bucket. Raises MalformedPolicy, with what was wrong; the same document is read once."""
    if len(document) > POLICY_BYTES_MAX:
        raise MalformedPolicy(f"The policy has {len(document)} bytes; up to {POLICY_BYTES_MAX} are allowed")
    try:
        raw = json.loads(document.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MalformedPolicy("This policy contains invalid Json") from None
    try:
        said = msgspec.convert(raw, _Document)
    except msgspec.ValidationError as error:
        raise MalformedPolicy(f"The policy is not one: {error}") from None
    if said.version == "2012-10-17" and b"${" in document:
        raise MalformedPolicy("Policy variables are not kept here; say what they would stand for")
    statements = said.statement if isinstance(said.statement, list) else [said.statement]
    if not statements:
        raise MalformedPolicy("Missing required field Statement")
    return Policy(tuple(_statement(statement, bucket) for statement in statements))


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Where a name comes twice, readers differ in what they take."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name comes twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _statement(said: _Statement, bucket: str) -> Statement:
    principals, is_but_who = _one_of("Principal", said.principal, said.not_principal)
    actions, is_but_action = _one_of("Action", said.action, said.not_action)
    resources, is_but_resource = _one_of("Resource", said.resource, said.not_resource)
    for resource in _strings("Resource", resources):
        _check_resource(resource, bucket)
    for action in _strings("Action", actions):
        _check_action(action, _strings("Resource", resources), bucket, is_any=is_but_action or is_but_resource)
    conditions = [
        condition(name, key, [_plain(value) for value in (values if isinstance(values, list) else [values])])
        for name, keys in said.condition.items()
        for key, values in keys.items()
    ]
    return Statement(
        allows=said.effect == "Allow",
        who=Who(_principals(principals), is_but_who),
        actions=Pick(tuple(action.lower() for action in _strings("Action", actions)), is_but_action),
        resources=Pick(_strings("Resource", resources), is_but_resource),
        conditions=tuple(conditions),
    )


def _one_of(name: str, positive: Any, negative: Any) -> tuple[Any, bool]:
    if (positive is None) == (negative is None):
        raise MalformedPolicy(f"A statement needs {name} or Not{name}, and not both")
    return (positive, False) if positive is not None else (negative, True)


def _strings(name: str, said: _Strings) -> tuple[str, ...]:
    strings = (said,) if isinstance(said, str) else tuple(said)
    if not strings:
        raise MalformedPolicy(f"{name} is empty")
    return strings


def _principals(said: str | dict[str, _Strings]) -> frozenset[str]:
    if isinstance(said, str):
        names: Sequence[str] = (said,) if said == "*" else ()
    elif said.keys() <= _PRINCIPAL_KINDS:
        names = [name for group in said.values() for name in _strings("Principal", group)]
    else:
        names = ()
    if not names or any(not name or ("*" in name and name != "*") for name in names):
        raise MalformedPolicy(f'Invalid principal in policy: {str(said)[:200]}; use "*", or {{"AWS": [names]}}')
    return frozenset(names)


def _check_action(action: str, resources: Sequence[str], bucket: str, is_any: bool) -> None:
    pattern = action.lower()[:PATTERN_CHARS_MAX]
    on_buckets = any(matches(pattern, known.lower()) for known in ON_BUCKETS)
    on_objects = any(matches(pattern, known.lower()) for known in ON_OBJECTS)
    if not on_buckets and not on_objects:
        raise MalformedPolicy(f"Policy has invalid action: {action[:200]}")
    names = [resource.removeprefix(ARN) for resource in resources]
    has_bucket = any(matches(name, bucket) for name in names)
    has_objects = any("/" in name or "*" in name for name in names)
    if not is_any and not (on_buckets and has_bucket) and not (on_objects and has_objects):
        raise MalformedPolicy(f"Action does not apply to any resource(s) in statement: {action[:200]}")


def _check_resource(resource: str, bucket: str) -> None:
    name = resource.removeprefix(ARN)
    if len(name) > PATTERN_CHARS_MAX or name == resource or not matches(name.partition("/")[0], bucket):
        raise MalformedPolicy(f"Policy has invalid resource: {resource[:200]}; use {ARN}{bucket} or {ARN}{bucket}/*")


def _plain(value: _Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
