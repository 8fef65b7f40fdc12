"""Multipart uploads as boto3 and its transfer manager do them, on the clusters of test_s3.py."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import hashlib
import io
from typing import Any

import pytest

from integration.s3_cluster import S3Nodes, refused
from integration.s3_fixtures import LARGE, bucket, everywhere, nodes, s3  # noqa: F401

PART = 5 * 1024 * 1024


def test_an_upload_in_parts_is_one_object_once_it_is_completed(nodes: S3Nodes, bucket: str) -> None:
    clients = everywhere(nodes)
    key, bodies = "größe//in parts", [LARGE[:PART], LARGE[1 : PART + 2], b"end"]
    began = clients[0].create_multipart_upload(Bucket=bucket, Key=key, Metadata={"m": "1"}, ContentType="text/a")
    named = {"Bucket": bucket, "Key": key, "UploadId": began["UploadId"]}
    parts = []
    for number, body in ((3, bodies[2]), (1, b"replaced"), (2, bodies[1]), (1, bodies[0])):
        sent = clients[number % len(clients)].upload_part(**named, PartNumber=number, Body=body)
        assert sent["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert [item["Key"] for item in clients[-1].list_multipart_uploads(Bucket=bucket)["Uploads"]] == [key]
    for page in clients[-1].get_paginator("list_parts").paginate(**named, PaginationConfig={"PageSize": 2}):
        parts += [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in page["Parts"]]
    assert [part["PartNumber"] for part in parts] == [1, 2, 3]
    with refused("NoSuchKey"):
        clients[0].get_object(Bucket=bucket, Key=key)
    done = clients[-1].complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    md5s = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    again = clients[0].complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    for client in clients:
        got = client.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == b"".join(bodies)
        assert (got["ETag"], got["Metadata"], got["ContentType"]) == (done["ETag"], {"m": "1"}, "text/a")
        second = client.get_object(Bucket=bucket, Key=key, PartNumber=2)
        assert second["Body"].read() == bodies[1] and second["PartsCount"] == 3
    assert "Uploads" not in clients[0].list_multipart_uploads(Bucket=bucket)
    with refused("NoSuchUpload", 404):
        clients[0].upload_part(**named, PartNumber=4, Body=b"x")


def test_an_upload_is_refused_unless_its_parts_are_as_they_should_be(s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    etags = {number: s3.upload_part(**named, PartNumber=number, Body=b"small")["ETag"] for number in (1, 2)}

    def complete(*parts: tuple[int, str]) -> None:
        named_parts = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": named_parts})

    with refused("EntityTooSmall", 400):
        complete((1, etags[1]), (2, etags[2]))
    with refused("InvalidPartOrder", 400):
        complete((2, etags[2]), (1, etags[1]))
    with refused("InvalidPart", 400):
        complete((1, etags[1]), (3, etags[1]))
    with refused("InvalidPart", 400):
        complete((1, '"00000000000000000000000000000000"'))
    with refused("InvalidArgument", 400):
        s3.upload_part(**named, PartNumber=10_001, Body=b"x")
    with refused("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key="other", UploadId=named["UploadId"])
    s3.abort_multipart_upload(**named)
    with refused("NoSuchUpload", 404):
        complete((1, etags[1]))
    with refused("NoSuchUpload", 404):
        s3.abort_multipart_upload(**named)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME", "SHA256"])
def test_the_transfer_manager_uploads_with_checksums(s3: Any, bucket: str, algorithm: str) -> None:
    s3.upload_fileobj(io.BytesIO(LARGE), bucket, "k", ExtraArgs={"ChecksumAlgorithm": algorithm})
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == LARGE and got["ETag"].endswith('-2"')
    assert got["ChecksumType"] == ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
    sink = io.BytesIO()
    s3.download_fileobj(bucket, "k", sink)
    assert sink.getvalue() == LARGE


def test_parts_are_copied_from_other_objects(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=LARGE)
    named = {"Bucket": bucket, "Key": "k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    source = {"Bucket": bucket, "Key": "source"}
    parts = []
    for number, asked in ((1, f"bytes=1-{PART}"), (2, "bytes=0-9")):
        copied = s3.upload_part_copy(**named, PartNumber=number, CopySource=source, CopySourceRange=asked)
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    with refused("InvalidRange", 416):
        s3.upload_part_copy(**named, PartNumber=3, CopySource=source, CopySourceRange=f"bytes=0-{len(LARGE)}")
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == LARGE[1 : PART + 1] + LARGE[:10]


def test_uploads_are_listed_by_key_and_paged(s3: Any, bucket: str) -> None:
    keys = ["a/1", "a/1", "a/2", "b", "ba", "é"]
    begun = sorted((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys)
    for size in (1, 2, 1000):
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
        assert [(item["Key"], item["UploadId"]) for page in pages for item in page["Uploads"]] == begun
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in grouped["CommonPrefixes"]] == ["a/"] and len(grouped["Uploads"]) == 3
