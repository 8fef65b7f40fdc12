"""The native API from a client's side: one function an operation, and what each answer means for the history.

Definite answers become `ok` or `failed`; whatever leaves doubt raises Lost, or is `unknown` when the node says so
itself. An answer that the API does not know is `unknown` too, and is noted as `unexpected` for the run's summary.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

import msgspec

from tracegen.backend.face import Answer, Connection
from tracegen.history import Outcome

BLOBS: Final = "/_/api/v1/blobs"
LIST_LIMIT: Final = 1000
CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Piece:
    """The bytes of a body from `start` on, as a range of it was answered."""

    start: int
    content: bytes


@dataclass(frozen=True)
class Result:
    """What an operation came to. `is_replay`: the node knew the write id, and tells what the write came to then.

    `unexpected` is a line for the summary when the answer is not of the API.
    """

    outcome: Outcome
    status: int
    generation: int | None = None
    etag: str | None = None
    deleted: bool | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    paths: list[tuple[str, int]] | None = None
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


class _Written(msgspec.Struct):
    generation: int
    etag: str | None = None
    idempotent_replay: bool = False


class _Item(msgspec.Struct):
    path: str
    generation: int


class _Listing(msgspec.Struct):
    items: list[_Item]
    next_cursor: str | None


async def put(
    connection: Connection, path: str, body: bytes, write_id: str, condition: Condition, deadline_s: float
) -> Result:
    headers = (("x-amberio-write-id", write_id), *condition.headers())
    answer = await connection.request("PUT", _target(path), headers, body, deadline_s)
    return _write_result(answer, deleted=False)


async def delete(connection: Connection, path: str, write_id: str, condition: Condition, deadline_s: float) -> Result:
    headers = (("x-amberio-write-id", write_id), *condition.headers())
    answer = await connection.request("DELETE", _target(path), headers, None, deadline_s)
    return _write_result(answer, deleted=True)


async def get(
    connection: Connection,
    path: str,
    deadline_s: float,
    condition: Condition = UNCONDITIONAL,
    span: tuple[int, int] | None = None,
) -> Result:
    """`span` asks for the bytes from its first number to its second, both included."""
    headers = condition.headers()
    if span is not None:
        headers += (("range", f"bytes={span[0]}-{span[1]}"),)
    answer = await connection.request("GET", _target(path), headers, None, deadline_s)
    generation = _generation(answer)
    etag = _bare(answer.headers.get(b"etag", b"").decode("latin-1"))
    match answer.status:
        case 200 if generation is not None and is_met(condition, etag):
            return Result(
                outcome="ok",
                status=200,
                generation=generation,
                etag=etag,
                deleted=False,
                size_bytes=len(answer.body),
                sha256=hashlib.sha256(answer.body).hexdigest(),
            )
        case 206 if generation is not None and span is not None:
            return _piece(answer, span, Result("ok", 206, generation, etag, deleted=False))
        case 304 | 412 if generation is not None and _may_refuse(answer.status, condition, etag):
            return Result("ok", answer.status, generation, etag, deleted=False)
        case 416 if span is not None:
            return Result("ok", 416)
        case 404:
            return Result(outcome="ok", status=404, generation=0, deleted=False)
        case 410:
            return Result(outcome="ok", status=410, generation=generation, deleted=True)
        case _:
            return _refused(answer)


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
    content_range = answer.headers.get(b"content-range", b"").decode("latin-1")
    found = CONTENT_RANGE.fullmatch(content_range)
    if found is None:
        return _unexpected(answer, f"Content-Range is {content_range!r}")
    first, last, size_bytes = map(int, found.groups())
    if (first, last) != (span[0], min(span[1], size_bytes - 1)) or len(answer.body) != last - first + 1:
        told = f"{len(answer.body)} bytes as {content_range!r} for bytes {span[0]} to {span[1]}"
        return replace(result, unexpected=f"a range that was not asked for: {told}")
    return replace(result, piece=Piece(first, answer.body))


async def list_all(connection: Connection, prefix: str, deadline_s: float, page: int = LIST_LIMIT) -> Result:
    """Every path under the prefix with its generation, tombstones too; asked for `page` paths at a time."""
    paths: list[tuple[str, int]] = []
    first = target = f"{BLOBS}?prefix={quote(prefix)}&limit={page}&include_deleted=true"
    while True:
        answer = await connection.request("GET", target, (), None, deadline_s)
        if answer.status != 200:
            return _refused(answer)
        try:
            listing = msgspec.json.decode(answer.body, type=_Listing)
        except msgspec.MsgspecError as error:
            return _unexpected(answer, str(error))
        for item in listing.items:
            if paths and item.path.encode() <= paths[-1][0].encode():
                return _unexpected(answer, f"{item.path} is listed after {paths[-1][0]}")
            paths.append((item.path, item.generation))
        if listing.next_cursor is None:
            return Result(outcome="ok", status=200, paths=paths)
        if not listing.items:
            return _unexpected(answer, "a page without paths has a next one")
        target = f"{first}&cursor={quote(listing.next_cursor)}"


def _target(path: str) -> str:
    return f"{BLOBS}/{quote(path)}"


def _write_result(answer: Answer, *, deleted: bool) -> Result:
    if answer.status not in (200, 201):
        return _refused(answer)
    try:
        written = msgspec.json.decode(answer.body, type=_Written)
    except msgspec.MsgspecError as error:
        return _unexpected(answer, str(error))
    return Result(
        outcome="ok",
        status=answer.status,
        generation=written.generation,
        etag=_bare(written.etag),
        deleted=deleted,
        is_replay=written.idempotent_replay,
    )


# answers that say: nothing was done. 404: a delete of what was never written; 410: the condition's target is gone
_NOTHING_DONE: Final = frozenset({400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 416, 429, 431, 501, 507})
_EXPECTED: Final = frozenset({404, 409, 410, 412, 429, 503, 507})


def _refused(answer: Answer) -> Result:
    if answer.status == 503:
        says = answer.headers.get(b"x-amberio-outcome", b"failed")
        return Result(outcome="unknown" if says == b"unknown" else "failed", status=503)
    if answer.status in _NOTHING_DONE:
        generation = 0 if answer.status == 404 else None
        note = None if answer.status in _EXPECTED else _describe(answer, "")
        return Result(outcome="failed", status=answer.status, generation=generation, unexpected=note)
    return _unexpected(answer, "")


def _unexpected(answer: Answer, why: str) -> Result:
    return Result(outcome="unknown", status=answer.status, unexpected=_describe(answer, why))


def _describe(answer: Answer, why: str) -> str:
    return " ".join((str(answer.status), why, answer.body[:200].decode("utf-8", "replace"))).replace("  ", " ")


def _generation(answer: Answer) -> int | None:
    value: Sequence[int] = answer.headers.get(b"x-amberio-generation", b"")
    text = bytes(value)
    return int(text) if text.isdigit() else None


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None
