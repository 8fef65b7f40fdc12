"""What is asked of one disk's registers off the event loop: pages of them, and the node's own counters.

A query sees what was committed last, and waits for nothing that is in flight; steps and reads of single registers are
`registers.py`. Rows are `database.py`.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import apsw

from impl.model import AcceptedPage, Head, Register, Rows, Unshipped, present
from impl.storage import database, lives
from impl.storage.opened import OpenedDisk
from impl.storage.slotlets import Slotlet, path_hash, slotlets_of
from impl.storage.workers import Reader, Writer

Answer = TypeVar("Answer")


class Queries(OpenedDisk):
    """A disk that can be asked, once `_loop`, `_writer` and `_reader` are there; each method raises AmberioError."""

    scan_bytes_max = database.SCAN_BYTES_MAX
    _loop: asyncio.AbstractEventLoop
    _writer: Writer
    _reader: Reader

    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool = False) -> Rows:
        """Registers without bodies, of paths that start with `prefix` and follow `after`, by the paths' bytes."""
        bytes_max = self.scan_bytes_max
        return await self._ask_reader(
            lambda connection: database.scan(connection, prefix, after, limit, with_older, bytes_max)
        )

    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage:
        """What is accepted in these slots, of the next `limit` registers after a path; by the paths' bytes."""
        return await self._ask_reader(lambda connection: database.accepted_page(connection, slots, after, limit))

    async def known_page(self, slots: Collection[int], after: str | None, limit: int) -> tuple[list[str], str | None]:
        """The paths in these slots of which anything is known, of the next `limit` registers; and where to go on."""
        return await self._ask_reader(lambda connection: database.known_page(connection, slots, after, limit))

    async def unshipped(self, after: tuple[int, str], limit: int) -> list[Unshipped]:
        """The next registers that wait to be shipped, those written longest ago first; `after` is a time and a path."""
        return await self._ask_reader(lambda connection: database.unshipped(connection, after, limit))

    async def unsettled(self, after: str, limit: int) -> list[tuple[str, int]]:
        """The next paths, with what is archived of them, whose archived generation is not settled."""
        return await self._ask_reader(lambda connection: database.unsettled(connection, after, limit))

    async def imported_part(self, path: str, etag: str, part: int) -> str | None:
        """The digest of a piece of an imported body that was read before."""
        return await self._ask_reader(lambda connection: database.imported_part(connection, path, etag, part))

    async def keep_imported_part(self, path: str, etag: str, part: int, digest: str) -> None:
        """Remember the digest of a piece of an imported body."""
        row = path, etag, part, digest
        await self._ask(
            lambda: self._writer.change(self._loop, lambda connection: database.keep_imported_part(connection, *row))
        )

    async def registers_with_parts(self, after: str, limit: int) -> tuple[list[tuple[str, int, Register]], str | None]:
        """Of our next `limit` registers after a path, those whose head names parts: path, slot, register without body.

        And the path to go on after, None at the end.
        """
        return await self._ask_reader(lambda connection: database.registers_with_parts(connection, after, limit))

    async def bodies_page(
        self, after: str, limit: int, is_right: Callable[[str, Head], bool]
    ) -> tuple[list[str], int, int, str | None]:
        """Look at the inline bodies of our next `limit` registers after a path; see database.bodies_page."""
        return await self._ask_reader(lambda connection: database.bodies_page(connection, after, limit, is_right))

    async def recall(self, key: str) -> int:
        """A counter of this node that was remembered; 0 if it never was."""
        return await self._ask_reader(lambda connection: database.get_number(connection, key))

    async def remember(self, key: str, value: int) -> None:
        """Keep a counter of this node, durably; raises DiskFull, InternalError."""
        await self._ask_writer(lambda connection: database.set_number(connection, key, value))

    async def learn(self, node: str, life: int) -> None:
        """Know durably that another node is in this life or a later one; raises DiskFull, DiskFailed, InternalError."""
        await self._ask_writer(lambda connection: lives.learn(connection, node, life))
        self.lives = {**self.lives, node: max(life, self.lives.get(node, 0))}

    async def slotlets(self, slot: int, prefix_len: int) -> list[Slotlet]:
        """Digests of a slot's heads, by the first `prefix_len` hex digits of xxh3_64 of their paths; in order."""
        return await self._ask_reader(lambda connection: slotlets_of(database.of_slot(connection, slot), prefix_len))

    async def heads(self, slot: int, prefixes: Sequence[str]) -> list[tuple[str, Head]]:
        """The heads of a slot whose path's hash begins with one of `prefixes`."""
        wanted = tuple(prefixes)
        return await self._ask_reader(
            lambda connection: [
                (path, head)
                for path, register in database.of_slot(connection, slot)
                if (head := present(register.head)) is not None and path_hash(path).startswith(wanted)
            ]
        )

    async def reserve_rounds(self, count: int) -> int:
        """The first of `count` ballot rounds that nobody was ever given before, durably."""
        return await self._ask(lambda: self._writer.reserve(self._loop, count))

    async def keep_rounds(self, last: int) -> None:
        """Make it durable here too that rounds up to `last` were given to somebody; raises DiskFull, InternalError."""
        await self._ask(lambda: self._writer.keep_rounds(self._loop, last))

    async def _ask_reader(self, query: Callable[[apsw.Connection], Answer]) -> Answer:
        return await self._ask(lambda: self._reader.ask(self._loop, query))

    async def _ask_writer(self, change: Callable[[apsw.Connection], None]) -> None:
        await self._ask(lambda: self._writer.change(self._loop, change))

    async def _ask(self, begin: Callable[[], asyncio.Future[Answer]]) -> Answer:
        if self._broken is not None:
            raise self._broken
        try:
            return await begin()
        except apsw.Error as error:
            raise database.as_error(error) from error
