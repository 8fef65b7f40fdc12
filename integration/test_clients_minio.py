"""MinIO's Python client: trees, a large object in parts, reads at random, and all else it has for objects."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import urllib.request
from pathlib import Path

from integration.clients import (
    AWKWARD,
    MIB,
    SIZES,
    Place,
    assert_same,
    bucket,  # noqa: F401
    large_file,
    library,
    md5_of,
    md5s_of,
    on_one_node,
    place,  # noqa: F401
    plant,
    size_bytes,
    spans,
    started,  # noqa: F401
    tree,
)


def test_a_tree_goes_up_and_comes_down(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    with place.midway(bucket, planted, total // 2) as url, place.figure("minio", "tree up", total, len(planted)):
        assert library("minio.tree_up", url=url, bucket=bucket, root=str(tmp_path / "up")) == len(planted)
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("minio", "tree down", total, len(planted)):
        assert library("minio.tree_down", url=url, bucket=bucket, root=str(tmp_path / "down")) == len(planted)
    assert_same(tree(tmp_path / "down"), planted)


def test_a_large_object_goes_up_in_parts_comes_down_and_is_read_at_random(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    """It asks for no checksums of S3's; each part is signed with its SHA-256 or sent with its MD5."""
    large_bytes, key = SIZES.large_bytes, "large//one"
    md5, named = large_file(tmp_path / "up", large_bytes), {"bucket": bucket, "key": key}
    with place.midway(bucket, [key], large_bytes // 2) as url, place.figure("minio", "large up", large_bytes):
        etag = library("minio.large_up", url=url, path=str(tmp_path / "up"), **named)
    assert etag.endswith(f"-{-(-large_bytes // (8 * MIB))}")
    place.holds(bucket, {key: md5})
    with place.midway(bucket, [key], large_bytes // 2) as url, place.figure("minio", "large down", large_bytes):
        library("minio.large_down", url=url, path=str(tmp_path / "down"), **named)
    assert md5_of(tmp_path / "down") == md5
    pieces = spans(large_bytes, SIZES.reads)
    asked = sum(length for _, length in pieces)
    with place.midway(bucket, [key], asked // 2) as url, place.figure("minio", "reads at random", asked, len(pieces)):
        found = library("minio.reads", url=url, spans=pieces, **named)
    assert found == md5s_of(tmp_path / "up", pieces)


@on_one_node
def test_objects_are_described_copied_composed_listed_lent_and_removed(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    large_file(tmp_path / "up", 5 * MIB)
    keys = [*(f"folder//{name}" for name in AWKWARD[:5]), "top"]
    seen = library("minio.objects", url=place.urls[0], bucket=bucket, path=str(tmp_path / "up"), keys=keys)
    assert (seen["metadata"], seen["content_type"], seen["size_bytes"]) == ("us", "text/x-ours", 5 * MIB)
    assert sorted(seen["listed"]) == [["composed", False], ["copy/", True], ["folder/", True], ["top", False]]
    whole = (tmp_path / "up").read_bytes()
    with urllib.request.urlopen(seen["lent"]) as answer:
        assert answer.read() == 2 * whole
    with urllib.request.urlopen(urllib.request.Request(seen["wanted"], data=b"lent", method="PUT")) as answer:
        assert answer.status == 200
    assert seen["refused"] == 0 and seen["left"] == ["composed", "copy//of"]
    got = place.client().get_object(Bucket=bucket, Key="lent for a put")
    assert got["Body"].read() == b"lent"
