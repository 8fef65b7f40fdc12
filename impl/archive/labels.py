"""What the archive's objects say of themselves besides their bytes: what clients want to read there, and what we do.

An object has the content type and the user metadata of its head, as every S3 client knows them, and four names of ours:
which generation it is, which event of whose trace shipped it, which cluster it belongs to, and its etag here.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from impl.archive.face import CONTENT_TYPE, METADATA_BYTES_MAX, Archived, check_metadata
from impl.errors import InvalidArgument
from impl.model import Attributes, Head
from impl.protocol.tiering import Seen

CLUSTER: Final = "amberio-cluster"
GENERATION: Final = "amberio-generation"
SHIP: Final = "amberio-ship"
ETAG: Final = "amberio-etag"
OURS: Final = frozenset((CLUSTER, GENERATION, SHIP, ETAG))
USER: Final = "x-amz-meta-"
"""What the names of attributes that are user metadata begin with, as in S3's headers."""


def label(head: Head, cluster_id: str, ship: str) -> tuple[str, dict[str, str]]:
    """The content type and the metadata of the object that is this head's body.

    User metadata that no archive takes as it is comes percent-encoded; what is too long for it is left out, last names
    first.
    """
    metadata = {CLUSTER: cluster_id, GENERATION: str(head.generation), SHIP: ship, ETAG: quote(head.etag or "")}
    left_bytes = METADATA_BYTES_MAX - sum(len(name) + len(value) for name, value in metadata.items())
    for name, value in head.attributes:
        if not name.startswith(USER):
            continue
        name, value = _fit(name.removeprefix(USER), value)
        left_bytes -= len(name) + len(value)
        if name and name not in OURS and left_bytes >= 0:
            metadata[name] = value
    return _content_type(head.content_type), metadata


def seen(about: Archived, cluster_id: str) -> Seen:
    """What there is, as the protocol wants to know it; what another cluster shipped is a stranger's."""
    metadata = about.metadata
    generation = metadata.get(GENERATION, "")
    if metadata.get(CLUSTER) != cluster_id or not (generation.isascii() and generation.isdigit()):
        return Seen(True, 0, about.etag)
    return Seen(True, int(generation), about.etag, metadata.get(SHIP, ""), unquote(metadata.get(ETAG, "")))


def attributes(metadata: Mapping[str, str]) -> Attributes:
    """The attributes that an object brings when it is imported."""
    return tuple((USER + name, value) for name, value in sorted(metadata.items()) if name not in OURS)


def _fit(name: str, value: str) -> tuple[str, str]:
    """A name and a value that every archive takes."""
    try:
        check_metadata(CONTENT_TYPE, {name: value})
    except InvalidArgument:
        value = quote(value, safe="")
        try:
            check_metadata(CONTENT_TYPE, {name: value})
        except InvalidArgument:
            return "", ""
    return name, value


def _content_type(content_type: str) -> str:
    try:
        check_metadata(content_type, {})
    except InvalidArgument:
        return CONTENT_TYPE
    return content_type
