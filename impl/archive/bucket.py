"""A bucket as S3's own requests see it: one method a request, sent once, with one outcome. Kept by `s3.py`, and by the
simulator; `remote.py` makes an archive of it.

A failure is one of `impl.errors`: ArchiveUnavailable (no answer, or the bucket's own failure; a write may have
happened), ArchiveThrottled, NotInArchive, ArchiveChanged, ArchiveCorrupted (the bytes that arrived do not have their
digest), ArchiveRefused. Metadata here are as the bucket has them, so with the digest among them.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from impl.archive.face import Archived, Page


class Label(msgspec.Struct, frozen=True):
    """What is said of an object besides its bytes."""

    content_type: str
    metadata: Mapping[str, str]


class Condition(msgspec.Struct, frozen=True):
    """What must be there for a write to happen: an object with this etag, no object, or whatever."""

    if_match: str | None = None
    if_absent: bool = False


ALWAYS: Final = Condition()


class UploadedPart(msgspec.Struct, frozen=True):
    """A part that the bucket has. Numbers count from 1; `sha256` is lower-case hex."""

    number: int
    etag: str
    sha256: str


class Bucket(Protocol):
    """S3's requests."""

    async def put_object(self, key: str, body: bytes, sha256: str, label: Label, condition: Condition) -> str:
        """The new object's etag. A condition on what is not there raises ArchiveChanged."""
        ...

    async def get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        """Bytes `start` to `stop` (exclusive), as far as there are any: no others, and none is missing.

        An empty object has an empty range from 0; raises RangeNotSatisfiable for another `start` beyond the end.
        """
        ...

    async def head_object(self, key: str) -> Archived: ...

    async def delete_object(self, key: str, if_match: str | None) -> None:
        """Does nothing if there is none, unless there is a condition: raises ArchiveChanged then."""
        ...

    async def list_objects(self, prefix: str, after: str | None, limit: int) -> Page:
        """A page of objects whose keys come after `after`; its token is its last key."""
        ...

    async def create_upload(self, key: str, label: Label) -> str:
        """Begin an upload in parts; its id."""
        ...

    async def upload_part(self, key: str, upload: str, number: int, body: bytes, sha256: str) -> UploadedPart:
        """Raises NotInArchive if there is no such upload any more."""
        ...

    async def complete_upload(self, key: str, upload: str, parts: Sequence[UploadedPart], condition: Condition) -> str:
        """Make the object of its parts; its etag. Raises NotInArchive if there is no such upload any more."""
        ...

    async def abort_upload(self, key: str, upload: str) -> None:
        """Forget an upload and its parts; does nothing if there is none."""
        ...

    async def close(self) -> None: ...
