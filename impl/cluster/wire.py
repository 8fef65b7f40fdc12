"""Frames between nodes: how they lie on the wire, and how bytes become frames again. No sockets here.

A frame is a header (length of the payload, request id, kind) and a payload in MessagePack. The id is outside the
payload, so that one request to several nodes is encoded once. After PUT_PART and PART_FOLLOWS the bytes of the part
follow as they are: nothing is encoded, or copied, that is 8 MiB long.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

from impl.model import PART_BYTES, AcceptedPage, Ballot, Register, Rows
from impl.protocol.liveness import Rumour
from impl.protocol.messages import Accept, Failure, Prepare, Read, Refusal, State, Told

HEADER: Final = struct.Struct("!IIB")
PAYLOAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""A page of 1,000 heads with long lists of parts is the largest payload; anything longer is not one of ours."""
PIECE_BYTES: Final = 256 * 1024


class Kind(IntEnum):
    """What a payload is; the comment is its type."""

    ASK = 1  # Prepare | Accept | Read
    ANSWER = 2  # State | Refusal | Failure
    SCAN = 3  # Scan
    ROWS = 4  # Rows
    PUT_PART = 5  # PartHeader, then the part's bytes
    STORED = 6  # Stored
    GET_PART = 7  # PartHeader (size unknown: 0)
    PART_FOLLOWS = 8  # PartHeader, then the part's bytes
    FAILED = 9  # Failure: answers SCAN, PUT_PART and GET_PART
    DIGESTS = 12  # Nothing
    DIGESTED = 13  # Digests
    ACCEPTED = 14  # Accepted
    BALLOTS = 15  # AcceptedPage
    TOLD = 16  # Told; nobody answers
    PING = 10  # Pulse
    PONG = 11  # Pulse
    PROBE = 17  # Probed
    PROBED = 18  # Probed
    BEHIND = 30  # Behind
    HEARD = 31  # Nothing
    ASK_LIFE = 32  # AskLife
    LIFE = 33  # Life
    MEET = 34  # Meet
    MET = 35  # Met
    KNOWN = 36  # Known
    KNOWN_PAGE = 37  # KnownPage


class Scan(msgspec.Struct, frozen=True, array_like=True):
    """Ask for up to `limit` registers of paths that start with `prefix` and follow `after`.

    The versions before the current ones come too if `with_older`.
    """

    prefix: str
    after: str | None
    limit: int
    with_older: bool


class Digests(msgspec.Struct, frozen=True, array_like=True):
    """The digest of each slot of a node in which something is accepted (impl/storage/digests.py)."""

    digests: dict[int, int]


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """Ask for what is accepted in these slots, of the next `limit` registers after a path."""

    slots: list[int]
    after: str | None
    limit: int


class Behind(msgspec.Struct, frozen=True, array_like=True):
    """Say that the node has not accepted what `source` has, at `accepted`, on a path."""

    path: str
    source: str
    accepted: Ballot


class PartHeader(msgspec.Struct, frozen=True, array_like=True):
    slot: int
    digest: str
    size_bytes: int


class Stored(msgspec.Struct, frozen=True, array_like=True):
    reused: bool


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Who speaks: sent to see whether the other side still listens."""

    node: str
    incarnation: int


class Pulse(msgspec.Struct, frozen=True, array_like=True):
    """Who speaks, and what it knows of who lives."""

    hello: Hello
    rumours: list[Rumour]


class Probed(msgspec.Struct, frozen=True, array_like=True):
    """Does this node answer your ping? And the answer."""

    node: str
    is_reached: bool = False


class AskLife(msgspec.Struct, frozen=True, array_like=True):
    """Which life of this node do you know of?"""

    node: str


class Life(msgspec.Struct, frozen=True, array_like=True):
    """The last one; 0 if none is known."""

    life: int


class Meet(msgspec.Struct, frozen=True, array_like=True):
    """The node that asks is in this life now: drop what it said in earlier ones. `cause` is its event that says so.

    `slots` are those that were lost, None for all that it had.
    """

    node: str
    life: int
    cause: str
    slots: tuple[int, ...] | None


class Met(msgspec.Struct, frozen=True, array_like=True):
    """That is durable now, and done; `event` says so in the trace of who answers."""

    event: str


class Known(msgspec.Struct, frozen=True, array_like=True):
    """Ask a node which paths it knows in these slots, of its next `limit` registers after a path.

    `read` names what the node that lost its disk is about, `cause` its event that says so, `lost` the slots of that.
    """

    read: str
    cause: str
    lost: tuple[int, ...] | None
    slots: tuple[int, ...]
    after: str | None
    limit: int


class KnownPage(msgspec.Struct, frozen=True, array_like=True):
    """The paths, and of each slot what is known of a path that is not named; `event` is that of the first page."""

    event: str
    paths: list[str]
    next_after: str | None
    floors: list[tuple[int, Register]]


encode: Final = msgspec.msgpack.Encoder().encode
decode_ask: Final = msgspec.msgpack.Decoder(Prepare | Accept | Read).decode
decode_answer: Final = msgspec.msgpack.Decoder(State | Refusal | Failure).decode
decode_scan: Final = msgspec.msgpack.Decoder(Scan).decode
decode_rows: Final = msgspec.msgpack.Decoder(Rows).decode
decode_digests: Final = msgspec.msgpack.Decoder(Digests).decode
decode_accepted: Final = msgspec.msgpack.Decoder(Accepted).decode
decode_ballots: Final = msgspec.msgpack.Decoder(AcceptedPage).decode
decode_behind: Final = msgspec.msgpack.Decoder(Behind).decode
decode_part: Final = msgspec.msgpack.Decoder(PartHeader).decode
decode_stored: Final = msgspec.msgpack.Decoder(Stored).decode
decode_failure: Final = msgspec.msgpack.Decoder(Failure).decode
decode_told: Final = msgspec.msgpack.Decoder(Told).decode
decode_pulse: Final = msgspec.msgpack.Decoder(Pulse).decode
decode_probed: Final = msgspec.msgpack.Decoder(Probed).decode
decode_ask_life: Final = msgspec.msgpack.Decoder(AskLife).decode
decode_life: Final = msgspec.msgpack.Decoder(Life).decode
decode_meet: Final = msgspec.msgpack.Decoder(Meet).decode
decode_known: Final = msgspec.msgpack.Decoder(Known).decode
decode_known_page: Final = msgspec.msgpack.Decoder(KnownPage).decode
decode_met: Final = msgspec.msgpack.Decoder(Met).decode

Frame = tuple[Kind, int, bytes, list[bytes]]
"""Kind, request id, payload, and the chunks of the part that followed (empty for most kinds)."""


def frame(kind: Kind, request_id: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload), request_id, kind) + payload


def pieces(part: bytes) -> list[memoryview]:
    """A part in pieces small enough to stop between them when the other side does not keep up; nothing is copied."""
    view = memoryview(part)
    return [view[at : at + PIECE_BYTES] for at in range(0, len(part), PIECE_BYTES)]


class BadFrame(Exception):
    """The bytes are no frames of ours; the connection cannot go on."""


class Frames:
    """Turns bytes as they come into whole frames."""

    def __init__(self) -> None:
        self._rest = b""
        self._waiting: tuple[Kind, int, bytes] | None = None
        self._chunks: list[bytes] = []
        self._missing = 0

    def feed(self, received: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete; raises BadFrame."""
        if self._missing:
            if len(received) < self._missing:
                self._chunks.append(received)
                self._missing -= len(received)
                return
            at = self._missing
            yield self._with_part(received[:at])
        else:
            at = 0
            if self._rest:
                received = self._rest + received
        while True:
            if len(received) - at < HEADER.size:
                break
            length, request_id, number = HEADER.unpack_from(received, at)
            if length > PAYLOAD_BYTES_MAX:
                raise BadFrame(f"a payload of {length} bytes")
            end = at + HEADER.size + length
            if len(received) < end:
                break
            try:
                kind = Kind(number)
            except ValueError:
                raise BadFrame(f"a frame of kind {number}") from None
            payload = received[at + HEADER.size : end]
            at = end
            if kind not in (Kind.PUT_PART, Kind.PART_FOLLOWS):
                yield kind, request_id, payload, []
                continue
            size_bytes = decode_part(payload).size_bytes
            if not 0 <= size_bytes <= PART_BYTES:
                raise BadFrame(f"a part of {size_bytes} bytes")
            self._waiting, self._missing = (kind, request_id, payload), size_bytes
            piece = received[at : at + self._missing]
            at += len(piece)
            if len(piece) < self._missing:
                self._chunks.append(piece)
                self._missing -= len(piece)
                break
            yield self._with_part(piece)
        self._rest = received[at:]

    def _with_part(self, last: bytes) -> Frame:
        assert self._waiting is not None
        kind, request_id, payload = self._waiting
        chunks = [chunk for chunk in (*self._chunks, last) if chunk]
        self._waiting, self._chunks, self._missing = None, [], 0
        return kind, request_id, payload, chunks
