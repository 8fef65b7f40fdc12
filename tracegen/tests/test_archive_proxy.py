"""The way to the archive with real parts: boto3, moto's server as the harness starts it, and a proxy in between."""

import asyncio
import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tracegen.archive import s3_server
from tracegen.archive.face import Held, WayFaults
from tracegen.archive.s3 import BUCKET, S3Behind, S3Process
from tracegen.backend.spawning import free_ports
from tracegen.errors import HarnessError

QUIET_S = 0.25
"""After so long a client takes an answer to be lost."""
KEY = "cluster/a/b c"


class World:
    """One archive for all tests of this file, a client of each of two nodes, and a loop in which the proxies run."""

    def __init__(self, archive: S3Behind, runner: asyncio.Runner) -> None:
        self.archive = archive
        self._runner = runner
        self._threads = ThreadPoolExecutor(8)
        self._clients = {node: _client(archive, node) for node in ("n1", "n2")}

    def run(self, story: Any) -> Any:
        return self._runner.run(asyncio.wait_for(story, 20))

    async def ask(self, node: str, operation: str, **given: Any) -> Any:
        call = getattr(self._clients[node], operation)
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(Bucket=BUCKET, **given))

    async def put(self, node: str, body: bytes, generation: int = 1, **given: Any) -> Any:
        metadata = {"amberio-generation": str(generation)}
        return await self.ask(node, "put_object", Key=KEY, Body=body, Metadata=metadata, **given)

    async def body(self, node: str = "n2") -> bytes | None:
        try:
            answer = await self.ask(node, "get_object", Key=KEY)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey"
            return None
        content: bytes = await asyncio.to_thread(answer["Body"].read)
        return content

    async def nothing_is_late(self) -> None:
        while self.archive.late:  # noqa: ASYNC110 # a proxy tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    def heal(self) -> None:
        for node in ("n1", "n2"):
            self.archive.way(node).faults = WayFaults()
            self.archive.way(node).done.clear()
            self.archive._proxies[node]._draw = random.Random(node)  # so that no test depends on those before it
            self.archive.let_know(node)


def _client(archive: S3Behind, node: str) -> Any:
    place: Any = archive.place(node)["s3"]
    keys: Any = place["credentials"]
    times = Config(
        connect_timeout=2, read_timeout=QUIET_S, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    return boto3.session.Session().client(
        "s3",
        "us-east-1",
        endpoint_url=place["endpoint"],
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        config=times,
    )


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("archive")
    log = root / "archive.log"
    archive = S3Behind(("n1", "n2"), S3Process(log, *free_ports(1)), log, root / "archive.ndjson", 5.0)
    with asyncio.Runner() as runner:
        runner.run(archive.start())
        try:
            yield World(archive, runner)
        finally:
            runner.run(archive.stop())


@pytest.fixture
def world(started: World) -> Iterator[World]:
    started.heal()
    yield started
    started.heal()
    started.run(started.ask("n2", "delete_object", Key=KEY))


def test_what_a_node_stores_any_client_may_read_and_the_harness_sees_it(world: World) -> None:
    async def story() -> None:
        await world.put("n1", b"x" * 100_000, generation=7)
        assert await world.body("n2") == b"x" * 100_000
        head = await world.ask("n2", "head_object", Key=KEY)
        assert (head["ContentLength"], head["Metadata"]) == (100_000, {"amberio-generation": "7"})
        held = await world.archive.contents()
        assert held[KEY] == Held(100_000, hashlib.sha256(b"x" * 100_000).hexdigest(), 7)
        await world.ask("n1", "delete_object", Key=KEY)
        assert KEY not in await world.archive.contents()
        told = [(change.key, change.generation, change.is_there) for change in world.archive.changes()[-2:]]
        assert told == [(KEY, 7, True), (KEY, None, False)]
        now_s = asyncio.get_running_loop().time()
        assert all(now_s - 5 < change.at_s <= now_s for change in world.archive.changes()[-2:])

    world.run(story())


def test_an_upload_in_parts_is_one_change_with_its_generation_and_keeps_its_precondition(world: World) -> None:
    async def upload(generation: int, **condition: str) -> None:
        metadata = {"amberio-generation": str(generation)}
        begun = await world.ask("n1", "create_multipart_upload", Key=KEY, Metadata=metadata)
        part = await world.ask("n1", "upload_part", Key=KEY, UploadId=begun["UploadId"], PartNumber=1, Body=b"part")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        await world.ask(
            "n1", "complete_multipart_upload", Key=KEY, UploadId=begun["UploadId"], MultipartUpload=parts, **condition
        )

    async def story() -> None:
        before = len(world.archive.changes())
        await upload(4, IfNoneMatch="*")
        (change,) = world.archive.changes()[before:]
        assert (change.generation, change.is_there) == (4, True)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            await upload(5, IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            await upload(5, IfMatch='"another"')
        assert len(world.archive.changes()) == before + 1

    world.run(story())


@pytest.mark.parametrize(("outage", "seen"), [("refuses", "broken"), ("silent", "stalled")])
def test_during_an_outage_nothing_arrives_and_after_it_everything_does(world: World, outage: Any, seen: str) -> None:
    async def story() -> None:
        await world.put("n1", b"before")
        world.archive.way("n1").faults.outage = outage
        with pytest.raises(BotoCoreError):
            await world.put("n1", b"meanwhile")
        assert (await world.archive.try_way("n1", 0.1)).result == seen
        assert await world.body("n2") == b"before"
        assert (await world.archive.try_way("n2", 2.0)).result == "answered"
        world.heal()
        await world.put("n1", b"after")
        assert await world.body("n2") == b"after"

    world.run(story())


def test_who_waits_in_a_silent_outage_hears_of_its_end(world: World) -> None:
    async def story() -> None:
        world.archive.way("n1").faults.outage = "silent"
        asked = asyncio.create_task(world.archive.try_way("n1", 5.0))
        await asyncio.sleep(0.1)
        world.heal()
        assert (await asked).result == "broken"

    world.run(story())


def test_a_slow_way_takes_as_long_as_it_should_and_throttling_does_nothing(world: World) -> None:
    async def story() -> None:
        way = world.archive.way("n1")
        way.faults.slow_s = 0.15
        crossing = await world.archive.try_way("n1", 5.0)
        assert crossing.result == "answered" and crossing.took_ms >= 150
        way.faults = WayFaults(throttle=1.0)
        with pytest.raises(ClientError, match="SlowDown"):
            await world.put("n1", b"no")
        assert await world.body() is None
        assert way.done["throttle"] == 1

    world.run(story())


def test_a_write_whose_answer_is_lost_is_done(world: World) -> None:
    async def story() -> None:
        way = world.archive.way("n1")
        way.faults.lose = 1.0
        for number in range(4):  # some connections break, of others nothing is heard
            with pytest.raises(BotoCoreError):
                await world.put("n1", b"%d" % number)
            assert await world.body() == b"%d" % number
        assert way.done["lose"] == 4

    world.run(story())


def test_who_sent_what_is_done_when_the_fault_is_over_hears_that_the_answer_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        way = world.archive.way("n1")
        proxy = world.archive._proxies["n1"]
        ask = proxy._ask

        async def ask_until_healed(request: Any) -> bytes:
            answer = await ask(request)
            way.faults.lose = 0.0
            world.archive.let_know("n1")
            return answer

        monkeypatch.setattr(proxy, "_ask", ask_until_healed)
        for _ in range(6):
            way.faults.lose = 1.0
            assert (await world.archive.try_way("n1", 5.0)).result == "broken"

    world.run(story())


def test_a_connection_that_is_cut_leaves_all_of_a_write_or_nothing(world: World) -> None:
    async def story() -> None:
        world.archive.way("n1").faults.cut = 1.0
        left = []
        for number in range(8):
            with pytest.raises(BotoCoreError):
                await world.put("n1", b"%d" % number * 50_000)
            left.append(await world.body())
        bodies = [b"%d" % number * 50_000 for number in range(8)]
        assert set(left) <= {None, *bodies}
        assert {left[at] == body for at, body in enumerate(bodies)} == {True, False}

    world.run(story())


def test_a_read_that_is_cut_never_passes_for_a_whole_one(world: World) -> None:
    async def story() -> None:
        await world.put("n1", b"body" * 50_000)
        world.archive.way("n1").faults.cut = 1.0
        for _ in range(4):
            with pytest.raises(BotoCoreError):
                await world.body("n1")

    world.run(story())


def test_a_late_write_arrives_after_a_later_one(world: World) -> None:
    async def story() -> None:
        way = world.archive.way("n1")
        way.faults.late, way.faults.late_s = 1.0, 1.2
        with pytest.raises(BotoCoreError):
            await world.put("n1", b"old", generation=1)
        way.faults.late = 0.0
        assert world.archive.late == 1
        await world.put("n1", b"new", generation=2)
        assert await world.body() == b"new"
        await world.nothing_is_late()
        assert await world.body() == b"old"
        assert [change.generation for change in world.archive.changes()[-2:]] == [2, 1]

    world.run(story())


def test_a_late_write_with_a_condition_does_not_undo_a_later_one(world: World) -> None:
    async def story() -> None:
        first = await world.put("n1", b"first")
        way = world.archive.way("n1")
        way.faults.late, way.faults.late_s = 1.0, 0.3
        with pytest.raises(BotoCoreError):
            await world.put("n1", b"old", IfMatch=first["ETag"])
        way.faults.late = 0.0
        await world.put("n1", b"new", IfMatch=first["ETag"])
        await world.nothing_is_late()
        assert await world.body() == b"new"

    world.run(story())


def test_what_was_signed_too_long_ago_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = world.archive._proxies["n1"]
    monkeypatch.setattr(proxy, "_life_s", -1.0)
    with pytest.raises(ClientError, match="RequestTimeTooSkewed"):
        world.run(world.put("n1", b"late"))
    assert world.run(world.body()) is None


def test_a_machine_without_moto_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moto").mkdir()
    (tmp_path / "moto" / "__init__.py").write_text("raise ImportError('no moto here')")
    monkeypatch.setattr("tracegen.backend.spawning.PACKAGES", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    log = tmp_path / "log"
    archive = S3Behind(("n1",), S3Process(log, *free_ports(1)), log, tmp_path / "changes", 5.0)

    async def story() -> None:
        try:
            await archive.start()
        finally:
            await archive.stop()

    with pytest.raises(HarnessError, match=f"exit code {s3_server.NO_MOTO}\n.*pip install 'moto"):
        asyncio.run(story())
