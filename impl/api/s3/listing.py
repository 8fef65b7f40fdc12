"""Lists as S3 pages them: keys, versions and uploads, with prefix, delimiter and markers. Pure but for its source.

What a list shows are entries: keys that start with the prefix, except that all keys with the delimiter after the
prefix are one entry, their common prefix. Entries are ordered by the bytes of their UTF-8, which is the order of their
code points; a marker is the name of an entry, or any other string, and the list goes on with the first entry above it.
So a marker inside a common prefix passes over all of it. A common prefix is passed by seeking, never by reading it.
"""

import base64
import binascii
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from impl.api.s3.errors import InvalidArgument
from impl.api.s3.names import KEY_BYTES_MAX

ENTRIES_MAX: Final = 1000
PAGE_ITEMS_MAX: Final = ENTRIES_MAX + 1
"""A source is asked for no more at once: all of the largest list, and whether there is more."""

SEEK_ITEMS: Final = 64
"""What is read at once where common prefixes are to be passed: about as much as asking costs."""

_TOKEN_VERSION: Final = b"\x01"
_TOKEN_CHARS_MAX: Final = 2048
_HIGHEST: Final = "\U0010ffff"

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Page(Protocol[T_co]):
    """Items in order; after `next_after` there may be more, and there are none if it is None.

    A page may be shorter than asked for, or empty, and still say that there may be more.
    """

    @property
    def items(self) -> Sequence[tuple[str, T_co]]: ...
    @property
    def next_after(self) -> str | None: ...


class Source(Protocol[T_co]):
    """Asks for up to `limit` items whose keys start with `prefix` and are above `after`, which may be longer than keys
    are: up to 1027 bytes of UTF-8."""

    async def __call__(self, prefix: str, after: str | None, limit: int) -> Page[T_co]: ...


class Keys(msgspec.Struct, Generic[T], frozen=True):
    """A page of keys and common prefixes; `next_marker` is None if it is the last one."""

    items: list[tuple[str, T]]
    common_prefixes: list[str]
    next_marker: str | None


class Nested(msgspec.Struct, Generic[T], frozen=True):
    """A page of what keys have several of, as (key, id, value): versions, or uploads.

    Unless it is the last page, `next_key_marker` is set, and `next_id_marker` too if the page ends with such an item.
    """

    items: list[tuple[str, str, T]]
    common_prefixes: list[str]
    next_key_marker: str | None
    next_id_marker: str | None


class _Entry(msgspec.Struct, Generic[T], frozen=True):
    """`value` is None for a common prefix, else a tuple of one."""

    name: str
    value: tuple[T] | None


async def list_keys(source: Source[T], *, prefix: str, delimiter: str, marker: str | None, max_keys: int) -> Keys[T]:
    """ListObjects of both versions; an empty delimiter is none. `marker` is v1's, v2's start-after, or from a token."""
    items: list[tuple[str, T]] = []
    groups: list[str] = []
    if max_keys == 0:
        return Keys(items, groups, None)
    last = ""
    async with aclosing(_entries(source, prefix, delimiter, marker, max_keys + 1)) as entries:
        async for entry in entries:
            if len(items) + len(groups) == max_keys:
                return Keys(items, groups, last)
            if entry.value is None:
                groups.append(entry.name)
            else:
                items.append((entry.name, entry.value[0]))
            last = entry.name
    return Keys(items, groups, None)


async def list_versions(
    source: Source[Sequence[tuple[str, T]]],
    *,
    prefix: str,
    delimiter: str,
    key_marker: str | None,
    version_id_marker: str | None,
    max_keys: int,
) -> Nested[T]:
    """ListObjectVersions. The source has, for a key, (version id, version) pairs, newest first.

    A marker whose version is gone goes on with the newest version of its key: whoever deletes what it lists misses
    nothing. Raises InvalidArgument for a version without a key.
    """
    if version_id_marker and not key_marker:
        raise InvalidArgument(
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=version_id_marker,
        )

    def older(versions: Sequence[tuple[str, T]]) -> Sequence[tuple[str, T]]:
        passed = next((place for place, (name, _) in enumerate(versions) if name == version_id_marker), -1)
        return versions[passed + 1 :]

    return await _list_nested(source, prefix, delimiter, key_marker, older if version_id_marker else None, max_keys)


async def list_uploads(
    source: Source[Sequence[tuple[str, T]]],
    *,
    prefix: str,
    delimiter: str,
    key_marker: str | None,
    upload_id_marker: str | None,
    max_uploads: int,
) -> Nested[T]:
    """ListMultipartUploads. The source has, for a key, (upload id, upload) pairs, in the order of the ids."""

    def above(uploads: Sequence[tuple[str, T]]) -> Sequence[tuple[str, T]]:
        return [pair for pair in uploads if upload_id_marker is None or pair[0] > upload_id_marker]

    rest = above if key_marker and upload_id_marker else None
    return await _list_nested(source, prefix, delimiter, key_marker, rest, max_uploads)


class _Nested(msgspec.Struct, Generic[T], frozen=True):
    """One of what a key has several of; a common prefix has neither id nor value."""

    key: str
    id: str | None
    value: tuple[T] | None


_Rest = Callable[[Sequence[tuple[str, T]]], Sequence[tuple[str, T]]]
"""What is still to be listed of the marker's own key."""


async def _list_nested(
    source: Source[Sequence[tuple[str, T]]],
    prefix: str,
    delimiter: str,
    key_marker: str | None,
    rest: _Rest[T] | None,
    max_items: int,
) -> Nested[T]:
    items: list[tuple[str, str, T]] = []
    groups: list[str] = []
    if max_items == 0:
        return Nested(items, groups, None, None)
    last: _Nested[T] | None = None
    async with aclosing(_nested(source, prefix, delimiter, key_marker, rest, max_items + 1)) as entries:
        async for entry in entries:
            if last and len(items) + len(groups) == max_items:
                return Nested(items, groups, last.key, last.id)
            if entry.id is None or entry.value is None:
                groups.append(entry.key)
            else:
                items.append((entry.key, entry.id, entry.value[0]))
            last = entry
    return Nested(items, groups, None, None)


async def _nested(
    source: Source[Sequence[tuple[str, T]]],
    prefix: str,
    delimiter: str,
    key_marker: str | None,
    rest: _Rest[T] | None,
    wanted: int,
) -> AsyncGenerator[_Nested[T], None]:
    if rest and key_marker and key_marker.startswith(prefix) and not _group(key_marker, prefix, delimiter):
        first = await source(key_marker, None, 1)
        if first.items and first.items[0][0] == key_marker:
            for name, value in rest(first.items[0][1]):
                yield _Nested(key_marker, name, (value,))
    async with aclosing(_entries(source, prefix, delimiter, key_marker, wanted)) as entries:
        async for entry in entries:
            if entry.value is None:
                yield _Nested(entry.name, None, None)
                continue
            for name, value in entry.value[0]:
                yield _Nested(entry.name, name, (value,))


async def _entries(
    source: Source[T], prefix: str, delimiter: str, marker: str | None, wanted: int
) -> AsyncGenerator[_Entry[T], None]:
    """The entries above the marker, in order; `wanted` is about how many will be taken."""
    passing = _group(marker, prefix, delimiter) if marker else None
    after = past(passing) if passing else marker or None
    limit, items_an_entry = SEEK_ITEMS if delimiter else PAGE_ITEMS_MAX, 1
    while True:
        page = await source(prefix, after, min(limit, max(wanted, 1) * items_an_entry))
        passing, shown = None, 0
        for key, value in page.items:
            if passing and key.startswith(passing):
                continue
            passing = _group(key, prefix, delimiter)
            yield _Entry(passing, None) if passing else _Entry(key, (value,))
            shown += 1
        if page.next_after is None:
            return
        wanted -= shown
        after = past(passing) if passing else page.next_after
        items_an_entry = max(1, len(page.items) // max(shown, 1))
        is_worth_seeking = passing and items_an_entry > 4
        limit = SEEK_ITEMS if is_worth_seeking else min(limit * 4, PAGE_ITEMS_MAX)


def _group(key: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that stands for the key, None if the key stands for itself."""
    if not delimiter or not key.startswith(prefix):
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def past(prefix: str) -> str:
    """A string that no key with this prefix is above, and every higher key without it is."""
    return prefix + _HIGHEST * -(-(KEY_BYTES_MAX - len(prefix.encode())) // 4)


def encode_token(marker: str) -> str:
    """A continuation token: opaque to clients, good on every node and after restarts."""
    payload = _TOKEN_VERSION + marker.encode()
    return base64.urlsafe_b64encode(zlib.crc32(payload).to_bytes(4, "big") + payload).decode()


def decode_token(token: str) -> str:
    """The marker in a continuation token. Raises InvalidArgument for what no list gave out."""
    try:
        if len(token) > _TOKEN_CHARS_MAX:
            raise ValueError
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        check, payload = raw[:4], raw[4:]
        if payload[:1] != _TOKEN_VERSION or zlib.crc32(payload).to_bytes(4, "big") != check:
            raise ValueError
        return payload[1:].decode()
    except (binascii.Error, ValueError):
        raise InvalidArgument(
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
            ArgumentValue=token[:200],
        ) from None


def max_entries(name: str, text: str | None) -> int:
    """How many entries a page may have, 0 to 1000: more is 1000, and nothing said is too. Raises InvalidArgument."""
    if not text:
        return ENTRIES_MAX
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**31):
        raise InvalidArgument(
            f"Provided {name} not an integer or within integer range", ArgumentName=name, ArgumentValue=text[:200]
        )
    return min(int(text), ENTRIES_MAX)


def is_url_encoded(text: str | None) -> bool:
    """Whether encoding-type asks for names in the list to be percent-encoded. Raises InvalidArgument."""
    if text and text != "url":
        raise InvalidArgument(
            "Invalid Encoding Method specified in Request", ArgumentName="encoding-type", ArgumentValue=text[:200]
        )
    return bool(text)
