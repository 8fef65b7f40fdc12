"""s3cmd: sync, a large object in parts, copies, ranges by `get --continue`, and what it does with URLs."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.clients import (
    KEY_ID,
    SIZES,
    Place,
    alter,
    assert_same,
    bucket,  # noqa: F401
    large_file,
    md5_of,
    on_one_node,
    place,  # noqa: F401
    plant,
    run,
    size_bytes,
    started,  # noqa: F401
    tool,
    tree,
)
from integration.s3_cluster import KEYS

S3cmd = Callable[..., str]


@pytest.fixture
def s3cmd(tmp_path: Path) -> S3cmd:
    """`s3cmd(url, "ls")` is what the command prints when it talks to that URL, path style."""

    def command(url: str, *words: str) -> str:
        host = url.removeprefix("http://")
        config = tmp_path / "s3cfg"
        config.write_text(
            f"[default]\naccess_key = {KEY_ID}\nsecret_key = {KEYS[KEY_ID]}\nhost_base = {host}\nhost_bucket = {host}\n"
            "use_https = False\nmultipart_chunk_size_mb = 8\n"
        )
        return run(
            tool("s3cmd"), "--config", config, "--no-progress", *words, env={"HOME": str(tmp_path)}, cwd=tmp_path
        )

    return command


def sent(said: str) -> int:
    """How many objects a sync made: of files with equal bytes it uploads one, and has the others copied there."""
    return said.count("upload: ") + said.count("remote copy: ")


def test_a_tree_is_synchronised_up_and_down(place: Place, bucket: str, s3cmd: S3cmd, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    there = f"s3://{bucket}/"
    with place.midway(bucket, planted, total // 2) as url, place.figure("s3cmd", "sync up", total, len(planted)):
        assert sent(s3cmd(url, "sync", "up/", there)) == len(planted)
    place.holds(bucket, planted)
    (tmp_path / "down").mkdir()
    with place.midway(bucket, planted, total // 2) as url, place.figure("s3cmd", "sync down", total, len(planted)):
        s3cmd(url, "sync", there, "down/")
    assert_same(tree(tmp_path / "down"), planted)


@on_one_node
def test_a_second_sync_does_only_what_has_changed(place: Place, bucket: str, s3cmd: S3cmd, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", 60)
    [url], there = place.urls, f"s3://{bucket}/"
    s3cmd(url, "sync", "up/", there)
    assert "upload: " not in s3cmd(url, "sync", "up/", there)
    changed, added, removed = alter(tmp_path / "up", planted)
    said = s3cmd(url, "sync", "--delete-removed", "up/", there)
    assert sent(said) == len(changed | added)
    assert said.count("delete: ") == len(removed)
    place.holds(bucket, planted)


def test_a_large_object_goes_up_in_parts_and_comes_down(
    place: Place, bucket: str, s3cmd: S3cmd, tmp_path: Path
) -> None:
    """s3cmd asks for no checksums of S3's; it sends MD5s, and compares those that come back."""
    large_bytes = SIZES.large_bytes
    md5, there = large_file(tmp_path / "up", large_bytes), f"s3://{bucket}/large one"
    with place.midway(bucket, ["large one"], large_bytes // 2) as url, place.figure("s3cmd", "large up", large_bytes):
        s3cmd(url, "put", "up", there)
    place.holds(bucket, {"large one": md5})
    with place.midway(bucket, ["large one"], large_bytes // 2) as url, place.figure("s3cmd", "large down", large_bytes):
        s3cmd(url, "get", there, "down")
    assert md5_of(tmp_path / "down") == md5


@on_one_node
def test_an_object_is_copied_moved_described_and_fetched_from_where_it_was_left(
    place: Place, bucket: str, s3cmd: S3cmd, tmp_path: Path
) -> None:
    """Its `signurl` signs as of version 2 only, which is refused, and said to be why."""
    [url], size, there = place.urls, 9 * 1024 * 1024, f"s3://{bucket}"
    md5 = large_file(tmp_path / "up", size)
    s3cmd(url, "put", "--add-header", "x-amz-meta-a:b", "--mime-type", "text/x-ours", "up", f"{there}/a+b//c d")
    s3cmd(url, "cp", f"{there}/a+b//c d", f"{there}/größe")
    s3cmd(url, "mv", f"{there}/größe", f"{there}/moved")
    place.holds(bucket, {"a+b//c d": md5, "moved": md5})
    said = s3cmd(url, "info", f"{there}/moved")
    assert f"File size: {size}" in said and "x-amz-meta-a: b" in said
    with (tmp_path / "up").open("rb") as whole:
        (tmp_path / "down").write_bytes(whole.read(size // 3))
    s3cmd(url, "get", "--continue", f"{there}/a+b//c d", "down")
    assert md5_of(tmp_path / "down") == md5
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(s3cmd(url, "signurl", f"{there}/moved", "+60").strip())
    assert refused.value.code == 400 and b"AWS4-HMAC-SHA256" in refused.value.read()
    s3cmd(url, "del", "--recursive", "--force", there)
    s3cmd(url, "rb", there)
    assert bucket not in s3cmd(url, "ls")
