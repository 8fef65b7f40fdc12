"""Polars: frames written and read whole, what a filter leaves without reading the rest, partitions, other formats."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from integration.clients import (
    SIZES,
    Place,
    bucket,  # noqa: F401
    library,
    on_one_node,
    place,  # noqa: F401
    started,  # noqa: F401
)
from integration.tripwire import Tripwire

ROW_BYTES = 16


def test_a_large_frame_is_written_in_parts_and_read_whole_and_by_a_filter(place: Place, bucket: str) -> None:
    rows = SIZES.large_bytes // ROW_BYTES
    named, key = {"bucket": bucket, "rows": rows}, "one.parquet"
    with (
        place.midway(bucket, [key], SIZES.large_bytes // 2) as url,
        place.figure("polars", "write_parquet", SIZES.large_bytes),
    ):
        library("polars.write", url=url, **named)
    with (
        place.midway(bucket, [key], SIZES.large_bytes // 2) as url,
        place.figure("polars", "read_parquet", SIZES.large_bytes),
    ):
        assert library("polars.read", url=url, **named)
    low = rows // 2
    seen = library("polars.some", urls=place.urls, low=low, high=low + rows // 200, **named)
    assert seen == [True] * len(place.urls)


@on_one_node
def test_a_filter_reads_only_the_groups_of_rows_that_it_may_leave(place: Place, bucket: str) -> None:
    rows = 1_000_000
    named = {"bucket": bucket, "rows": rows}
    library("polars.write", url=place.urls[0], **named)
    passed = {}
    for what, low, high in (("few", 500_000, 502_000), ("all", 0, rows)):
        counting = Tripwire(place.nodes.ports["n1"], 1, lambda: None)
        assert library("polars.some", urls=[f"http://127.0.0.1:{counting.port}"], low=low, high=high, **named) == [True]
        counting.close()
        passed[what] = counting.beyond_bytes
    assert passed["all"] > rows * ROW_BYTES > 8 * passed["few"]


@on_one_node
def test_a_frame_is_written_by_partitions_and_as_other_formats_and_read_back(place: Place, bucket: str) -> None:
    seen = library("polars.partitions", url=place.urls[0], bucket=bucket, rows=20_000)
    assert seen == dict.fromkeys(seen, True)
