"""boto3 with its transfer manager: trees, a large object with checksums, reads at random, races of conditional puts."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import base64
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from awscrt import checksums
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from s3transfer.manager import TransferManager

from integration.clients import (
    MIB,
    SIZES,
    Place,
    assert_same,
    boto3_at,
    bucket,  # noqa: F401
    large_file,
    library,
    md5_of,
    place,  # noqa: F401
    plant,
    size_bytes,
    spans,
    started,  # noqa: F401
    tree,
)

PARTS = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)


def test_a_tree_goes_up_and_comes_down_by_the_transfer_manager(place: Place, bucket: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up", SIZES.files)
    total = size_bytes(tmp_path / "up")
    with place.midway(bucket, planted, total // 2) as url, place.figure("boto3", "tree up", total, len(planted)):
        with TransferManager(boto3_at(url)) as manager:
            sent = [manager.upload(str(tmp_path / "up" / name), bucket, name) for name in planted]
        for future in sent:
            future.result()
    assert_same(library("minio.digests", url=place.urls[-1], bucket=bucket), planted)
    place.holds(bucket, planted)
    with place.midway(bucket, planted, total // 2) as url, place.figure("boto3", "tree down", total, len(planted)):
        with TransferManager(boto3_at(url)) as manager:
            for name in planted:
                (tmp_path / "down" / name).parent.mkdir(parents=True, exist_ok=True)
            taken = [manager.download(bucket, name, str(tmp_path / "down" / name)) for name in planted]
        for future in taken:
            future.result()
    assert_same(tree(tmp_path / "down"), planted)


def test_a_large_object_goes_up_in_parts_and_comes_down_with_its_checksum(
    place: Place, bucket: str, tmp_path: Path
) -> None:
    large_bytes = SIZES.large_bytes
    md5 = large_file(tmp_path / "up", large_bytes)
    asked = {"ChecksumAlgorithm": "CRC64NVME", "Metadata": {"made-by": "us"}}
    with place.midway(bucket, ["large"], large_bytes // 2) as url, place.figure("boto3", "large up", large_bytes):
        boto3_at(url).upload_file(str(tmp_path / "up"), bucket, "large", ExtraArgs=asked, Config=PARTS)
    place.holds(bucket, {"large": md5})
    with place.midway(bucket, ["large"], large_bytes // 2) as url, place.figure("boto3", "large down", large_bytes):
        boto3_at(url).download_file(bucket, "large", str(tmp_path / "down"), Config=PARTS)
    assert md5_of(tmp_path / "down") == md5
    told = place.client().head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    assert told["Metadata"] == asked["Metadata"] and told["ETag"].endswith(f'-{-(-large_bytes // (8 * MIB))}"')
    whole = checksums.crc64nvme((tmp_path / "up").read_bytes()).to_bytes(8, "big")
    assert told["ChecksumCRC64NVME"] == base64.b64encode(whole).decode() and told["ChecksumType"] == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_parts_are_checked_by_every_algorithm_of_the_transfer_manager(
    place: Place, bucket: str, tmp_path: Path, algorithm: str
) -> None:
    """Their checksum is of the parts' checksums unless it is a CRC; botocore checks what it can when it reads."""
    md5 = large_file(tmp_path / "up", 9 * MIB)
    client = place.client()
    client.upload_file(str(tmp_path / "up"), bucket, "large", ExtraArgs={"ChecksumAlgorithm": algorithm}, Config=PARTS)
    client.download_file(bucket, "large", str(tmp_path / "down"), Config=PARTS)
    assert md5_of(tmp_path / "down") == md5
    told = client.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    assert told[f"Checksum{algorithm}"].endswith("-2") == (told["ChecksumType"] == "COMPOSITE")


def test_reads_at_random_bring_the_bytes_that_are_there(place: Place, bucket: str, tmp_path: Path) -> None:
    large_file(tmp_path / "up", SIZES.large_bytes)
    place.client().upload_file(str(tmp_path / "up"), bucket, "large", Config=PARTS)
    pieces = spans(SIZES.large_bytes, SIZES.reads)
    asked = sum(length for _, length in pieces)
    with (
        (tmp_path / "up").open("rb") as file,
        place.midway(bucket, ["large"], asked // 2) as url,
        place.figure("boto3", "reads at random", asked, len(pieces)),
    ):
        client = boto3_at(url)
        for start, length in pieces:
            got = client.get_object(Bucket=bucket, Key="large", Range=f"bytes={start}-{start + length - 1}")
            file.seek(start)
            assert got["Body"].read() == file.read(length)


def test_of_writers_that_race_through_all_nodes_to_make_a_key_exactly_one_wins(place: Place, bucket: str) -> None:
    """Where a node is killed, it is in the midst of one race, and it is the node that the key prefers."""
    keys = [f"race {number}" for number in range(SIZES.races)]
    doomed = keys[len(keys) // 2] if place.kills else None
    victim = place.nodes.replicas(f"{bucket}/{doomed}")[0] if doomed else None
    clients = [place.client(node) for node in place.nodes.names if node != victim]
    expected: dict[str, bytes] = {}
    with ThreadPoolExecutor(SIZES.racers) as threads, place.figure("boto3", "races", 0, len(keys)):
        for key in keys:
            at_once = threading.Barrier(SIZES.racers + 1)

            def race(number: int, key: str = key, at_once: threading.Barrier = at_once) -> bytes | None:
                body = random.Random(f"{key} {number}").randbytes(1 + number * 30_000)
                at_once.wait()
                try:
                    clients[number % len(clients)].put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
                except ClientError as error:
                    assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
                    return None
                return body

            racing = [threads.submit(race, number) for number in range(SIZES.racers)]
            at_once.wait()
            if key == doomed and victim:
                place.kill(victim)
            winners = [body for body in (racer.result() for racer in racing) if body is not None]
            assert len(winners) == 1, f"{key}: {len(winners)} winners"
            expected[key] = winners[0]
    place.revive()
    for node in place.nodes.names:
        for key, body in expected.items():
            assert place.client(node).get_object(Bucket=bucket, Key=key)["Body"].read() == body
