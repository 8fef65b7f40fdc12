"""What the API asks of the node below it: shapes only, so that neither side imports the other."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from impl.api.http.body import BodyStream
from impl.model import INLINE_BODY_BYTES_MAX, NULL_VERSION, Attributes, Head, Register, ReplicaSet, Stored
from impl.protocol.change import Condition
from impl.protocol.events import Outcome


class Made(Protocol):
    """What a write made of a path."""

    @property
    def generation(self) -> int: ...
    @property
    def etag(self) -> str | None: ...
    @property
    def version(self) -> int: ...


class Written(Made, Protocol):
    """What became of a put or delete. For a refused one, generation and etag are those it was refused for."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def deleted(self) -> bool: ...
    @property
    def committed_replicas(self) -> int: ...
    @property
    def slot(self) -> int: ...
    @property
    def marker(self) -> bool: ...


class Listing(Protocol):
    """A page of heads in UTF-8 byte order of their paths; `next_after` is its last path, None at the end."""

    @property
    def items(self) -> Sequence[tuple[str, Head]]: ...
    @property
    def next_after(self) -> str | None: ...


class Member(Protocol):
    """A node as this one sees it; `incarnation` None while it was never heard of."""

    @property
    def node_id(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def incarnation(self) -> int | None: ...


class BodySource(Protocol):
    """A body while it arrives. `size_bytes` is None where nobody said; `read` gives b"" at the end."""

    size_bytes: int | None

    async def read(self) -> bytes: ...


class Lag(Protocol):
    """What waits on one node to be shipped to the archive."""

    @property
    def pending(self) -> int: ...
    @property
    def pending_bytes(self) -> int: ...
    @property
    def oldest_s(self) -> float: ...


class Indexed(Protocol):
    """What a node has on record of a path and the archive; `here` are the parts that lie on its disk."""

    @property
    def path(self) -> str: ...
    @property
    def head(self) -> Head: ...
    @property
    def archived(self) -> int: ...
    @property
    def is_settled(self) -> bool: ...
    @property
    def target(self) -> str: ...
    @property
    def here(self) -> Collection[str]: ...


class Restorer(Protocol):
    """A node that can have a body on its replicas' disks again."""

    async def restore(self, path: str) -> int: ...


class ArchiveKeeper(Protocol):
    """What the API asks of a node that has an archive."""

    def lag(self) -> Lag: ...
    async def archive(self, path: str) -> tuple[int, str]: ...
    async def index(self, prefix: str, after: str | None, limit: int) -> tuple[Sequence[Indexed], str | None]: ...


class Node(Protocol):
    """The coordinator: one client request from start to end."""

    @property
    def node_id(self) -> str: ...
    @property
    def cluster_id(self) -> str: ...
    @property
    def incarnation(self) -> int: ...
    def not_ready(self) -> str | None: ...
    def members(self) -> Sequence[Member]: ...
    def lag(self) -> Lag | None: ...
    def locate(self, path: str) -> tuple[int, ReplicaSet]: ...
    def by_preference(self, nodes: Sequence[str]) -> Sequence[str]: ...
    async def put(
        self, path: str, body: bytes | BodyStream, *, condition: Condition, write_id: str | None, content_type: str
    ) -> Written: ...
    async def delete(
        self, path: str, *, condition: Condition, write_id: str | None, version: int = NULL_VERSION
    ) -> Written: ...
    async def head(self, path: str) -> Head | None: ...
    def body(self, path: str, head: Head, start: int, end: int) -> AsyncIterator[bytes | memoryview]: ...
    async def list(
        self, prefix: str, limit: int, after: str | None, include_deleted: bool, with_older: bool = False
    ) -> Listing: ...


class ObjectNode(Node, Protocol):
    """What the S3 API asks beyond that: a body first, and then a head that names it and says more of it."""

    async def store(self, path: str, body: BodySource, inline_bytes_max: int = INLINE_BODY_BYTES_MAX) -> Stored: ...
    async def write(
        self,
        path: str,
        stored: Stored,
        *,
        condition: Condition,
        write_id: str | None,
        content_type: str,
        attributes: Attributes = (),
        versioned: bool = False,
    ) -> Written: ...
    async def mark(self, path: str, *, condition: Condition, write_id: str | None, versioned: bool) -> Written: ...
    async def amend(
        self, path: str, *, condition: Condition, write_id: str | None, version: int, attributes: Attributes
    ) -> Written: ...


class Healed(Protocol):
    """What healing came to: paths that were behind, of these those that caught up, and those that did not."""

    @property
    def behind(self) -> int: ...
    @property
    def healed(self) -> int: ...
    @property
    def errors(self) -> int: ...


class Healer(Protocol):
    """Adopts what another node has accepted."""

    async def repair(self, source: str, slot: int, paths: Sequence[str], dry_run: bool) -> Healed: ...


class Slotlet(Protocol):
    """The heads of a slot whose hash begins with `prefix`: how many, and a digest over all of them."""

    @property
    def prefix(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def objects(self) -> int: ...


class Replica(Protocol):
    """This node's own store, asked without a quorum: for tools and for healing."""

    async def register(self, slot: int, path: str) -> Register: ...
    async def put_part(self, slot: int, digest: str, pieces: list[bytes]) -> bool: ...
    async def get_part(self, slot: int, digest: str) -> bytes | None: ...
    async def slotlets(self, slot: int, prefix_len: int) -> Sequence[Slotlet]: ...
    async def heads(self, slot: int, prefixes: Sequence[str]) -> Sequence[tuple[str, Head]]: ...
