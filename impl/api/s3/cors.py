"""Requests from pages of other origins: which of a bucket's rules lets them, and what to say to the browser. Pure.

The first rule that matches counts (Fetch standard, CORS protocol; S3's CORSConfiguration). Answers are headers in lower
case.
"""

import re
from collections.abc import Sequence
from typing import Final

from impl.api.s3.errors import BadRequest, CorsForbidden, InvalidRequest, MalformedXML
from impl.api.s3.shapes import CorsRule

Headers = tuple[tuple[str, str], ...]

METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
ID_CHARS_MAX: Final = 255

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARY: Final = ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")


def check_rules(rules: Sequence[CorsRule]) -> None:
    """Raises MalformedXML or InvalidRequest for rules that S3 would not keep."""
    for rule in rules:
        if not rule.allowed_origins or not rule.allowed_methods:
            raise MalformedXML(f"{MalformedXML.said}: a CORSRule needs an AllowedOrigin and an AllowedMethod")
        for method in rule.allowed_methods:
            if method not in METHODS:
                raise InvalidRequest(
                    f"Found unsupported HTTP method in CORS config. Unsupported method is {method[:80]}"
                )
        for origin in rule.allowed_origins:
            if origin.count("*") > 1:
                raise InvalidRequest(f'AllowedOrigin "{origin[:200]}" can not have more than one wildcard.')
        for header in rule.allowed_headers:
            if header.count("*") > 1:
                raise InvalidRequest(f'AllowedHeader "{header[:200]}" can not have more than one wildcard.')
        for header in rule.expose_headers:
            if "*" in header or not _TOKEN.fullmatch(header):
                raise InvalidRequest(f'ExposeHeader "{header[:200]}" is not the name of a header.')
        if rule.id is not None and len(rule.id) > ID_CHARS_MAX:
            raise InvalidRequest(f"The ID of a CORSRule has {len(rule.id)} characters; use up to {ID_CHARS_MAX}.")


def actual(rules: Sequence[CorsRule], origin: str | None, method: str) -> Headers:
    """What to add to the answer of any request; nothing, if it has no Origin or no rule lets it."""
    if not origin or not rules:
        return ()
    for rule in rules:
        if (allowed := _matching_origin(rule, origin)) and method in rule.allowed_methods:
            return _answer(rule, allowed, origin)
    return (_VARY,)


def preflight(rules: Sequence[CorsRule], origin: str | None, method: str | None, headers: str | None) -> Headers:
    """What to answer to OPTIONS: `method` and `headers` are those of the request to come (Access-Control-Request-*).

    Raises BadRequest for a request that is none, CorsForbidden if no rule lets it.
    """
    if not origin:
        raise BadRequest("Insufficient information. Origin request header needed.")
    if method not in METHODS:
        raise BadRequest(f"Invalid Access-Control-Request-Method: {method[:80] if method else 'null'}")
    if not rules:
        raise CorsForbidden("CORSResponse: CORS is not enabled for this bucket.", Method=method)
    names = [name.strip().lower() for name in (headers or "").split(",") if name.strip()]
    for rule in rules:
        allowed = _matching_origin(rule, origin)
        if allowed and method in rule.allowed_methods and all(_allows_header(rule, name) for name in names):
            allowed_names = (("access-control-allow-headers", ", ".join(names)),) if names else ()
            return _answer(rule, allowed, origin) + allowed_names
    raise CorsForbidden(
        "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request "
        "method / Access-Control-Request-Method or Access-Control-Request-Headers are not allowed by the resource's "
        "CORS spec.",
        Method=method,
    )


def _answer(rule: CorsRule, allowed: str, origin: str) -> Headers:
    is_any = allowed == "*"
    headers = [
        ("access-control-allow-origin", "*" if is_any else origin),
        ("access-control-allow-methods", ", ".join(rule.allowed_methods)),
    ]
    if rule.expose_headers:
        headers.append(("access-control-expose-headers", ", ".join(rule.expose_headers)))
    if rule.max_age_s is not None:
        headers.append(("access-control-max-age", str(rule.max_age_s)))
    if not is_any:
        headers.append(("access-control-allow-credentials", "true"))
    return (*headers, _VARY)


def _matching_origin(rule: CorsRule, origin: str) -> str | None:
    return next((pattern for pattern in rule.allowed_origins if _matches(pattern, origin)), None)


def _allows_header(rule: CorsRule, name: str) -> bool:
    return bool(_TOKEN.fullmatch(name)) and any(_matches(one.lower(), name) for one in rule.allowed_headers)


def _matches(pattern: str, text: str) -> bool:
    """`*`, of which a pattern has one at most, stands for any characters, or none."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)
