"""rclone: sync and check, a large object in parts, reads at random through its file system layer, links."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import http.client
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    spans,
    started,  # noqa: F401
    tool,
    tree,
)
from integration.cluster import free_ports
from integration.s3_cluster import KEYS

START_S = 20.0


def environment(url: str) -> dict[str, str]:
    """A remote `s3:` at that URL. rclone reads all of its settings from the environment, too."""
    return {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ENDPOINT": url,
        "RCLONE_CONFIG_S3_REGION": "us-east-1",
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": KEY_ID,
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": KEYS[KEY_ID],
        "RCLONE_NO_UNICODE_NORMALIZATION": "true",  # else it takes two spellings of é for one name
        "RCLONE_S3_UPLOAD_CUTOFF": "8M",
        "RCLONE_S3_CHUNK_SIZE": "8M",
    }


def rclone(url: str, *words: str, cwd: Path) -> str:
    return run(tool("rclone"), *words, env=environment(url), cwd=cwd)


def test_a_tree_is_synchronised_up_and_down(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    there = f"s3:{bucket}"
    with place.midway(bucket, planted, total // 2) as url, place.figure("rclone", "sync up", total, len(planted)):
        rclone(url, "sync", "up", there, cwd=tmp_path)
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("rclone", "sync down", total, len(planted)):
        rclone(url, "sync", there, "down", cwd=tmp_path)
    assert_same(tree(tmp_path / "down"), planted)
    with place.figure("rclone", "check --download", total, len(planted)):
        rclone(place.urls[-1], "check", "--download", "up", there, cwd=tmp_path)


@on_one_node
def test_a_second_sync_does_only_what_has_changed(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", 60)
    [url], words = place.urls, ("sync", "--log-file", "log", "-v", "up", f"s3:{bucket}")
    rclone(url, *words, cwd=tmp_path)
    (tmp_path / "log").unlink()
    rclone(url, *words, cwd=tmp_path)
    assert "There was nothing to transfer" in (tmp_path / "log").read_text()
    changed, added, removed = alter(tmp_path / "up", planted)
    rclone(url, *words, cwd=tmp_path)
    said = (tmp_path / "log").read_text()
    counted = [said.count(word) for word in (": Copied (replaced existing)", ": Copied (new)", ": Deleted")]
    assert counted == [len(changed), len(added), len(removed)]
    place.holds(bucket, planted)


def test_a_large_object_goes_up_in_parts_and_comes_down(place: Place, bucket: str, tmp_path: Path) -> None:
    """rclone sends and compares MD5s: of parts as headers, of the whole as metadata."""
    large_bytes = SIZES.large_bytes
    md5, there = large_file(tmp_path / "up", large_bytes), f"s3:{bucket}/large one"
    with place.midway(bucket, ["large one"], large_bytes // 2) as url, place.figure("rclone", "large up", large_bytes):
        rclone(url, "copyto", "up", there, cwd=tmp_path)
    place.holds(bucket, {"large one": md5})
    with (
        place.midway(bucket, ["large one"], large_bytes // 2) as url,
        place.figure("rclone", "large down", large_bytes),
    ):
        rclone(url, "copyto", there, "down", cwd=tmp_path)
    assert md5_of(tmp_path / "down") == md5


def test_reads_at_random_through_a_file_system_bring_the_bytes_that_are_there(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    """`rclone serve http` reads through the same layer as `rclone mount`, and needs no FUSE."""
    large_bytes = SIZES.large_bytes
    large_file(tmp_path / "up", large_bytes)
    rclone(place.urls[0], "copyto", "up", f"s3:{bucket}/large", cwd=tmp_path)
    pieces = spans(large_bytes, SIZES.reads)
    asked = sum(length for _, length in pieces)
    with (
        (tmp_path / "up").open("rb") as file,
        place.midway(bucket, ["large"], asked // 2) as url,
        serving(url, bucket) as port,
        place.figure("rclone", "reads at random", asked, len(pieces)),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for start, length in pieces:
            connection.request("GET", "/large", headers={"Range": f"bytes={start}-{start + length - 1}"})
            answer = connection.getresponse()
            file.seek(start)
            assert answer.status == 206 and answer.read() == file.read(length)
        connection.close()


@on_one_node
def test_an_object_is_copied_there_renamed_read_in_pieces_and_lent_by_a_url(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    [url], size, there = place.urls, 17 * 1024 * 1024, f"s3:{bucket}"
    md5 = large_file(tmp_path / "up", size)
    rclone(url, "copyto", "up", f"{there}/a+b/c d", cwd=tmp_path)
    rclone(url, "copyto", "--s3-copy-cutoff", "8M", f"{there}/a+b/c d", f"{there}/größe", cwd=tmp_path)
    rclone(url, "moveto", f"{there}/größe", f"{there}/moved", cwd=tmp_path)
    place.holds(bucket, {"a+b/c d": md5, "moved": md5})
    start, length = spans(size, 4)[-1]
    rclone(url, "copyurl", lent := rclone(url, "link", "--expire", "1m", f"{there}/a+b/c d", cwd=tmp_path).strip(),
           "down", cwd=tmp_path)  # fmt: skip
    assert md5_of(tmp_path / "down") == md5
    asked = urllib.request.Request(lent, headers={"Range": f"bytes={start}-{start + length - 1}"})
    with urllib.request.urlopen(asked) as answer, (tmp_path / "up").open("rb") as file:
        file.seek(start)
        assert answer.status == 206 and answer.read() == file.read(length)
    assert rclone(url, "hashsum", "MD5", f"{there}/moved", cwd=tmp_path).split()[0] == md5
    rclone(url, "purge", there, cwd=tmp_path)
    assert bucket not in rclone(url, "lsd", "s3:", cwd=tmp_path)


@contextmanager
def serving(url: str, bucket: str) -> Iterator[int]:
    """`rclone serve http` of a bucket; its port. Nothing is cached, so each read is one of ours."""
    [port] = free_ports(1)
    served = (
        tool("rclone"),
        "serve",
        "http",
        "--log-level",
        "ERROR",
        "--addr",
        f"127.0.0.1:{port}",
        "--vfs-cache-mode",
        "off",
        f"s3:{bucket}",
    )
    process = subprocess.Popen(served, env={"PATH": os.environ["PATH"], **environment(url)})
    try:
        end_s = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end_s, "rclone does not serve"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(START_S)
