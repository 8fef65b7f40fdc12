"""What a client is told, in one shape for every API; and what answers mean, as far as all APIs mean the same.

Definite answers become `ok` or `failed`; whatever leaves doubt raises Lost, or is `unknown` when the node says so
itself. An answer that the API does not know is `unknown` too, and is noted as `unexpected` for the run's summary.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracegen.backend.face import Answer
from tracegen.history import ListedVersion, Outcome

CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
NULL_VERSION: Final = 0
"""The id that stands for the version which S3 calls `null`."""


@dataclass(frozen=True)
class Piece:
    """The bytes of a body from `start` on, as a range of it was answered."""

    start: int
    content: bytes


@dataclass(frozen=True)
class Result:
    """What an operation came to. `is_replay`: the node knew the write id, and tells what the write came to then.

    generation: of the path's head that the answer tells of, or that the write made. version: the id of the version that
    was read or made. listed: paths and etags, where a list says no generations. `unexpected` is a line for the summary
    when the answer is not of the API.
    """

    outcome: Outcome
    status: int
    generation: int | None = None
    etag: str | None = None
    deleted: bool | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    paths: list[tuple[str, int]] | None = None
    listed: list[tuple[str, str]] | None = None
    versions: list[ListedVersion] | None = None
    version: int | None = None
    piece: Piece | None = None
    is_replay: bool = False
    unexpected: str | None = None


@dataclass(frozen=True)
class Condition:
    """A precondition as the history names it.

    none, absent (If-None-Match: *), exists (If-Match: *), etag_is (If-Match), etag_is_not (If-None-Match), and
    generation_is, which only writes may have.
    """

    kind: str = "none"
    etag: str | None = None
    generation: int | None = None

    def headers(self) -> tuple[tuple[str, str], ...]:
        match self.kind:
            case "absent":
                return (("if-none-match", "*"),)
            case "etag_is":
                return (("if-match", f'"{self.etag}"'),)
            case "etag_is_not":
                return (("if-none-match", f'"{self.etag}"'),)
            case "exists":
                return (("if-match", "*"),)
            case "generation_is":
                return (("x-amberio-if-generation", str(self.generation)),)
            case _:
                return ()


UNCONDITIONAL: Final = Condition()


def read_headers(condition: Condition, span: tuple[int, int] | None) -> tuple[tuple[str, str], ...]:
    """What a get asks beside its path. `span` wants the bytes from its first number to its second, both included."""
    headers = condition.headers()
    return headers if span is None else (*headers, ("range", f"bytes={span[0]}-{span[1]}"))


def read_result(answer: Answer, condition: Condition, span: tuple[int, int] | None) -> Result | None:
    """What a get's answer says of an object that is there; None for any other answer."""
    number, etag = generation(answer), bare(header(answer, b"etag"))
    match answer.status:
        case 200 if number is not None and is_met(condition, etag):
            return Result(
                outcome="ok",
                status=200,
                generation=number,
                etag=etag,
                deleted=False,
                size_bytes=len(answer.body),
                sha256=hashlib.sha256(answer.body).hexdigest(),
            )
        case 206 if number is not None and span is not None:
            return _piece(answer, span, Result("ok", 206, number, etag, deleted=False))
        case 304 | 412 if number is not None and _may_refuse(answer.status, condition, etag):
            return Result("ok", answer.status, number, etag, deleted=False)
        case 416 if span is not None:
            return Result("ok", 416)
    return None


def is_met(condition: Condition, etag: str | None) -> bool:
    """May a read with this precondition be answered with an object that has this etag?"""
    match condition.kind:
        case "etag_is":
            return etag == condition.etag
        case "etag_is_not":
            return etag != condition.etag
        case _:
            return True


def _may_refuse(status: int, condition: Condition, etag: str | None) -> bool:
    """RFC 9110 section 13.2.2: If-None-Match is refused with 304, If-Match with 412, each for the etag it is told."""
    return condition.kind == ("etag_is_not" if status == 304 else "etag_is") and not is_met(condition, etag)


def _piece(answer: Answer, span: tuple[int, int], result: Result) -> Result:
    """A partial answer, if it is of the range that was asked for."""
    content_range = header(answer, b"content-range")
    found = CONTENT_RANGE.fullmatch(content_range)
    if found is None:
        return unexpected(answer, f"Content-Range is {content_range!r}")
    first, last, size_bytes = map(int, found.groups())
    if (first, last) != (span[0], min(span[1], size_bytes - 1)) or len(answer.body) != last - first + 1:
        told = f"{len(answer.body)} bytes as {content_range!r} for bytes {span[0]} to {span[1]}"
        return replace(result, unexpected=f"a range that was not asked for: {told}")
    return replace(result, piece=Piece(first, answer.body))


# answers that say: nothing was done. 404: a delete of what was never written; 410: the condition's target is gone
_NOTHING_DONE: Final = frozenset({400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 416, 429, 431, 501, 507})
_EXPECTED: Final = frozenset({404, 409, 410, 412, 429, 503, 507})


def refused(answer: Answer) -> Result:
    """An answer that does not say what was asked for: surely nothing was done, or nobody knows."""
    if answer.status == 503:
        says = answer.headers.get(b"x-amberio-outcome", b"failed")
        return Result(outcome="unknown" if says == b"unknown" else "failed", status=503)
    if answer.status in _NOTHING_DONE:
        note = None if answer.status in _EXPECTED else _describe(answer, "")
        return Result(outcome="failed", status=answer.status, unexpected=note)
    return unexpected(answer, "")


def unexpected(answer: Answer, why: str) -> Result:
    """An answer that the API does not have."""
    return Result(outcome="unknown", status=answer.status, unexpected=_describe(answer, why))


def _describe(answer: Answer, why: str) -> str:
    return " ".join((str(answer.status), why, answer.body[:200].decode("utf-8", "replace"))).replace("  ", " ")


def header(answer: Answer, name: bytes) -> str:
    """The header of this lower-case name, or nothing."""
    return answer.headers.get(name, b"").decode("latin-1")


def generation(answer: Answer) -> int | None:
    """The generation that an answer tells of, if it does."""
    value: Sequence[int] = answer.headers.get(b"x-amberio-generation", b"")
    text = bytes(value)
    return int(text) if text.isdigit() else None


def bare(etag: str | None) -> str | None:
    """An etag without its quotes; None for none."""
    return etag.strip('"') if etag else None
