"""PyArrow's S3 file system: trees, a large stream, reads at random, partitioned datasets, a file system's ways."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from pathlib import Path

from integration.clients import (
    SIZES,
    Place,
    assert_same,
    bucket,  # noqa: F401
    large_there_and_back,
    library,
    on_one_node,
    place,  # noqa: F401
    plant,
    size_bytes,
    started,  # noqa: F401
    tree,
)


def test_a_tree_goes_up_and_comes_down(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    with place.midway(bucket, planted, total // 2) as url, place.figure("pyarrow", "tree up", total, len(planted)):
        assert library("pyarrow.tree_up", url=url, bucket=bucket, root=str(tmp_path / "up")) == len(planted)
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("pyarrow", "tree down", total, len(planted)):
        library("pyarrow.tree_down", url=url, bucket=bucket, root=str(tmp_path / "down"))
    assert_same(tree(tmp_path / "down"), planted)


def test_a_large_stream_goes_up_in_parts_comes_down_and_is_read_at_random(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    large_there_and_back("pyarrow", place, bucket, tmp_path)


def test_a_partitioned_dataset_is_written_and_read_whole_and_by_filters(place: Place, bucket: str) -> None:
    """A table of 24 bytes and a day a row; each tenth of a day is a file."""
    rows = SIZES.large_bytes // 160
    keys = [f"set/day=2026-01-01/part-{number}.parquet" for number in range(9)]
    with place.midway(bucket, keys, rows * 2) as url, place.figure("pyarrow", "dataset up", rows * 24):
        library("pyarrow.write_dataset", url=url, bucket=bucket, rows=rows)
    with place.figure("pyarrow", "dataset down", rows * 24):
        seen = library("pyarrow.read_dataset", url=place.urls[-1], bucket=bucket, rows=rows)
    assert seen["same"] and seen["files"] >= 9 and seen["days"] == len(range(1, rows, 3))
    assert seen["few"] == [number * number for number in range(2, 30, 3)]


@on_one_node
def test_it_is_a_file_system(place: Place, bucket: str) -> None:
    seen = library("pyarrow.file_system", url=place.urls[0], bucket=bucket, other=f"{bucket}-other")
    deep = f"{bucket}/deep"
    directories = dict.fromkeys((deep, f"{deep}/er", f"{deep}/er/est"), "Directory")
    assert seen["kinds"] == directories | {f"{deep}/a+b & größe": "File"}
    assert (seen["content_type"], seen["never"], seen["gone"]) == ("text/x-ours", "NotFound", "NotFound")
    assert (seen["left"], seen["moved"]) == ([deep], 4)
