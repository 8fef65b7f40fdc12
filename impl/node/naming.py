"""A replica accepts a head only when it has every part that the head names. Everything about parts rests on this.

So a chosen head has its parts on a write quorum, as many as have accepted it, whoever stored them there and when; and a
node may judge by its own registers alone which of its parts are garbage (gc.py). What follows from it:

- *A request to accept comes late*, even days after its parts were stored, and they have been collected since: they are
  had anew from another replica first, and if nobody has them the request is refused. Nothing is chosen that cannot be
  read, and what was chosen before stays.
- *Parts are collected while a head that names them is on its way to the disk*: they are held from before they are
  looked for until the head is durable, and what is held, or was since it was seen unused, is not collected.
- *A crash at any line*: holds are memory, and so is what was seen unused; both begin anew.
- *A part is named, but lies nowhere any more* (rot, a lost disk): what our own head names already is not asked for
  again, so that it can still be overwritten and deleted; to have it anew is the scrubber's work.

The registers of an upload's parts (/p/...) name what lies in the slot of the object, perhaps on other nodes: they are
accepted as they are, and gc.py asks for them.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from impl.doors import Clock
from impl.errors import AmberioError, DiskFull, NotReady
from impl.model import SYSTEM_START, Head, PartRef
from impl.node.locate import Locate
from impl.node.uploads import Source, Uploads
from impl.protocol.rules import HONEST, Rules
from impl.storage.face import Registers
from impl.storage.parts import PartStore

LOOK_AGAIN_S: Final = 0.05
LOOKS: Final = 8
"""So often, and so long after each other, a replica looks for parts that are on their way to it before it asks."""


def names_parts(path: str, head: Head | None) -> bool:
    """Does a head name parts that its own replicas are to have?"""
    if head is None or path.startswith(SYSTEM_START):
        return False
    return bool(head.parts) or any(version.parts for version in head.older)


class Naming:
    """Has parts here before heads that name them."""

    def __init__(
        self,
        store: Registers,
        parts: PartStore,
        uploads: Uploads,
        locate: Locate,
        clock: Clock,
        rules: Rules = HONEST,
    ) -> None:
        self._store = store
        self._parts = parts
        self._uploads = uploads
        self._locate = locate
        self._clock = clock
        # who does not wait for a quorum to store a part would be saved by the replicas' own care
        self._is_trusting = rules.accept_without_parts or rules.head_before_parts or rules.parts_of_one
        self.source: Callable[[str, Head], Source | None] = lambda path, head: None

    @asynccontextmanager
    async def held(self, path: str, head: Head | None, looks: int = 0) -> AsyncIterator[None]:
        """While this lasts, every part of a head is here and stays, so that the head may be accepted.

        Before another replica is asked for a part, it is looked for so many more times, as it may be on its way.
        Raises NotReady, DiskFull where it cannot be had, InternalError if the disk fails.
        """
        if head is None or not names_parts(path, head) or self._is_trusting:
            yield
            return
        named = {ref.digest: ref for version in head.versions for ref in version.parts}
        own = (await self._store.read(path)).head
        ours = {ref.digest for version in own.versions for ref in version.parts} if own is not None else set()
        slot, _ = self._locate(path)
        missing = await self._parts.hold(slot, list(named), [digest for digest in named if digest not in ours])
        try:
            await self._have(path, slot, head, [named[digest] for digest in missing], looks)
            yield
        finally:
            self._parts.let_go(slot, list(named))

    async def _have(self, path: str, slot: int, head: Head, missing: list[PartRef], looks: int) -> None:
        for _ in range(looks):
            if not missing:
                return
            await self._clock.sleep(LOOK_AGAIN_S)
            still = await self._parts.missing(slot, [ref.digest for ref in missing])
            missing = [ref for ref in missing if ref.digest in still]
        try:
            await self._uploads.have(slot, self._locate(path)[1], missing, self.source(path, head))
        except DiskFull:
            raise
        except AmberioError as error:
            raise NotReady(f"a head of {path!r} names parts that are not here yet: {error}") from error
