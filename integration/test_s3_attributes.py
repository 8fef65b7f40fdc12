"""GetObjectAttributes as boto3 asks for it."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import base64
import hashlib
import json
import zlib
from typing import Any

from integration.s3_cluster import S3Nodes, refused
from integration.s3_fixtures import bucket, nodes, s3  # noqa: F401

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
PART = 5 * 1024 * 1024


def asked(s3: Any, bucket: str, key: str, names: list[str], **more: Any) -> dict[str, Any]:
    answer = s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=names, **more)
    assert answer.pop("LastModified") == s3.head_object(Bucket=bucket, Key=key)["LastModified"]
    del answer["ResponseMetadata"]
    return dict(answer)


def test_an_object_put_at_once_has_all_but_parts(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", ChecksumAlgorithm="CRC32")
    crc = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode()
    assert asked(s3, bucket, "k", ALL) == {
        "ETag": hashlib.md5(b"body").hexdigest(),
        "Checksum": {"ChecksumCRC32": crc, "ChecksumType": "FULL_OBJECT"},
        "StorageClass": "STANDARD",
        "ObjectSize": 4,
    }
    assert asked(s3, bucket, "k", ["ObjectSize"]) == {"ObjectSize": 4}


def test_parts_are_told_in_pages(s3: Any, bucket: str) -> None:
    named = {"Bucket": bucket, "Key": "in parts"}
    named["UploadId"] = s3.create_multipart_upload(**named, ChecksumAlgorithm="SHA256")["UploadId"]
    sizes = [PART, PART + 1, 7]
    parts = []
    for number, size_bytes in enumerate(sizes, 1):
        sent = s3.upload_part(**named, PartNumber=number, Body=bytes(size_bytes), ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    told = asked(s3, bucket, "in parts", ALL)
    assert told["ETag"] == done["ETag"].strip('"') and told["ObjectSize"] == sum(sizes)
    assert told["Checksum"] == {"ChecksumSHA256": done["ChecksumSHA256"], "ChecksumType": "COMPOSITE"}
    assert [part["Size"] for part in told["ObjectParts"]["Parts"]] == sizes
    first = asked(s3, bucket, "in parts", ["ObjectParts"], MaxParts=2)["ObjectParts"]
    assert (first["TotalPartsCount"], first["IsTruncated"], first["NextPartNumberMarker"]) == (3, True, 2)
    assert [part["PartNumber"] for part in first["Parts"]] == [1, 2]
    rest = asked(s3, bucket, "in parts", ["ObjectParts"], MaxParts=2, PartNumberMarker=2)["ObjectParts"]
    assert (rest["TotalPartsCount"], rest["IsTruncated"], rest["PartNumberMarker"]) == (3, False, 2)
    assert rest["Parts"] == [{"PartNumber": 3, "Size": 7}] and "NextPartNumberMarker" not in rest
    beyond = asked(s3, bucket, "in parts", ["ObjectParts"], PartNumberMarker=9)["ObjectParts"]
    assert not beyond["IsTruncated"] and "Parts" not in beyond


def test_of_parts_without_a_checksum_only_their_number_is_told(nodes: S3Nodes, bucket: str) -> None:
    s3 = nodes.client(request_checksum_calculation="when_required")
    named = {"Bucket": bucket, "Key": "k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**named, PartNumber=1, Body=b"x")["ETag"]}]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    told = asked(s3, bucket, "k", ALL)
    assert told["ObjectParts"]["TotalPartsCount"] == 1 and "Parts" not in told["ObjectParts"]
    assert "Checksum" not in told


def test_what_cannot_be_told_is_refused(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    with refused("NoSuchKey", 404):
        s3.get_object_attributes(Bucket=bucket, Key="none", ObjectAttributes=ALL)
    with refused("InvalidArgument", 400):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Colour"])
    with refused("InvalidRequest", 400):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=[])
    with refused("AccessDenied", 403):
        nodes.client(key="AKIABOB").get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    with refused("InvalidArgument", 400):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL, PartNumberMarker=-1)


def test_who_may_not_read_an_object_is_not_told_its_attributes(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    bob = nodes.client(key="AKIABOB")
    for actions, is_allowed in (
        (["s3:GetObjectAttributes"], False),
        (["s3:GetObjectAttributes", "s3:GetObject"], True),
    ):
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": "AKIABOB"},
            "Action": actions,
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
        if is_allowed:
            assert bob.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])["ObjectSize"] == 4
        else:
            with refused("AccessDenied", 403):
                bob.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
