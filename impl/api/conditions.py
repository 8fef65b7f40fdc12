"""Conditional and range headers (RFC 9110 sections 13 and 14), as pure functions.

Writes: one etag or `*`, because the change function decides on one value and a list of alternatives cannot be made
exact across two coordinators cheaply. Reads: lists too, since the head is at hand.
"""

import re
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from impl.errors import InvalidArgument
from impl.model import Head
from impl.protocol.change import NO_CONDITION, Condition

ETAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
BARE_ETAG: Final = re.compile(r"[A-Za-z0-9._:+/=-]+")
RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)
GENERATION_MAX: Final = 2**53


def write_condition(if_match: str | None, if_none_match: str | None, if_generation: str | None) -> Condition:
    """The precondition of a put or delete. Raises InvalidArgument for more than one, or one we cannot guard exactly."""
    given = [header for header in (if_match, if_none_match, if_generation) if header is not None]
    if not given:
        return NO_CONDITION
    if len(given) > 1:
        raise InvalidArgument("give only one of If-Match, If-None-Match and x-amberio-if-generation on a write")
    if if_generation is not None:
        return Condition(kind="generation_is", generation=_generation(if_generation))
    if if_match is not None:
        if if_match.strip() == "*":
            return Condition(kind="exists")
        weak, etag = _one_etag("If-Match", if_match)
        if weak:
            raise InvalidArgument(
                f"If-Match {if_match!r} is a weak etag, which cannot guard a write; give a strong one"
            )
        return Condition(kind="etag_is", etag=etag)
    assert if_none_match is not None
    if if_none_match.strip() == "*":
        return Condition(kind="absent")
    return Condition(kind="etag_is_not", etag=_one_etag("If-None-Match", if_none_match)[1])


def _generation(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= GENERATION_MAX):
        raise InvalidArgument(f"x-amberio-if-generation is {text[:80]!r}; use a whole number, 0 for never written")
    return int(text)


def _one_etag(header: str, text: str) -> tuple[bool, str]:
    etags = _etags(header, text)
    if len(etags) != 1:
        raise InvalidArgument(f"{header} names {len(etags)} etags; on a write give exactly one, or *")
    return etags[0]


def _etags(header: str, text: str) -> list[tuple[bool, str]]:
    """The (weak, etag) pairs of a header; a single etag may come without its quotes, as S3 clients send it."""
    text = text.strip()
    if BARE_ETAG.fullmatch(text):
        return [(False, text)]
    found = [(bool(match[1]), match[2]) for match in ETAG.finditer(text)]
    if ETAG.sub("", text).replace(",", "").strip() or not found:
        raise InvalidArgument(f'{header} is {text[:200]!r}; use *, or etags in double quotes, such as "5f3a"')
    return found


Verdict = Literal["serve", "not_modified", "failed"]


def read_verdict(
    head: Head,
    if_match: str | None,
    if_none_match: str | None,
    if_modified_since: str | None,
    if_unmodified_since: str | None,
) -> Verdict:
    """RFC 9110 section 13.2.2, for a GET or HEAD of a live head. If-Match compares strongly, If-None-Match weakly."""
    if if_match is not None:
        if if_match.strip() != "*" and (False, head.etag) not in _etags("If-Match", if_match):
            return "failed"
    elif if_unmodified_since is not None:
        since_s = _http_date_s(if_unmodified_since)
        if since_s is not None and head.updated_at_ms // 1000 > since_s:
            return "failed"
    if if_none_match is not None:
        if if_none_match.strip() == "*" or head.etag in [etag for _, etag in _etags("If-None-Match", if_none_match)]:
            return "not_modified"
    elif if_modified_since is not None:
        since_s = _http_date_s(if_modified_since)
        if since_s is not None and head.updated_at_ms // 1000 <= since_s:
            return "not_modified"
    return "serve"


def range_applies(head: Head, if_range: str | None) -> bool:
    """RFC 9110 section 13.1.5: a range counts only while the representation is the one that If-Range names."""
    if if_range is None:
        return True
    text = if_range.strip()
    if match := ETAG.fullmatch(text):
        return not match[1] and match[2] == head.etag
    return _http_date_s(text) == head.updated_at_ms // 1000


def _http_date_s(text: str) -> int | None:
    """Seconds since the epoch, or None: a date that cannot be read is to be ignored."""
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | Literal["unsatisfiable"] | None:
    """The half-open range [start, end) that a Range header asks of `size_bytes` bytes, or None for all of them.

    Several ranges, other units and headers without sense are ignored, as section 14.2 allows and S3 does.
    """
    match = RANGE.fullmatch(header.strip()) if header is not None and len(header) <= 100 else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        wanted = int(match[2])
        return (max(0, size_bytes - wanted), size_bytes) if wanted and size_bytes else "unsatisfiable"
    first = int(match[1])
    last = int(match[2]) if match[2] else size_bytes - 1
    if match[2] and last < first:
        return None
    if first >= size_bytes:
        return "unsatisfiable"
    return first, min(last + 1, size_bytes)
