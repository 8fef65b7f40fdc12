"""What is done with delta-rs: a table whose log is one object for each commit, put if there is none of that number."""

from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import CommitFailedError
from job import KEY_ID, SECRET, answer

TRIES_MAX = 50


def options(url: str) -> dict[str, str]:
    return {
        "aws_endpoint": url,
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
        "aws_conditional_put": "etag",
    }


def rows(writer: int, turn: int, count: int) -> pa.Table:
    columns = {"writer": [writer] * count, "turn": [turn] * count, "number": list(range(count))}
    return pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})


def make(url: str, uri: str) -> None:
    """A table of no rows. Of those that race to make one some fail, as with delta-rs they would make several."""
    DeltaTable.create(uri, schema=rows(0, 0, 0).schema, storage_options=options(url))


def append(url: str, uri: str, writer: int, turns: int, count: int) -> list[int]:
    """Commit `count` rows in each turn. The versions that this writer saw after its own commits.

    delta-rs itself takes the next number when another took the one it wanted; and so do we when it gives up.
    """
    seen = []
    for turn in range(turns):
        for _ in range(TRIES_MAX):
            try:
                write_deltalake(uri, rows(writer, turn, count), mode="append", storage_options=options(url))
                break
            except CommitFailedError:
                continue
        else:
            raise AssertionError(f"writer {writer} was always forestalled")
        seen.append(DeltaTable(uri, storage_options=options(url)).version())
    return seen


def _asked(table: DeltaTable, query: str) -> list[dict[str, Any]]:
    """What delta-rs's own engine answers, of the table as `t`.

    Not by `to_pyarrow_table`: PyArrow reads through threads that call back into Python, and now and then they abort the
    process when it exits.
    """
    answered = QueryBuilder().register("t", table).execute(query).read_all()
    return list(pa.table(answered).to_pylist())


def _counts(table: DeltaTable) -> dict[str, int]:
    """How many rows of each commit; none may be there twice."""
    grouped = "select writer, turn, count(*) as n, count(distinct number) as d from t group by writer, turn"
    commits = _asked(table, grouped)
    assert all(each["n"] == each["d"] for each in commits), commits
    return {f"{each['writer']}.{each['turn']}": each["n"] for each in commits}


def read(url: str, uri: str) -> dict[str, Any]:
    """The numbers of all commits; how many rows of each are there now; how many rows each version had."""
    newest = DeltaTable(uri, storage_options=options(url))
    past = [DeltaTable(uri, version, options(url)) for version in range(newest.version() + 1)]
    return {
        "history": sorted(entry["version"] for entry in newest.history()),
        "commits": _counts(newest),
        "past": [_asked(each, "select count(*) as n from t")[0]["n"] for each in past],
    }


def alter(url: str, uri: str) -> dict[str, Any]:
    """Merge, delete, compact, write a checkpoint, and remove the files that only older versions need.

    What is there before and after, and in which files.
    """
    before = read(url, uri)
    table = DeltaTable(uri, storage_options=options(url))
    changes = pa.concat_tables([rows(0, 0, 10), rows(99, 0, 10)])
    where = "t.writer = s.writer and t.turn = s.turn and t.number = s.number"
    merge = table.merge(changes, where, source_alias="s", target_alias="t")
    merge.when_matched_delete().when_not_matched_insert_all().execute()
    table.delete("writer = 1 and turn = 0")
    table.optimize.compact()
    table.create_checkpoint()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    newest = DeltaTable(uri, storage_options=options(url))
    return {"before": before, "after": _counts(newest), "files": sorted(newest.file_uris())}


if __name__ == "__main__":
    answer(globals())
