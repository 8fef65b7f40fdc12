"""The S3 API from a client's side: what is sent to one bucket, and what each answer means for the history.

Nobody signs anything: the nodes of a run let everybody in. A path is bucket and key, as the server's traces have it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree

from tracegen.backend.face import Answer, Cluster, Connection
from tracegen.errors import HarnessError, Lost, NotSent
from tracegen.history import Kind, ListedVersion
from tracegen.workload.asked import Read, Version, Write
from tracegen.workload.shapes import (
    NULL_VERSION,
    Result,
    bare,
    generation,
    header,
    read_headers,
    read_result,
    refused,
    unexpected,
)

BEGIN_S: Final = 20.0
"""So long a cluster in which nothing is broken may take to make a bucket."""
TRY_AGAIN_S: Final = 0.1
TAG_CHARACTERS: Final = 24
_NAMESPACE: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_STATUS: Final = {"enabled": "Enabled", "suspended": "Suspended"}


class S3:
    """See `api.Api`. `versioning` of the bucket: off, enabled or suspended."""

    def __init__(self, bucket: str, versioning: str) -> None:
        self._bucket = bucket
        self._versioning = versioning
        self.delete_kind: Kind = "delete" if versioning == "off" else "mark"
        self.is_versioned = versioning == "enabled"
        self.lists: tuple[Kind, ...] = ("list",) if versioning == "off" else ("list", "list_versions")

    async def begin(self, cluster: Cluster) -> None:
        """Make the bucket. Raises HarnessError when that does not succeed though nothing is broken."""
        connection = cluster.connection(cluster.nodes[0])
        clock = asyncio.get_running_loop().time
        end_s = clock() + BEGIN_S
        said = "no answer"
        try:
            while clock() < end_s:
                with contextlib.suppress(NotSent, Lost):
                    answer = await self._make(connection)
                    if answer.status == 200:
                        return
                    said = f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}"
                await asyncio.sleep(TRY_AGAIN_S)
        finally:
            connection.close()
        raise HarnessError(f"the bucket {self._bucket} cannot be made: {said}")

    async def _make(self, connection: Connection) -> Answer:
        target = f"/{self._bucket}"
        answer = await connection.request("PUT", target, (), b"", BEGIN_S)
        if self._versioning == "off" or answer.status not in (200, 409):
            return answer
        status = f"<Status>{_STATUS[self._versioning]}</Status>"
        document = f"<VersioningConfiguration>{status}</VersioningConfiguration>"
        return await connection.request("PUT", f"{target}?versioning", (), document.encode(), BEGIN_S)

    # -- writes

    async def prepare(self, connection: Connection, write: Write, deadline_s: float) -> Write | Result:
        """Upload the parts of a body that is sent so; of that the object shows nothing before they are put together."""
        if not write.is_multipart:
            return write
        answer = await connection.request("POST", f"{_target(write.path)}?uploads", (), b"", deadline_s)
        upload = _text(answer, "UploadId") if answer.status == 200 else None
        if upload is None:
            return replace(refused(answer), outcome="failed")
        target = f"{_target(write.path)}?partNumber=1&uploadId={quote(upload)}"
        answer = await connection.request("PUT", target, (), write.body, deadline_s)
        if answer.status != 200:
            return replace(refused(answer), outcome="failed")
        return replace(write, upload=upload, part_etag=header(answer, b"etag"))

    async def write(self, connection: Connection, write: Write, deadline_s: float) -> Result:
        path, body = _target(write.path), write.body
        headers = (("amz-sdk-invocation-id", write.write_id), *write.condition.headers())
        match write.kind:
            case "mark" | "delete":
                target = path if write.version is None else f"{path}?versionId={_spelled(write.version)}"
                return _deleted(await connection.request("DELETE", target, headers, None, deadline_s), write.version)
            case "tag":
                tags = f"<TagSet><Tag><Key>by</Key><Value>{write.write_id[-TAG_CHARACTERS:]}</Value></Tag></TagSet>"
                document = f"<Tagging>{tags}</Tagging>".encode()
                answer = await connection.request("PUT", f"{path}?tagging", headers, document, deadline_s)
                return _written(answer, None, deleted=None)
            case "copy":
                assert write.source is not None
                headers += (("x-amz-copy-source", _target(write.source)), ("x-amz-metadata-directive", "REPLACE"))
                answer = await connection.request("PUT", path, headers, b"", deadline_s)
                return _written(answer, _text(answer, "ETag"), deleted=False)
        if write.is_multipart:
            part = f"<Part><PartNumber>1</PartNumber><ETag>{write.part_etag}</ETag></Part>"
            document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
            target = f"{path}?uploadId={quote(write.upload)}"
            answer = await connection.request("POST", target, headers, document, deadline_s)
            return _written(answer, _text(answer, "ETag"), deleted=False)
        answer = await connection.request("PUT", path, headers, body, deadline_s)
        return _written(answer, header(answer, b"etag"), deleted=False)

    # -- reads

    async def read(self, connection: Connection, read: Read) -> Result:
        if read.kind == "list":
            return await self._list(connection, read)
        if read.kind == "list_versions":
            return await self._list_versions(connection, read)
        target = _target(read.path) + ("" if read.version is None else f"?versionId={_spelled(read.version)}")
        headers = read_headers(read.condition, read.span)
        answer = await connection.request("GET", target, headers, None, read.deadline_s)
        found = read_result(answer, read.condition, read.span)
        if found is not None:
            return replace(found, version=_version(answer))
        is_marker = header(answer, b"x-amz-delete-marker") == "true"
        number = generation(answer)
        match answer.status:
            case 404 if number is not None:
                told = _version(answer) if is_marker else None
                return Result("ok", 404, number, deleted=number > 0, version=told)
            case 405 if read.version is not None and is_marker:
                return Result("ok", 405, number, deleted=True, version=_version(answer))
            case 404:
                return unexpected(answer, "no x-amberio-generation")
        return refused(answer)

    async def _list(self, connection: Connection, read: Read) -> Result:
        """Every path under the prefix that has an object, with its etag."""
        listed: list[tuple[str, str]] = []
        first = f"/{self._bucket}?list-type=2&max-keys={read.page}&prefix={quote(self._key(read.path))}"
        target = first
        while True:
            answer = await connection.request("GET", target, (), None, read.deadline_s)
            page = _document(answer)
            if page is None:
                return refused(answer)
            for entry in page.iter(f"{_NAMESPACE}Contents"):
                path = f"{self._bucket}/{_of(entry, 'Key')}"
                if listed and path.encode() <= listed[-1][0].encode():
                    return unexpected(answer, f"{path} is listed after {listed[-1][0]}")
                listed.append((path, bare(_of(entry, "ETag")) or ""))
            if _of(page, "IsTruncated") != "true":
                return Result(outcome="ok", status=200, listed=listed)
            target = f"{first}&continuation-token={quote(_of(page, 'NextContinuationToken'), safe='')}"

    async def _list_versions(self, connection: Connection, read: Read) -> Result:
        """Every version and delete marker of every path under the prefix."""
        versions: list[ListedVersion] = []
        first = target = f"/{self._bucket}?versions&max-keys={read.page}&prefix={quote(self._key(read.path))}"
        while True:
            answer = await connection.request("GET", target, (), None, read.deadline_s)
            page = _document(answer)
            if page is None:
                return refused(answer)
            found = [_listed(entry, self._bucket) for entry in page if entry.tag in _ENTRIES]
            wrong = _out_of_order(versions[-1:], found)
            if wrong:
                return unexpected(answer, wrong)
            versions += found
            if _of(page, "IsTruncated") != "true":
                return Result(outcome="ok", status=200, versions=versions)
            key, version = _of(page, "NextKeyMarker"), _of(page, "NextVersionIdMarker")
            target = f"{first}&key-marker={quote(key, safe='')}&version-id-marker={quote(version, safe='')}"

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self._bucket}/")


_ENTRIES: Final = (f"{_NAMESPACE}Version", f"{_NAMESPACE}DeleteMarker")


def _listed(entry: ElementTree.Element, bucket: str) -> ListedVersion:
    return ListedVersion(
        path=f"{bucket}/{_of(entry, 'Key')}",
        version=_number(_of(entry, "VersionId")),
        is_latest=_of(entry, "IsLatest") == "true",
        deleted=entry.tag.endswith("DeleteMarker"),
        etag=bare(_of(entry, "ETag")),
    )


def _out_of_order(before: Sequence[ListedVersion], page: Sequence[ListedVersion]) -> str:
    """What is wrong with a page of versions. Each page sees a path at one moment, and the next one at a later one."""
    for earlier, later in pairwise((*before, *page)):
        if later.path.encode() < earlier.path.encode():
            return f"{later.path} is listed after {earlier.path}"
    for earlier, later in pairwise(page):
        has_ids = NULL_VERSION not in (earlier.version, later.version)
        if later.path == earlier.path and has_ids and later.version >= earlier.version:
            return f"{later.path}: version {later.version} is listed after {earlier.version}"
    seen: set[tuple[str, int]] = set()
    latest: set[str] = set()
    for each in page:
        if (each.path, each.version) in seen:
            return f"{each.path}: version {each.version} is listed twice"
        if each.is_latest and each.path in latest:
            return f"{each.path}: two versions are listed as the latest"
        seen.add((each.path, each.version))
        latest.update([each.path] if each.is_latest else [])
    return ""


def _deleted(answer: Answer, version: Version | None) -> Result:
    """What a DELETE came to. One of a version does not say what is there beneath."""
    if answer.status != 204:
        return refused(answer)
    number = generation(answer)
    if number is None:
        return unexpected(answer, "no x-amberio-generation")
    is_gone = None if version is not None else number > 0
    return Result("ok", 204, number, deleted=is_gone, version=_version(answer))


def _written(answer: Answer, etag: str | None, *, deleted: bool | None) -> Result:
    if answer.status != 200:
        return refused(answer)
    number = generation(answer)
    if number is None:
        return unexpected(answer, "no x-amberio-generation")
    return Result("ok", 200, number, bare(etag), deleted=deleted, version=_version(answer))


def _version(answer: Answer) -> int | None:
    told = header(answer, b"x-amz-version-id")
    return _number(told) if told else None


def _number(version: str) -> int:
    return NULL_VERSION if version == "null" else int(version)


def _spelled(version: Version) -> str:
    return "null" if version.id == NULL_VERSION else str(version.id)


def _target(path: str) -> str:
    return f"/{quote(path)}"


def _document(answer: Answer) -> ElementTree.Element | None:
    return ElementTree.fromstring(answer.body) if answer.status == 200 else None


def _text(answer: Answer, name: str) -> str | None:
    found = _document(answer)
    return None if found is None else _of(found, name) or None


def _of(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{_NAMESPACE}{name}", "")
