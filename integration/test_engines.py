"""Engines that keep all they have in a bucket: they do to S3 what no client does, and believe what it answers.

Their commits are puts that succeed only if nothing is there, or if what is there is still what was read; they read
ranges, list to find what is newest, upload in parts and delete what nothing refers to. Each does a real job on one
node, and on three of which the one that most of its commits prefer is killed midway; another process then has to find
through the other nodes, and through the killed one when it is back, all that was committed and nothing else.
"""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import hashlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from integration.clients import (
    FULL,
    MIB,
    ROOT,
    SIZES,
    Place,
    assert_same,
    bucket,  # noqa: F401
    installed,
    listed,
    on_three_nodes,
    place,  # noqa: F401
    run,
    started,  # noqa: F401
)

WRITERS = 4
EACH = 8

only_large = pytest.mark.skipif(SIZES != FULL, reason="the ordinary run has no time for more: make engines")


def engine(job: str, **arguments: Any) -> Any:
    """Do a job of integration/client_jobs, as `<engine>.<function>`, in a process that has the engines.

    Arguments and result are JSON. Its working directory is its own, and empty: all that one process tells another goes
    through the bucket.
    """
    name, function = job.split(".")
    python = installed() / "engines/bin/python"
    script = ROOT / "integration/client_jobs" / f"{name}_jobs.py"
    with tempfile.TemporaryDirectory() as home:
        said = run(python, script, function, json.dumps(arguments), env={"HOME": home}, cwd=Path(home))
    return json.loads(said.splitlines()[-1])


def nodes_agree(place: Place, bucket: str) -> set[str]:
    """The keys of a bucket, which all nodes list alike."""
    first, *others = [listed(place.client(node), bucket) for node in place.living]
    for other in others:
        assert_same(other, first)
    return first


def at_once(job: str, urls: list[str], each: list[dict[str, Any]], **arguments: Any) -> list[Any]:
    """Do a job in several processes at once, through these nodes by turns; `each` is what differs."""
    with ThreadPoolExecutor(len(each)) as processes:
        jobs = [
            processes.submit(engine, job, url=urls[number % len(urls)], **arguments, **its)
            for number, its in enumerate(each)
        ]
        return [job.result() for job in jobs]


def revived(place: Place) -> str:
    """The URL of the node that was killed, started again; on one node, its URL."""
    node = (place.dead or place.living)[0]
    place.revive()
    return place.url(node)


# -- SlateDB: an LSM tree


def slatedb_commits(path: str) -> list[str]:
    """The keys of its first logs and manifests."""
    return [f"{path}/{kind}" % number for kind in ("wal/%020d.sst", "manifest/%020d.manifest") for number in range(40)]


def test_slatedb_finds_all_that_it_logged_compacted_and_left_when_it_collected(place: Place, bucket: str) -> None:
    keys = 40 * SIZES.files
    size_bytes = keys * 200
    with (
        place.midway(bucket, slatedb_commits("tree"), 2 * size_bytes) as url,
        place.figure("slatedb", "write", size_bytes, keys),
    ):
        written = engine("slatedb.write", url=url, bucket=bucket, path="tree", keys=keys)
    assert written["runs"] > 0, "nothing was compacted"
    if place.kills:
        assert engine("slatedb.read", url=place.urls[0], bucket=bucket, path="tree") == written["pairs"]
    before = nodes_agree(place, bucket)
    assert engine("slatedb.read", url=revived(place), bucket=bucket, path="tree", collect=True) == written["pairs"]
    assert before - nodes_agree(place, bucket), "nothing was collected"


@on_three_nodes
def test_slatedb_uploads_a_large_table_in_parts(place: Place, bucket: str) -> None:
    values, named = 14, {"bucket": bucket, "path": "large"}
    with (
        # All is logged first: so a quarter of the table is up when the node dies.
        place.midway(bucket, slatedb_commits("large"), 5 * values * MIB // 4) as url,
        place.figure("slatedb", "large table", values * MIB, values),
    ):
        written = engine("slatedb.write_large", url=url, values=values, **named)
    tables = place.client().list_objects_v2(Bucket=bucket, Prefix="large/compacted/")["Contents"]
    etags = [table["ETag"] for table in tables]
    assert any("-" in etag for etag in etags), f"nothing went up in parts: {etags}"
    assert engine("slatedb.read", url=revived(place), **named) == written


def test_of_slatedb_writers_only_the_one_that_opened_last_can_write(place: Place, bucket: str) -> None:
    """The others are fenced; and nothing that was acknowledged to them is lost."""
    with place.midway(bucket, slatedb_commits("fenced"), 150_000) as url, place.figure("slatedb", "fence", 0, WRITERS):
        seen = engine(
            "slatedb.fence", urls=[url, *place.spared], bucket=bucket, path="fenced", writers=WRITERS, each=EACH
        )
    assert seen["found"] == seen["acknowledged"]
    assert (seen["last"], seen["stale"]) == (1, 0), seen
    assert set(seen["refused"]) == {"FENCED"} and len(seen["refused"]) == WRITERS, seen


# -- Icechunk: arrays with commits


def test_icechunk_commits_that_race_are_all_there_or_refused(place: Place, bucket: str) -> None:
    turns = SIZES.races
    with (
        place.midway(bucket, ["arrays/refs/branch.main/ref.json"], 50_000 * turns) as url,
        place.figure("icechunk", "commits", 8000 * WRITERS * turns, WRITERS * turns),
    ):
        done = engine(
            "icechunk.commit", urls=[url, *place.spared], bucket=bucket, prefix="arrays", writers=WRITERS, turns=turns
        )
    assert done["quarrel"] == ["committed", "refused"]
    assert done["conflicts"] >= (WRITERS - 1) * turns, "more than one commit followed one snapshot"
    if place.kills:
        assert engine("icechunk.read", url=place.urls[0], bucket=bucket, prefix="arrays")["md5"] == done["md5"]
    tidied = engine("icechunk.tidy", url=revived(place), bucket=bucket, prefix="arrays")

    history = tidied["before"]["history"]
    commits = [f"writer {number} turn {turn}" for number in range(WRITERS) for turn in range(turns)]
    assert sorted(name for name, _ in history) == sorted(["made", *commits, "quarrel"]), "not once each"
    counts = [*range(len(commits) + 1), len(commits)]
    assert [count for _, count in reversed(history)] == [1000 * count for count in counts]
    assert tidied["before"]["md5"] == done["md5"]
    assert tidied["after"] == {"history": history[:1], "md5": done["md5"], "tags": ["kept"]}
    assert tidied["deleted"] > len(commits), "neither the past nor what was refused was deleted"
    nodes_agree(place, bucket)


# -- delta-rs: tables with a log


def test_deltalake_processes_that_append_through_several_nodes_lose_no_row_and_no_version(
    place: Place, bucket: str
) -> None:
    turns, count, uri = SIZES.races, 5000, f"s3://{bucket}/table"
    names = [f"{writer}.{turn}" for writer in range(2) for turn in range(turns)]
    log = [f"table/_delta_log/{version:020}.json" for version in range(len(names) + 1)]
    engine("deltalake.make", url=place.urls[0], uri=uri)
    with place.midway(bucket, log, 40_000 * turns) as url, place.figure("deltalake", "appends", 0, len(names)):
        writers = [{"writer": number, "turns": turns, "count": count} for number in range(2)]
        for versions in at_once("deltalake.append", [url, *place.spared], writers, uri=uri):
            assert versions == sorted(set(versions)), "a writer went back in time"
    if place.kills:
        assert engine("deltalake.read", url=place.urls[0], uri=uri)["commits"] == dict.fromkeys(names, count)
    altered = engine("deltalake.alter", url=revived(place), uri=uri)

    assert altered["before"] == {
        "history": list(range(len(log))),
        "commits": dict.fromkeys(names, count),
        "past": [count * commits for commits in range(len(log))],
    }
    del names[turns]
    assert altered["after"] == dict.fromkeys(names, count) | {"0.0": count - 10, "99.0": 10}
    left = nodes_agree(place, bucket)
    assert {f"s3://{bucket}/{key}" for key in left if "/_delta_log/" not in key} == set(altered["files"])
    numbers = sorted(key for key in left if key.endswith(".json"))
    assert numbers == [f"table/_delta_log/{version:020}.json" for version in range(len(numbers))], "the log has a gap"


# -- Lance: columns with versions and indices


@only_large
def test_lance_versions_that_processes_race_for_are_each_one_commit_and_find_what_they_index(
    place: Place, bucket: str
) -> None:
    turns, count, uri, other = 5 * SIZES.races, 200, f"s3://{bucket}/rows", 10**6
    commits = 2 * turns
    manifests = [f"rows/_versions/{2**64 - 1 - version:020}.manifest" for version in range(commits + 2)]
    engine("lance.make", url=place.urls[0], uri=uri)
    with place.midway(bucket, manifests, 15_000 * turns) as url, place.figure("lance", "appends", 0, commits):
        writers = [{"first": first, "turns": turns, "count": count} for first in (0, other)]
        seen = at_once("lance.append", [url, *place.spared], writers, uri=uri)
    assert sorted(version for versions in seen for version in versions) == list(range(2, commits + 2))
    if place.kills:
        assert engine("lance.read", url=place.urls[0], uri=uri)["versions"] == list(range(1, commits + 2))
    sought = [7, 150, 2 * count - 1, other]
    altered = engine("lance.alter", url=revived(place), uri=uri, sought=sought)

    numbers = {first + number for first in (0, other) for number in range(turns * count)}
    assert altered["before"] == {
        "versions": list(range(1, commits + 2)),
        "past": [count * commit for commit in range(commits + 1)],
        "sums": {"new": [len(numbers), sum(numbers)]},
    }
    updated = set(range(100)) - {50}
    new = (numbers | {10**9}) - updated - set(range(100, 200))
    after = altered["after"]
    assert after["sums"] == {"updated": [len(updated), sum(updated)], "new": [len(new), sum(new)]}
    assert len(after["versions"]) == 1 and altered["removed"] > commits
    assert altered["indexed"] == ["number_idx", "vector_idx"] and altered["found"] == len(sought) - 1
    nearest = zip(altered["nearest"], sought, strict=True)
    assert [number for near, number in nearest if near != number] == [150], "only what was deleted may be another's"
    nodes_agree(place, bucket)


# -- Databend: a column store


@only_large
def test_databend_attaches_a_table_that_it_has_never_seen_by_its_objects_alone(place: Place, bucket: str) -> None:
    """Their names are random: so no node is preferred by most."""
    batches, batch, location = SIZES.races, 50_000, f"s3://{bucket}/lake/"
    with (
        place.midway(bucket, ["lake/"], 4_000_000 * batches) as url,
        place.figure("databend", "write", 64 * batch * batches, batches),
    ):
        written = engine("databend.write", url=url, location=location, batches=batches)
    rows, deleted = batches * batch, 2000
    inserts = [batch * (number + 1) for number in range(batches)]
    assert [count for count, _ in groupby(written["snapshots"])] == [*inserts, rows - deleted]
    updated, new = range(1000), range(1000 + deleted, rows)
    assert written["holds"] == {
        "states": {"updated": [len(updated), sum(updated)], "new": [len(new), sum(new)]},
        "few": [[number, hashlib.sha256(b"%d" % number).hexdigest()] for number in range(0, rows, 9973)],
    }
    where = f"{location}{written['within']}/"
    if place.kills:
        assert engine("databend.attach", url=place.urls[0], location=where) == written["holds"]
    assert engine("databend.attach", url=revived(place), location=where) == written["holds"]
    nodes_agree(place, bucket)
