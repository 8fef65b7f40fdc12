"""What all APIs say of versions: their ids, blob ids, and how many there may be. Pure.

A blob id (native-api.md, row B1) names a version of a path, as a ULID: 48 bits of time in milliseconds and 80 bits of
anything, in Crockford's base 32, 26 characters that sort by time (github.com/ulid/spec). The time is the version's, and
the rest is a digest of what it is: so every node tells the same id of a version, and nobody has to remember it.
"""

from typing import Final

import xxhash

from impl.model import NULL_VERSION, Head

NULL: Final = "null"
VERSIONS_MAX: Final = 1000
"""How many versions a path may have: they are all in its register."""
PARTS_MAX: Final = 20_000
"""How many parts the bodies of a path's versions may have together."""
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS: Final = 26
_RANDOM_BITS: Final = 80
_TIME_BITS: Final = 48


def spelled(version: int) -> str:
    """A version's id as clients have it: the generation that made it, or `null`."""
    return NULL if version == NULL_VERSION else str(version)


def blob_id(path: str, version: Head) -> str:
    """The blob id of a version of the path."""
    what = f"{version.version} {version.etag or ''} {path}"
    rest = xxhash.xxh3_128_intdigest(what.encode()) >> (128 - _RANDOM_BITS)
    number = (version.updated_at_ms % 2**_TIME_BITS) << _RANDOM_BITS | rest
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_CHARACTERS)))


def no_room(head: Head | None, parts: int) -> str | None:
    """Why a path cannot have one more version, of so many parts; None if it can."""
    if head is None:
        return None
    if len(head.versions) >= VERSIONS_MAX:
        return f"The object has {VERSIONS_MAX} versions, which is the most; delete some of them first."
    count = parts + sum(len(version.parts) for version in head.versions)
    if count > PARTS_MAX:
        return f"The object's versions would have {count} parts together, of at most {PARTS_MAX}; delete some of them."
    return None
