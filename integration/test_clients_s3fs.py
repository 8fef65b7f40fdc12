"""s3fs (fsspec): trees, a large file written and read in pieces, seeks at random, a file system's ways, races."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

from pathlib import Path

from integration.clients import (
    MIB,
    SIZES,
    Place,
    assert_same,
    bucket,  # noqa: F401
    large_file,
    large_there_and_back,
    library,
    on_one_node,
    on_three_nodes,
    place,  # noqa: F401
    plant,
    size_bytes,
    started,  # noqa: F401
    tree,
)


def test_a_tree_goes_up_and_comes_down(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    with place.midway(bucket, planted, total // 2) as url, place.figure("s3fs", "tree up", total, len(planted)):
        library("s3fs.tree_up", url=url, bucket=bucket, root=str(tmp_path / "up"))
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("s3fs", "tree down", total, len(planted)):
        library("s3fs.tree_down", url=url, bucket=bucket, root=str(tmp_path / "down"))
    assert_same(tree(tmp_path / "down"), planted)


def test_a_large_file_is_written_in_parts_and_read_in_turn_and_at_random(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    large_there_and_back("s3fs", place, bucket, tmp_path)


@on_one_node
def test_it_is_a_file_system(place: Place, bucket: str, tmp_path: Path) -> None:
    large_file(tmp_path / "up", 2 * MIB)
    seen = library("s3fs.files", url=place.urls[0], bucket=bucket, path=str(tmp_path / "up"))
    names = ["/2", "/deep/second", "/empty", "/e\u0301", "/first", "/moved", "/\u00e9"]
    assert seen["find"] == sorted(names) and seen["glob"] == ["/deep/second"]
    assert seen["ls"] == sorted({name if name != "/deep/second" else "/deep" for name in names})
    assert seen["du"] == 4 * MIB + len("2 appended") + len("1") + len("e\u0301\u00e9".encode())
    assert (seen["info"], seen["metadata"]) == (2 * MIB, {"made-by": "us"})
    assert seen["isdir"] == [True, False, False]
    assert (seen["appended"], seen["ranges"]) == ("2 appended", ["2", "appe"])
    assert seen["left"] == []


@on_three_nodes
def test_of_writers_that_race_through_all_nodes_to_make_a_key_exactly_one_wins(place: Place, bucket: str) -> None:
    keys = [f"race {number}" for number in range(SIZES.races)]
    with place.figure("s3fs", "races", 0, len(keys)):
        winners = library("s3fs.race", urls=place.urls, bucket=bucket, keys=keys, racers=SIZES.racers)
    for key in keys:
        assert len(winners[key]) == 1, winners
        body = place.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        assert body == b"%d" % winners[key][0]
