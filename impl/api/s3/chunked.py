"""Bodies in the content encoding aws-chunked, decoded as they come. Bytes in, bytes out, bounded memory.

    10000;chunk-signature=<64 hex>\\r\\n     size in hex; unsigned chunks have nothing after it
    <65536 bytes>\\r\\n
    0;chunk-signature=<64 hex>\\r\\n
    x-amz-checksum-crc32c:sOO8/Q==\\r\\n     trailing headers, those that x-amz-trailer announced
    x-amz-trailer-signature:<64 hex>\\r\\n   only where chunks are signed
    \\r\\n

("Transferring Payload in Multiple Chunks" and "Including Trailing Headers", the S3 API Reference.) MinIO's clients end
a trailing header with `\\n`, and all of them with `\\r\\n`; that is understood too.

A signed chunk is held until its signature was checked: no byte of a forged one comes out. Which bytes came out is
certain only after `finish`, as a body can be cut short between two chunks.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final

from impl.api.s3.auth import Payload, PayloadKind
from impl.api.s3.auth_errors import InvalidChunkSizeError, MalformedTrailerError
from impl.api.s3.errors import IncompleteBody, InvalidRequest, MissingContentLength, S3Error

SIGNED_CHUNK_BYTES_MAX: Final = 16 * 1024 * 1024
LINE_BYTES_MAX: Final = 256
TRAILER_BYTES_MAX: Final = 8 * 1024
ENCODING: Final = "aws-chunked"
_SIGNATURE_NAME: Final = "x-amz-trailer-signature"
_SIZE: Final = rb"([0-9a-fA-F]{1,16})"
_UNSIGNED_LINE: Final = re.compile(_SIZE)
_SIGNED_LINE: Final = re.compile(_SIZE + rb";chunk-signature=([0-9a-f]{64})")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_NAME: Final = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_VALUE: Final = rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"
_FIELD: Final = rb"(?:" + _NAME + rb":[ \t]*" + _VALUE + rb")"
_TRAILER: Final = re.compile(rb"(?:(?:" + _FIELD + rb"\n)+\r\n)?(?:" + _FIELD + rb"\r\n)*\r\n")


class _State(Enum):
    LINE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()


def decoder_for(payload: Payload, headers: Mapping[bytes, bytes]) -> "ChunkDecoder":
    """The decoder of a request's body, if `payload.kind.chunked`.

    Raises MissingContentLength without a usable x-amz-decoded-content-length.
    """
    said = headers.get(b"x-amz-decoded-content-length", b"").strip().decode("latin-1")
    if not _LENGTH.fullmatch(said):
        raise MissingContentLength(
            "You must provide the x-amz-decoded-content-length HTTP header, in bytes, with an aws-chunked body."
        )
    announced = headers.get(b"x-amz-trailer", b"").decode("latin-1").lower().split(",")
    return ChunkDecoder(payload, int(said), frozenset(name.strip() for name in announced) - {""})


def stored_encoding(content_encoding: str) -> str:
    """The content encoding to keep with an object: without aws-chunked, which is only of the way here."""
    codings = (coding.strip() for coding in content_encoding.split(","))
    return ",".join(coding for coding in codings if coding and coding.lower() != ENCODING)


class ChunkDecoder:
    """Decodes one body of `size_bytes` (decoded). `announced` are the lower-case names of its trailing headers.

    Feed it all bytes in order, then `finish`. After an error it raises the same again.
    """

    def __init__(self, payload: Payload, size_bytes: int, announced: frozenset[str] = frozenset()) -> None:
        self.size_bytes = size_bytes
        self._chain = payload.chain if payload.kind.signed_chunks else None
        self._trailer_signed = payload.kind is PayloadKind.SIGNED_CHUNKS_TRAILER
        self._announced = announced
        self._previous = "" if self._chain is None else self._chain.seed
        self._state = _State.LINE
        self._failure: S3Error | None = None
        self._buffer = bytearray()
        """What is not yet understood: part of a line, of the end of a chunk, of the trailer."""
        self._left_bytes = size_bytes
        """How many decoded bytes the chunks to come may have."""
        self._chunk_left_bytes = 0
        self._signature = ""
        self._held = bytearray()
        self._digest = hashlib.sha256()

    def feed(self, piece: bytes) -> list[bytes]:
        """The decoded bytes that are certain after this piece of the body, in order.

        Raises InvalidRequest for a body that is not aws-chunked, SignatureDoesNotMatch for a forged chunk,
        InvalidChunkSizeError for a signed chunk above SIGNED_CHUNK_BYTES_MAX, IncompleteBody for more bytes than
        `size_bytes` or fewer, MalformedTrailerError.
        """
        self._raise_again()
        decoded: list[bytes] = []
        view = memoryview(piece)
        try:
            while view:
                if self._state is _State.CHUNK:
                    view = self._take_chunk(view, decoded)
                elif self._state is _State.LINE:
                    view = self._take_line(view)
                elif self._state is _State.CHUNK_END:
                    view = self._take_chunk_end(view)
                else:
                    view = self._take_trailer(view)
        except S3Error as error:
            self._fail(error)
            raise
        return decoded

    def finish(self) -> dict[str, str]:
        """The body has ended: its trailing headers, names in lower case, without the signature, which was checked.

        The checksum among them is for the caller to verify. Raises IncompleteBody if the body was cut short,
        MalformedTrailerError unless the trailing headers are those that were announced, SignatureDoesNotMatch.
        """
        self._raise_again()
        try:
            if self._state is not _State.TRAILER or not self._buffer:
                raise IncompleteBody(f"the body was cut short: {self._left_bytes} bytes and its end are missing")
            return self._trailer(bytes(self._buffer))
        except S3Error as error:
            self._fail(error)
            raise

    def _raise_again(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: S3Error) -> None:
        self._failure = error
        self._held, self._buffer = bytearray(), bytearray()

    def _take_line(self, view: memoryview) -> memoryview:
        """A line that begins a chunk, in however many pieces."""
        room_bytes = LINE_BYTES_MAX - len(self._buffer)
        fresh = bytes(view[:room_bytes])
        end = fresh.find(b"\n") + 1
        self._buffer += fresh[:end] if end else fresh
        if not end:
            if len(self._buffer) == LINE_BYTES_MAX:
                raise InvalidRequest(f"the line before a chunk has more than {LINE_BYTES_MAX} bytes")
            return view[len(fresh) :]
        line, self._buffer = bytes(self._buffer), bytearray()
        form = _UNSIGNED_LINE if self._chain is None else _SIGNED_LINE
        match = form.fullmatch(line[:-2]) if line.endswith(b"\r\n") else None
        if match is None:
            wanted = "SIZE" if self._chain is None else "SIZE;chunk-signature=64HEX"
            raise InvalidRequest(f"the body is not aws-chunked: a chunk must begin with {wanted}, SIZE in hex")
        self._begin_chunk(int(match[1], 16), "" if self._chain is None else match[2].decode())
        return view[end:]

    def _begin_chunk(self, size_bytes: int, signature: str) -> None:
        self._signature = signature
        if size_bytes > self._left_bytes:
            raise IncompleteBody(f"the body has more than the {self.size_bytes} bytes of x-amz-decoded-content-length")
        if self._chain is not None and size_bytes > SIGNED_CHUNK_BYTES_MAX:
            raise InvalidChunkSizeError(
                f"a signed chunk has {size_bytes} bytes; send chunks of at most {SIGNED_CHUNK_BYTES_MAX}"
            )
        self._chunk_left_bytes = size_bytes
        if size_bytes:
            self._state = _State.CHUNK
            return
        self._check_signature()
        if self._left_bytes:
            raise IncompleteBody(f"the body is {self._left_bytes} bytes shorter than x-amz-decoded-content-length")
        self._state = _State.TRAILER

    def _take_chunk(self, view: memoryview, decoded: list[bytes]) -> memoryview:
        fresh = view[: self._chunk_left_bytes]
        self._chunk_left_bytes -= len(fresh)
        self._left_bytes -= len(fresh)
        if self._chain is None:
            decoded.append(bytes(fresh))
        else:
            self._digest.update(fresh)
            self._held += fresh
        if not self._chunk_left_bytes:
            self._check_signature()
            if self._held:
                decoded.append(bytes(self._held))
                self._held = bytearray()
            self._state = _State.CHUNK_END
        return view[len(fresh) :]

    def _check_signature(self) -> None:
        """Of the chunk whose bytes are all here."""
        if self._chain is None:
            return
        self._chain.check_chunk(self._previous, self._digest.hexdigest(), self._signature)
        self._previous = self._signature
        self._digest = hashlib.sha256()

    def _take_chunk_end(self, view: memoryview) -> memoryview:
        fresh = view[: 2 - len(self._buffer)]
        self._buffer += fresh
        if not b"\r\n".startswith(self._buffer):
            raise InvalidRequest("the body is not aws-chunked: a chunk must end with CR LF")
        if len(self._buffer) == 2:
            self._buffer = bytearray()
            self._state = _State.LINE
        return view[len(fresh) :]

    def _take_trailer(self, view: memoryview) -> memoryview:
        self._buffer += view[: TRAILER_BYTES_MAX + 1]
        if len(self._buffer) > TRAILER_BYTES_MAX:
            raise MalformedTrailerError(f"there are more than {TRAILER_BYTES_MAX} bytes after the last chunk")
        return view[len(view) :]

    def _trailer(self, text: bytes) -> dict[str, str]:
        if not _TRAILER.fullmatch(text):
            raise MalformedTrailerError("after the last chunk there must be NAME:VALUE lines and an empty line")
        pairs = [line.decode().partition(":") for line in text.splitlines() if line]
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        signature = fields.pop(_SIGNATURE_NAME, None)
        if (signature is not None) != self._trailer_signed:
            needed = "is missing" if self._trailer_signed else "is there"
            raise MalformedTrailerError(f"{_SIGNATURE_NAME} {needed}, but x-amz-content-sha256 says otherwise")
        if len(fields) + self._trailer_signed != len(pairs) or fields.keys() != self._announced:
            raise MalformedTrailerError(
                f"x-amz-trailer announces {_list(self._announced)}, but the trailing headers are {_list(fields)}"
            )
        if self._chain is not None and signature is not None:
            canonical = "".join(f"{name}:{fields[name]}\n" for name in sorted(fields))
            self._chain.check_trailer(self._previous, hashlib.sha256(canonical.encode()).hexdigest(), signature)
        return fields


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))[:200] or "none"
