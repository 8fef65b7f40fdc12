"""obstore (Rust's object_store): trees, streams, ranges, lists by pages, races to make and to change an object."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import json
import urllib.request
from pathlib import Path

from integration.clients import (
    SIZES,
    Place,
    assert_same,
    bucket,  # noqa: F401
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

EACH = 8


def test_a_tree_goes_up_and_comes_down(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    with place.midway(bucket, planted, total // 2) as url, place.figure("obstore", "tree up", total, len(planted)):
        assert library("obstore.tree_up", url=url, bucket=bucket, root=str(tmp_path / "up")) == len(planted)
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("obstore", "tree down", total, len(planted)):
        assert library("obstore.tree_down", url=url, bucket=bucket, root=str(tmp_path / "down")) == len(planted)
    assert_same(tree(tmp_path / "down"), planted)


def test_a_large_stream_goes_up_in_parts_with_checksums_comes_down_and_is_read_at_random(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    large_there_and_back("obstore", place, bucket, tmp_path)


@on_one_node
def test_objects_are_described_copied_renamed_listed_by_pages_lent_and_deleted(place: Place, bucket: str) -> None:
    """It takes no key with an empty segment (`//`), nor `.` or `..` as one."""
    keys = [*(f"folder/{name}" for name in ("a b", "a+b", "größe", "100%", "h#sh", "deep/er")), "folder z"]
    seen = library("obstore.objects", url=place.urls[0], bucket=bucket, keys=keys)
    assert sum(seen["pages"]) == 6 and len(seen["pages"]) == 3
    assert seen["after"] == sorted(key for key in [*keys, "renamed"] if key.encode() > b"folder/z")
    assert seen["prefixes"] == ["folder/deep"] and seen["objects"] == sorted(keys[:5])
    assert seen["attributes"]["Content-Type"] == "text/x-ours" and seen["attributes"]["made-by"] == "us"
    assert (seen["renamed"], seen["size"], seen["left"]) == (keys[0], len(keys[0]), ["renamed"])
    with urllib.request.urlopen(seen["lent"]) as answer:
        assert answer.read() == keys[0].encode()


@on_three_nodes
def test_of_writers_that_race_through_all_nodes_to_make_a_key_exactly_one_wins(place: Place, bucket: str) -> None:
    keys = [f"race {number}" for number in range(SIZES.races)]
    with place.figure("obstore", "races", 0, len(keys)):
        winners = library("obstore.race", urls=place.urls, bucket=bucket, keys=keys, racers=SIZES.racers)
    for key in keys:
        assert len(winners[key]) == 1, winners
        body = place.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        assert body == b"%d" % winners[key][0]


def test_no_change_is_lost_among_writers_that_put_back_what_they_read_if_it_is_still_so(
    place: Place, bucket: str
) -> None:
    """Where a node is killed, it is the one that the object prefers, and the writers use both others. obstore tries
    again by itself: so what it says was refused may be its own first try that took effect.
    """
    with place.midway(bucket, ["list"], 20_000) as url, place.figure("obstore", "appends", 0, SIZES.racers * EACH):
        seen = library(
            "obstore.append", urls=[url, *place.spared], bucket=bucket, key="list", writers=SIZES.racers, each=EACH
        )
    place.revive()
    for node in place.nodes.names:
        kept = json.loads(place.client(node).get_object(Bucket=bucket, Key="list")["Body"].read())
        assert len(kept) == len(set(kept)), "a change took effect twice"
        assert set(seen["acknowledged"]) <= set(kept)
        others = set(kept) - set(seen["acknowledged"])
        assert others <= ({*seen["unknown"], *seen["refused"]} if place.kills else set()), "what nobody put is there"
