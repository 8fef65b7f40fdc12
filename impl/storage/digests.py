"""What each slot's registers have accepted, as one number a slot: equal on two replicas if nothing is to be healed.

The number is the XOR of a hash of each path with the ballot that is accepted there, so that it is kept up to date with
every commit at the cost of two hashes, in whatever order they come. Where two replicas differ, one of them has accepted
something that the other has not; two slots that differ and have the same number are 2**-64 likely.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import xxhash

from impl.errors import NotReady
from impl.model import Ballot

ROWS_AT_ONCE: Final = 1000
_hash: Final = xxhash.xxh3_64_intdigest


class SlotDigests:
    """The digests of one node's slots; 0, and not named, is a slot in which nothing is accepted.

    They are not told before `load`: what was accepted before this start may be counted after what is accepted since,
    as the order does not matter.
    """

    def __init__(self) -> None:
        self._digests: dict[int, int] = {}
        self._is_loaded = False

    def load(self, at_start: Mapping[int, int]) -> None:
        """Count what was accepted when this process began."""
        for slot, digest in at_start.items():
            self._digests[slot] = self._digests.get(slot, 0) ^ digest
        self._is_loaded = True

    def change(self, path: str, slot: int, before: Ballot, after: Ballot) -> None:
        """The register of a path has accepted something else."""
        if before != after:
            self._flip(slot, path, before)
            self._flip(slot, path, after)

    def all(self) -> Mapping[int, int]:
        """The digest of each slot that has any. Raises NotReady while what lies on the disk is still counted."""
        if not self._is_loaded:
            raise NotReady("this node still counts what it has accepted; compare with it in a while")
        return {slot: digest for slot, digest in self._digests.items() if digest}

    def _flip(self, slot: int, path: str, ballot: Ballot) -> None:
        if ballot:
            self._digests[slot] = self._digests.get(slot, 0) ^ _hash(f"{ballot.round} {ballot.node} {path}".encode())


def counted(accepted: Iterable[tuple[int, str]], is_over: Callable[[], bool] = lambda: False) -> dict[int, int]:
    """The digests of registers: of each its slot, and round, node and path as one text. Ends early if `is_over`."""
    digests: dict[int, int] = {}
    for number, (slot, text) in enumerate(accepted):
        digests[slot] = digests.get(slot, 0) ^ _hash(text.encode())
        if not number % ROWS_AT_ONCE and is_over():
            break
    return digests
