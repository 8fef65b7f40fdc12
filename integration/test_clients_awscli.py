"""The AWS CLI: sync, a large object in parts with checksums, server-side copies, ranges, presigned URLs, races."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import json
import subprocess
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration.clients import (
    SIZES,
    Place,
    alter,
    assert_same,
    attempt,
    bucket,  # noqa: F401
    keys_of,
    large_file,
    md5_of,
    on_one_node,
    on_three_nodes,
    place,  # noqa: F401
    plant,
    run,
    size_bytes,
    spans,
    started,  # noqa: F401
    tool,
    tree,
)

CONFIG = """
[default]
s3 =
  addressing_style = path
  multipart_threshold = 8MB
  multipart_chunksize = 8MB
  signature_version = s3v4
"""
"""The last line is for `presign`, which would sign as of version 2 otherwise; that is refused."""
Aws = Callable[..., str]


def environment(tmp_path: Path, url: str) -> dict[str, str]:
    config = tmp_path / "aws.config"
    config.write_text(CONFIG)
    return keys_of(AWS_CONFIG_FILE=str(config), AWS_ENDPOINT_URL=url, HOME=str(tmp_path), AWS_PAGER="")


@pytest.fixture
def aws(tmp_path: Path) -> Aws:
    """`aws(url, "s3", "ls")` is what the command prints when it talks to that URL."""
    return lambda url, *words: run(tool("aws"), *words, env=environment(tmp_path, url), cwd=tmp_path)


def test_a_tree_is_synchronised_up_and_down(place: Place, bucket: str, aws: Aws, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    there = f"s3://{bucket}/"
    with place.midway(bucket, planted, total // 2) as url, place.figure("awscli", "sync up", total, len(planted)):
        said = aws(url, "s3", "sync", "--no-progress", "up", there)
        assert said.count("upload: ") == len(planted)
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("awscli", "sync down", total, len(planted)):
        aws(url, "s3", "sync", "--only-show-errors", there, "down")
    assert_same(tree(tmp_path / "down"), planted)


@on_one_node
def test_a_second_sync_does_only_what_has_changed(place: Place, bucket: str, aws: Aws, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", 60)
    [url], there = place.urls, f"s3://{bucket}/"
    aws(url, "s3", "sync", "--only-show-errors", "up", there)
    assert aws(url, "s3", "sync", "--no-progress", "up", there) == ""
    changed, added, removed = alter(tmp_path / "up", planted)
    said = aws(url, "s3", "sync", "--no-progress", "--delete", "up", there).splitlines()
    assert sum(line.startswith("upload: ") for line in said) == len(changed | added)
    assert sum(line.startswith("delete: ") for line in said) == len(removed)
    place.holds(bucket, planted)


def test_a_large_object_goes_up_in_parts_and_comes_down_with_its_checksum(
    place: Place, bucket: str, aws: Aws, tmp_path: Path
) -> None:
    large_bytes = SIZES.large_bytes
    md5, there = large_file(tmp_path / "up", large_bytes), f"s3://{bucket}/large one"
    with place.midway(bucket, ["large one"], large_bytes // 2) as url, place.figure("awscli", "large up", large_bytes):
        aws(url, "s3", "cp", "--only-show-errors", "--checksum-algorithm", "SHA256", "up", there)
    place.holds(bucket, {"large one": md5})
    with (
        place.midway(bucket, ["large one"], large_bytes // 2) as url,
        place.figure("awscli", "large down", large_bytes),
    ):
        aws(url, "s3", "cp", "--only-show-errors", "--checksum-mode", "ENABLED", there, "down")
    assert md5_of(tmp_path / "down") == md5


@on_one_node
def test_a_large_object_is_copied_in_parts_moved_read_in_ranges_and_lent_by_a_url(
    place: Place, bucket: str, aws: Aws, tmp_path: Path
) -> None:
    """Copied in parts, an object loses its metadata: this version of the CLI starts the upload without them."""
    [url], size = place.urls, 17 * 1024 * 1024
    md5, there = large_file(tmp_path / "up", size), f"s3://{bucket}"
    aws(url, "s3", "cp", "--only-show-errors", "up", f"{there}/a+b//c d")
    aws(url, "s3", "cp", "--only-show-errors", f"{there}/a+b//c d", f"{there}/größe")
    place.holds(bucket, {"a+b//c d": md5, "größe": md5})
    aws(url, "s3", "mv", "--only-show-errors", f"{there}/größe", f"{there}/moved")
    place.holds(bucket, {"a+b//c d": md5, "moved": md5})
    [*_, (start, length)] = spans(size, 4)
    asked = f"bytes={start}-{start + length - 1}"
    named = ("--bucket", bucket, "--key", "a+b//c d")
    told = json.loads(aws(url, "s3api", "get-object", *named, "--range", asked, "piece"))
    assert told["ContentRange"] == f"bytes {start}-{start + length - 1}/{size}"
    assert (tmp_path / "piece").read_bytes() == (tmp_path / "up").read_bytes()[start : start + length]
    lent = aws(url, "s3", "presign", f"{there}/a+b//c d", "--expires-in", "60").strip()
    with urllib.request.urlopen(lent) as answer:
        assert answer.read() == (tmp_path / "up").read_bytes()
    said = aws(url, "s3", "ls", "--recursive", "--summarize", f"{there}/")
    assert "Total Objects: 2" in said and f"Total Size: {2 * size}" in said
    aws(url, "s3", "rb", "--force", there)
    assert bucket not in [item["Name"] for item in place.client().list_buckets()["Buckets"]]


@on_one_node
def test_a_connection_ends_with_an_answer_that_came_instead_of_100_continue(place: Place, bucket: str) -> None:
    """As S3's does. The AWS CLI sends empty files so; if the connection lived on, it would hang in the next request."""
    named = {"Bucket": bucket, "Key": "empty"}
    url = place.client().generate_presigned_url("put_object", Params=named)
    for expected in ("100-continue", None):
        reply = place.nodes.ask(
            "n1", "PUT", url.removeprefix(place.urls[0]), b"", {"Expect": expected} if expected else {}
        )
        assert (reply.status, reply.headers.get("connection")) == (200, "close" if expected else None)


@on_three_nodes
def test_of_commands_that_race_through_all_nodes_to_make_a_key_exactly_one_wins(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    def race(number: int) -> subprocess.CompletedProcess[str]:
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
        put = ("s3api", "put-object", "--bucket", bucket, "--key", "race", "--body", f"{number}")
        env = environment(tmp_path, place.urls[number % len(place.urls)])
        return attempt(tool("aws"), *put, "--if-none-match", "*", env=env, cwd=tmp_path)

    with ThreadPoolExecutor(3) as threads:
        ended = list(threads.map(race, range(3)))
    winners = [number for number, done in enumerate(ended) if done.returncode == 0]
    assert len(winners) == 1, ended
    assert all("PreconditionFailed" in done.stderr for done in ended if done.returncode), ended
    for node in place.nodes.names:
        body = place.client(node).get_object(Bucket=bucket, Key="race")["Body"].read()
        assert body == b"%d" % winners[0]
