"""What clients can be asked to do: the words of a scenario's mix, and operations written out one by one.

A scenario either draws its load from weights (`[workload]` with a mix) or lists it (`[[operations]]`): who does what
where and when. A list is what a failing run is shrunk to, and how a person tells a story to a cluster.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracegen.reading import TableReader

NATIVE: Final = (
    "put",
    "get",
    "delete",
    "list",
    "put_if_absent",
    "put_if_match",
    "delete_if_match",
    "put_replay",
    "get_if_match",
    "get_if_none_match",
    "get_range",
    "put_if_exists",
    "put_if_none_match",
    "put_if_generation",
    "delete_if_absent",
    "delete_if_exists",
    "delete_if_none_match",
    "delete_if_generation",
)
S3: Final = (
    "put",
    "get",
    "delete",
    "list",
    "put_if_absent",
    "put_if_match",
    "put_if_exists",
    "put_replay",
    "delete_if_match",
    "delete_if_exists",
    "get_if_match",
    "get_if_none_match",
    "get_range",
    "get_version",
    "delete_version",
    "tag",
    "copy",
    "copy_if_absent",
    "multipart",
    "multipart_if_absent",
    "multipart_if_match",
    "list_versions",
)
KINDS_OF: Final = {"native": NATIVE, "s3": S3}
"""What clients can be asked for in each API."""
KINDS: Final = tuple(dict.fromkeys((*NATIVE, *S3)))
CONDITION_OF: Final = {
    "absent": "absent",
    "exists": "exists",
    "match": "etag_is",
    "none_match": "etag_is_not",
    "generation": "generation_is",
}
"""What stands behind `_if_` in a kind, and the precondition that it means (see `shapes.Condition`)."""
WITH_BODY: Final = tuple(kind for kind in KINDS if kind.startswith(("put", "multipart")) and kind != "put_replay")
WRITES: Final = tuple(kind for kind in KINDS if not kind.startswith(("get", "list")))
LISTS: Final = ("list", "list_versions")
COPIES: Final = ("copy", "copy_if_absent")
OF_VERSIONS: Final = ("get_version", "delete_version")
SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
LISTED_MAX: Final = 100_000
RETRIES_MAX: Final = 10
UNUSED_KEY: Final = "k000"
_CLIENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}/[0-9]{1,9}")
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}")
_KEY_MEANS: Final = "letters, digits and any of _ . / -"


@dataclass(frozen=True)
class Listed:
    """One operation of a list: `client` sends it to `node` at `at_s`, or later if it is busy until then.

    op: its number among the client's, which names its write id and its bytes. then: the nodes to which a write is sent
    again, one after the other, while its outcome is unknown. again: for put_replay, the number of the put that is sent
    once more. span: for get_range, the first and the last byte asked for. page: for list, how many paths at a time.
    made_by: for what is asked of a version, client and number (`c/1`) of the operation that made it; nothing for the
    null version, which is also meant where nobody was told yet what that one made. source: for copy, the key that
    is copied.
    What an if_match is asked with is the etag that any client was told last for the key.
    """

    at_s: float
    client: str
    node: str
    kind: str
    key: str = ""
    op: int = 1
    size_bytes: int = 0
    then: tuple[str, ...] = ()
    again: int = 0
    span: tuple[int, int] = (0, 0)
    page: int = 1000
    made_by: str = ""
    source: str = ""


# which keys only some kinds know; the others refuse them, as they would do nothing
_ONLY_FOR: Final = {
    "size_bytes": WITH_BODY,
    "then": WRITES,
    "again": ("put_replay",),
    "span": ("get_range",),
    "page": LISTS,
    "made_by": OF_VERSIONS,
    "source": COPIES,
}


def read_all(
    readers: Sequence[TableReader], nodes: Sequence[str], duration_s: float, kinds: Sequence[str]
) -> tuple[Listed, ...]:
    """The operations of a file, in the order of the file; what is wrong with them is noted with their readers."""
    last: Counter[str] = Counter()
    puts: set[tuple[str, int]] = set()
    listed = []
    for reader in readers[:LISTED_MAX]:
        operation = _read(reader, nodes, duration_s, kinds, last)
        if operation.kind == "put_replay" and (operation.client, operation.again) not in puts:
            reader.fault("again", f"is {operation.again}", f"no put before it is {operation.client}'s of that number")
        if operation.kind in WITH_BODY:
            puts.add((operation.client, operation.op))
        last[operation.client] = operation.op
        listed.append(operation)
    for reader in readers[LISTED_MAX:]:
        reader.fault("kind", "is too much", f"list at most {LISTED_MAX} operations")
        break
    return tuple(listed)


def _read(
    reader: TableReader, nodes: Sequence[str], duration_s: float, kinds: Sequence[str], last: Counter[str]
) -> Listed:
    kind = reader.choice("kind", None, kinds)
    for key, able in _ONLY_FOR.items():
        if reader.has(key) and kind not in able:
            reader.fault(key, f"does nothing for {kind}", f"leave it out; it is for {', '.join(able)}")
    client = reader.matching("client", _CLIENT, "a name of letters and digits")
    op = reader.integer("op", last[client] + 1, 1, 10**9)
    if op <= last[client]:
        reader.fault("op", f"is {op}", f"{client} is at {last[client]} already: numbers of a client go up")
    operation = Listed(
        at_s=reader.number("at_s", 0.0, 0.0, duration_s),
        client=client,
        node=reader.choice("node", None, nodes),
        kind=kind,
        key="" if kind in LISTS else reader.matching("key", _KEY, _KEY_MEANS),
        op=op,
        size_bytes=reader.integer("size_bytes", 0, 0, SIZE_BYTES_MAX),
        then=tuple(reader.choices("then", nodes, RETRIES_MAX)),
        again=reader.integer("again", 0, 0, 10**9),
        span=reader.pair("span", (0, 0), 0, SIZE_BYTES_MAX),
        page=reader.integer("page", 1000, 1, 1000),
        made_by=reader.matching("made_by", _MAKER, "client and number, as c/1") if reader.has("made_by") else "",
        source=reader.matching("source", _KEY, _KEY_MEANS) if kind in COPIES else "",
    )
    reader.finish()
    return operation


def keys(operations: Sequence[Listed]) -> tuple[str, ...]:
    """Every key of a list, the one used most first; one that nobody uses where all ask for lists only."""
    used = Counter(operation.key for operation in operations if operation.key)
    return tuple(key for key, _ in used.most_common()) or (UNUSED_KEY,)
