"""The XML of our answers: botocore's own parser finds in it what was put in."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3 import shapes, xml
from impl.api.s3.checksums import Checksum
from impl.api.s3.shapes import Owner
from impl.api.s3.tests.botocore_rig import (
    CHECKSUMS,
    KINDS,
    NUMBERS,
    OWNERS,
    TIMES_MS,
    XML_TEXT,
    kind_of,
    moment,
    owner_of,
    parsed,
    present,
)


def checksum_of(checksum: Checksum | None, with_type: bool = False) -> dict[str, Any]:
    if checksum is None:
        return {}
    kind = {"ChecksumType": checksum.type} if with_type else {}
    return {f"Checksum{checksum.algorithm}": checksum.value} | kind


PARTS = st.builds(
    shapes.PartEntry,
    number=NUMBERS,
    modified_at_ms=TIMES_MS,
    etag=XML_TEXT,
    size_bytes=NUMBERS,
    checksum=CHECKSUMS,
)


@given(
    st.builds(
        shapes.ListedParts,
        bucket=XML_TEXT,
        key=XML_TEXT,
        upload_id=XML_TEXT,
        owner=OWNERS,
        part_number_marker=NUMBERS,
        max_parts=NUMBERS,
        parts=st.lists(PARTS, max_size=3),
        next_part_number_marker=st.none() | NUMBERS,
        storage_class=XML_TEXT,
        **KINDS,
    )
)
def test_a_list_of_parts_says_what_it_has(listed: shapes.ListedParts) -> None:
    assert parsed("ListParts", xml.list_parts(listed)) == present(
        Bucket=listed.bucket,
        Key=listed.key,
        UploadId=listed.upload_id,
        Initiator=owner_of(listed.owner),
        Owner=owner_of(listed.owner),
        StorageClass=listed.storage_class,
        PartNumberMarker=listed.part_number_marker,
        NextPartNumberMarker=listed.next_part_number_marker,
        MaxParts=listed.max_parts,
        IsTruncated=listed.next_part_number_marker is not None,
        **kind_of(listed),
        Parts=[
            {
                "PartNumber": part.number,
                "LastModified": moment(part.modified_at_ms),
                "ETag": f'"{part.etag}"',
                "Size": part.size_bytes,
            }
            | checksum_of(part.checksum)
            for part in listed.parts
        ],
    )


@given(st.builds(shapes.Copied, modified_at_ms=TIMES_MS, etag=XML_TEXT, checksum=CHECKSUMS))
def test_a_copy_says_what_it_became(copied: shapes.Copied) -> None:
    said = {"LastModified": moment(copied.modified_at_ms), "ETag": f'"{copied.etag}"'}
    as_object = parsed("CopyObject", xml.copied_object(copied))["CopyObjectResult"]
    as_part = parsed("UploadPartCopy", xml.copied_part(copied))["CopyPartResult"]
    assert as_object == said | checksum_of(copied.checksum, with_type=True)
    assert as_part == said | checksum_of(copied.checksum)


@given(
    st.builds(
        shapes.CompletedUpload, location=XML_TEXT, bucket=XML_TEXT, key=XML_TEXT, etag=XML_TEXT, checksum=CHECKSUMS
    )
)
def test_a_completed_upload_says_what_it_became(completed: shapes.CompletedUpload) -> None:
    said = {"Location": completed.location, "Bucket": completed.bucket, "Key": completed.key}
    assert parsed("CompleteMultipartUpload", xml.completed_upload(completed)) == (
        said | {"ETag": f'"{completed.etag}"'} | checksum_of(completed.checksum, with_type=True)
    )


@given(st.builds(shapes.NewUpload, bucket=XML_TEXT, key=XML_TEXT, upload_id=XML_TEXT))
def test_a_new_upload_says_its_id(upload: shapes.NewUpload) -> None:
    expected = {"Bucket": upload.bucket, "Key": upload.key, "UploadId": upload.upload_id}
    assert parsed("CreateMultipartUpload", xml.new_upload(upload)) == expected


@given(
    st.builds(
        shapes.DeleteResult,
        deleted=st.lists(
            st.builds(
                shapes.Deleted,
                key=XML_TEXT,
                version_id=st.none() | XML_TEXT,
                delete_marker=st.booleans(),
                delete_marker_version_id=st.none() | XML_TEXT,
            ),
            max_size=3,
        ),
        errors=st.lists(
            st.builds(
                shapes.NotDeleted,
                key=XML_TEXT,
                version_id=st.none() | XML_TEXT,
                code=XML_TEXT,
                message=XML_TEXT,
            ),
            max_size=3,
        ),
    )
)
def test_a_delete_of_many_says_what_was_deleted_and_what_was_not(result: shapes.DeleteResult) -> None:
    assert parsed("DeleteObjects", xml.delete_result(result)) == present(
        Deleted=[
            present(
                Key=deleted.key,
                VersionId=deleted.version_id,
                DeleteMarker=deleted.delete_marker or None,
                DeleteMarkerVersionId=deleted.delete_marker_version_id,
            )
            for deleted in result.deleted
        ],
        Errors=[
            present(Key=failed.key, VersionId=failed.version_id, Code=failed.code, Message=failed.message)
            for failed in result.errors
        ],
    )


@given(
    st.builds(
        shapes.ListedBuckets,
        owner=OWNERS,
        buckets=st.lists(
            st.builds(shapes.BucketEntry, name=XML_TEXT, created_at_ms=TIMES_MS, region=st.none() | XML_TEXT)
        ),
        prefix=st.none() | XML_TEXT,
        continuation_token=st.none() | XML_TEXT,
    )
)
def test_a_list_of_buckets_says_what_it_has(listed: shapes.ListedBuckets) -> None:
    buckets = [
        present(Name=bucket.name, CreationDate=moment(bucket.created_at_ms), BucketRegion=bucket.region)
        for bucket in listed.buckets
    ]
    said = present(Owner=owner_of(listed.owner), Prefix=listed.prefix, ContinuationToken=listed.continuation_token)
    assert parsed("ListBuckets", xml.list_buckets(listed)) == said | {"Buckets": buckets}


@given(st.lists(st.builds(shapes.Tag, key=XML_TEXT, value=XML_TEXT)))
def test_tags_are_said(tags: list[shapes.Tag]) -> None:
    expected = {"TagSet": [{"Key": tag.key, "Value": tag.value} for tag in tags]}
    assert parsed("GetObjectTagging", xml.tagging(tags)) == expected


TEXTS = st.lists(XML_TEXT, min_size=1, max_size=3).map(tuple)


@given(
    st.lists(
        st.builds(
            shapes.CorsRule,
            allowed_origins=TEXTS,
            allowed_methods=TEXTS,
            allowed_headers=TEXTS | st.just(()),
            expose_headers=TEXTS | st.just(()),
            max_age_s=st.none() | NUMBERS,
            id=st.none() | XML_TEXT,
        )
    )
)
def test_cors_rules_are_said(rules: list[shapes.CorsRule]) -> None:
    assert parsed("GetBucketCors", xml.cors_configuration(rules)) == present(
        CORSRules=[
            present(
                ID=rule.id,
                AllowedOrigins=list(rule.allowed_origins),
                AllowedMethods=list(rule.allowed_methods),
                AllowedHeaders=list(rule.allowed_headers),
                ExposeHeaders=list(rule.expose_headers),
                MaxAgeSeconds=rule.max_age_s,
            )
            for rule in rules
        ]
    )


@given(OWNERS)
def test_canned_acls_are_said_as_grants(owner: Owner) -> None:
    grantee = present(Type="CanonicalUser", **owner_of(owner) or {})
    full = {"Grantee": grantee, "Permission": "FULL_CONTROL"}
    everyone = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
    private = parsed("GetBucketAcl", xml.access_control_policy(owner, shapes.CannedAcl.PRIVATE))
    public = parsed("GetObjectAcl", xml.access_control_policy(owner, shapes.CannedAcl.PUBLIC_READ))
    assert private == {"Owner": owner_of(owner), "Grants": [full]}
    assert public["Grants"] == [full, {"Grantee": everyone, "Permission": "READ"}]


def test_versioning_that_was_never_set_has_no_status() -> None:
    assert parsed("GetBucketVersioning", xml.versioning_configuration(None)) == {}
    assert parsed("GetBucketVersioning", xml.versioning_configuration("Suspended")) == {"Status": "Suspended"}


@pytest.mark.parametrize("region, text", [("us-east-1", None), ("eu-west-1", "eu-west-1")])
def test_a_bucket_says_its_region(region: str, text: str | None) -> None:
    assert ET.fromstring(xml.location_constraint(region)).text == text


def test_a_form_upload_is_answered_without_a_namespace() -> None:
    document = ET.fromstring(xml.posted_object(shapes.PostedObject("http://h/b/k", "b", "k", "e")))
    assert [(child.tag, child.text) for child in document] == [
        ("Location", "http://h/b/k"),
        ("Bucket", "b"),
        ("Key", "k"),
        ("ETag", '"e"'),
    ]


@given(st.text(st.characters(), max_size=20))
def test_a_key_that_xml_cannot_say_is_never_said_as_another(key: str) -> None:
    body = xml.new_upload(shapes.NewUpload("b", key, "u")).decode()
    try:
        found = parsed("CreateMultipartUpload", body.encode())["Key"]
    except ResponseParserError:
        assert "&#x" in body
    else:
        assert found == key
