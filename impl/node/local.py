"""This node's own records, asked without a quorum: for the internal API, for tools, and later for healing."""

from collections.abc import Sequence

from impl.errors import NeverWritten
from impl.model import Head, Register
from impl.storage.face import Registers
from impl.storage.parts import PartStore
from impl.storage.slotlets import Slotlet


class Local:
    """What lies on this node's disk."""

    def __init__(self, store: Registers, parts: PartStore) -> None:
        self._store = store
        self._parts = parts

    async def register(self, slot: int, path: str) -> Register:
        """The register of a path; virgin if this node has no record of it."""
        return await self._store.read(path)

    async def put_part(self, slot: int, digest: str, pieces: list[bytes]) -> bool:
        """Keep a part; True if it was here already."""
        return await self._parts.put(slot, digest, pieces)

    async def get_part(self, slot: int, digest: str) -> bytes | None:
        """A part's bytes, None if it is not here."""
        try:
            return await self._parts.get(slot, digest)
        except NeverWritten:
            return None

    async def slotlets(self, slot: int, prefix_len: int) -> Sequence[Slotlet]:
        """Digests of a slot's heads by hash prefix."""
        return await self._store.slotlets(slot, prefix_len)

    async def heads(self, slot: int, prefixes: Sequence[str]) -> Sequence[tuple[str, Head]]:
        """The heads of a slot under these hash prefixes."""
        return await self._store.heads(slot, prefixes)
