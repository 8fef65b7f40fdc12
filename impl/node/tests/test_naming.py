"""A replica accepts a head only with the parts that it names, and these are not collected meanwhile (B2, B6)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from impl.doors import RealClock, RealDisk
from impl.errors import BadBytes, DiskFull
from impl.model import NO_BALLOT, Ballot, Head, PartRef, ReplicaSet, Version
from impl.node.naming import Naming
from impl.node.replica import Replica
from impl.node.uploads import Source, Uploads
from impl.protocol.messages import Accept, Failure, Reply, State
from impl.protocol.rules import HONEST
from impl.storage.layout import Layout
from impl.storage.parts import PartStore, sha256
from impl.storage.registers import RegisterStore
from impl.storage.tests.rig import Remembering, disk_stalled, head, opened

PATH = "a/large"
SLOT = 3
GROUP = ReplicaSet(("n1", "n2"), 2)
BODIES = {sha256([body]): body for body in (b"one", b"two", b"three")}
ONE, TWO, THREE = (PartRef(digest, len(body)) for digest, body in BODIES.items())


class Others:
    """Where parts are had anew: what other replicas have, or the error that they say."""

    def __init__(self, parts: PartStore) -> None:
        self.fetched: list[str] = []
        self.error: BadBytes | DiskFull | None = None
        self._parts = parts

    async def have(self, slot: int, group: ReplicaSet, refs: Sequence[PartRef], source: Source | None = None) -> None:
        for ref in refs:
            if self.error is not None:
                raise self.error
            self.fetched.append(ref.digest)
            await self._parts.put(slot, ref.digest, [BODIES[ref.digest]])


@dataclass
class Node:
    store: RegisterStore
    parts: PartStore
    others: Others
    replica: Replica

    async def accept(self, round: int, *refs: PartRef, older: Sequence[PartRef] = ()) -> Reply:
        """Ask to accept a head that names these parts, and others in a version before."""
        named = msgspec.structs.replace(head(round, None), parts=refs)
        if older:
            before = Version(1, False, "e", 1, "", 0, None, tuple(older), ())
            named = msgspec.structs.replace(named, version=round, older=(before,))
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.replica.handle(Accept(PATH, Ballot(round, "n2"), named, NO_BALLOT), answer.set_result)
        return await answer

    async def here(self) -> set[str]:
        return {digest for _, digest in await self.parts.names([SLOT])}

    async def collect(self, ref: PartRef) -> bool:
        """As the garbage collector does with a part that it has seen unused for long enough."""
        self.parts.uses.seen([], [(SLOT, ref.digest)], 0.0)
        return await self.parts.discard(SLOT, ref.digest)


@asynccontextmanager
async def node(directory: Path) -> AsyncIterator[Node]:
    async with opened(directory) as store:
        parts = PartStore(Layout(directory), RealDisk())
        others = Others(parts)

        naming = Naming(store, parts, cast(Uploads, others), lambda path: (SLOT, GROUP), RealClock(), HONEST)
        replica = Replica(store, Remembering(), naming, SLOT + 1, HONEST)
        yield Node(store, parts, others, replica)
        await replica.close()
        await parts.close()


def test_a_head_whose_parts_nobody_has_is_refused_and_what_was_there_stays(tmp_path: Path) -> None:
    async def run() -> None:
        async with node(tmp_path) as one:
            assert isinstance(await one.accept(1, ONE), State)
            assert one.others.fetched == [ONE.digest]
            one.others.error = BadBytes("nobody has it")
            refused = await one.accept(2, TWO)
            assert isinstance(refused, Failure) and TWO.digest[:8] not in await one.here()
            assert "nobody has it" in refused.detail
            one.others.error = DiskFull("no room")
            assert (await one.accept(3, THREE)) == Failure("disk_full", "no room")
            found = await one.store.read(PATH)
            assert (found.accepted, cast(Head, found.head).parts) == (Ballot(1, "n2"), (ONE,))

    asyncio.run(run())


def test_parts_of_older_versions_are_needed_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with node(tmp_path) as one:
            assert isinstance(await one.accept(2, TWO, older=[ONE]), State)
            assert await one.here() == {ONE.digest, TWO.digest}

    asyncio.run(run())


def test_a_part_that_is_lost_here_does_not_stand_in_the_way_of_what_comes_after(tmp_path: Path) -> None:
    async def run() -> None:
        async with node(tmp_path) as one:
            await one.accept(1, ONE)
            (Layout(tmp_path).parts(SLOT) / ONE.digest).unlink()
            one.others.error = BadBytes("nobody has it")
            assert isinstance(await one.accept(2, ONE), State)

    asyncio.run(run())


def test_a_part_is_not_collected_from_when_it_is_looked_for_until_its_head_is_durable(tmp_path: Path) -> None:
    async def run() -> None:
        async with node(tmp_path) as one:
            await one.parts.put(SLOT, ONE.digest, [BODIES[ONE.digest]])
            with disk_stalled(tmp_path):
                accepting = asyncio.create_task(one.accept(1, ONE))
                while one.store.queued[0] == 0:  # noqa: ASYNC110 # nobody tells
                    await asyncio.sleep(0.001)
                assert not await one.collect(ONE)
            await accepting
            assert await one.here() == {ONE.digest}
            # from now on it is the collector's duty to see that a head names it
            assert await one.collect(ONE)

    asyncio.run(run())


def test_a_part_that_is_on_its_way_is_waited_for_and_not_fetched(tmp_path: Path) -> None:
    async def run() -> None:
        async with node(tmp_path) as one:
            accepting = asyncio.create_task(one.accept(1, ONE))
            await asyncio.sleep(0.02)
            await one.parts.put(SLOT, ONE.digest, [BODIES[ONE.digest]])
            assert isinstance(await accepting, State)
            assert one.others.fetched == []

    asyncio.run(run())
