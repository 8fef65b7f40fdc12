"""ListObjects of both versions and ListObjectVersions: the node's own linearizable list, paged as S3 does."""

from collections.abc import Sequence
from typing import Final

import msgspec

from impl.api.http.exchange import Answer
from impl.api.node_face import ObjectNode
from impl.api.s3 import listing, metadata, shapes, xml
from impl.api.s3.call import Call, object_path, owner_of, xml_answer
from impl.api.s3.errors import InvalidArgument
from impl.api.versions import spelled
from impl.model import Head, Version

Versions = Sequence[tuple[str, "Listed"]]
VERSION_PATHS_MAX: Final = 100
"""How many keys are asked for at a time when their versions are wanted: a head with many is long."""


class Listed(msgspec.Struct, frozen=True):
    """A version as it is listed: the current one of its key `is_latest`."""

    version: Version
    is_latest: bool


class HeadPage(msgspec.Struct, frozen=True):
    """A page of a bucket's keys."""

    items: list[tuple[str, Head]]
    next_after: str | None


class VersionPage(msgspec.Struct, frozen=True):
    """A page of a bucket's keys with their versions."""

    items: list[tuple[str, Versions]]
    next_after: str | None


class Lists:
    """The lists of objects of one node."""

    def __init__(self, node: ObjectNode) -> None:
        self._node = node

    async def objects(self, call: Call) -> Answer:
        """ListObjects, or ListObjectsV2 if list-type is 2."""
        version = call.arguments.get("list-type")
        if version not in (None, "2"):
            raise InvalidArgument("Invalid List Type specified in Request", ArgumentName="list-type")
        return await (self._version_2(call) if version else self._version_1(call))

    async def _version_1(self, call: Call) -> Answer:
        asked = call.arguments
        url_encoded = listing.is_url_encoded(asked.get("encoding-type"))
        most = listing.max_entries("max-keys", asked.get("max-keys"))
        prefix, delimiter, marker = asked.get("prefix", ""), asked.get("delimiter", ""), asked.get("marker", "")
        bucket = call.found
        keys = await listing.list_keys(
            self._source(call.bucket), prefix=prefix, delimiter=delimiter, marker=marker, max_keys=most
        )
        return xml_answer(
            xml.list_objects(
                shapes.ListedObjects(
                    call.bucket,
                    prefix,
                    delimiter,
                    marker,
                    most,
                    _entries(keys.items, owner_of(bucket.owner)),
                    keys.common_prefixes,
                    keys.next_marker,
                    url_encoded,
                )
            )
        )

    async def _version_2(self, call: Call) -> Answer:
        asked = call.arguments
        url_encoded = listing.is_url_encoded(asked.get("encoding-type"))
        most = listing.max_entries("max-keys", asked.get("max-keys"))
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        token, start_after = asked.get("continuation-token"), asked.get("start-after")
        if token == "":
            raise InvalidArgument("The continuation token provided is incorrect", ArgumentName="continuation-token")
        marker = start_after if token is None else listing.decode_token(token)
        bucket = call.found
        keys = await listing.list_keys(
            self._source(call.bucket), prefix=prefix, delimiter=delimiter, marker=marker, max_keys=most
        )
        following = None if keys.next_marker is None else listing.encode_token(keys.next_marker)
        who = owner_of(bucket.owner) if asked.get("fetch-owner", "").lower() == "true" else None
        return xml_answer(
            xml.list_objects_v2(
                shapes.ListedObjectsV2(
                    call.bucket,
                    prefix,
                    delimiter,
                    most,
                    _entries(keys.items, who),
                    keys.common_prefixes,
                    token,
                    following,
                    start_after,
                    url_encoded,
                )
            )
        )

    async def versions(self, call: Call) -> Answer:
        """ListObjectVersions: of each key all versions and delete markers, newest first."""
        asked = call.arguments
        url_encoded = listing.is_url_encoded(asked.get("encoding-type"))
        most = listing.max_entries("max-keys", asked.get("max-keys"))
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        key_marker, version_marker = asked.get("key-marker"), asked.get("version-id-marker")
        bucket = call.found
        page = await listing.list_versions(
            self._versions_source(call.bucket),
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            version_id_marker=version_marker,
            max_keys=most,
        )
        who = owner_of(bucket.owner)
        entries = [_version(key, spelled, listed, who) for key, spelled, listed in page.items]
        return xml_answer(
            xml.list_versions(
                shapes.ListedVersions(
                    call.bucket,
                    prefix,
                    delimiter,
                    key_marker or "",
                    version_marker or "",
                    most,
                    entries,
                    page.common_prefixes,
                    page.next_key_marker,
                    page.next_id_marker,
                    url_encoded,
                )
            )
        )

    def _source(self, bucket: str) -> listing.Source[Head]:
        start = object_path(bucket, "")

        async def source(prefix: str, after: str | None, limit: int) -> HeadPage:
            page = await self._node.list(start + prefix, limit, None if after is None else start + after, False)
            items = [(path[len(start) :], head) for path, head in page.items]
            return HeadPage(items, None if page.next_after is None else page.next_after[len(start) :])

        return source

    def _versions_source(self, bucket: str) -> listing.Source[Versions]:
        start = object_path(bucket, "")

        async def source(prefix: str, after: str | None, limit: int) -> VersionPage:
            above = None if after is None else start + after
            paths = min(limit, VERSION_PATHS_MAX)
            page = await self._node.list(start + prefix, paths, above, False, with_older=True)
            items = [(path[len(start) :], _newest_first(head)) for path, head in page.items]
            return VersionPage(items, None if page.next_after is None else page.next_after[len(start) :])

        return source


def _entries(items: Sequence[tuple[str, Head]], who: shapes.Owner | None) -> list[shapes.ObjectEntry]:
    return [_entry(key, head, who) for key, head in items]


def _entry(key: str, head: Head, who: shapes.Owner | None) -> shapes.ObjectEntry:
    checksum = metadata.checksum_in(head.attributes) if head.attributes else None
    return shapes.ObjectEntry(
        key,
        head.updated_at_ms,
        head.etag or "",
        head.size_bytes,
        metadata.storage_class(head.attributes),
        who,
        checksum.algorithm if checksum else None,
        checksum.type if checksum else None,
    )


def _newest_first(head: Head) -> Versions:
    kept = head.versions[::-1]
    return [(spelled(version.id), Listed(version, version is kept[0])) for version in kept]


def _version(key: str, spelled: str, listed: Listed, who: shapes.Owner | None) -> shapes.VersionEntry:
    version = listed.version
    checksum = metadata.checksum_in(version.attributes) if version.attributes else None
    return shapes.VersionEntry(
        key,
        spelled,
        listed.is_latest,
        version.updated_at_ms,
        version.etag or "",
        version.size_bytes,
        version.marker,
        metadata.storage_class(version.attributes),
        who,
        checksum.algorithm if checksum else None,
        checksum.type if checksum else None,
    )
