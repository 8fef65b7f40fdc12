"""What is done with Icechunk: arrays with commits and branches, as Git has them.

A branch is an object that is put only if it is still what the commit was made on.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import icechunk
import numpy as np
import zarr
from job import KEY_ID, SECRET, answer, md5

BRANCH = "main"
CHUNK = 1000
WAIT_S = 60.0
"""Writers wait for each other no longer: one may have failed."""


def repository(url: str, bucket: str, prefix: str) -> icechunk.Repository:
    return icechunk.Repository.open_or_create(
        icechunk.s3_storage(
            bucket=bucket,
            prefix=prefix,
            endpoint_url=url,
            allow_http=True,
            force_path_style=True,
            region="us-east-1",
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
        )
    )


def numbers(writer: int, turn: int) -> np.ndarray[Any, Any]:
    """A chunk that does not compress."""
    return np.random.default_rng([writer, turn]).integers(0, 2**31, CHUNK)


def commit(urls: list[str], bucket: str, prefix: str, writers: int, turns: int) -> dict[str, Any]:
    """Let writers commit to one branch at once through all nodes, each to chunks of its own.

    In a turn all start from the same snapshot; those whom another forestalls rebase and commit again. How often that
    was; what two got who then committed to one chunk at once; what must be there.
    """
    repository(urls[0], bucket, prefix)
    repositories = [repository(urls[number % len(urls)], bucket, prefix) for number in range(writers)]
    session = repositories[0].writable_session(BRANCH)
    shape = (writers * turns * CHUNK,)
    zarr.create_array(session.store, shape=shape, chunks=(CHUNK,), dtype="i8", fill_value=-1)
    session.commit("made")
    at_once = threading.Barrier(writers, timeout=WAIT_S)

    def write(number: int) -> int:
        conflicts = 0
        for turn in range(turns):
            session = repositories[number].writable_session(BRANCH)
            place = (number * turns + turn) * CHUNK
            zarr.open_array(session.store, mode="r+")[place : place + CHUNK] = numbers(number, turn)
            at_once.wait()
            for _ in range(10 * writers):
                try:
                    session.commit(f"writer {number} turn {turn}")
                    break
                except icechunk.ConflictError:
                    conflicts += 1
                    session.rebase(icechunk.ConflictDetector())
            else:
                raise AssertionError(f"writer {number} was always forestalled")
            at_once.wait()
        return conflicts

    with ThreadPoolExecutor(writers) as threads:
        conflicts = list(threads.map(write, range(writers)))
    quarrel = _quarrel(repositories)
    whole = np.concatenate([numbers(number, turn) for number in range(writers) for turn in range(turns)])
    return {"conflicts": sum(conflicts), "quarrel": quarrel, "md5": md5(whole.tobytes())}


def _quarrel(repositories: list[icechunk.Repository]) -> list[str]:
    """Let two commit to the same chunk at once; what each got. Nobody may undo unseen what the other did."""
    sessions = [repository.writable_session(BRANCH) for repository in repositories[:2]]
    for session in sessions:
        zarr.open_array(session.store, mode="r+")[:CHUNK] = numbers(0, 0)
    at_once = threading.Barrier(len(sessions), timeout=WAIT_S)

    def write(session: icechunk.Session) -> str:
        at_once.wait()
        try:
            session.commit("quarrel")
        except icechunk.ConflictError:
            try:
                session.rebase(icechunk.ConflictDetector())
            except icechunk.RebaseFailedError:
                return "refused"
            return "rebased"
        return "committed"

    with ThreadPoolExecutor(len(sessions)) as threads:
        return sorted(threads.map(write, sessions))


def _read(there: icechunk.Repository) -> dict[str, Any]:
    snapshots = [snapshot for snapshot in there.ancestry(branch=BRANCH) if snapshot.parent_id is not None]
    arrays = [zarr.open_array(there.readonly_session(snapshot_id=each.id).store, mode="r")[:] for each in snapshots]
    return {
        "history": [[each.message, int((array != -1).sum())] for each, array in zip(snapshots, arrays, strict=True)],
        "md5": md5(arrays[0].tobytes()),
        "tags": sorted(there.list_tags()),
    }


def read(url: str, bucket: str, prefix: str) -> dict[str, Any]:
    """The history, newest first: what each commit is called and how many numbers it has; the newest ones; the tags."""
    return _read(repository(url, bucket, prefix))


def tidy(url: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Tag the newest snapshot, forget the past, and delete what nothing refers to then. What is read before and after,
    and how many snapshots were deleted.
    """
    there = repository(url, bucket, prefix)
    before = _read(there)
    there.create_tag("kept", snapshot_id=there.lookup_branch(BRANCH))
    now = datetime.now(UTC)
    there.expire_snapshots(older_than=now)
    collected = there.garbage_collect(now)
    after = _read(repository(url, bucket, prefix))
    return {"before": before, "after": after, "deleted": collected.snapshots_deleted}


if __name__ == "__main__":
    answer(globals())
