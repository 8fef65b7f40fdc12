"""The register store against a dict: whatever is asked of it, in whatever order, over restarts and evictions."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.errors import AmberioError, Overloaded
from impl.model import VIRGIN, Register, Rows
from impl.storage import commits
from impl.storage.database import without_body
from impl.storage.registers import RegisterStore
from impl.storage.steps import Committed
from impl.storage.tests.rig import WAIT_S, Remembering, accepting, disk_stalled, opened, preparing

PATHS = ("a", "a/b", "a/c", "b", "é", "\U0001f600")
TINY_CACHE_BYTES = 1500
MEMORY = Path("/dev/shm")
QUICK = MEMORY if os.access(MEMORY, os.W_OK) else None
"""Where many small databases are made: what a power cut leaves is not asked here, so no fsync need wait."""

steps = st.tuples(
    st.sampled_from(("accept", "prepare", "read")),
    st.sampled_from(PATHS),
    st.integers(1, 30),
    st.sampled_from((None, b"", b"x", b"x" * 5000)),
)
bursts = st.tuples(st.just("burst"), st.lists(steps, min_size=1, max_size=12))
scans = st.tuples(
    st.just("scan"),
    st.sampled_from(("", "a", "a/", "b", "\U0001f600", "z")),
    st.sampled_from((None, "", "a", "a/b", "zz")),
    st.integers(1, 7),
)
programs = st.lists(st.one_of(bursts, scans, st.just(("restart",))), min_size=1, max_size=12)


class Played:
    """A program while it is played: the store, and the dict that says what it must answer."""

    def __init__(self, directory: Path, cache_bytes: int) -> None:
        self.directory = directory
        self.cache_bytes = cache_bytes
        self.model: dict[str, Register] = {}

    async def play(self, program: list[tuple[object, ...]]) -> None:
        left = list(program)
        while left:
            tracer = Remembering()
            taken: list[str] = []
            async with opened(self.directory, tracer, self.cache_bytes) as store:
                while left and (command := left.pop(0))[0] != "restart":
                    if command[0] == "burst":
                        taken += await self.burst(store, command[1])  # type: ignore[arg-type]
                    else:
                        await self.scan(store, *command[1:])  # type: ignore[arg-type]
            assert [number for number, _ in tracer.durable] == list(range(1, len(taken) + 1))
            assert sorted(str(event["path"]) for _, event in tracer.durable) == sorted(taken)

    async def burst(self, store: RegisterStore, burst: list[tuple[str, str, int, bytes | None]]) -> list[str]:
        """Ask for all steps at once; each must see what those before it on its path did. Which paths changed."""
        answers: list[asyncio.Future[Committed | Register | AmberioError]] = []
        order: list[int] = []
        expected: list[Committed | None] = []
        allowed: list[list[Register]] = []
        loop = asyncio.get_running_loop()
        for index, (what, path, round, body) in enumerate(burst):
            answer: asyncio.Future[Committed | Register | AmberioError] = loop.create_future()
            answer.add_done_callback(lambda _, index=index: order.append(index))  # type: ignore[misc]
            answers.append(answer)
            found = self.model.get(path, VIRGIN)
            if what == "read":
                store.read_then(path, answer.set_result)
                expected.append(None)
                allowed.append([found])
                continue
            decide = accepting(path, round, body) if what == "accept" else preparing(path, round)
            store.apply_then(path, 7, decide, answer.set_result)
            step = decide(found)
            expected.append(Committed(found, step.register, step.taken, ""))
            allowed.append([])
            if step.taken:
                self.model[path] = step.register
        results = await asyncio.wait_for(asyncio.gather(*answers), WAIT_S)
        changed = []
        for (_, path, _, _), wanted, result in zip(burst, expected, results, strict=True):
            if wanted is None:
                assert isinstance(result, Register)
                continue
            assert isinstance(result, Committed), result
            assert (result.found, result.register, result.taken) == (wanted.found, wanted.register, wanted.taken)
            if result.taken:
                changed.append(path)
        for path in PATHS:
            of_path = [index for index in order if burst[index][1] == path and burst[index][0] != "read"]
            assert of_path == sorted(of_path)
            assert await store.read(path) == self.model.get(path, VIRGIN)
        return changed

    async def scan(self, store: RegisterStore, prefix: str, after: str | None, limit: int) -> None:
        found = await store.scan(prefix, after, limit)
        wanted = [
            (path, register if register.head is None else _unbodied(register))
            for path, register in sorted(self.model.items(), key=lambda item: item[0].encode())
            if path.startswith(prefix) and (after is None or path.encode() > after.encode())
        ]
        assert found == Rows(wanted[:limit], has_more=len(wanted) >= limit)


def _unbodied(register: Register) -> Register:
    assert register.head is not None
    return Register(register.promised, register.accepted, without_body(register.head))


@settings(max_examples=250, deadline=None)
@given(programs, st.sampled_from((TINY_CACHE_BYTES, 1 << 20)))
def test_the_store_answers_as_a_dict_would_over_restarts_and_evictions(
    program: list[tuple[object, ...]], cache_bytes: int
) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK) as directory:
        asyncio.run(Played(Path(directory), cache_bytes).play(program))


def test_nobody_sees_a_state_before_it_is_on_disk(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as store:
            first = await store.apply("a", 1, accepting("a", 1))
            with disk_stalled(tmp_path):
                second = asyncio.ensure_future(store.apply("a", 1, accepting("a", 2)))
                refused = asyncio.ensure_future(store.apply("a", 1, accepting("a", 1)))
                cold = asyncio.ensure_future(store.apply("b", 1, accepting("b", 1)))
                cold_read = asyncio.ensure_future(store.read("b"))
                await asyncio.sleep(0.1)
                # the cached state is still the published one; whoever saw a newer one waits for it to be durable
                assert await store.read("a") == first.register
                assert not (second.done() or refused.done() or cold.done())
            assert (await refused).register == (await second).register == await store.read("a")
            assert not (await refused).taken
            # a read of nothing may be answered with nothing, or with what is durable by then
            assert await cold_read in (VIRGIN, (await cold).register)

    asyncio.run(story())


def test_a_read_that_waits_behind_a_step_sees_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, cache_bytes=0) as store:
            for path in ("a", "b"):  # the cache keeps one entry at least: b's
                await store.apply(path, 1, accepting(path, 1))
            with disk_stalled(tmp_path):
                step = asyncio.ensure_future(store.apply("a", 1, accepting("a", 2)))
                await asyncio.sleep(0.05)
                await store.read("b")
                read = asyncio.ensure_future(store.read("a"))
                await asyncio.sleep(0.05)
                assert store.cached("a") is None and not read.done() and not step.done()
            assert await read == (await step).register

    asyncio.run(story())


def test_what_was_found_is_told_before_the_step_is_committed(tmp_path: Path) -> None:
    """A kill after the commit leaves the step in the database, and takes what is not in the trace by then."""

    async def story() -> None:
        tracer = Remembering()
        async with opened(tmp_path, tracer) as store:
            with disk_stalled(tmp_path):
                step = asyncio.ensure_future(store.apply("a", 1, accepting("a", 1)))
                while not store.queued[0]:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
                assert tracer.touched == [("a", VIRGIN)] and not tracer.durable
            assert (await step).taken

    asyncio.run(story())


def test_steps_that_wait_together_are_committed_together_and_published_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        tracer = Remembering()
        async with opened(tmp_path, tracer) as store:
            order: list[int] = []
            done: list[asyncio.Future[object]] = []
            commits_before = _commits(store)
            with disk_stalled(tmp_path):
                for number in range(300):
                    done.append(asyncio.ensure_future(store.apply(f"p{number}", 1, accepting(f"p{number}", 1))))
                    done[-1].add_done_callback(lambda _, n=number: order.append(n))  # type: ignore[misc]
                while store.queued[0] < 300:  # noqa: ASYNC110 - cold reads come back one by one, and nobody tells
                    await asyncio.sleep(0.01)
                assert not order
            await asyncio.wait_for(asyncio.gather(*done), WAIT_S)
            # one group was stuck on the disk, everything else went with the next
            assert _commits(store) - commits_before <= 2
            numbers = [number for number, _ in tracer.durable]
            assert numbers == list(range(1, 301)) and sorted(order) == list(range(300))
            assert store.queued == (0, 0)

    asyncio.run(story())


def test_beyond_its_bound_the_queue_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "QUEUE_JOBS_MAX", 3)

    async def story() -> None:
        async with opened(tmp_path) as store:
            await store.apply("a", 1, accepting("a", 1))
            with disk_stalled(tmp_path):
                waiting = [asyncio.ensure_future(store.apply("a", 1, accepting("a", 2 + n))) for n in range(3)]
                await asyncio.sleep(0.05)
                answers: list[Committed | AmberioError] = []
                store.apply_then("a", 1, accepting("a", 9), answers.append)
                assert isinstance(answers[0], Overloaded)
            await asyncio.gather(*waiting)
            assert (await store.apply("a", 1, accepting("a", 9))).taken

    asyncio.run(story())


def test_slotlets_differ_exactly_where_heads_do(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "y").mkdir()
        async with opened(tmp_path / "x") as x, opened(tmp_path / "y") as y:
            for number in range(40):
                for store in (x, y):
                    # promises and ballots may differ between replicas that agree
                    await store.apply(f"p{number}", 3, preparing(f"p{number}", 5 if store is x else 6))
                    await store.apply(f"p{number}", 3, accepting(f"p{number}", 7))
            await x.apply("other", 4, accepting("other", 7))
            assert await x.slotlets(3, 1) == await y.slotlets(3, 1)
            assert sum(slotlet.objects for slotlet in await x.slotlets(3, 2)) == 40
            await y.apply("p17", 3, accepting("p17", 8))
            differing = [
                mine.prefix
                for mine, theirs in zip(await x.slotlets(3, 2), await y.slotlets(3, 2), strict=True)
                if mine != theirs
            ]
            assert len(differing) == 1
            assert "p17" in [path for path, _ in await y.heads(3, differing)]
            assert "p17" not in [path for path, _ in await y.heads(4, differing)]

    asyncio.run(story())


def _commits(store: RegisterStore) -> float:
    (histogram,) = [family for family in store.metrics.collect() if family.name == "amberio_commit_seconds"]
    return next(sample.value for sample in histogram.samples if sample.name.endswith("_count"))
