"""Digests of a slot's heads in groups, for tools that want to know where two replicas differ (the internal API)."""

from collections.abc import Iterable

import msgspec
import xxhash

from impl.model import Register, head_digest


class Slotlet(msgspec.Struct, frozen=True):
    """The heads of a slot whose path's hash begins with `prefix`: how many, and a digest over all of them."""

    prefix: str
    digest: str
    objects: int


def path_hash(path: str) -> str:
    """What groups paths: xxh3_64 in hex."""
    return xxhash.xxh3_64_hexdigest(path.encode())


def slotlets_of(registers: Iterable[tuple[str, Register]], prefix_len: int) -> list[Slotlet]:
    """Digests of registers by the first `prefix_len` digits of the hash of their paths; in order."""
    digests: dict[str, xxhash.xxh3_64] = {}
    counts: dict[str, int] = {}
    for path, register in registers:
        if register.head is None or register.head.is_vacant:
            continue
        prefix = path_hash(path)[:prefix_len]
        digest = digests.setdefault(prefix, xxhash.xxh3_64())
        digest.update(f"{path}\0{head_digest(register.head)}\0".encode())
        counts[prefix] = counts.get(prefix, 0) + 1
    return [Slotlet(prefix, digests[prefix].hexdigest(), counts[prefix]) for prefix in sorted(digests)]
