"""Multipart uploads: an upload is a register, each of its parts another, and completing is one write of the object.

The bytes of a part are stored where the object lives, in its slot, as parts of a body; so the head that completes the
upload names them as they are. What is left of an upload that is over are tombstones.

    /u/<bucket>/<start of the upload id>/<key in hex>/<upload id>    hex keeps the order of keys, and prefixes
    /p/<upload id>/<number, five digits>

An upload id starts with what tells its bucket from others of the same name, so that a bucket's uploads end with it.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from impl.api import conditions
from impl.api.http.exchange import Answer
from impl.api.node_face import Made, ObjectNode
from impl.api.s3 import checksums, documents, listing, metadata, shapes, versions, xml, xml_requests
from impl.api.s3.bodies import CheckedBody
from impl.api.s3.bucket import Bucket
from impl.api.s3.buckets import Buckets
from impl.api.s3.call import Call, number_argument, once_written, owner_of, xml_answer
from impl.api.s3.checksums import Algorithm, Checksum, ChecksumType
from impl.api.s3.errors import (
    EntityTooLarge,
    EntityTooSmall,
    InvalidArgument,
    InvalidPart,
    InvalidRange,
    InvalidRequest,
    NoSuchUpload,
)
from impl.api.s3.objects import PARTS_MAX, PUT_BYTES_MAX, Objects, refuse, write_condition
from impl.api.s3.shapes import CompletePart
from impl.doors import Clock
from impl.model import SYSTEM_START, UPLOAD_PARTS_START, Attributes, Head, PartRef, Stored
from impl.protocol.change import NO_CONDITION, Condition

UPLOADS: Final = SYSTEM_START + "u/"
PARTS: Final = UPLOAD_PARTS_START
PART_BYTES_MIN: Final = 5 * 1024**2
OBJECT_BYTES_MAX: Final = 5 * 1024**4
DELETES_AT_ONCE_MAX: Final = 16
_PAGE: Final = 1000
_ID_START_CHARACTERS: Final = 16
_OWNER: Final = "upload-owner"
_CHECKSUM: Final = "upload-checksum"
_ABOVE: Final = "\U0010ffff"

Uploads = Sequence[tuple[str, Head]]


class UploadPage(msgspec.Struct, frozen=True):
    """A page of keys with their uploads."""

    items: list[tuple[str, Uploads]]
    next_after: str | None


class Multipart:
    """The operations on multipart uploads."""

    def __init__(self, node: ObjectNode, buckets: Buckets, objects: Objects, clock: Clock) -> None:
        self._node = node
        self._buckets = buckets
        self._objects = objects
        self._clock = clock

    async def create(self, call: Call) -> Answer:
        """CreateMultipartUpload."""
        attributes = metadata.of_request(call.headers)
        kind = checksums.of_new_upload(call.headers)
        bucket = call.found
        seed = f"{self._node.cluster_id} {call.request.request_id} {self._clock.now_ms()}"
        upload_id = _id_start(bucket) + hashlib.sha256(seed.encode()).hexdigest()[:32]
        attributes += ((_OWNER, call.verified.identity.access_key_id),)
        if kind is not None:
            attributes += ((_CHECKSUM, f"{kind[0].value} {kind[1].value}"),)
        await self._node.write(
            upload_path(call.bucket, call.key, upload_id),
            Stored(b"", (), 0, upload_id),
            condition=Condition("absent"),
            write_id=None,
            content_type=metadata.content_type(call.headers),
            attributes=attributes,
        )
        told = (
            ()
            if kind is None
            else (("x-amz-checksum-algorithm", kind[0].value), (metadata.CHECKSUM_TYPE, kind[1].value))
        )
        return xml_answer(xml.new_upload(shapes.NewUpload(call.bucket, call.key, upload_id)), told)

    async def upload_part(self, call: Call) -> Answer:
        """UploadPart, and UploadPartCopy if there is a source."""
        if "partNumber" not in call.arguments:
            raise InvalidArgument("This operation needs a partNumber.", ArgumentName="partNumber")
        number = number_argument(call, "partNumber", 1, PARTS_MAX)
        upload = await self._upload(call)
        kind = _checksum_kind(upload)
        algorithm = kind[0] if kind else None
        if "x-amz-copy-source" in call.headers:
            body = await self._copied(call, algorithm)
            stored = await self._store(call, number, body)
            return xml_answer(xml.copied_part(shapes.Copied(self._clock.now_ms(), stored.etag, body.checksum)))
        body = call.body(algorithm)
        body.check_size(PUT_BYTES_MAX)
        stored = await self._store(call, number, body)
        told = metadata.of_checksum(body.checksum)[:1]
        return Answer(200, (("ETag", f'"{stored.etag}"'), *told))

    async def _store(self, call: Call, number: int, body: CheckedBody) -> Stored:
        stored = await self._node.store(call.path, body, 0)
        stored = msgspec.structs.replace(stored, etag=body.md5)
        await self._node.write(
            part_path(call.arguments["uploadId"], number),
            stored,
            condition=NO_CONDITION,
            write_id=None,
            content_type="",
            attributes=metadata.of_checksum(body.checksum),
        )
        return stored

    async def _copied(self, call: Call, algorithm: Algorithm | None) -> CheckedBody:
        source, head = await self._objects.source(call)
        span: tuple[int, int] = (0, head.size_bytes)
        if (asked := call.headers.get("x-amz-copy-source-range")) is not None:
            found = conditions.byte_range(asked, head.size_bytes)
            if found is None or asked.strip().startswith("bytes=-") or asked.strip().endswith("-"):
                raise InvalidArgument(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are "
                    "the zero-based offsets of the first and last bytes to copy",
                    ArgumentName="x-amz-copy-source-range",
                    ArgumentValue=asked[:200],
                )
            if found == "unsatisfiable" or found[1] != int(asked.rpartition("-")[2]) + 1:
                raise InvalidRange(ActualObjectSize=head.size_bytes, RangeRequested=asked[:100])
            span = found
        if span[1] - span[0] > PUT_BYTES_MAX:
            raise EntityTooLarge(ProposedSize=span[1] - span[0], MaxSizeAllowed=PUT_BYTES_MAX)
        return self._objects.reading(f"{source.bucket}/{source.key}", head, span, algorithm)

    async def complete(self, call: Call) -> Answer:
        """CompleteMultipartUpload. One that comes again after its answer was lost gets the same answer."""
        asked = await documents.read(call, xml_requests.complete_multipart_upload)
        await self._buckets.guard.check(call)
        upload_id = call.arguments["uploadId"]
        condition = write_condition(call)
        write_id = f"complete {upload_id}"
        try:
            upload = await self._upload(call)
        except NoSuchUpload:
            return await self._completed_before(call, write_id)
        found = await self._parts(upload_id)
        parts = [_part(wanted, found) for wanted in asked]
        sizes = [head.size_bytes for head in parts]
        _check_sizes(call, asked, sizes)
        etag = checksums.multipart_etag([bytes.fromhex(head.etag or "") for head in parts])
        checksum = _whole_checksum(call, _checksum_kind(upload), parts)
        refs: tuple[PartRef, ...] = tuple(ref for head in parts for ref in head.parts)
        if versions.is_versioned(call.found):
            versions.check_room(await self._node.head(call.path), len(refs))
        kept: Attributes = tuple(pair for pair in upload.attributes if pair[0] not in (_OWNER, _CHECKSUM))
        written = await self._node.write(
            call.path,
            Stored(None, refs, sum(sizes), etag),
            condition=condition,
            write_id=write_id,
            content_type=upload.content_type,
            attributes=(*kept, *metadata.of_part_sizes(sizes), *metadata.of_checksum(checksum)),
            versioned=versions.is_versioned(call.found),
        )
        refuse(call, condition, written)
        await self._buckets.guard.settle(call.found, call.path, written, call.request.request_id)
        with once_written("complete, but the upload is not gone yet"):
            await self._forget(call, sorted(found))
        return self._completed(call, written, checksum)

    async def _completed_before(self, call: Call, write_id: str) -> Answer:
        head = await self._node.head(call.path)
        for applied in head.recent if head is not None else ():
            if applied.write_id == write_id:
                await self._buckets.guard.settle(call.found, call.path, applied, call.request.request_id)
                return self._completed(call, applied, None)
        raise NoSuchUpload(UploadId=call.arguments["uploadId"][:200])

    def _completed(self, call: Call, written: Made, checksum: Checksum | None) -> Answer:
        etag = written.etag or ""
        location = f"{'https' if call.request.is_tls else 'http'}://{call.headers.get('host', '')}{call.request.path}"
        completed = shapes.CompletedUpload(location, call.bucket, call.key, etag, checksum)
        return xml_answer(xml.completed_upload(completed), versions.told_of_write(call.found, written))

    async def abort(self, call: Call) -> Answer:
        """AbortMultipartUpload."""
        await self._upload(call)
        await self._forget(call, sorted(await self._parts(call.arguments["uploadId"])))
        return Answer(204)

    async def _forget(self, call: Call, numbers: Sequence[int]) -> None:
        """Leave tombstones: of the upload first, so that no part is taken for it any more."""
        upload_id = call.arguments["uploadId"]
        await self._node.delete(upload_path(call.bucket, call.key, upload_id), condition=NO_CONDITION, write_id=None)
        for first in range(0, len(numbers), DELETES_AT_ONCE_MAX):
            paths = [part_path(upload_id, number) for number in numbers[first : first + DELETES_AT_ONCE_MAX]]
            await asyncio.gather(*(self._node.delete(path, condition=NO_CONDITION, write_id=None) for path in paths))

    async def list_parts(self, call: Call) -> Answer:
        """ListParts."""
        upload = await self._upload(call)
        upload_id = call.arguments["uploadId"]
        most = listing.max_entries("max-parts", call.arguments.get("max-parts"))
        marker = (
            number_argument(call, "part-number-marker", 0, 2**31 - 1) if call.arguments.get("part-number-marker") else 0
        )
        parts: list[shapes.PartEntry] = []
        following = None
        if most and marker <= PARTS_MAX:
            page = await self._node.list(f"{PARTS}{upload_id}/", most, part_path(upload_id, marker), False)
            parts = [_entry(path, head) for path, head in page.items]
            following = parts[-1].number if page.next_after is not None and parts else None
        kind = _checksum_kind(upload)
        return xml_answer(
            xml.list_parts(
                shapes.ListedParts(
                    call.bucket,
                    call.key,
                    upload_id,
                    _owner(upload),
                    marker,
                    most,
                    parts,
                    following,
                    metadata.storage_class(upload.attributes),
                    kind[0] if kind else None,
                    kind[1] if kind else None,
                )
            )
        )

    async def list_uploads(self, call: Call) -> Answer:
        """ListMultipartUploads."""
        asked = call.arguments
        url_encoded = listing.is_url_encoded(asked.get("encoding-type"))
        most = listing.max_entries("max-uploads", asked.get("max-uploads"))
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        key_marker, id_marker = asked.get("key-marker", ""), asked.get("upload-id-marker", "")
        bucket = call.found
        page = await listing.list_uploads(
            self._source(bucket),
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker or None,
            upload_id_marker=id_marker or None,
            max_uploads=most,
        )
        uploads = [
            shapes.UploadEntry(
                key, upload_id, _owner(head), head.updated_at_ms, metadata.storage_class(head.attributes)
            )
            for key, upload_id, head in page.items
        ]
        return xml_answer(
            xml.list_uploads(
                shapes.ListedUploads(
                    call.bucket,
                    prefix,
                    delimiter,
                    key_marker,
                    id_marker,
                    most,
                    uploads,
                    page.common_prefixes,
                    page.next_key_marker,
                    page.next_id_marker,
                    url_encoded,
                )
            )
        )

    def _source(self, bucket: Bucket) -> listing.Source[Uploads]:
        start = f"{UPLOADS}{bucket.name}/{_id_start(bucket)}/"

        async def source(prefix: str, after: str | None, limit: int) -> UploadPage:
            above = None if after is None else f"{start}{after.encode().hex()}/{_ABOVE}"
            page = await self._node.list(start + prefix.encode().hex(), limit, above, False)
            items, more = list(page.items), page.next_after
            while more is not None and items:  # the uploads of the last key, as many as there are
                of_key = items[-1][0].rpartition("/")[0] + "/"
                rest = await self._node.list(of_key, _PAGE, items[-1][0], False)
                items += rest.items
                if rest.next_after is None:
                    break
            grouped: dict[str, list[tuple[str, Head]]] = {}
            for path, head in items:
                encoded, _, upload_id = path[len(start) :].partition("/")
                grouped.setdefault(bytes.fromhex(encoded).decode(), []).append((upload_id, head))
            return UploadPage(list(grouped.items()), next(reversed(grouped), None) if more is not None else None)

        return source

    async def _upload(self, call: Call) -> Head:
        """The upload's register. Raises NoSuchUpload."""
        upload_id = call.arguments["uploadId"]
        path = upload_path(call.bucket, call.key, upload_id)
        head = await self._node.head(path)
        if head is None or head.deleted or not upload_id.startswith(_id_start(call.found)):
            raise NoSuchUpload(UploadId=upload_id[:200])
        return head

    async def _parts(self, upload_id: str) -> dict[int, Head]:
        found: dict[int, Head] = {}
        after = None
        while True:
            page = await self._node.list(f"{PARTS}{upload_id}/", _PAGE, after, False)
            found |= {_number(path): head for path, head in page.items}
            after = page.next_after
            if after is None:
                return found


def upload_path(bucket: str, key: str, upload_id: str) -> str:
    """The path of an upload's register."""
    return f"{UPLOADS}{bucket}/{upload_id[:_ID_START_CHARACTERS]}/{key.encode().hex()}/{upload_id}"


def part_path(upload_id: str, number: int) -> str:
    """The path of a part's register."""
    return f"{PARTS}{upload_id}/{number:05}"


def _id_start(bucket: Bucket) -> str:
    return hashlib.sha256(bucket.creation_id.encode()).hexdigest()[:_ID_START_CHARACTERS]


def _number(path: str) -> int:
    return int(path.rpartition("/")[2])


def _owner(upload: Head) -> shapes.Owner:
    return owner_of(dict(upload.attributes)[_OWNER])


def _entry(path: str, head: Head) -> shapes.PartEntry:
    checksum = metadata.checksum_in(head.attributes)
    return shapes.PartEntry(_number(path), head.updated_at_ms, head.etag or "", head.size_bytes, checksum)


def _checksum_kind(upload: Head) -> tuple[Algorithm, ChecksumType] | None:
    said = dict(upload.attributes).get(_CHECKSUM)
    if said is None:
        return None
    algorithm, _, kind = said.partition(" ")
    return Algorithm(algorithm), ChecksumType(kind)


def _part(wanted: CompletePart, found: dict[int, Head]) -> Head:
    """The part that a completion names. Raises InvalidPart unless it is there, and the one that is meant."""
    head = found.get(wanted.number)
    checksum = metadata.checksum_in(head.attributes) if head is not None else None
    is_other = wanted.checksum is not None and checksum is not None and wanted.checksum != checksum
    if head is None or head.etag != wanted.etag or is_other:
        raise InvalidPart(PartNumber=wanted.number, ETag=wanted.etag[:200])
    return head


def _check_sizes(call: Call, asked: Sequence[CompletePart], sizes: Sequence[int]) -> None:
    for part, size_bytes in zip(asked[:-1], sizes, strict=False):
        if size_bytes < PART_BYTES_MIN:
            raise EntityTooSmall(
                ProposedSize=size_bytes, MinSizeAllowed=PART_BYTES_MIN, PartNumber=part.number, ETag=part.etag
            )
    if sum(sizes) > OBJECT_BYTES_MAX:
        raise EntityTooLarge(ProposedSize=sum(sizes), MaxSizeAllowed=OBJECT_BYTES_MAX)
    if call.headers.get("x-amz-mp-object-size", str(sum(sizes))) != str(sum(sizes)):
        raise InvalidRequest("The provided 'x-amz-mp-object-size' header does not match the sum of the part sizes.")


def _whole_checksum(call: Call, kind: tuple[Algorithm, ChecksumType] | None, parts: Sequence[Head]) -> Checksum | None:
    """The checksum of the object, from those of its parts. Raises BadDigest if the client expects another."""
    if kind is None:
        return None
    found = [(metadata.checksum_in(head.attributes), head.size_bytes) for head in parts]
    known = [(checksum, size) for checksum, size in found if checksum is not None and checksum.algorithm is kind[0]]
    if len(known) != len(found):
        raise InvalidPart("A part has another checksum than the upload was begun with.")
    if kind[1] is ChecksumType.COMPOSITE:
        whole = checksums.composite([checksum for checksum, _ in known])
    else:
        whole = checksums.full_object(known)
    said = call.headers.get(kind[0].header)
    if said is not None:
        checksums.check_same(checksums.read_value(kind[0], said, of_upload=True), whole)
    return whole
