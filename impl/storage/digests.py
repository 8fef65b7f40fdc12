"""What each slot's registers have accepted, as one number a slot: equal on two replicas if nothing is to be healed.

The number is the XOR of a hash of each path with the ballot that is accepted there, so that it is kept up to date with
every commit at the cost of two hashes, in whatever order they come. Where two replicas differ, one of them has accepted
something that the other has not; two slots that differ and have the same number are 2**-64 likely.
"""

from collections.abc import Iterable, Mapping

import xxhash

from impl.model import Ballot


class SlotDigests:
    """The digests of one node's slots; 0, and not named, is a slot in which nothing is accepted."""

    def __init__(self) -> None:
        self._digests: dict[int, int] = {}

    def load(self, accepted: Iterable[tuple[str, int, Ballot]]) -> None:
        """Begin with these registers: path, slot, and the ballot accepted there."""
        self._digests.clear()
        for path, slot, ballot in accepted:
            self._flip(slot, path, ballot)

    def change(self, path: str, slot: int, before: Ballot, after: Ballot) -> None:
        """The register of a path has accepted something else."""
        if before != after:
            self._flip(slot, path, before)
            self._flip(slot, path, after)

    def all(self) -> Mapping[int, int]:
        """The digest of each slot that has any."""
        return {slot: digest for slot, digest in self._digests.items() if digest}

    def _flip(self, slot: int, path: str, ballot: Ballot) -> None:
        if ballot:
            hashed = xxhash.xxh3_64_intdigest(f"{ballot.round} {ballot.node} {path}".encode())
            self._digests[slot] = self._digests.get(slot, 0) ^ hashed
