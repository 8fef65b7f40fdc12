"""What is done with Polars, which reads and writes S3 by itself."""

from typing import Any

import polars as pl
from job import KEY_ID, SECRET, answer

DAYS = 5


def options(url: str) -> dict[str, str]:
    return {
        "aws_endpoint_url": url,
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }


def frame(rows: int) -> pl.DataFrame:
    """16 bytes a row: a number, and one that cannot be compressed."""
    numbers = pl.int_range(rows, eager=True).alias("number")
    return pl.DataFrame([numbers, numbers.hash(seed=1).alias("hash")])


def write(url: str, bucket: str, rows: int) -> None:
    """Write a frame as one object, in 64 groups of rows, whose statistics a reader can pass groups over by."""
    frame(rows).write_parquet(
        f"s3://{bucket}/one.parquet",
        row_group_size=-(-rows // 64),
        compression="uncompressed",
        storage_options=options(url),
    )


def read(url: str, bucket: str, rows: int) -> bool:
    """Read it, whole; is it the same?"""
    return pl.read_parquet(f"s3://{bucket}/one.parquet", storage_options=options(url)).equals(frame(rows))


def some(urls: list[str], bucket: str, rows: int, low: int, high: int) -> list[bool]:
    """Read what a filter leaves, lazily, at each URL; is it the same?"""
    expected = frame(rows).filter(pl.col("number").is_between(low, high)).select("hash")
    lazy = [pl.scan_parquet(f"s3://{bucket}/one.parquet", storage_options=options(url)) for url in urls]
    return [
        one.filter(pl.col("number").is_between(low, high)).select("hash").collect().equals(expected) for one in lazy
    ]


def partitions(url: str, bucket: str, rows: int) -> dict[str, Any]:
    """Write a frame by days and read it back by a pattern, by a filter on days, and as other formats."""
    there = options(url)
    written = frame(rows).with_columns((pl.col("number") % DAYS).cast(pl.String).add("/+ ö").alias("day"))
    written.write_parquet(f"s3://{bucket}/set/", partition_by="day", storage_options=there)
    lazy = pl.scan_parquet(f"s3://{bucket}/set/**/*.parquet", hive_partitioning=True, storage_options=there)
    written.lazy().sink_ndjson(f"s3://{bucket}/lines.ndjson", storage_options=there)
    written.lazy().sink_csv(f"s3://{bucket}/lines.csv", storage_options=there)
    by_day = lazy.filter(pl.col("day") == "3/+ ö").select(pl.col("number").sort()).collect()["number"].to_list()
    csv = pl.scan_csv(f"s3://{bucket}/lines.csv", storage_options=there).collect()
    return {
        "whole": lazy.sort("number").select(written.columns).collect().equals(written),
        "by_day": by_day == list(range(3, rows, DAYS)),
        "ndjson": pl.scan_ndjson(f"s3://{bucket}/lines.ndjson", storage_options=there).collect().equals(written),
        "csv": csv.select("number", "day").equals(written.select("number", "day")),
    }


if __name__ == "__main__":
    answer(globals())
