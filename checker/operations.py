"""Reads a run's history.ndjson: what clients asked, when, and what they were told.

The checker's own view of it: only the fields that history.py judges, so another harness can write them too. Times are
microseconds of one clock; `return_us` is None for an operation whose outcome is unknown. An operation is one line from
its first attempt's invoke to its last one's return, however often it was sent.
"""

from pathlib import Path
from typing import Literal

import msgspec

from checker.errors import CannotCheck

HISTORY = "history.ndjson"


class ListedVersion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A version, or a delete marker, as a list has it. Version 0 is the null version."""

    path: str
    version: int
    is_latest: bool
    deleted: bool
    etag: str | None


class Operation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One operation of one client. Generation 0 means: never written. `deleted` is what an `ok` answer saw or left.

    A `mark` leaves a delete marker, a `tag` changes what is said beside the content, a `copy` puts what is at `source`.
    `of_version` is the version that a get or a delete named, `version` the one that was read or made; `versioned` says
    that the write makes a version of its own. A list has `paths` with generations, or `listed` paths with etags.
    """

    client: str
    op: int
    kind: Literal["put", "get", "delete", "list", "mark", "tag", "copy", "list_versions"]
    path: str
    invoke_us: int
    return_us: int | None
    outcome: Literal["ok", "failed", "unknown"]
    status: int | None = None
    write_id: str | None = None
    condition: str = "none"
    condition_etag: str | None = None
    condition_generation: int | None = None
    generation: int | None = None
    etag: str | None = None
    deleted: bool | None = None
    sha256: str | None = None
    paths: list[tuple[str, int]] | None = None
    listed: list[tuple[str, str]] | None = None
    versions: list[ListedVersion] | None = None
    of_version: int | None = None
    version: int | None = None
    versioned: bool = False
    source: str | None = None

    @property
    def id(self) -> str:
        return f"{self.client}/{self.op}"

    @property
    def is_write(self) -> bool:
        return self.write_id is not None


def read_operations(run: Path) -> list[Operation]:
    """All operations of a run, in the order of the file. Raises CannotCheck, naming file and line, on anything else."""
    path = run / HISTORY
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CannotCheck(f"{path}: {error.strerror}; a run's clients write it") from error
    try:
        operations = msgspec.json.Decoder(Operation).decode_lines(text)
    except msgspec.MsgspecError:
        raise CannotCheck(_first_fault(path, text)) from None
    for number, operation in enumerate(operations, 1):
        if operation.return_us is None and operation.outcome != "unknown":
            raise CannotCheck(f"{path}:{number}: {operation.id} is {operation.outcome} but never returned")
        if operation.return_us is not None and operation.return_us < operation.invoke_us:
            raise CannotCheck(f"{path}:{number}: {operation.id} returned before it was invoked")
    return operations


def _first_fault(path: Path, text: bytes) -> str:
    decode = msgspec.json.Decoder(Operation).decode
    for number, line in enumerate(text.split(b"\n"), 1):
        try:
            if line.strip():
                decode(line)
        except msgspec.MsgspecError as error:
            return f"{path}:{number}: {error}"
    return f"{path}: not lines of JSON"
