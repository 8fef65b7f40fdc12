"""The lists that we answer with: botocore's own parser finds in them what was put in, in both encodings of names."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3 import shapes, xml
from impl.api.s3.shapes import Owner
from impl.api.s3.tests.botocore_rig import (
    ANY_TEXT,
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


def prefixes_of(names: list[str]) -> list[dict[str, str]]:
    return [{"Prefix": name} for name in names]


def object_of(entry: shapes.ObjectEntry) -> dict[str, Any]:
    return present(
        Key=entry.key,
        LastModified=moment(entry.modified_at_ms),
        ETag=f'"{entry.etag}"',
        Size=entry.size_bytes,
        StorageClass=entry.storage_class,
        Owner=owner_of(entry.owner),
        **kind_of(entry, in_list=True),
    )


def objects(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[shapes.ObjectEntry]]:
    entry = st.builds(
        shapes.ObjectEntry,
        key=names,
        modified_at_ms=TIMES_MS,
        etag=XML_TEXT,
        size_bytes=NUMBERS,
        storage_class=XML_TEXT,
        owner=st.none() | OWNERS,
        **KINDS,
    )
    return st.lists(entry, max_size=3)


Build = Callable[[st.SearchStrategy[str], st.SearchStrategy[bool]], st.SearchStrategy[Any]]


def in_both_encodings(build: Build) -> st.SearchStrategy[Any]:
    """Names that XML can say as they are, or any names, url-encoded."""
    return build(XML_TEXT, st.just(False)) | build(ANY_TEXT, st.just(True))


def listed_objects(names: st.SearchStrategy[str], encoded: st.SearchStrategy[bool]) -> st.SearchStrategy[Any]:
    return st.builds(
        shapes.ListedObjects,
        bucket=XML_TEXT,
        prefix=names,
        delimiter=names,
        marker=names,
        max_keys=NUMBERS,
        objects=objects(names),
        common_prefixes=st.lists(names, max_size=3),
        next_marker=st.none() | names.filter(bool),
        url_encoded=encoded,
    )


@given(in_both_encodings(listed_objects))
def test_a_list_of_objects_says_what_it_has(listed: shapes.ListedObjects) -> None:
    assert parsed("ListObjects", xml.list_objects(listed)) == present(
        Name=listed.bucket,
        Prefix=quote(listed.prefix) if listed.url_encoded else listed.prefix,  # botocore forgets to decode this one
        Marker=listed.marker,
        NextMarker=listed.next_marker if listed.delimiter else None,
        MaxKeys=listed.max_keys,
        Delimiter=listed.delimiter or None,
        EncodingType="url" if listed.url_encoded else None,
        IsTruncated=listed.next_marker is not None,
        Contents=[object_of(entry) for entry in listed.objects],
        CommonPrefixes=prefixes_of(listed.common_prefixes),
    )


def listed_objects_v2(names: st.SearchStrategy[str], encoded: st.SearchStrategy[bool]) -> st.SearchStrategy[Any]:
    return st.builds(
        shapes.ListedObjectsV2,
        bucket=XML_TEXT,
        prefix=names,
        delimiter=names,
        max_keys=NUMBERS,
        objects=objects(names),
        common_prefixes=st.lists(names, max_size=3),
        continuation_token=st.none() | XML_TEXT,
        next_continuation_token=st.none() | XML_TEXT,
        start_after=st.none() | names,
        url_encoded=encoded,
    )


@given(in_both_encodings(listed_objects_v2))
def test_a_second_kind_of_list_of_objects_says_what_it_has(listed: shapes.ListedObjectsV2) -> None:
    assert parsed("ListObjectsV2", xml.list_objects_v2(listed)) == present(
        Name=listed.bucket,
        Prefix=listed.prefix,
        StartAfter=listed.start_after or None,
        ContinuationToken=listed.continuation_token,
        NextContinuationToken=listed.next_continuation_token,
        KeyCount=len(listed.objects) + len(listed.common_prefixes),
        MaxKeys=listed.max_keys,
        Delimiter=listed.delimiter or None,
        EncodingType="url" if listed.url_encoded else None,
        IsTruncated=listed.next_continuation_token is not None,
        Contents=[object_of(entry) for entry in listed.objects],
        CommonPrefixes=prefixes_of(listed.common_prefixes),
    )


def version_of(entry: shapes.VersionEntry) -> dict[str, Any]:
    named = present(
        Key=entry.key,
        VersionId=entry.version_id,
        IsLatest=entry.is_latest,
        LastModified=moment(entry.modified_at_ms),
        Owner=owner_of(entry.owner),
    )
    if entry.is_delete_marker:
        return named
    kept = {"ETag": f'"{entry.etag}"', "Size": entry.size_bytes, "StorageClass": entry.storage_class}
    return named | kept | kind_of(entry, in_list=True)


def listed_versions(names: st.SearchStrategy[str], encoded: st.SearchStrategy[bool]) -> st.SearchStrategy[Any]:
    entry = st.builds(
        shapes.VersionEntry,
        key=names,
        version_id=XML_TEXT,
        is_latest=st.booleans(),
        modified_at_ms=TIMES_MS,
        etag=XML_TEXT,
        size_bytes=NUMBERS,
        is_delete_marker=st.booleans(),
        storage_class=XML_TEXT,
        owner=st.none() | OWNERS,
        **KINDS,
    )
    return st.builds(
        shapes.ListedVersions,
        bucket=XML_TEXT,
        prefix=names,
        delimiter=names,
        key_marker=names,
        version_id_marker=XML_TEXT,
        max_keys=NUMBERS,
        versions=st.lists(entry, max_size=4),
        common_prefixes=st.lists(names, max_size=3),
        next_key_marker=st.none() | names.filter(bool),
        next_version_id_marker=st.none() | XML_TEXT,
        url_encoded=encoded,
    )


@given(in_both_encodings(listed_versions))
def test_a_list_of_versions_says_what_it_has(listed: shapes.ListedVersions) -> None:
    assert parsed("ListObjectVersions", xml.list_versions(listed)) == present(
        Name=listed.bucket,
        Prefix=listed.prefix,
        KeyMarker=listed.key_marker,
        VersionIdMarker=listed.version_id_marker,
        NextKeyMarker=listed.next_key_marker,
        NextVersionIdMarker=listed.next_version_id_marker,
        MaxKeys=listed.max_keys,
        Delimiter=listed.delimiter or None,
        EncodingType="url" if listed.url_encoded else None,
        IsTruncated=listed.next_key_marker is not None,
        Versions=[version_of(entry) for entry in listed.versions if not entry.is_delete_marker],
        DeleteMarkers=[version_of(entry) for entry in listed.versions if entry.is_delete_marker],
        CommonPrefixes=prefixes_of(listed.common_prefixes),
    )


def listed_uploads(names: st.SearchStrategy[str], encoded: st.SearchStrategy[bool]) -> st.SearchStrategy[Any]:
    entry = st.builds(
        shapes.UploadEntry,
        key=names,
        upload_id=XML_TEXT,
        owner=OWNERS,
        initiated_at_ms=TIMES_MS,
        storage_class=XML_TEXT,
        **KINDS,
    )
    return st.builds(
        shapes.ListedUploads,
        bucket=XML_TEXT,
        prefix=names,
        delimiter=names,
        key_marker=names,
        upload_id_marker=XML_TEXT,
        max_uploads=NUMBERS,
        uploads=st.lists(entry, max_size=3),
        common_prefixes=st.lists(names, max_size=3),
        next_key_marker=st.none() | names.filter(bool),
        next_upload_id_marker=st.none() | XML_TEXT,
        url_encoded=encoded,
    )


@given(in_both_encodings(listed_uploads))
def test_a_list_of_uploads_says_what_it_has(listed: shapes.ListedUploads) -> None:
    found = parsed("ListMultipartUploads", xml.list_uploads(listed))
    if found.get("EncodingType") == "url":  # which botocore does not ask for here
        for name in ("Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"):
            if name in found:
                found[name] = unquote(found[name])
        for upload in found.get("Uploads", []):
            upload["Key"] = unquote(upload["Key"])
        for group in found.get("CommonPrefixes", []):
            group["Prefix"] = unquote(group["Prefix"])
    assert found == present(
        Bucket=listed.bucket,
        Prefix=listed.prefix,
        KeyMarker=listed.key_marker,
        UploadIdMarker=listed.upload_id_marker,
        NextKeyMarker=listed.next_key_marker,
        NextUploadIdMarker=listed.next_upload_id_marker,
        MaxUploads=listed.max_uploads,
        Delimiter=listed.delimiter or None,
        EncodingType="url" if listed.url_encoded else None,
        IsTruncated=listed.next_key_marker is not None,
        CommonPrefixes=prefixes_of(listed.common_prefixes),
        Uploads=[
            present(
                Key=upload.key,
                UploadId=upload.upload_id,
                Initiator=owner_of(upload.owner),
                Owner=owner_of(upload.owner),
                StorageClass=upload.storage_class,
                Initiated=moment(upload.initiated_at_ms),
                **kind_of(upload),
            )
            for upload in listed.uploads
        ],
    )


def test_a_list_has_the_bytes_that_s3_sends() -> None:
    entry = shapes.ObjectEntry("a&b <c>", 1255369830123, "5f3a", 434234, owner=Owner("75aa", "mtd"))
    listed = shapes.ListedObjects("quotes", "N", "/", "Ned", 40, [entry], ["N/"], next_marker="N/")
    assert xml.list_objects(listed).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>quotes</Name><Prefix>N</Prefix>'
        "<Marker>Ned</Marker><NextMarker>N/</NextMarker><MaxKeys>40</MaxKeys><Delimiter>/</Delimiter>"
        "<IsTruncated>true</IsTruncated><Contents><Key>a&amp;b &lt;c&gt;</Key>"
        "<LastModified>2009-10-12T17:50:30.123Z</LastModified><ETag>&quot;5f3a&quot;</ETag><Size>434234</Size>"
        "<Owner><ID>75aa</ID><DisplayName>mtd</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>"
        "<CommonPrefixes><Prefix>N/</Prefix></CommonPrefixes></ListBucketResult>"
    )


def test_versions_and_markers_keep_their_order() -> None:
    versions = [shapes.VersionEntry("k", str(place), False, 0, is_delete_marker=place == 1) for place in range(3)]
    document = ET.fromstring(xml.list_versions(shapes.ListedVersions("b", "", "", "", "", 9, versions, [])))
    tags = [child.tag.rpartition("}")[2] for child in document]
    assert tags[-3:] == ["Version", "DeleteMarker", "Version"]
