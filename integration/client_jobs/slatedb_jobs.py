"""What is done with SlateDB: an LSM tree that has its log, its tables and its manifest in a bucket.

It knows who may write by the manifest and by the log, and both are made by puts that succeed only if nothing is there.
"""

import asyncio
import hashlib
from collections.abc import Awaitable
from typing import Any

from job import KEY_ID, MIB, SECRET, answer
from slatedb.uniffi import (
    AdminBuilder,
    Db,
    DbBuilder,
    Error,
    FlushOptions,
    FlushType,
    GarbageCollectorDirectoryOptions,
    GarbageCollectorOptions,
    GarbageCollectorScheduleOptions,
    KeyRange,
    ObjectStore,
    ObjectStoreBuilder,
    Settings,
    WriteBatch,
)

EVERYTHING = KeyRange(start=None, start_inclusive=False, end=None, end_inclusive=False)
BATCH = 100
ROUNDS_MAX = 500
"""Of writing on until a compaction has been seen."""

SETTINGS = {
    "flush_interval": '"20ms"',
    "l0_sst_size_bytes": "65536",
    "manifest_poll_interval": '"100ms"',
    "compactor_options.poll_interval": '"50ms"',
    "compactor_options.worker.compactions_poll_interval": '"50ms"',
    "compactor_options.max_sst_size": "262144",
}
"""So small that a few thousand keys fill many tables."""

LARGE = {"l0_sst_size_bytes": "268435456"}
"""So large that what is written fits in one table."""

UNAWARE = {"manifest_poll_interval": '"3600s"'}
"""A writer looks so seldom who may write that it learns it only from a put that fails."""


def store(url: str, bucket: str) -> ObjectStore:
    builder = ObjectStoreBuilder.from_url(f"s3://{bucket}/")
    options = {"endpoint": url, "access_key_id": KEY_ID, "secret_access_key": SECRET, "region": "us-east-1"}
    for name, option in {**options, "allow_http": "true"}.items():
        builder.with_config(name, option)
    return builder.build()


async def opened(url: str, bucket: str, path: str, **more: str) -> Db:
    settings = Settings.default()
    for name, value in (SETTINGS | more).items():
        settings.set(name, value)
    builder = DbBuilder(path, store(url, bucket))
    builder.with_settings(settings)
    return await builder.build()


def digest(pairs: dict[bytes, bytes]) -> dict[str, Any]:
    whole = hashlib.sha256()
    for key in sorted(pairs):
        whole.update(b"%d %b %d %b" % (len(key), key, len(pairs[key]), pairs[key]))
    return {"keys": len(pairs), "sha256": whole.hexdigest()}


def value(key: bytes, time: int) -> bytes:
    """Of a key when it is written for the nth time: bytes that do not compress."""
    return hashlib.shake_128(b"%b at %d" % (key, time)).digest(200 + len(key) % 7)


async def _write(url: str, bucket: str, path: str, keys: int) -> dict[str, Any]:
    db = await opened(url, bucket, path)
    admin = AdminBuilder(path, store(url, bucket)).build()
    expected: dict[bytes, bytes] = {}

    async def put(numbers: range, time: int) -> None:
        batch = WriteBatch()
        for number in numbers:
            key = b"key %06d" % number
            if time and number % 7 == 0:
                batch.delete(key)
                expected.pop(key, None)
            else:
                expected[key] = value(key, time)
                batch.put(key, expected[key])
        await (await db.write(batch)).await_durable()

    for start in range(0, keys, BATCH):
        await put(range(start, min(keys, start + BATCH)), 0)
    for time in range(1, ROUNDS_MAX):
        await put(range(0, keys, 5), time)
        await db.flush_with_options(FlushOptions(flush_type=FlushType.MEM_TABLE))
        manifest = await admin.read_manifest(None)
        if manifest is not None and manifest.compacted:
            break
    else:
        raise AssertionError(f"no compaction after {ROUNDS_MAX} rounds: {await admin.read_manifest(None)}")
    await db.shutdown()
    last = await admin.read_manifest(None)
    assert last is not None
    return {"pairs": digest(expected), "runs": len(last.compacted)}


async def _write_large(url: str, bucket: str, path: str, values: int) -> dict[str, Any]:
    db = await opened(url, bucket, path, **LARGE)
    expected = {b"large %04d" % number: hashlib.shake_128(b"%d" % number).digest(MIB) for number in range(values)}
    for written in [await db.put(key, expected[key]) for key in expected]:
        await written.await_durable()
    await db.shutdown()
    return digest(expected)


async def _read(url: str, bucket: str, path: str, collect: bool) -> dict[str, Any]:
    if collect:
        await _collect(url, bucket, path)
    db = await opened(url, bucket, path)
    found, rows = {}, await db.scan(EVERYTHING)
    while page := await rows.next_batch(1000):
        found |= {bytes(row.key): bytes(row.value) for row in page}
    alone = sorted(found)[:: max(1, len(found) // 100)]
    for key in alone:
        assert await db.get(key) == found[key], key
    assert await db.get(b"never written") is None
    await db.shutdown()
    return digest(found)


async def _collect(url: str, bucket: str, path: str) -> None:
    now = GarbageCollectorDirectoryOptions(min_age_ms=0, dry_run=False)
    options = GarbageCollectorOptions(
        manifest_options=now,
        wal_options=now,
        compacted_options=now,
        compactions_options=now,
        wal_fence_options=now,
        detach_options=GarbageCollectorScheduleOptions(),
    )
    await AdminBuilder(path, store(url, bucket)).build().run_gc_once(options)


async def _fence(urls: list[str], bucket: str, path: str, writers: int, each: int) -> dict[str, Any]:
    acknowledged: list[str] = []
    refused: list[str] = []

    async def put(db: Db, name: str) -> bool:
        try:
            await (await db.put(name.encode(), name.encode())).await_durable()
        except Error.Closed as error:
            refused.append(error.reason.name)
            return False
        acknowledged.append(name)
        return True

    async def write(number: int) -> Db | None:
        try:
            db = await opened(urls[number % len(urls)], bucket, path, **UNAWARE)
        except Error.Closed as error:  # by one that opened it later, before this one was done
            refused.append(error.reason.name)
            return None
        for turn in range(each):
            if not await put(db, f"writer {number} turn {turn}"):
                return None
        return db

    await (await opened(urls[0], bucket, path)).shutdown()  # of those that race to make a database all but one fail
    left = [db for db in await asyncio.gather(*map(write, range(writers))) if db is not None]
    winners = [await put(db, f"last {number}") for number, db in enumerate(left)]
    newest = await opened(urls[0], bucket, path)
    stale = [await put(db, f"stale {number}") for number, db in enumerate(left)]
    found = [name for name in acknowledged if await newest.get(name.encode()) == name.encode()]
    await newest.shutdown()
    return {
        "acknowledged": acknowledged,
        "found": found,
        "refused": refused,
        "last": sum(winners),
        "stale": sum(stale),
    }


def _now(job: Awaitable[Any]) -> Any:
    async def done() -> Any:
        return await job

    return asyncio.run(done())


def write(url: str, bucket: str, path: str, keys: int) -> dict[str, Any]:
    """Write keys by batches, each durable before the next; write some of them over and delete some until the tables
    have been compacted. What must be there.
    """
    return _now(_write(url, bucket, path, keys))


def write_large(url: str, bucket: str, path: str, values: int) -> dict[str, Any]:
    """Write values of 1 MiB to the log, then all of them in one table. What must be there."""
    return _now(_write_large(url, bucket, path, values))


def read(url: str, bucket: str, path: str, collect: bool = False) -> dict[str, Any]:
    """What is there: by a scan, and of some keys by gets, too. If asked, delete before every object that nothing refers
    to.
    """
    return _now(_read(url, bucket, path, collect))


def fence(urls: list[str], bucket: str, path: str, writers: int, each: int) -> dict[str, Any]:
    """Let writers open one database at once through all nodes and write until another fences them; then open it once
    more. What was acknowledged, and found then; why others were refused; how many could write last, and after that.
    """
    return _now(_fence(urls, bucket, path, writers, each))


if __name__ == "__main__":
    answer(globals())
