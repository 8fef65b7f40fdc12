"""Where an object of any key lies in a directory, and the byte order of keys from the order of names. No I/O here.

A key is cut at its slashes, and what lies between two of them into pieces of PIECE_BYTES, as file systems allow names
of 255 bytes. A piece is percent-encoded but for letters, digits and `_.-~`, and ends in what it is: so no name is `.`,
`..` or a stranger's, and no key leads out of the directory.

    photos/cat.jpg     photos=d/cat.jpg=m                  what is known of it
                       photos=d/cat.jpg=b.<token>          a part of its body
    <100 bytes>        <64 of them>=c/<36 of them>=m       a long piece goes on in a directory
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

PIECE_BYTES: Final = 64


class Kind(enum.StrEnum):
    """What a name ends in."""

    ABOUT = "=m"
    GOES_ON = "=c"
    DIRECTORY = "=d"


MARKS: Final = frozenset(Kind)


class Child(NamedTuple):
    """What a directory has in one place of the order: an object's key, or directories whose keys all begin with one.

    Two directories (name, beginning) may interleave, and then are one child: a long piece that goes on, and one of the
    same bytes that ends in a slash.
    """

    key: bytes
    directories: tuple[tuple[str, bytes], ...]


def place(key: str) -> tuple[tuple[str, ...], str]:
    """Where the object of a key lies: directories, outermost first, and the stem of its files' names."""
    directories: list[str] = []
    *above, last = key.encode().split(b"/")
    for between in above:
        end = _go_on(between, directories)
        directories.append(end + Kind.DIRECTORY)
    stem = _go_on(last, directories)
    return tuple(directories), stem


def children(names: Iterable[str], beginning: bytes) -> Sequence[Child]:
    """What a directory with these names has, in the order of keys; `beginning` is what all keys in it begin with."""
    found: dict[bytes, dict[Kind, str]] = {}
    for name in names:
        encoded, _, mark = name.rpartition("=")
        if f"={mark}" in MARKS:
            found.setdefault(unquote_to_bytes(encoded), {})[Kind(f"={mark}")] = name
    ordered: list[tuple[bytes, bool, Child]] = []
    for piece, kinds in found.items():
        key = beginning + piece
        if Kind.ABOUT in kinds:
            ordered.append((key, False, Child(key, ())))
        below = tuple(
            (kinds[kind], key + (b"/" if kind is Kind.DIRECTORY else b""))
            for kind in (Kind.GOES_ON, Kind.DIRECTORY)
            if kind in kinds
        )
        if below:
            # all keys of the first, and of the second, come after everything that is not longer than this
            ordered.append((below[0][1], True, Child(below[0][1], below)))
    ordered.sort()
    return [child for _, _, child in ordered]


def is_left(name: str, stem: str, token: str | None) -> bool:
    """Is this what an object's writer may leave: a write that did not end, or the part of this token?"""
    part = f"{stem}=b.{token}"
    return name == part or (name.startswith((f"{stem}{Kind.ABOUT}.", f"{part}.")) and name.endswith(".tmp"))


def may_have(beginning: bytes, prefix: bytes, after: bytes | None) -> bool:
    """May a key that begins with this have the prefix, and come after the other?"""
    if not (beginning.startswith(prefix) or prefix.startswith(beginning)):
        return False
    return after is None or after < beginning or after.startswith(beginning)


def is_wanted(key: bytes, prefix: bytes, after: bytes | None) -> bool:
    return key.startswith(prefix) and (after is None or key > after)


def _go_on(piece: bytes, directories: list[str]) -> str:
    while len(piece) > PIECE_BYTES:
        directories.append(quote(piece[:PIECE_BYTES], safe="") + Kind.GOES_ON)
        piece = piece[PIECE_BYTES:]
    return quote(piece, safe="")
