"""One request of a client as it goes out, each time it goes out; whichever API it is put to."""

from dataclasses import dataclass
from typing import Final

from tracegen.history import Kind
from tracegen.workload.shapes import NULL_VERSION, UNCONDITIONAL, Condition

LIST_LIMIT: Final = 1000


@dataclass(frozen=True)
class Version:
    """A version that a client was told of: its id (0: the null version), and `client/op` of the write that made it."""

    id: int
    made_by: str = ""


NULL: Final = Version(NULL_VERSION)


@dataclass(frozen=True)
class Write:
    """A write. `bound` is the window's (see Window.begin).

    version: the one that a delete removes; None for the current one. source: the path whose object a copy is of.
    upload: of a body that is uploaded as parts, what the node calls that; "" before it was begun.
    """

    op: int
    kind: Kind
    path: str
    write_id: str
    body: bytes
    condition: Condition
    bound: int
    sha256: str | None
    version: Version | None = None
    source: str | None = None
    is_multipart: bool = False
    upload: str = ""
    part_etag: str = ""


@dataclass(frozen=True)
class Read:
    """A get of `path` (of a `version` of it, of a span of it), or a list of everything under it, in pages of `page`."""

    client: str
    op: int
    kind: Kind
    path: str
    node: str
    deadline_s: float
    condition: Condition = UNCONDITIONAL
    span: tuple[int, int] | None = None
    page: int = LIST_LIMIT
    version: Version | None = None
