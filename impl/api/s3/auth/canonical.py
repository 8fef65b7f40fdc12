"""The canonical form of a request, which is what its signature covers ("Create a canonical request", S3 API Reference).

S3 differs from AWS's other services: the path is not normalised (`//` and `..` stay), and it is encoded once. Path and
query are decoded and encoded anew, since clients sign the strict encoding also where they send another (the AWS C++ SDK
sends `=` and signs `%3D`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

Pairs = list[tuple[str, str]]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*")
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_.~/-]+")


def canonical_path(path: str) -> str:
    """A path as it came (percent-encoded, each character one byte) with everything encoded but unreserved and `/`."""
    if _PLAIN_PATH.fullmatch(path):
        return path
    return quote(unquote_to_bytes(path.encode("latin-1")), safe="/") or "/"


def canonical_pairs(query: str) -> Pairs:
    """The names and values of a query as it came, encoded anew and sorted; a name without `=` has the value ""."""
    if not query:
        return []
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)


def _encoded(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="")


def canonical_request(
    method: str,
    path: str,
    pairs: Iterable[tuple[str, str]],
    signed: Sequence[bytes],
    headers: Mapping[bytes, bytes],
    payload_hash: bytes,
    joint: bytes = b", ",
) -> bytes:
    """The canonical request. `pairs` are canonical; `signed` are names that `headers` all has.

    `joint` is what stands between the values of a header that came several times: signers put a comma, while the
    connection layer has made it a comma and a space.
    """
    query = "&".join([f"{name}={value}" for name, value in pairs])
    lines = [f"{method}\n{path}\n{query}".encode("latin-1")]
    for name in signed:
        value = b" ".join(headers[name].split())
        if joint != b", ":
            value = value.replace(b", ", joint)
        lines.append(name + b":" + value)
    lines += (b"", b";".join(signed), payload_hash)
    return b"\n".join(lines)
