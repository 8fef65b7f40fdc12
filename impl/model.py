"""What every room of the server speaks in: ballots, heads, registers, parts, slots, paths.

Only values live here: immutable, comparable, encodable with msgspec. No rules of the protocol
(`impl/protocol`), no I/O. The words are those of `spec/tla/Register.tla`.
"""

import unicodedata
from typing import Final

import msgspec
import xxhash

TOTAL_SLOTS: Final = 2048
PATH_BYTES_MAX: Final = 1024
INLINE_BODY_BYTES_MAX: Final = 64 * 1024
PART_BYTES: Final = 8 * 1024 * 1024
RECENT_WRITES_MAX: Final = 16
SYSTEM_START: Final = "/"
"""What the paths of registers that are no objects begin with, and no client's path does."""
UPLOAD_PARTS_START: Final = SYSTEM_START + "p/"
"""What the paths of registers begin with that name the parts of an upload, in the slot of its object."""


class Ballot(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A proposal number: ordered by round, then by node id; no two proposals of a register share one.

    Round 0 is special: `Ballot(0, "")` means none, `Ballot(0, node)` is the claim of the register's preferred node.
    """

    round: int
    node: str

    def __bool__(self) -> bool:
        return self.node != ""


NO_BALLOT: Final = Ballot(0, "")

Attributes = tuple[tuple[str, str], ...]
"""Names and values that an API keeps with an object; nothing below the API knows what they mean."""


class PartRef(msgspec.Struct, frozen=True, array_like=True):
    """One content-addressed piece of a body: lower-case hex SHA-256 and length."""

    digest: str
    size_bytes: int


NULL_VERSION: Final = 0
"""The version that a write makes which makes none of its own; there is one of them at most."""


class Applied(msgspec.Struct, frozen=True, array_like=True):
    """What a write id did to the register: kept in the head, so a retry returns the first outcome.

    `version` is the one that it made, removed or amended, and `marker` says whether that one is a delete marker.
    """

    write_id: str
    generation: int
    etag: str | None
    size_bytes: int
    deleted: bool
    version: int = NULL_VERSION
    marker: bool = False


class Version(msgspec.Struct, frozen=True, array_like=True):
    """One version of a path: `id` is the generation that made it, or NULL_VERSION. A delete marker has no body."""

    id: int
    marker: bool
    etag: str | None
    size_bytes: int
    content_type: str
    updated_at_ms: int
    body: bytes | None
    parts: tuple[PartRef, ...]
    attributes: Attributes
    is_imported: bool = False


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The current metadata record of a path, the value that the register agrees on. Spec: Head of Register.tla.

    A body up to INLINE_BODY_BYTES_MAX is in `body`; a larger one is named by `parts`, in order. `recent` holds the last
    RECENT_WRITES_MAX writes, oldest first. `attributes` are what an API keeps beside the body.

    All this is of the path's current version, `version`; `older` are those before it, oldest first. If `deleted`, there
    is no etag and no body: the current version is a delete marker if `marker`, else there is no version at all, which
    is called a tombstone. Rows from before there were attributes, or versions, decode without them. If `is_imported`,
    the current version's body is what the archive had under `etag` before there was this cluster, and only there.
    """

    generation: int
    deleted: bool
    etag: str | None
    size_bytes: int
    content_type: str
    updated_at_ms: int
    body: bytes | None
    parts: tuple[PartRef, ...]
    recent: tuple[Applied, ...]
    attributes: Attributes = ()
    version: int = NULL_VERSION
    marker: bool = False
    older: tuple[Version, ...] = ()
    is_imported: bool = False

    @property
    def current(self) -> Version | None:
        """The current version; None for a tombstone."""
        if self.deleted and not self.marker:
            return None
        return Version(
            self.version,
            self.marker,
            self.etag,
            self.size_bytes,
            self.content_type,
            self.updated_at_ms,
            self.body,
            self.parts,
            self.attributes,
            self.is_imported,
        )

    @property
    def versions(self) -> tuple[Version, ...]:
        """All versions, oldest first; the last one is the current one."""
        current = self.current
        return self.older if current is None else (*self.older, current)

    @property
    def version_ids(self) -> tuple[int, ...]:
        """Their ids, in the same order."""
        older = tuple(version.id for version in self.older)
        return older if self.deleted and not self.marker else (*older, self.version)

    def at(self, version_id: int) -> "Head | None":
        """The head as it would be if this version were the current one and the only one; None if it is not there."""
        if version_id == self.version and not (self.deleted and not self.marker):
            return msgspec.structs.replace(self, older=())
        found = next((version for version in self.older if version.id == version_id), None)
        return None if found is None else head_of(self.generation, (found,), self.recent)

    @property
    def is_vacant(self) -> bool:
        """Is it only what is known of a path that was forgotten, or never written: where its generations go on?"""
        return self.deleted and not self.marker and not self.recent

    @property
    def last_write_id(self) -> str | None:
        return self.recent[-1].write_id if self.recent else None


def head_of(
    generation: int, versions: tuple[Version, ...], recent: tuple[Applied, ...], tombstone_at_ms: int = 0
) -> Head:
    """The head that has these versions, the last of them as its current one; a tombstone if there is none."""
    if not versions:
        return Head(generation, True, None, 0, "", tombstone_at_ms, None, (), recent)
    *older, current = versions
    return Head(
        generation,
        current.marker,
        current.etag,
        current.size_bytes,
        current.content_type,
        current.updated_at_ms,
        current.body,
        current.parts,
        recent,
        current.attributes,
        current.id,
        current.marker,
        tuple(older),
        current.is_imported,
    )


def vacant(generation: int) -> Head | None:
    """The head of a path of which nothing is known but that it may have had this many generations (spec: Vacant)."""
    return Head(generation, True, None, 0, "", 0, None, (), ()) if generation else None


def present(head: Head | None) -> Head | None:
    """What there is to tell of a head: None if it is vacant."""
    return None if head is None or head.is_vacant else head


class Stored(msgspec.Struct, frozen=True):
    """A body that is durable, or rides in the head (`body`); `etag` is what it is called if nobody says otherwise."""

    body: bytes | None
    parts: tuple[PartRef, ...]
    size_bytes: int
    etag: str


class Register(msgspec.Struct, frozen=True, array_like=True):
    """An acceptor's durable state for one path.

    `head` is None while nothing was ever written; a read may have had just that agreed on, so `accepted` may be set.
    Where nothing is accepted, a head is vacant: it says how many generations were forgotten here (spec: Healing).

    `archived` is the highest generation that this node knows the archive to hold, 0 for none; `is_settled` says that no
    request of an older one can be under way any more, so that it stays there (spec: Tiering).
    """

    promised: Ballot = NO_BALLOT
    accepted: Ballot = NO_BALLOT
    head: Head | None = None
    archived: int = 0
    is_settled: bool = False

    @property
    def generation(self) -> int:
        """That of the head that is accepted here."""
        return self.head.generation if self.head and self.accepted else 0

    @property
    def is_floor(self) -> bool:
        """Is nothing accepted here, but was something forgotten, of this path or of others in its slot?"""
        return self.head is not None and not self.accepted

    def waits_for_archive(self, is_tiered: bool) -> bool:
        """Is there a head that the archive is to hold, and is not known to? `is_tiered`: so the path's mode wants it.

        What was archived once, on demand, is kept up with: else the archive would tell of what is long gone.
        """
        if self.head is None or self.head.is_vacant or self.head.is_imported:
            return False
        return self.generation > self.archived and (is_tiered or self.archived > 0)


VIRGIN: Final = Register()


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """A node's registers of a range, without bodies, by their paths' bytes; `has_more` if the range goes on."""

    registers: list[tuple[str, Register]]
    has_more: bool


class AcceptedPage(msgspec.Struct, frozen=True, array_like=True):
    """Paths with the ballots that a node has accepted there, by the paths' bytes; `next_after` is None on the last."""

    ballots: list[tuple[str, Ballot]]
    next_after: str | None


NOTHING_AFTER: Final = (-1, "")


class Unshipped(msgspec.Struct, frozen=True):
    """A register that waits to be shipped, since its head was written."""

    since_ms: int
    path: str
    slot: int
    size_bytes: int


class ReplicaSet(msgspec.Struct, frozen=True):
    """The nodes that hold a slot, preferred coordinator first, and how many must answer.

    Any `write_quorum` and any `read_quorum` of them share a node: read_quorum = len(nodes) - write_quorum + 1.
    """

    nodes: tuple[str, ...]
    write_quorum: int

    @property
    def read_quorum(self) -> int:
        return len(self.nodes) - self.write_quorum + 1

    @property
    def preferred(self) -> str:
        return self.nodes[0]


class PathError(ValueError):
    """A path that cannot name an object; the message says which rule it breaks."""


def normalise_path(raw: str) -> str:
    """The one spelling of a path under the native API (native-api.md): NFC, no leading or repeated `/`.

    Raises PathError for an empty or over-long path, a `.` or `..` segment, NUL or another control character, and
    text that is not encodable as UTF-8.
    """
    path = unicodedata.normalize("NFC", raw)
    path = "/".join(segment for segment in path.split("/") if segment) + ("/" if path.endswith("/") else "")
    if path in ("", "/"):
        raise PathError("the path is empty; name an object, such as photos/cat.jpg")
    if any(unicodedata.category(character) == "Cc" for character in path):
        raise PathError(f"the path {path!r} has a control character; use printable characters only")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise PathError(f"the path {path!r} has a '.' or '..' segment; give the full path")
    try:
        size_bytes = len(path.encode())
    except UnicodeEncodeError:
        raise PathError(f"the path {path!r} is not valid UTF-8") from None
    if size_bytes > PATH_BYTES_MAX:
        raise PathError(f"the path has {size_bytes} bytes; at most {PATH_BYTES_MAX} are allowed")
    return path


def slot_of(path: str, total_slots: int = TOTAL_SLOTS) -> int:
    """The slot of a path: xxh3_64 of its UTF-8 bytes, modulo the number of slots (design.md)."""
    return xxhash.xxh3_64_intdigest(path.encode()) % total_slots


def head_digest(head: Head) -> str:
    """xxh3_64 over the head without its inline body (the etag stands for that): equal where two replicas agree."""
    return xxhash.xxh3_64_hexdigest(msgspec.msgpack.encode(msgspec.structs.replace(head, body=None)))
