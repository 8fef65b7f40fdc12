"""The native API from a client's side: what is sent, and what each answer means for the history."""

from dataclasses import replace
from typing import Final
from urllib.parse import quote

import msgspec

from tracegen.backend.face import Answer, Cluster, Connection
from tracegen.history import Kind
from tracegen.workload.asked import Read, Write
from tracegen.workload.shapes import Result, bare, generation, read_headers, read_result, refused, unexpected

BLOBS: Final = "/_/api/v1/blobs"


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


class Native:
    """See `api.Api`."""

    delete_kind: Kind = "delete"
    is_versioned = False
    lists: tuple[Kind, ...] = ("list",)

    async def begin(self, cluster: Cluster) -> None:
        return None

    async def prepare(self, connection: Connection, write: Write, deadline_s: float) -> Write | Result:
        return write

    async def write(self, connection: Connection, write: Write, deadline_s: float) -> Result:
        headers = (("x-amberio-write-id", write.write_id), *write.condition.headers())
        is_put = write.kind == "put"
        method, body = ("PUT", write.body) if is_put else ("DELETE", None)
        answer = await connection.request(method, _target(write.path), headers, body, deadline_s)
        return _written(answer, deleted=not is_put)

    async def read(self, connection: Connection, read: Read) -> Result:
        if read.kind == "list":
            return await _list(connection, read)
        headers = read_headers(read.condition, read.span)
        answer = await connection.request("GET", _target(read.path), headers, None, read.deadline_s)
        found = read_result(answer, read.condition, read.span)
        if found is not None:
            return found
        match answer.status:
            case 404:
                return Result(outcome="ok", status=404, generation=0, deleted=False)
            case 410:
                return Result(outcome="ok", status=410, generation=generation(answer), deleted=True)
            case _:
                return refused(answer)


async def _list(connection: Connection, read: Read) -> Result:
    """Every path under the prefix with its generation, tombstones too."""
    paths: list[tuple[str, int]] = []
    first = target = f"{BLOBS}?prefix={quote(read.path)}&limit={read.page}&include_deleted=true"
    while True:
        answer = await connection.request("GET", target, (), None, read.deadline_s)
        if answer.status != 200:
            return refused(answer)
        try:
            listing = msgspec.json.decode(answer.body, type=_Listing)
        except msgspec.MsgspecError as error:
            return unexpected(answer, str(error))
        for item in listing.items:
            if paths and item.path.encode() <= paths[-1][0].encode():
                return unexpected(answer, f"{item.path} is listed after {paths[-1][0]}")
            paths.append((item.path, item.generation))
        if listing.next_cursor is None:
            return Result(outcome="ok", status=200, paths=paths)
        if not listing.items:
            return unexpected(answer, "a page without paths has a next one")
        target = f"{first}&cursor={quote(listing.next_cursor)}"


def _target(path: str) -> str:
    return f"{BLOBS}/{quote(path)}"


def _written(answer: Answer, *, deleted: bool) -> Result:
    if answer.status not in (200, 201):
        result = refused(answer)
        return replace(result, generation=0) if answer.status == 404 else result
    try:
        written = msgspec.json.decode(answer.body, type=_Written)
    except msgspec.MsgspecError as error:
        return unexpected(answer, str(error))
    return Result(
        outcome="ok",
        status=answer.status,
        generation=written.generation,
        etag=bare(written.etag),
        deleted=deleted,
        is_replay=written.idempotent_replay,
    )
