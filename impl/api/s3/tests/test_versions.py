"""Versions as S3 names them: ids there and back, what answers say, and how many there may be."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api import versions as shared
from impl.api.s3 import versions
from impl.api.s3.bucket import Bucket
from impl.api.s3.errors import InvalidArgument, InvalidRequest, MethodNotAllowed, NoSuchKey, NoSuchVersion
from impl.model import NULL_VERSION, Head, PartRef
from impl.protocol.change import Change, apply

BUCKET = Bucket("b", 0, "", "", versioning="Enabled")
UNVERSIONED = msgspec.structs.replace(BUCKET, versioning="")


def written(*changes: Change) -> Head | None:
    head: Head | None = None
    for number, change in enumerate(changes):
        head = apply(msgspec.structs.replace(change, write_id=f"w{number}"), head).head
    return head


PUT = Change("put", etag="e", versioned=True)
MARK = Change("mark", versioned=True)


@given(st.just(NULL_VERSION) | st.integers(1, 10**18 - 1))
def test_a_version_id_names_the_version_that_it_is_of(version: int) -> None:
    assert versions.read(shared.spelled(version)) == version


@given(st.text())
def test_any_text_is_a_version_id_as_we_write_it_or_is_refused(text: str) -> None:
    try:
        assert shared.spelled(versions.read(text)) == text
    except InvalidArgument:
        return


def test_where_versions_were_never_kept_no_answer_speaks_of_them() -> None:
    head = written(Change("put", etag="e"))
    assert head is not None
    assert dict(versions.told_of_head(UNVERSIONED, head)) == {"x-amberio-generation": "1"}
    assert dict(versions.told_of_head(BUCKET, head))["x-amz-version-id"] == "null"


def test_a_read_finds_the_current_version_or_the_one_that_is_named() -> None:
    head = written(PUT, msgspec.structs.replace(PUT, etag="f"), MARK)
    with pytest.raises(NoSuchKey) as current:
        versions.named(BUCKET, "k", head, None)
    assert dict(current.value.headers)["x-amz-delete-marker"] == "true"
    assert [versions.named(BUCKET, "k", head, version).etag for version in (1, 2)] == ["e", "f"]
    with pytest.raises(MethodNotAllowed) as marker:
        versions.named(BUCKET, "k", head, 3)
    assert dict(marker.value.headers).items() >= {"x-amz-delete-marker": "true", "allow": "DELETE"}.items()
    for nowhere in (head, None):
        with pytest.raises(NoSuchVersion):
            versions.named(BUCKET, "k", nowhere, 4)


def test_an_object_has_a_bounded_number_of_versions() -> None:
    head = written(*[PUT] * (shared.VERSIONS_MAX - 1))
    versions.check_room(head, 1)
    with pytest.raises(InvalidRequest, match="1000 versions"):
        versions.check_room(written(*[PUT] * shared.VERSIONS_MAX), 1)


def test_the_versions_of_an_object_have_a_bounded_number_of_parts_together() -> None:
    many = tuple(PartRef("d", 1) for _ in range(shared.PARTS_MAX - 1))
    head = written(msgspec.structs.replace(PUT, parts=many))
    versions.check_room(head, 1)
    with pytest.raises(InvalidRequest, match="parts together"):
        versions.check_room(head, 2)
