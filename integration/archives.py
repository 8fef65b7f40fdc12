"""Every kind of archive there is, opened in the same way for the tests of this folder."""

import asyncio
import itertools
import os
import random
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from impl.archive.directory import open_directory
from impl.archive.face import Archive
from impl.archive.remote import RemoteArchive
from impl.archive.retries import Limits
from impl.archive.s3 import S3Bucket, open_s3
from impl.archive.settings import S3Settings
from impl.doors import RealClock, RealRandom
from integration.moto_server import Moto
from tracegen.backend.sim.archive import Faults, SimBucket
from tracegen.backend.sim.loop import SimLoop
from tracegen.backend.sim.node import SimClock, SimRandom

Result = TypeVar("Result")
PART_BYTES = 64
LIMITS = Limits(part_bytes=PART_BYTES)
PERSISTENT = Limits(part_bytes=PART_BYTES, attempts_max=3, retry_budget=10_000, failures_max=100, attempt_s=5)
TROUBLE = Faults(throttle=0.1, fail=0.1, lose=0.15, slow_s=0.2)
MEMORY = Path("/dev/shm")
QUICK = MEMORY if os.access(MEMORY, os.W_OK) else None

_buckets = itertools.count(1)


@dataclass(frozen=True)
class Opened:
    """An archive, and how to wait for what it does.

    `is_troubled`: it may raise ArchiveUnavailable and ArchiveThrottled. `can_replace_parts_if_match`: moto does not
    know If-Match where an upload is completed; S3 does. `can_have_any_key`: moto fails on what XML cannot say.
    """

    archive: Archive
    run: Callable[[Coroutine[Any, Any, Result]], Result]
    is_troubled: bool = False
    can_replace_parts_if_match: bool = True
    can_have_any_key: bool = True


@contextmanager
def in_directory() -> Iterator[Opened]:
    with tempfile.TemporaryDirectory(dir=QUICK) as root, asyncio.Runner() as runner:
        archive = runner.run(open_directory(Path(root), RealClock(), RealRandom(), LIMITS))
        yield Opened(archive, runner.run)
        runner.run(archive.close())


@contextmanager
def simulated(faults: Faults | None = None, limits: Limits = LIMITS, seed: int = 0) -> Iterator[Opened]:
    loop = SimLoop()
    bucket = SimBucket(loop, random.Random(seed))
    archive = RemoteArchive(bucket.access("n1"), limits, SimClock(loop), SimRandom(random.Random(seed)))
    asyncio.set_event_loop(loop)
    try:
        if faults is not None:
            bucket.faults = faults
        yield Opened(archive, loop.run_until_complete, is_troubled=faults is not None)
        assert not loop.errors
    finally:
        asyncio.set_event_loop(None)
        loop.let_go()


@contextmanager
def in_s3(moto: Moto, limits: Limits = LIMITS) -> Iterator[Opened]:
    with asyncio.Runner() as runner:
        archive = runner.run(open_moto(moto, limits))
        yield Opened(archive, runner.run, can_replace_parts_if_match=False, can_have_any_key=False)
        runner.run(archive.close())


async def open_moto(moto: Moto, limits: Limits = LIMITS) -> RemoteArchive:
    """An archive in a new bucket."""
    name = f"bucket-{next(_buckets)}"
    await asyncio.to_thread(moto.client.create_bucket, Bucket=name)
    return await open_s3(s3_settings(moto, name), RealClock(), RealRandom(), limits)


def bucket_of(archive: RemoteArchive) -> str:
    """The name of the bucket in which an archive is."""
    bucket = archive._bucket
    assert isinstance(bucket, S3Bucket)
    return bucket._name


def s3_settings(moto: Moto, bucket: str) -> S3Settings:
    return S3Settings(bucket, endpoint_url=moto.url, access_key_id="key", secret_access_key="secret", read_s=5)


KINDS = ("directory", "simulated", "troubled", "s3")


@contextmanager
def opened(kind: str, moto: Moto) -> Iterator[Opened]:
    """An empty archive of this kind."""
    with ExitStack() as stack:
        match kind:
            case "directory":
                yield stack.enter_context(in_directory())
            case "simulated":
                yield stack.enter_context(simulated())
            case "troubled":
                yield stack.enter_context(simulated(TROUBLE, PERSISTENT))
            case "s3":
                yield stack.enter_context(in_s3(moto))
