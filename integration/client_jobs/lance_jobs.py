"""What is done with Lance: columns with versions and indices. A version is a manifest, put if none has its number."""

from typing import Any

import lance
import numpy as np
import pyarrow as pa
from job import KEY_ID, SECRET, answer

DIMENSIONS = 16


def options(url: str) -> dict[str, str]:
    return {
        "aws_endpoint": url,
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "allow_http": "true",
    }


def opened(url: str, uri: str, version: int | None = None) -> lance.LanceDataset:
    return lance.dataset(uri, version, storage_options=options(url))


def vector(number: int) -> Any:
    """Near no other number's."""
    return np.random.default_rng(number).random(DIMENSIONS, dtype="f4")


def rows(first: int, count: int) -> pa.Table:
    vectors = pa.array(np.concatenate([vector(number) for number in range(first, first + count)]))
    return pa.table(
        {
            "number": pa.array(range(first, first + count), pa.int64()),
            "state": pa.array(["new"] * count),
            "vector": pa.FixedSizeListArray.from_arrays(vectors, DIMENSIONS),
        }
    )


def make(url: str, uri: str) -> None:
    """A table of no rows."""
    lance.write_dataset(rows(0, 1).slice(1), uri, storage_options=options(url))


def append(url: str, uri: str, first: int, turns: int, count: int) -> list[int]:
    """Commit `count` rows in each turn, numbered from `first`. The versions that this writer's commits got."""
    table, seen = opened(url, uri), []
    for turn in range(turns):
        table = lance.write_dataset(
            rows(first + turn * count, count), table, mode="append", storage_options=options(url)
        )
        seen.append(table.version)
    return seen


def _sums(table: lance.LanceDataset) -> dict[str, list[int]]:
    """How many rows are in each state, and the sum of their numbers."""
    grouped = table.to_table(["state", "number"]).group_by("state").aggregate([("number", "count"), ("number", "sum")])
    return {each["state"]: [each["number_count"], each["number_sum"]] for each in grouped.to_pylist()}


def read(url: str, uri: str) -> dict[str, Any]:
    """The numbers of all versions; how many rows each has; what the newest holds."""
    newest = opened(url, uri)
    versions = [entry["version"] for entry in newest.versions()]
    return {
        "versions": versions,
        "past": [opened(url, uri, version).count_rows() for version in versions],
        "sums": _sums(newest),
    }


def alter(url: str, uri: str, sought: list[int]) -> dict[str, Any]:
    """Index, update, delete, upsert, compact, remove older versions. What is there before and after, and which numbers
    are nearest to the vectors of those that are sought.
    """
    before = read(url, uri)
    table = opened(url, uri)
    table.create_scalar_index("number", "BTREE")
    table.create_index("vector", "IVF_FLAT", num_partitions=4)
    table.update({"state": "'updated'"}, where="number < 100")
    table.delete("number >= 100 and number < 200")
    upserted = pa.concat_tables([rows(50, 1), rows(10**9, 1)])
    table.merge_insert("number").when_matched_update_all().when_not_matched_insert_all().execute(upserted)
    table.optimize.compact_files()
    table.optimize.optimize_indices()
    removed = table.cleanup_old_versions(retain_versions=1)
    newest = opened(url, uri)
    columns, near = ["number", "_distance"], {"column": "vector", "k": 1, "nprobes": 4}
    nearest = [newest.to_table(columns, nearest={**near, "q": vector(number)}) for number in sought]
    return {
        "before": before,
        "after": read(url, uri),
        "removed": removed.old_versions,
        "indexed": sorted({index["name"] for index in newest.list_indices()}),
        "found": newest.to_table(["number"], filter=f"number IN ({', '.join(map(str, sought))})").num_rows,
        "nearest": [one["number"][0].as_py() for one in nearest],
    }


if __name__ == "__main__":
    answer(globals())
