"""The canonical form of a request, which is what its signature covers ("Create a canonical request", S3 API Reference).

S3 differs from AWS's other services: the path is not normalised (`//` and `..` stay), and it is encoded once. Path and
query are decoded and encoded anew, since clients sign the strict encoding also where they send another (the AWS C++ SDK
sends `=` and signs `%3D`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

Pairs = list[tuple[str, str]]

CACHED_CHARACTERS_MAX: Final = 256
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*")
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_.~/-]+")


def canonical_path(path: str) -> str:
    """A path as it came (percent-encoded, each character one byte) with everything encoded but unreserved and `/`.

    A `+` is a space, as where the key is read (`names.decode_path`): else a signature for one would do for the other.
    """
    if _PLAIN_PATH.fullmatch(path):
        return path
    return quote(unquote_to_bytes(path.replace("+", " ").encode("latin-1")), safe="/") or "/"


def canonical_pairs(query: str) -> Pairs:
    """The names and values of a query as it came, encoded anew and sorted; a name without `=` has the value ""."""
    if not query:
        return []
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)


def _encoded(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return _encode_short(text) if len(text) <= CACHED_CHARACTERS_MAX else _encode(text)


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="")


_encode_short = lru_cache(maxsize=4096)(_encode)


def canonical_request(
    method: str,
    path: str,
    pairs: Iterable[tuple[str, str]],
    signed: Sequence[bytes],
    headers: Mapping[bytes, bytes],
    payload_hash: bytes,
) -> bytes:
    """The canonical request. `pairs` are canonical; `signed` are names that `headers` all has."""
    query = "&".join([f"{name}={value}" for name, value in pairs])
    lines = [f"{method}\n{path}\n{query}".encode("latin-1")]
    lines += [name + b":" + b" ".join(headers[name].split()) for name in signed]
    lines += (b"", b";".join(signed), payload_hash)
    return b"\n".join(lines)
