"""The Condition blocks of bucket policies: operators, keys, and where a request's values for them come from. Pure.

A key that nobody fills in would make negated conditions always true. So policies may name only those that `context`
fills; the rest are refused when the policy is put.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeVar

import msgspec

from impl.api.s3.errors import MalformedPolicy
from impl.api.s3.wildcards import PATTERN_CHARS_MAX, matches

T = TypeVar("T")

Context = Mapping[str, str]
"""A request's values by condition key, in lower case. A key without a value is not there."""

_FROM_HEADERS: Final = {
    "aws:referer": "referer",
    "aws:useragent": "user-agent",
    "s3:x-amz-acl": "x-amz-acl",
    "s3:x-amz-content-sha256": "x-amz-content-sha256",
    "s3:x-amz-copy-source": "x-amz-copy-source",
    "s3:x-amz-metadata-directive": "x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption": "x-amz-server-side-encryption",
    "s3:x-amz-storage-class": "x-amz-storage-class",
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
}
_FROM_QUERY: Final = {
    "s3:delimiter": "delimiter",
    "s3:max-keys": "max-keys",
    "s3:prefix": "prefix",
    "s3:versionid": "versionId",
}
_FROM_CONNECTION: Final = frozenset(
    {"aws:currenttime", "aws:epochtime", "aws:securetransport", "aws:sourceip", "aws:username", "s3:authtype"}
)
NARROW_PREFIX_BITS: Final = {4: 8, 6: 32}
"""How long a network's prefix must be, by version of IP, for the network not to count as everybody."""
KEYS: Final = frozenset(_FROM_HEADERS) | frozenset(_FROM_QUERY) | _FROM_CONNECTION


class Asked(msgspec.Struct, frozen=True):
    """What conditions may look at, of a request. Names of headers are in lower case; `auth_type` is S3's, such as
    REST-HEADER, REST-QUERY-STRING or POST, and None for anonymous requests, as is `username`.
    """

    source_ip: str
    is_tls: bool
    at_s: int
    headers: Mapping[str, str]
    query: Mapping[str, str]
    username: str | None = None
    auth_type: str | None = None


def context(asked: Asked) -> Context:
    said: dict[str, str | None] = {
        "aws:currenttime": datetime.fromtimestamp(asked.at_s, UTC).isoformat(),
        "aws:epochtime": str(asked.at_s),
        "aws:securetransport": "true" if asked.is_tls else "false",
        "aws:sourceip": asked.source_ip,
        "aws:username": asked.username,
        "s3:authtype": asked.auth_type,
    }
    said |= {key: asked.headers.get(name) for key, name in _FROM_HEADERS.items()}
    said |= {key: asked.query.get(name) for key, name in _FROM_QUERY.items()}
    return {key: value for key, value in said.items() if value is not None}


class Condition(msgspec.Struct, frozen=True):
    """One key under one operator: true for any of the values, or for a negated operator if for none of them."""

    operator: str
    key: str
    values: tuple[str, ...]
    if_exists: bool = False

    def holds(self, context: Context) -> bool:
        value = context.get(self.key)
        if self.operator == "Null":
            return any((value is None) == (wanted == "true") for wanted in self.values)
        test, is_negated = _OPERATORS[self.operator]
        if value is None:
            return is_negated or self.if_exists
        return any(test(wanted, value) for wanted in self.values) != is_negated

    @property
    def narrows(self) -> bool:
        """Can only callers fulfil it that it says: of some networks, or of some names?"""
        if self.if_exists or self.operator == "Null" or _OPERATORS[self.operator][1]:
            return False
        if self.key == "aws:username":
            return self.operator.startswith("String") and not any("*" in value for value in self.values)
        networks = [_network(value) for value in self.values] if self.operator == "IpAddress" else [None]
        return self.key == "aws:sourceip" and all(
            network is not None and network.prefixlen >= NARROW_PREFIX_BITS[network.version] for network in networks
        )


def condition(name: str, key: str, values: Sequence[str]) -> Condition:
    """Raises MalformedPolicy for an operator or key that is not known here, and values that are none of its kind."""
    operator_name = name.removesuffix("IfExists")
    if operator_name != "Null" and operator_name not in _OPERATORS:
        raise MalformedPolicy(f"Invalid Condition type : {name[:80]}")
    if key.lower() not in KEYS:
        raise MalformedPolicy(f"Policy has an invalid condition key: {key[:80]} is not one that is kept here")
    if not values:
        raise MalformedPolicy(f"Policy has a condition without values: {name} {key}")
    kind = "Bool" if operator_name == "Null" else next((one for one in _KINDS if one in operator_name), "String")
    for value in values:
        if len(value) > PATTERN_CHARS_MAX:
            raise MalformedPolicy(f"A value in condition {name} {key} is longer than {PATTERN_CHARS_MAX} characters")
        if kind in _KINDS and _KINDS[kind](value) is None:
            raise MalformedPolicy(f"Invalid value in condition {name} {key}: {value[:80]!r}")
    values = tuple(value.lower() for value in values) if kind == "Bool" else tuple(values)
    return Condition(operator_name, key.lower(), values, if_exists=name.endswith("IfExists"))


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", text) else None


def _moment_s(text: str) -> float | None:
    """Seconds since the epoch, of those or of ISO 8601; without a time zone it is UTC."""
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in_network(wanted: str, value: str) -> bool:
    network, address = _network(wanted), _address(value)
    return network is not None and address is not None and address in network


def _compared(read: Callable[[str], T | None], compare: Callable[[T, T], bool]) -> Callable[[str, str], bool]:
    """Is the request's value so to the policy's? One that cannot be read is not."""

    def test(wanted: str, value: str) -> bool:
        left, right = read(value), read(wanted)
        return left is not None and right is not None and compare(left, right)

    return test


_KINDS: Final[dict[str, Callable[[str], object | None]]] = {
    "Bool": _truth,
    "Numeric": _number,
    "Date": _moment_s,
    "IpAddress": _network,
}
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "StringEquals": operator.eq,
    "StringEqualsIgnoreCase": lambda wanted, value: wanted.casefold() == value.casefold(),
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": _compared(_truth, operator.eq),
    "IpAddress": _is_in_network,
    **{f"Numeric{name}": _compared(_number, compare) for name, compare in _COMPARISONS.items()},
    **{f"Date{name}": _compared(_moment_s, compare) for name, compare in _COMPARISONS.items()},
}
_NEGATED: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
_OPERATORS: Final = {name: (test, False) for name, test in _TESTS.items()} | {
    name: (_TESTS[positive], True) for name, positive in _NEGATED.items()
}
"""(test of a policy's value against a request's, whether the operator denies it) by operator."""
