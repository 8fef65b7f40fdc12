"""Checksums as S3 has them: which one a request declares, how it grows with the body, and that of an upload's parts.

A checksum is written in base64, CRCs with their highest byte first. An upload has one of two types of checksum:
COMPOSITE is the checksum of its parts' checksums, with `-<parts>` after it; FULL_OBJECT is that of its bytes, which
CRCs give without reading them again. Names of headers are in lower case here.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import reduce
from typing import Final, Protocol

import msgspec
from awscrt import checksums as crt

from impl.api.s3.errors import BadDigest, InvalidDigest, InvalidRequest

Piece = bytes | bytearray | memoryview


class Algorithm(StrEnum):
    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"

    @property
    def header(self) -> str:
        return f"{_HEADER}{self.value.lower()}"

    @property
    def size_bytes(self) -> int:
        return _SIZE_BYTES[self]


class ChecksumType(StrEnum):
    COMPOSITE = "COMPOSITE"
    FULL_OBJECT = "FULL_OBJECT"


class Checksum(msgspec.Struct, frozen=True):
    """`value` is as S3 writes it, a composite one with its number of parts."""

    algorithm: Algorithm
    value: str
    type: ChecksumType = ChecksumType.FULL_OBJECT

    @property
    def raw(self) -> bytes:
        return base64.b64decode(self.value.partition("-")[0])


class Declared(msgspec.Struct, frozen=True):
    """What a request says of its body: Content-MD5, a checksum, or that a checksum comes after it."""

    md5: bytes | None = None
    checksum: Checksum | None = None
    trailer: Algorithm | None = None

    @property
    def algorithm(self) -> Algorithm | None:
        return self.checksum.algorithm if self.checksum else self.trailer


class Hasher(Protocol):
    def update(self, piece: Piece, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """`run` goes on with a CRC over more bytes: (bytes, CRC so far) to CRC."""

    def __init__(self, run: Callable[[Piece, int], int], size_bytes: int) -> None:
        self._run = run
        self._size_bytes = size_bytes
        self._crc = 0

    def update(self, piece: Piece, /) -> None:
        self._crc = self._run(piece, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(self._size_bytes, "big")


_HEADER: Final = "x-amz-checksum-"
_NOT_CHECKSUMS: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})
_SDK_ALGORITHM: Final = "x-amz-sdk-checksum-algorithm"
_PARTS: Final = re.compile(r"(.*)-([1-9][0-9]{0,4})")
_SIZE_BYTES: Final = {
    Algorithm.CRC32: 4,
    Algorithm.CRC32C: 4,
    Algorithm.CRC64NVME: 8,
    Algorithm.SHA1: 20,
    Algorithm.SHA256: 32,
}
_HASHERS: Final[dict[Algorithm, Callable[[], Hasher]]] = {
    Algorithm.CRC32: lambda: _Crc(zlib.crc32, 4),
    Algorithm.CRC32C: lambda: _Crc(crt.crc32c, 4),
    Algorithm.CRC64NVME: lambda: _Crc(crt.crc64nvme, 8),
    Algorithm.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    Algorithm.SHA256: hashlib.sha256,
}
_COMBINE: Final[dict[Algorithm, Callable[[int, int, int], int]]] = {
    Algorithm.CRC32: crt.combine_crc32,
    Algorithm.CRC32C: crt.combine_crc32c,
    Algorithm.CRC64NVME: crt.combine_crc64nvme,
}


class Digests:
    """Several digests of one body, each of them over each piece once."""

    def __init__(self, algorithms: Iterable[Algorithm], with_md5: bool = True) -> None:
        self._hashers = {algorithm: _HASHERS[algorithm]() for algorithm in algorithms}
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None

    def update(self, piece: Piece) -> None:
        for hasher in self._hashers.values():
            hasher.update(piece)
        if self._md5:
            self._md5.update(piece)

    @property
    def md5(self) -> bytes | None:
        return self._md5.digest() if self._md5 else None

    def checksum(self, algorithm: Algorithm) -> Checksum:
        return Checksum(algorithm, base64.b64encode(self._hashers[algorithm].digest()).decode())

    def check(self, declared: Declared, trailing: Checksum | None = None) -> None:
        """Raises BadDigest unless the body is the declared one; `trailing` is what came after it."""
        if declared.md5 is not None and declared.md5 != self.md5:
            raise BadDigest(
                "The Content-MD5 you specified did not match what we received.",
                ExpectedDigest=declared.md5.hex(),
                CalculatedDigest=(self.md5 or b"").hex(),
            )
        for said in (declared.checksum, trailing):
            if said is not None:
                check_same(said, self.checksum(said.algorithm))


def check_same(said: Checksum, found: Checksum) -> None:
    """Raises BadDigest unless they are the same."""
    if said != found:
        raise BadDigest(
            f"The {said.algorithm} you specified did not match the calculated checksum.",
            ExpectedDigest=said.value,
            CalculatedDigest=found.value,
        )


def checksum_of(algorithm: Algorithm, body: Piece) -> Checksum:
    digests = Digests((algorithm,), with_md5=False)
    digests.update(body)
    return digests.checksum(algorithm)


def declared_by(headers: Mapping[str, str]) -> Declared:
    """What the headers of a request with a body declare. Raises InvalidDigest for Content-MD5, else InvalidRequest."""
    md5 = _content_md5(headers.get("content-md5"))
    found = [(name, value) for name, value in headers.items() if _is_checksum(name)]
    trailer = _trailer(headers.get("x-amz-trailer"))
    if len(found) + (trailer is not None) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    checksum = read_value(_algorithm_of(found[0][0]), found[0][1]) if found else None
    declared = Declared(md5, checksum, trailer)
    if (wanted := headers.get(_SDK_ALGORITHM)) is not None:
        if declared.algorithm is None:
            raise InvalidRequest(
                f"{_SDK_ALGORITHM} specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were "
                "found."
            )
        if declared.algorithm is not algorithm_named(_SDK_ALGORITHM, wanted):
            raise InvalidRequest(f"Value for {_SDK_ALGORITHM} header is invalid.")
    return declared


def trailing_checksum(algorithm: Algorithm, trailers: Mapping[str, str]) -> Checksum:
    """The checksum that was announced, from the trailers. Raises InvalidRequest."""
    value = trailers.get(algorithm.header)
    if value is None:
        raise InvalidRequest(f"The trailer {algorithm.header} was announced, and did not come.")
    return read_value(algorithm, value)


def read_value(algorithm: Algorithm, value: str, of_upload: bool = False) -> Checksum:
    """A checksum that a client wrote; one of an upload may be composite. Raises InvalidRequest."""
    match = _PARTS.fullmatch(value) if of_upload else None
    try:
        raw = base64.b64decode(match[1] if match else value, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != algorithm.size_bytes:
        raise InvalidRequest(f"Value for {algorithm.header} header is invalid.", ArgumentValue=value[:200])
    encoded = base64.b64encode(raw).decode()
    if match:
        return Checksum(algorithm, f"{encoded}-{match[2]}", ChecksumType.COMPOSITE)
    return Checksum(algorithm, encoded)


def algorithm_named(header: str, value: str) -> Algorithm:
    """The algorithm that a header asks for. Raises InvalidRequest."""
    try:
        return Algorithm(value.strip().upper())
    except ValueError:
        raise InvalidRequest(
            f"Value for {header} header is invalid: {value[:80]!r}. Use one of {', '.join(Algorithm)}."
        ) from None


def of_new_upload(headers: Mapping[str, str]) -> tuple[Algorithm, ChecksumType] | None:
    """Which checksum a new multipart upload is to have, None if nothing is said. Raises InvalidRequest."""
    named, type_name = headers.get("x-amz-checksum-algorithm"), headers.get("x-amz-checksum-type")
    if named is None:
        if type_name is not None:
            raise InvalidRequest(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return None
    algorithm = algorithm_named("x-amz-checksum-algorithm", named)
    if type_name is None:
        is_full = algorithm is Algorithm.CRC64NVME
        return algorithm, ChecksumType.FULL_OBJECT if is_full else ChecksumType.COMPOSITE
    return algorithm, checked_type(algorithm, type_name)


def checked_type(algorithm: Algorithm, type_name: str) -> ChecksumType:
    """The type of checksum, if the algorithm can have it. Raises InvalidRequest."""
    try:
        checksum_type = ChecksumType(type_name.strip().upper())
    except ValueError:
        raise InvalidRequest(f"Value for x-amz-checksum-type header is invalid: {type_name[:80]!r}.") from None
    is_full = checksum_type is ChecksumType.FULL_OBJECT
    if (is_full and algorithm not in _COMBINE) or (not is_full and algorithm is Algorithm.CRC64NVME):
        raise InvalidRequest(
            f"The {checksum_type} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )
    return checksum_type


def composite(parts: Sequence[Checksum]) -> Checksum:
    """The checksum of the parts' checksums; they are in order, at least one, and all of one algorithm."""
    algorithm = parts[0].algorithm
    whole = checksum_of(algorithm, b"".join(part.raw for part in parts))
    return Checksum(algorithm, f"{whole.value}-{len(parts)}", ChecksumType.COMPOSITE)


def full_object(parts: Sequence[tuple[Checksum, int]]) -> Checksum:
    """The CRC of an upload's bytes from (CRC, size in bytes) of its parts, in order."""
    algorithm = parts[0][0].algorithm

    def join(crc: int, part: tuple[Checksum, int]) -> int:
        return _COMBINE[algorithm](crc, int.from_bytes(part[0].raw, "big"), part[1])

    crc = reduce(join, parts, 0)
    return Checksum(algorithm, base64.b64encode(crc.to_bytes(algorithm.size_bytes, "big")).decode())


def multipart_etag(part_md5s: Sequence[bytes]) -> str:
    """The etag of an upload, without quotes, from the MD5s of its parts in order."""
    return f"{hashlib.md5(b''.join(part_md5s), usedforsecurity=False).hexdigest()}-{len(part_md5s)}"


def _is_checksum(name: str) -> bool:
    return name.startswith(_HEADER) and name not in _NOT_CHECKSUMS


def _algorithm_of(header: str) -> Algorithm:
    try:
        return Algorithm(header.removeprefix(_HEADER).upper())
    except ValueError:
        raise InvalidRequest(
            f"The algorithm type you specified in {header[:80]} header is invalid. Use one of {', '.join(Algorithm)}."
        ) from None


def _trailer(announced: str | None) -> Algorithm | None:
    names = [name.strip().lower() for name in (announced or "").split(",") if name.strip()]
    if len(names) > 1 or not all(map(_is_checksum, names)):
        raise InvalidRequest("The value specified in the x-amz-trailer header is not supported")
    return _algorithm_of(names[0]) if names else None


def _content_md5(value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        raw = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 16:
        raise InvalidDigest(f"The Content-MD5 you specified is not valid: {value[:200]!r}.")
    return raw
