"""Bodies that tell who wrote them: bytes are a function of seed, client and operation, so a digest names a write."""

import hashlib


def body(seed: int, client: str, operation: int, size_bytes: int) -> bytes:
    """`size_bytes` of bytes that no other operation of the run writes (unless it is very short)."""
    return hashlib.shake_128(f"{seed}/{client}/{operation}".encode()).digest(size_bytes)
