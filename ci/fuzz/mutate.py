"""Inputs that are nearly right: seeds with a few random changes. Pure, and the same for the same random numbers."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

INPUT_BYTES_MAX: Final = 4096
CHANGES_MAX: Final = 6
_TELLING: Final = (
    b"", b"\0", b"\r\n", b"\n", b"\r", b" ", b"\t", b"=", b"&", b";", b",", b":", b"/", b"%", b"%2", b"%00", b"%C3",
    b"+", b"-", b"--", b"0", b"-1", b"00", b"9" * 20, b"ffffffffffffffff", b"1e9", b'"', b"'", b"<", b">",
    b"<!--", b"]]>", b"&#0;",
    b"&#xD800;", b"<!ENTITY a 'b'>", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\U0010ffff".encode(),
    "\u0660".encode(), b"{", b"}", b"[", b"]", b"null", b"NaN", b"true", b"*", b"?", b"${filename}",
)  # fmt: skip


def inputs(seeds: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """The seeds, and then changed ones without an end. What was changed little may be changed again."""
    yield from seeds
    pool = list(seeds)
    while True:
        fuzzed = pool[random.randrange(len(pool))]
        for _ in range(random.randint(1, CHANGES_MAX)):
            fuzzed = _changed(fuzzed, pool, random)
        fuzzed = fuzzed[:INPUT_BYTES_MAX]
        if random.random() < 0.02:
            if len(pool) < 8 * len(seeds):
                pool.append(fuzzed)
            else:
                pool[random.randrange(len(seeds), len(pool))] = fuzzed
        yield fuzzed


def _changed(fuzzed: bytes, pool: Sequence[bytes], random: Random) -> bytes:
    start = random.randint(0, len(fuzzed))
    end = min(len(fuzzed), start + random.choice((0, 1, 1, 2, 4, 16, 64)))
    match random.randrange(6):
        case 0:  # other bytes in its place
            middle = random.randbytes(end - start)
        case 1:
            middle = random.choice(_TELLING)
        case 2:  # twice
            middle = fuzzed[start:end] * 2
        case 3:  # away
            middle = b""
        case 4:  # from another one
            other = random.choice(pool)
            at = random.randint(0, len(other))
            middle = other[at : at + random.choice((1, 8, 64, len(other)))]
        case _:  # one bit
            middle = bytes([fuzzed[start] ^ (1 << random.randrange(8))]) if start < end else b"\0"
    return fuzzed[:start] + middle + fuzzed[end:]
