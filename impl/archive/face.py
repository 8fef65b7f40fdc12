"""The archive: the bucket behind a node. What every kind of it promises, and what may be asked of it.

An archive is the world outside, as what comes through the doors of `impl/doors.py` is: S3 (`s3.py`), a directory
(`directory.py`), or the simulator's. All of them keep this interface, and `integration/test_archive.py` says so.

An object has one key, bytes, a content type and a little metadata, and is replaced whole. Each write is atomic: whoever
reads sees one object or another, never a mixture. A read after a write was answered sees it, and so does a list.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from impl.errors import InvalidArgument

KEY_BYTES_MAX: Final = 1024
PAGE_MAX: Final = 1000
"""Objects that one page of a list has at most."""
DIGEST_NAME: Final = "amberio-sha256"
"""The metadata name under which an archive that is a bucket keeps an object's SHA-256. Nobody else may use it."""
METADATA_BYTES_MAX: Final = 2048 - len(DIGEST_NAME) - 64
"""Names and values together; S3 has room for 2048 bytes."""
CONTENT_TYPE: Final = "application/octet-stream"

Body = bytes | AsyncIterable[bytes]
NO_METADATA: Final[Mapping[str, str]] = {}

# what every client and every store reads alike: HTTP would let names have more
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Listed(msgspec.Struct, frozen=True):
    """An object as a list shows it. `etag` names its state: opaque, without quotes; the same bytes may have it again.

    `modified_at_ms` is the archive's own clock's, and to the second with some.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at_ms: int


class Page(msgspec.Struct, frozen=True):
    """Objects in the byte order of their keys. `next_token` is where the next page begins, None after the last."""

    objects: tuple[Listed, ...]
    next_token: str | None


class Archived(msgspec.Struct, frozen=True):
    """What an archive knows of an object besides its bytes.

    `sha256` is the lower-case hex digest of the whole body, None where the archive was never told: objects that others
    put there, and large ones that came without.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at_ms: int
    content_type: str
    metadata: dict[str, str]
    sha256: str | None


@dataclass(frozen=True)
class Fetched:
    """An object, or bytes `start` to `stop` (exclusive) of it. `chunks` yields them once; nothing is held between two.

    Reading on raises what `Archive.get` does, besides ArchiveChanged if the object was replaced or deleted meanwhile,
    and ArchiveCorrupted in place of the last chunk of a whole body that does not have its digest: so who needs the
    right bytes waits for the end.
    """

    about: Archived
    start: int
    stop: int
    chunks: AsyncIterator[bytes]


class Archive(Protocol):
    """A bucket. Memory a call is bounded by its parts, whatever an object's size.

    Every call may raise:
    - ArchiveUnavailable: no answer, or a failure on the archive's side. Ask again later. **A write that raised this may
      have happened, or happen yet**: its answer can be what was lost. So can one that was cancelled.
    - ArchiveThrottled: asked too much, by the archive's own word or as too many requests wait here. Nothing was done.
    - ArchiveRefused: credentials, no such bucket, no room. Nothing was done; an operator must act.
    - InvalidArgument: a key, range or metadata that no archive takes. Nothing was done.
    """

    async def put(
        self,
        key: str,
        body: Body,
        *,
        content_type: str = CONTENT_TYPE,
        metadata: Mapping[str, str] = NO_METADATA,
        sha256: str | None = None,
        size_bytes: int | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        """Make or replace an object, durable on return; its etag.

        `sha256` is the lower-case hex digest of the whole body, which is checked against it, and kept with it. A large
        body (more than one part) that comes without is kept without, as S3 wants metadata before the bytes.
        `size_bytes` is checked too, and lets parts be made larger for huge bodies: ten thousand are all that S3 takes.
        Metadata names are lower-case, values printable ASCII (`check_metadata`).

        With `if_match` or `if_absent` only if the object has that etag, or there is none: that is how two that write
        the same key do not undo each other. Raises ArchiveChanged otherwise, ArchiveCorrupted or BodyCutShort for a
        body that is not as promised, TooLarge, and whatever reading `body` raises; nothing was written then. A lost
        answer and a retry that meets its own object are ArchiveUnavailable: `head` tells.
        """
        ...

    async def get(self, key: str, start: int = 0, stop: int | None = None, *, if_match: str | None = None) -> Fetched:
        """An object, or its bytes `start` to `stop` (exclusive; beyond the end means to the end).

        A whole body is checked against its SHA-256, where the archive has one; of a range just the length is. Raises
        NotInArchive, RangeNotSatisfiable where `start` is not in the object, ArchiveChanged for another etag,
        ArchiveCorrupted.
        """
        ...

    async def head(self, key: str) -> Archived:
        """What is known of an object besides its bytes; raises NotInArchive."""
        ...

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete an object, or do nothing if there is none; with `if_match` raises ArchiveChanged then too."""
        ...

    async def list(self, prefix: str = "", token: str | None = None, limit: int = PAGE_MAX) -> Page:
        """A page of the objects whose keys begin with `prefix`; the first, or that at the `next_token` of another.

        Tokens do not age: a list may be resumed after a restart. What is written while a list goes on may be in it.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way, and let go."""
        ...


def check_key(key: str) -> None:
    """Raises InvalidArgument for what is no key: empty, more than KEY_BYTES_MAX bytes, or not UTF-8."""
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"the archive key {key!r} is not valid UTF-8") from None
    if not 0 < size_bytes <= KEY_BYTES_MAX:
        raise InvalidArgument(f"the archive key has {size_bytes} bytes; 1 to {KEY_BYTES_MAX} are allowed")


def check_metadata(content_type: str, metadata: Mapping[str, str]) -> None:
    """Raises InvalidArgument for metadata that would not come back as it is from every S3 client.

    Names are of a-z, 0-9, `.`, `_` and `-`, values printable ASCII without spaces at their ends. Who has other text
    encodes it.
    """
    if not content_type or not _VALUE.fullmatch(content_type):
        raise InvalidArgument(f"the content type {content_type!r} is not printable ASCII; use one such as text/plain")
    for name, value in metadata.items():
        if not _NAME.fullmatch(name) or name == DIGEST_NAME:
            raise InvalidArgument(f"the metadata name {name!r} is taken, or is not of a-z, 0-9 and ._-")
        if not _VALUE.fullmatch(value):
            raise InvalidArgument(f"the metadata {name!r} has the value {value!r}; use printable ASCII, trimmed")
    size_bytes = sum(len(name) + len(value) for name, value in metadata.items())
    if size_bytes > METADATA_BYTES_MAX:
        raise InvalidArgument(f"the metadata has {size_bytes} bytes; at most {METADATA_BYTES_MAX} are allowed")


def check_digest(sha256: str | None) -> None:
    """Raises InvalidArgument for what is no SHA-256 in lower-case hex."""
    if sha256 is not None and not _DIGEST.fullmatch(sha256):
        raise InvalidArgument(f"{sha256!r} is not a SHA-256 in lower-case hex")


def check_range(start: int, stop: int | None) -> None:
    """Raises InvalidArgument for a range that has no bytes whatever the object."""
    if start < 0 or (stop is not None and stop <= start):
        raise InvalidArgument(f"there are no bytes from {start} to {stop}; the second is exclusive")


def check_page(token: str | None, limit: int) -> None:
    """Raises InvalidArgument for a page that no archive has."""
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidArgument(f"a page of {limit} objects; 1 to {PAGE_MAX} are allowed")
    if token is not None:
        check_key(token)
