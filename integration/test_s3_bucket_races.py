"""DeleteBucket beside writes, through several nodes at once: what was acknowledged is there, or nothing was deleted."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import itertools
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Barrier
from typing import Any

import botocore.exceptions
import pytest

from impl.api.s3.tests.auth_rig import presign
from integration.s3_cluster import KEYS, S3Nodes, refused
from integration.s3_fixtures import bucket, everywhere, nodes, s3  # noqa: F401

ROUNDS = 16
BODY = b"acknowledged"
_names = (f"race-{number}" for number in itertools.count(1))


def at_once(*calls: Callable[[], object]) -> list[str]:
    """Call all at the same time; for each the code of S3's error, "" for none."""
    barrier = Barrier(len(calls))

    def one(call: Callable[[], object]) -> str:
        barrier.wait()
        try:
            call()
        except botocore.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@pytest.mark.parametrize("way", ["put", "copy", "complete"])
def test_a_write_beside_delete_bucket_is_readable_or_was_refused(
    nodes: S3Nodes, s3: Any, bucket: str, way: str
) -> None:
    clients = everywhere(nodes)
    s3.put_object(Bucket=bucket, Key="source", Body=BODY)
    for round_number in range(ROUNDS):
        name = next(_names)
        s3.create_bucket(Bucket=name)
        writers = [clients[(round_number + at) % len(clients)] for at in range(2)]
        calls = [_write(way, writer, name, f"k{at}", bucket) for at, writer in enumerate(writers)]
        deleters = [clients[(round_number + 2 + at) % len(clients)] for at in range(1 + round_number % 2)]
        codes = at_once(*calls, *(partial(_delete, by, name, after=round_number % 4) for by in deleters))
        acknowledged = [f"k{at}" for at, code in enumerate(codes[: len(calls)]) if not code]
        assert set(codes) <= {"", "404", "NoSuchBucket", "NoSuchUpload", "BucketNotEmpty"}, codes
        was_deleted = "" in codes[len(calls) :]
        assert not (was_deleted and acknowledged), f"round {round_number}: {codes}"
        if was_deleted:
            with refused("NoSuchBucket", 404):
                clients[round_number % len(clients)].list_objects_v2(Bucket=name)
            clients[-1].create_bucket(Bucket=name)
        listed = clients[0].list_objects_v2(Bucket=name).get("Contents", [])
        assert [entry["Key"] for entry in listed] == acknowledged
        for client, key in itertools.product(clients, acknowledged):
            assert client.get_object(Bucket=name, Key=key)["Body"].read() == BODY


def _delete(client: Any, bucket: str, after: int) -> None:
    """Delete the bucket, after a few other requests: so that in some rounds the write is first."""
    for _ in range(after):
        client.head_bucket(Bucket=bucket)
    client.delete_bucket(Bucket=bucket)


def _write(way: str, client: Any, bucket: str, key: str, source: str) -> Callable[[], object]:
    if way == "put":
        return lambda: client.put_object(Bucket=bucket, Key=key, Body=BODY)
    if way == "copy":
        return lambda: client.copy_object(Bucket=bucket, Key=key, CopySource=f"{source}/source")
    named = {"Bucket": bucket, "Key": key}
    named["UploadId"] = client.create_multipart_upload(**named)["UploadId"]
    etag = client.upload_part(**named, PartNumber=1, Body=BODY)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    return lambda: client.complete_multipart_upload(**named, MultipartUpload=parts)


@pytest.mark.parametrize("way", ["version", "marker"])
def test_a_version_beside_delete_bucket_is_there_or_was_refused(nodes: S3Nodes, s3: Any, way: str) -> None:
    clients = everywhere(nodes)
    for round_number in range(ROUNDS):
        name = next(_names)
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        answers: list[str] = []
        writers = [clients[(round_number + at) % len(clients)] for at in range(2)]
        calls = [partial(_make_version, way, writer, name, answers) for writer in writers]
        deleter = clients[(round_number + 2) % len(clients)]
        codes = at_once(*calls, partial(_delete, deleter, name, after=round_number % 4))
        assert set(codes) <= {"", "404", "NoSuchBucket", "BucketNotEmpty"}, codes
        assert len(answers) == codes[:2].count("")
        if not codes[2]:
            assert not answers, f"round {round_number}: {codes}"
            clients[-1].create_bucket(Bucket=name)
        for client in clients:
            listed = client.list_object_versions(Bucket=name)
            there = listed.get("Versions", []) + listed.get("DeleteMarkers", [])
            assert sorted(entry["VersionId"] for entry in there) == sorted(answers)


def _make_version(way: str, client: Any, bucket: str, answers: list[str]) -> None:
    """Make a version, or a delete marker, of the one key; its id goes to `answers` once it is acknowledged."""
    if way == "version":
        answers.append(client.put_object(Bucket=bucket, Key="k", Body=BODY)["VersionId"])
    else:
        answers.append(client.delete_object(Bucket=bucket, Key="k")["VersionId"])


def test_of_two_that_delete_a_bucket_at_once_one_does(nodes: S3Nodes, s3: Any) -> None:
    clients = everywhere(nodes)
    for _ in range(10):
        name = next(_names)
        s3.create_bucket(Bucket=name)
        codes = at_once(*(partial(by.delete_bucket, Bucket=name) for by in (clients[0], clients[-1])))
        assert sorted(codes) == ["", "NoSuchBucket"]


def test_a_bucket_takes_its_uploads_with_it(s3: Any) -> None:
    name = next(_names)
    s3.create_bucket(Bucket=name)
    named = {"Bucket": name, "Key": "k" * 1024}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    s3.upload_part(**named, PartNumber=1, Body=BODY)
    assert [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=name)["Uploads"]] == [named["Key"]]
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
    with refused("NoSuchUpload", 404):
        s3.list_parts(**named)
    with refused("NoSuchUpload", 404):
        s3.upload_part(**named, PartNumber=1, Body=BODY)


SLOW = {
    "put": ("PUT", "/k", "", bytes(200_000)),
    "delete": ("POST", "", "delete", b"<Delete><Object><Key>k</Key></Object></Delete>"),
    "tags": ("PUT", "/k", "tagging", b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
}


@pytest.mark.parametrize("way", SLOW)
def test_who_sends_slowly_changes_nothing_in_the_next_bucket_of_that_name(nodes: S3Nodes, s3: Any, way: str) -> None:
    method, key, sub_resource, body = SLOW[way]
    name = next(_names)
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=BODY)
    bob, host = nodes.client(key="AKIABOB"), f"127.0.0.1:{nodes.ports['n1']}"
    named = [(sub_resource, "")] if sub_resource else []
    sent = presign(
        method, f"/{name}{key}", named, key=("AKIAALICE", KEYS["AKIAALICE"]), moment=datetime.now(UTC), host=host
    )
    with socket.create_connection(("127.0.0.1", nodes.ports["n1"]), timeout=20) as client:
        lines = f"Host: {host}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}"
        client.sendall(f"{method} {sent.path}?{sent.query} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 100 "), "it is admitted"
        client.sendall(body[:-1])
        s3.delete_object(Bucket=name, Key="k")
        s3.delete_bucket(Bucket=name)
        bob.create_bucket(Bucket=name)
        etag = bob.put_object(Bucket=name, Key="k", Body=b"of bob")["ETag"]
        client.sendall(body[-1:])
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 404 ") and b"<Code>NoSuchBucket</Code>" in answer
    assert bob.head_object(Bucket=name, Key="k")["ETag"] == etag
    assert bob.get_object_tagging(Bucket=name, Key="k")["TagSet"] == []
