"""Several disks of one node: what it promised on any of them it keeps, whatever becomes of the others; row R3."""

import asyncio
import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.errors import ConfigError, DiskFailed, DiskFull, InternalError
from impl.model import Register, slot_of
from impl.protocol.placement import deal
from impl.storage.database import open_database
from impl.storage.disks import Disks, dealt, join
from impl.storage.face import Registers
from impl.storage.membership import Claim, Configured, Disk, Membership, judge, renewed, write_claim
from impl.storage.registers import RegisterStore
from impl.storage.tests.rig import CACHE_BYTES, Remembering, accepting, limit_pages

SLOTS = 64
NODE = "n1"
PATHS = [f"p/{number:03}" for number in range(120)]


def places(directory: Path, *names: str) -> list[Configured]:
    return [Configured(directory / name, 1.0) for name in names]


class Opened:
    """The registers of a node on these disks, from `start` to `kill` or `close`."""

    def __init__(self, configured: Sequence[Configured], tracer: Remembering | None = None) -> None:
        for place in configured:
            place.path.mkdir(exist_ok=True)
        self.stores = [RegisterStore(place.path / "registers.db", CACHE_BYTES) for place in configured]
        self.tracer = tracer or Remembering()
        try:
            self.node, self.directories = join(NODE, configured, self.stores, SLOTS)
        except BaseException:
            self.kill()
            raise

    async def __aenter__(self) -> Registers:
        if not self.node.is_born:
            self.node.be_born(1, ())
        self.node.begin()
        self.node.start(asyncio.get_running_loop(), self.tracer)
        return self.node

    async def __aexit__(self, *why: object) -> None:
        await self.node.close()

    def kill(self) -> None:
        for store in self.stores:
            store.abandon()


async def write(node: Registers, path: str, round: int = 1, body: bytes = b"x") -> Register:
    return (await node.apply(path, slot_of(path, SLOTS), accepting(path, round, body))).register


def by_disk(node: Registers) -> dict[int, list[str]]:
    """The paths of each disk."""
    disks = cast(Disks, node)
    found: dict[int, list[str]] = {}
    for path in PATHS:
        found.setdefault(disks._store_of(path).disk, []).append(path)
    return found


def break_disk(node: Registers, disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each commit on this disk fails."""
    store = cast(Disks, node)._stores[disk]

    def fail(group: object, prune: int) -> float:
        raise apsw.IOError("it is broken, as the test wants it")

    monkeypatch.setattr(store._writer, "_commit", fail)


# -- which slot is where


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from((0.5, 1.0, 2.0, 4.0)), min_size=1, max_size=6), st.sampled_from(("n1", "n2")))
def test_slots_are_dealt_by_weight_and_a_further_disk_takes_slots_but_moves_none_between_others(
    weights: list[float], node: str
) -> None:
    numbered = dict(enumerate(weights, start=1))
    before = deal(node, numbered, 2048)
    assert len(before) == 2048 and set(before) <= set(numbered)
    for disk, weight in numbered.items():
        share = 2048 * weight / sum(weights)
        assert abs(before.count(disk) - share) < 5 * share**0.5 + 1
    after = deal(node, numbered | {len(weights) + 1: 1.0}, 2048)
    assert all(now in (was, len(weights) + 1) for was, now in zip(before, after, strict=True))


def test_registers_and_parts_lie_on_the_disk_of_their_slot_wherever_it_is_mounted(tmp_path: Path) -> None:
    async def story() -> None:
        async with Opened(places(tmp_path, "a", "b")) as node:
            for path in PATHS:
                await write(node, path)
        for name in ("a", "b"):
            connection = open_database(tmp_path / name / "registers.db")
            assert 20 < len(connection.execute("SELECT path FROM registers").fetchall()) < 100
            connection.close()
        (tmp_path / "b").rename(tmp_path / "c")
        again = Opened(places(tmp_path, "c", "a"))
        async with again as node:
            assert [(await node.read(path)).generation for path in PATHS] == [1] * len(PATHS)
            assert {directory.name for directory in again.directories} == {"a", "c"}

    asyncio.run(story())


# -- lists and pages


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=25, unique=True),
    st.integers(1, 9),
    st.sampled_from(("", "p/0", "p/1", "q")),
    st.sampled_from((1, 300, 1 << 20)),
)
def test_pages_over_several_disks_are_those_of_one(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], limit: int, prefix: str, bytes_max: int
) -> None:
    async def story() -> None:
        directory = tmp_path_factory.mktemp("pages")
        opened = Opened(places(directory, "a", "b", "c"))
        for disk, store in enumerate(opened.stores):
            store.scan_bytes_max = bytes_max * (1 + disk)  # one page ends long before another one does
        async with opened as node:
            await asyncio.gather(*(write(node, path) for path in paths))
            listed: list[str] = []
            after = None
            while True:
                page = await node.scan(prefix, after, limit)
                assert page.registers or not page.has_more
                listed += [path for path, _ in page.registers]
                if not page.has_more:
                    break
                after = page.registers[-1][0]
            assert listed == sorted(path for path in paths if path.startswith(prefix))

            slots = {slot_of(path, SLOTS) for path in paths[::2]}
            told: list[str] = []
            after = None
            while True:
                ballots = await node.accepted_page(slots, after, limit)
                told += [path for path, _ in ballots.ballots]
                after = ballots.next_after
                if after is None:
                    break
            assert told == sorted(path for path in paths if slot_of(path, SLOTS) in slots)
            assert set(node.digests.all()) == {slot_of(path, SLOTS) for path in paths}

    asyncio.run(story())


# -- numbers of the node


def test_an_incarnation_or_a_round_is_never_used_again_though_a_crash_came_between_two_disks(tmp_path: Path) -> None:
    configured = places(tmp_path, "a", "b")

    async def story() -> None:
        tracer = Remembering()
        running = Opened(configured, tracer)
        async with running as node:
            assert node.incarnation == 1 and await node.reserve_rounds(10) == 1
            for path in PATHS[:20]:
                await write(node, path)
        # a start that dies when the first disk has counted it, and the second has not
        crashed = Opened(configured)
        assert sum(len(events) for _, events in crashed.node.events_left()) == 20
        crashed.stores[0].begin()
        crashed.kill()

        again = Opened(configured)
        assert again.node.incarnation == 3
        # those of the second disk are of the incarnation before the last, and its trace was completed
        assert [(disk, events) for disk, events in again.node.events_left()] == [(1, [])]
        async with again as node:
            assert await node.reserve_rounds(5) == 11
            # a block that one disk knows of and the other one not
            await again.stores[0].keep_rounds(5000)
        async with Opened(configured) as node:
            assert node.incarnation == 4 and await node.reserve_rounds(1) == 5001

    asyncio.run(story())


def test_rounds_are_dealt_out_while_one_disk_is_full_and_not_when_all_are(tmp_path: Path) -> None:
    configured = places(tmp_path, "a", "b")

    def fill(store: RegisterStore) -> None:
        async def no_room(last: int) -> None:
            raise DiskFull("as the test wants it")

        store.keep_rounds = no_room  # type: ignore[method-assign]

    async def story() -> None:
        full = Opened(configured)
        async with full as node:
            first = await node.reserve_rounds(10)
            fill(full.stores[0])
            second = await node.reserve_rounds(10)
            fill(full.stores[1])
            with pytest.raises(DiskFull):
                await node.reserve_rounds(10)
        async with Opened(configured) as node:
            assert first + 10 == second and await node.reserve_rounds(1) >= second + 10

    asyncio.run(story())


# -- a disk that fails


def test_a_disk_that_fails_is_silent_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with Opened(places(tmp_path, "a", "b")) as node:
            for path in PATHS:
                await write(node, path)
            paths = by_disk(node)
            break_disk(node, 2, monkeypatch)
            with pytest.raises(InternalError):
                await write(node, paths[2][0], 2)
            assert not node.failed.is_set()
            for path in paths[2]:
                slot = slot_of(path, SLOTS)
                assert node.cached(path) is None and not node.is_serving(slot)
                for asked in (node.read(path), write(node, path, 3), node.slotlets(slot, 1), node.heads(slot, [""])):
                    with pytest.raises(DiskFailed):
                        await asked
            for path in paths[1]:
                assert (await write(node, path, 2)).generation == 2
            with pytest.raises(DiskFailed):
                await node.scan("", None, 1000)  # a list without them would say that they are not there
            assert set(node.digests.all()) == {slot_of(path, SLOTS) for path in paths[1]}
            assert await node.reserve_rounds(1) > 0
            assert cast(Disks, node).health == {1: True, 2: False}

            break_disk(node, 1, monkeypatch)
            with pytest.raises(InternalError):
                await write(node, paths[1][0], 3)
            assert node.failed.is_set()
        async with Opened(places(tmp_path, "a", "b")) as node:
            for path in paths[1][1:]:
                assert (await node.read(path)).generation == 2
            assert [(await node.read(path)).generation for path in paths[2]] == [1] * len(paths[2])

    asyncio.run(story())


def test_a_full_disk_refuses_the_writes_of_its_slots_only(tmp_path: Path) -> None:
    async def story() -> None:
        async with Opened(places(tmp_path, "a", "b")) as node:
            paths = by_disk(node)
            limit_pages(cast(Disks, node)._stores[1], 2)
            with pytest.raises(DiskFull):
                for path in paths[1]:
                    await write(node, path, body=bytes(20_000))
            for path in paths[2]:
                await write(node, path, body=bytes(20_000))
            limit_pages(cast(Disks, node)._stores[1], 1 << 20)
            for path in paths[1]:
                await write(node, path, 2, body=bytes(20_000))
            assert len((await node.scan("", None, 1000)).registers) == len(PATHS)
            assert not node.failed.is_set()

    asyncio.run(story())


# -- which disk is which


def refused(configured: Sequence[Configured]) -> str:
    with pytest.raises(ConfigError) as error:
        Opened(configured)
    return str(error.value)


@pytest.fixture
def of_two(tmp_path: Path) -> Iterator[list[Configured]]:
    """A node with two disks that has served."""
    configured = places(tmp_path, "a", "b")

    async def serve() -> None:
        async with Opened(configured) as node:
            for path in PATHS:
                await write(node, path)

    asyncio.run(serve())
    yield configured


@contextmanager
def _set_aside(place: Configured) -> Iterator[Path]:
    """While this lasts, the disk is not there."""
    aside = place.path.with_suffix(".aside")
    place.path.rename(aside)
    yield aside
    for file in place.path.iterdir():
        file.unlink()
    place.path.rmdir()
    aside.rename(place.path)


def test_with_a_disk_that_came_back_empty_a_node_is_unborn_and_knows_which_slots_it_has_lost(
    of_two: list[Configured],
) -> None:
    for place in of_two:
        with _set_aside(place):
            for _ in range(2):  # to try it again changes nothing
                again = Opened(of_two)
                assert (again.node.is_born, again.node.life) == (False, 1)
                for slot, directory in enumerate(again.directories):
                    assert again.node.is_lost(slot) == (directory == place.path)
                again.kill()
    whole = Opened(of_two)
    assert whole.node.is_born and not any(map(whole.node.is_lost, range(SLOTS)))
    whole.kill()


def test_a_disk_that_replaces_another_begins_a_life_without_its_slots_and_the_other_disks_keep_theirs(
    of_two: list[Configured], tmp_path: Path
) -> None:
    a, b = of_two
    old = b.path.rename(tmp_path / "old")
    again = Opened(of_two)
    lost = {slot for slot in range(SLOTS) if again.node.is_lost(slot)}
    again.node.be_born(2, lost)
    again.kill()

    async def serve() -> None:
        opened = Opened([b, a])
        node = opened.node
        assert (node.is_born, node.life, node.behind, node.incarnation) == (True, 2, frozenset(lost), 2**20 + 1)
        assert {store.disk: store.life for store in opened.stores} == {1: 2, 2: 2}
        async with opened:
            for path in PATHS:
                is_kept = slot_of(path, SLOTS) not in lost
                assert (await node.read(path)).generation == int(is_kept)

    asyncio.run(serve())
    assert f"{old}: was replaced by another disk and is out of date" in refused([a, Configured(old, 1.0)])
    assert "was replaced by another disk" in refused([Configured(old, 1.0), b])


@pytest.mark.parametrize(("replaced", "is_lost_again"), [(0, False), (1, True)])
def test_a_birth_that_crashes_between_two_disks_leaves_an_empty_one_or_is_told_to_all_at_the_next_start(
    of_two: list[Configured], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, replaced: int, is_lost_again: bool
) -> None:
    """So it costs a number of a life at most; disks are told by their numbers, an empty one as any other."""
    of_two[replaced].path.rename(tmp_path / "old")
    again = Opened(of_two)
    lost = {slot for slot in range(SLOTS) if again.node.is_lost(slot)}
    real = RegisterStore.be_born
    told: list[int] = []

    def once(store: RegisterStore, life: int, behind: Collection[int], listed: Sequence[Disk] | None = None) -> None:
        if told:
            raise KeyboardInterrupt
        told.append(store.disk)
        real(store, life, behind, listed)

    with monkeypatch.context() as crashing, pytest.raises(KeyboardInterrupt):
        crashing.setattr(RegisterStore, "be_born", once)
        again.node.be_born(2, lost)
    again.kill()

    after = Opened(of_two)
    assert told == [1] and after.node.life == 2
    assert {slot for slot in range(SLOTS) if after.node.is_lost(slot)} == (lost if is_lost_again else set())
    if not is_lost_again:
        assert after.node.behind == lost and {store.life for store in after.stores} == {2}
    after.kill()
    both = [*of_two]
    both[replaced] = Configured(tmp_path / "old", 1.0)
    assert "was replaced by another disk and is out of date" in refused(both)


def test_the_list_of_disks_is_that_of_the_first_start(of_two: list[Configured], tmp_path: Path) -> None:
    a, b = of_two
    assert "n1 is given 1 disk but was initialised with 2; set the list back" in refused([a])
    assert f"{tmp_path}/c is none of them; set the list back" in refused([a, b, *places(tmp_path, "c")])
    assert f"{b.path}: weight is 3 but the node was initialised with 1; set it back" in refused(
        [a, Configured(b.path, 3.0)]
    )
    Opened([b, a]).kill()


def test_a_node_with_one_disk_is_not_given_a_second_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with Opened(places(tmp_path, "a")) as node:
            await write(node, "p")

    asyncio.run(story())
    assert "n1 is given 2 disks but was initialised with 1" in refused(places(tmp_path, "a", "b"))
    # as the version before this one left it: nothing says that it is the only one, but there is data
    connection = open_database(tmp_path / "a" / "registers.db")
    connection.execute("DELETE FROM disks; DELETE FROM node WHERE key IN ('disk', 'is_settled')")
    connection.close()
    assert "holds the data of a node with one disk" in refused(places(tmp_path, "a", "b"))
    Opened(places(tmp_path, "a")).kill()
    assert "n1 is given 2 disks but was initialised with 1" in refused(places(tmp_path, "a", "b"))


def test_a_disk_of_another_node_and_a_copy_of_a_disk_are_refused(of_two: list[Configured], tmp_path: Path) -> None:
    a, b = of_two
    copy = Configured(tmp_path / "copy", 1.0)
    copy.path.mkdir()
    (copy.path / "registers.db").write_bytes((a.path / "registers.db").read_bytes())
    assert f"{copy.path}: is the same disk as {a.path}, or a copy of it" in refused([a, copy])
    connection = open_database(b.path / "registers.db")
    connection.execute("UPDATE disks SET node = 'n2'")
    connection.close()
    assert f"{b.path}: holds the data of node n2, not of n1" in refused(of_two)


def test_a_first_start_that_crashes_at_any_line_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = RegisterStore.be
    for count in itertools.count():
        configured = places(tmp_path, f"{count}a", f"{count}b", f"{count}c")
        left = count

        def be(store: RegisterStore, disk: int, listed: Sequence[Disk], *, is_settled: bool) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            real(store, disk, listed, is_settled=is_settled)

        monkeypatch.setattr(RegisterStore, "be", be)
        try:
            Opened(configured).kill()
            break
        except KeyboardInterrupt:
            left = 100
            again = Opened(configured)
            assert [store.disk for store in again.stores] == [1, 2, 3]
            again.kill()
    assert count == 6


LISTED = tuple(Disk(disk, NODE, 1.0) for disk in (1, 2, 3))


@given(st.permutations((1, 2, 3)), st.sets(st.sampled_from((1, 2, 3)), max_size=2), st.data())
def test_whatever_their_order_disks_keep_their_numbers_and_empty_ones_get_those_that_are_missing(
    order: list[int], empty: set[int], data: st.DataObject
) -> None:
    lives = {disk: data.draw(st.integers(1, 3)) for disk in (1, 2, 3)}
    listed = tuple(Disk(disk, NODE, 1.0, lives[disk]) for disk in (1, 2, 3))
    configured = [Configured(Path(f"/{disk}"), 1.0) for disk in order]
    claims = [Claim() if disk in empty else Claim(disk, True, True, listed) for disk in order]
    membership = judge(NODE, configured, claims)
    assert membership.listed == listed and membership.fresh == empty and sorted(membership.disks) == [1, 2, 3]
    for disk, found in zip(order, membership.disks, strict=True):
        assert found == disk or disk in empty
    taken_out = {disk.disk for was, disk in zip(listed, renewed(membership), strict=True) if was.life < disk.life}
    assert taken_out == empty

    # one that was replaced before does not come back beside those that know of it
    old = data.draw(st.sampled_from(sorted({1, 2, 3} - empty)))
    if len(empty) < 2:
        newer = tuple(Disk(disk, NODE, 1.0, lives[disk] + (disk == old)) for disk in (1, 2, 3))
        known = [
            claim if disk == old or disk in empty else Claim(disk, True, True, newer)
            for disk, claim in zip(order, claims, strict=True)
        ]
        with pytest.raises(ConfigError, match=rf"^/{old}: was replaced by another disk and is out of date"):
            judge(NODE, configured, known)


def test_a_list_is_kept_as_it_was_written(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "registers.db")
    listed = (Disk(1, NODE, 0.5, 2), Disk(2, NODE, 3.0))
    write_claim(connection, 2, listed, is_settled=False)
    connection.close()
    store = RegisterStore(tmp_path / "registers.db", 0)
    assert store.claim() == Claim(2, False, False, listed)
    store.abandon()
    assert dealt(NODE, Membership((1, 2), listed), SLOTS) == deal(NODE, {1: 0.5, 2: 3.0}, SLOTS)
