"""What is done with MinIO's Python client."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from job import KEY_ID, MIB, SECRET, answer, files, md5
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject


def client(url: str) -> Minio:
    return Minio(url.removeprefix("http://"), KEY_ID, SECRET, secure=False, region="us-east-1")


def tree_up(url: str, bucket: str, root: str) -> int:
    """Upload every file below `root`, four at a time; how many."""
    there = client(url)
    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda file: there.fput_object(bucket, file[0], str(file[1])), files(root)))
    return len(sent)


def tree_down(url: str, bucket: str, root: str) -> int:
    """Download every object of the bucket, four at a time; how many."""
    there = client(url)
    keys = [item.object_name for item in there.list_objects(bucket, recursive=True)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda key: there.fget_object(bucket, key, str(Path(root) / key)), keys))
    return len(keys)


def large_up(url: str, bucket: str, key: str, path: str) -> str:
    return client(url).fput_object(bucket, key, path, part_size=8 * MIB, num_parallel_uploads=4).etag


def large_down(url: str, bucket: str, key: str, path: str) -> None:
    client(url).fget_object(bucket, key, path)


def reads(url: str, bucket: str, key: str, spans: list[tuple[int, int]]) -> list[str]:
    """The MD5s of pieces (start, length) of an object."""
    there, found = client(url), []
    for start, length in spans:
        got = there.get_object(bucket, key, start, length)
        found.append(md5(got.read()))
        got.close()
        got.release_conn()
    return found


def digests(url: str, bucket: str) -> dict[str, str]:
    """Every key of a bucket, and the MD5 of its bytes."""
    there, found = client(url), {}
    for item in there.list_objects(bucket, recursive=True):
        got, digest = there.get_object(bucket, item.object_name), hashlib.md5()
        for piece in got.stream(MIB):
            digest.update(piece)
        got.release_conn()
        found[item.object_name] = digest.hexdigest()
    return found


def objects(url: str, bucket: str, path: str, keys: list[str]) -> dict[str, Any]:
    """Everything else that it has for objects; what it saw."""
    there = client(url)
    for key in keys:
        there.fput_object(bucket, key, path, content_type="text/x-ours", metadata={"made-by": "us"})
    stat = there.stat_object(bucket, keys[0])
    there.copy_object(bucket, "copy//of", CopySource(bucket, keys[0]))
    there.compose_object(bucket, "composed", [ComposeSource(bucket, keys[0]), ComposeSource(bucket, keys[-1])])
    listed = [(item.object_name, item.is_dir) for item in there.list_objects(bucket)]
    lent = there.presigned_get_object(bucket, "composed", expires=timedelta(minutes=1))
    wanted = there.presigned_put_object(bucket, "lent for a put", expires=timedelta(minutes=1))
    refused = list(there.remove_objects(bucket, [DeleteObject(key) for key in [*keys, "never there"]]))
    return {
        "metadata": stat.metadata["x-amz-meta-made-by"],
        "content_type": stat.content_type,
        "size_bytes": stat.size,
        "listed": listed,
        "lent": lent,
        "wanted": wanted,
        "refused": len(refused),
        "left": [item.object_name for item in there.list_objects(bucket, recursive=True)],
    }


if __name__ == "__main__":
    answer(globals())
