"""The body of a request as its client means it: decoded while it comes, and checked against all that was said of it.

Every byte is hashed once for each digest that is wanted, off the event loop where there are many of them.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from impl.api.node_face import BodySource
from impl.api.s3.auth import Payload, PayloadKind
from impl.api.s3.checksums import Algorithm, Checksum, Declared, Digests, trailing_checksum
from impl.api.s3.chunked import ChunkDecoder, decoder_for
from impl.api.s3.errors import EntityTooLarge, MaxMessageLengthExceeded, MissingContentLength
from impl.api.s3.form_upload import FormFile
from impl.errors import AmberioError

HASHED_AT_ONCE_BYTES: Final = 1024 * 1024
"""How much is hashed in one go on a thread, while as much of what follows may come in."""

UNANNOUNCED: Final = 2**63 - 1
"""The size of what does not say how long it is: more than any bound."""


class CheckedBody:
    """One body, to be read to its end: `read` gives b"" only when everything that was said of it has proved true.

    From then on `md5` (hex) and `checksum` tell what it was. `size_bytes` is that of the decoded body. Making one
    raises MissingContentLength where the request does not say how long it is; only a form's file may leave that open,
    and bounds itself (its `announced_bytes` are UNANNOUNCED). `read` raises what the decoder does, BadDigest,
    XAmzContentSHA256Mismatch, and what the connection's body does.
    """

    def __init__(
        self,
        body: bytes | BodySource,
        payload: Payload,
        headers: Mapping[bytes, bytes],
        declared: Declared,
        algorithm: Algorithm | None = None,
    ) -> None:
        """`algorithm`: of the checksum to compute where the request declares none."""
        self._body = body
        self._payload = payload
        self._declared = declared
        self._decoder: ChunkDecoder | None = decoder_for(payload, headers) if payload.kind.chunked else None
        size_bytes = len(body) if isinstance(body, bytes) else body.size_bytes
        if self._decoder is not None:
            size_bytes = self._decoder.size_bytes
        if size_bytes is None and not isinstance(body, FormFile):
            raise MissingContentLength()
        self.size_bytes: int | None = size_bytes
        self.announced_bytes = UNANNOUNCED if size_bytes is None else size_bytes
        self._algorithm = declared.algorithm or algorithm
        wanted = {self._algorithm} if self._algorithm else set()
        if payload.kind is PayloadKind.EXACT:
            wanted.add(Algorithm.SHA256)
        self._digests = Digests(wanted)
        self._decoded: list[bytes] = []
        self._unhashed: list[bytes] = []
        self._unhashed_bytes = 0
        self._hashing: asyncio.Future[None] | None = None
        self._ended = False
        self._failure: Exception | None = None
        self.md5 = ""
        self.checksum: Checksum | None = None

    async def read(self) -> bytes:
        """The next decoded bytes; b"" at the end, once all is checked. After an error it raises the same again."""
        if self._failure is not None:
            raise self._failure
        try:
            return await self._next()
        except AmberioError as error:
            self._failure = error
            raise

    async def _next(self) -> bytes:
        while not self._decoded:
            if self._ended:
                return b""
            piece = await self._raw()
            if not piece:
                await self._finish()
                return b""
            self._decoded = [piece] if self._decoder is None else self._decoder.feed(piece)
        piece = self._decoded.pop(0)
        await self._hash(piece)
        return piece

    async def read_all(self, bytes_max: int) -> bytes:
        """All of it. Raises MaxMessageLengthExceeded above `bytes_max`."""
        if self.announced_bytes > bytes_max:
            raise MaxMessageLengthExceeded(MaxMessageLengthBytes=bytes_max)
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def check_size(self, bytes_max: int) -> None:
        """Raises EntityTooLarge for a body of more than `bytes_max`, before any of it is read."""
        if self.announced_bytes > bytes_max:
            raise EntityTooLarge(ProposedSize=self.announced_bytes, MaxSizeAllowed=bytes_max)

    async def _raw(self) -> bytes:
        if isinstance(self._body, bytes):
            piece, self._body = self._body, b""
            return piece
        return await self._body.read()

    async def _hash(self, piece: bytes) -> None:
        self._unhashed.append(piece)
        self._unhashed_bytes += len(piece)
        if self._unhashed_bytes < HASHED_AT_ONCE_BYTES:
            return
        await self._hashed()
        pieces, self._unhashed, self._unhashed_bytes = self._unhashed, [], 0
        self._hashing = asyncio.get_running_loop().run_in_executor(None, self._update, pieces)

    async def _hashed(self) -> None:
        if self._hashing is not None:
            hashing, self._hashing = self._hashing, None
            await hashing

    def _update(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._digests.update(piece)

    async def _finish(self) -> None:
        self._ended = True
        await self._hashed()
        self._update(self._unhashed)
        self._unhashed = []
        trailers = self._decoder.finish() if self._decoder is not None else {}
        trailer = self._declared.trailer
        trailing = trailing_checksum(trailer, trailers) if trailer is not None else None
        self._digests.check(self._declared, trailing)
        if self._payload.kind is PayloadKind.EXACT:
            self._payload.check_digest(self._digests.checksum(Algorithm.SHA256).raw.hex())
        self.md5 = (self._digests.md5 or b"").hex()
        if self._algorithm is not None:
            self.checksum = self._digests.checksum(self._algorithm)
