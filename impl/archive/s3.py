"""S3 by boto3, one request a call, in threads of its own. What S3 and botocore say of failures becomes `impl.errors`.

botocore's own retries are off: `requests.py` decides about them. So are its checksums: each body is sent with its
SHA-256, which S3 checks, and what is read is checked by whoever has all of it (`remote.py`).
"""

import asyncio
import base64
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar, cast

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from impl.archive.bucket import Condition, Label, UploadedPart
from impl.archive.face import CONTENT_TYPE, Archived, Listed, Page
from impl.archive.failures import as_archive_error
from impl.archive.remote import RemoteArchive
from impl.archive.retries import Limits
from impl.archive.settings import S3Settings
from impl.doors import Clock, Random
from impl.errors import (
    AmberioError,
    ArchiveChanged,
    ArchiveRefused,
    ArchiveUnavailable,
    NotInArchive,
    RangeNotSatisfiable,
)

READ_BYTES: Final = 256 * 1024
CLOSE_S: Final = 3.0
"""So long the end of a node waits for the archive's answers."""

P = ParamSpec("P")
T = TypeVar("T")

Answer = Mapping[str, Any]
"""What boto3 returns of a request."""


async def open_s3(settings: S3Settings, clock: Clock, random: Random, limits: Limits | None = None) -> RemoteArchive:
    """The archive that is this bucket. Whether the bucket is there shows with the first request."""
    limits = limits or Limits()
    threads = ThreadPoolExecutor(limits.in_flight_max, "archive")
    # botocore reads megabytes of JSON for a client
    client = await asyncio.get_running_loop().run_in_executor(threads, _client, settings, limits.in_flight_max)
    return RemoteArchive(S3Bucket(client, settings.bucket, threads, limits.attempt_s, clock), limits, clock, random)


def _client(settings: S3Settings, connections: int) -> Any:
    config = Config(
        connect_timeout=settings.connect_s,
        read_timeout=settings.read_s,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": settings.addressing},
    )
    return boto3.session.Session().client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        aws_session_token=settings.session_token,
        config=config,
    )


class S3Bucket:
    """See `bucket.Bucket`. `threads` bounds the requests at once, also those that nobody waits for any more."""

    def __init__(self, client: Any, name: str, threads: ThreadPoolExecutor, attempt_s: float, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._threads = threads
        self._attempt_s = attempt_s
        self._clock = clock
        self._sending: dict[str, set[Future[Any]]] = {}
        self._under_way: set[Future[Any]] = set()

    def _begin(self, request: Callable[P, T], *of: P.args, **more: P.kwargs) -> Future[T]:
        begun = self._threads.submit(request, *of, **more)
        self._under_way.add(begun)
        begun.add_done_callback(self._under_way.discard)
        return begun

    async def put_object(self, key: str, body: bytes, sha256: str, label: Label, condition: Condition) -> str:
        given = {**_described(label), **_conditions(condition), "ChecksumSHA256": _base64(sha256)}
        return _etag(await self._call("put_object", {"Key": key, "Body": body, **given}, missing=ArchiveChanged))

    async def get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        try:
            return await asyncio.wrap_future(self._begin(self._get, key, start, stop, if_match))
        except RangeNotSatisfiable:
            if start:
                raise
            about = await self.head_object(key)
            if about.size_bytes:
                raise ArchiveUnavailable(f"get_object {key}: it changes; ask again") from None
            return about, b""

    async def head_object(self, key: str) -> Archived:
        try:
            return _archived(key, await self._call("head_object", {"Key": key}))
        except NotInArchive:
            # the answer to a HEAD does not say whether it is the object that is missing, or the bucket
            await self._check_bucket()
            raise

    async def delete_object(self, key: str, if_match: str | None) -> None:
        given = {"Key": key, **_conditions(Condition(if_match))}
        await self._call("delete_object", given, missing=ArchiveChanged)

    async def list_objects(self, prefix: str, after: str | None, limit: int) -> Page:
        given: dict[str, Any] = {"Prefix": prefix, "MaxKeys": limit}
        if after is not None:
            given["StartAfter"] = after
        answer = await self._call("list_objects_v2", given)
        objects = tuple(
            Listed(found["Key"], found["Size"], _etag(found), _ms(found["LastModified"]))
            for found in answer.get("Contents", ())
        )
        if not answer["IsTruncated"]:
            return Page(objects, None)
        if not objects:
            raise ArchiveUnavailable("list_objects: an empty page that is not the last; ask again")
        return Page(objects, objects[-1].key)

    async def create_upload(self, key: str, label: Label) -> str:
        given = {"Key": key, "ChecksumAlgorithm": "SHA256", **_described(label)}
        answer = await self._call("create_multipart_upload", given)
        return str(answer["UploadId"])

    async def upload_part(self, key: str, upload: str, number: int, body: bytes, sha256: str) -> UploadedPart:
        given = {"Key": key, "UploadId": upload, "PartNumber": number, "Body": body, "ChecksumSHA256": _base64(sha256)}
        sending = self._begin(self._ask, "upload_part", given)
        self._sending.setdefault(upload, set()).add(sending)
        return UploadedPart(number, _etag(await asyncio.wrap_future(sending)), sha256)

    async def complete_upload(self, key: str, upload: str, parts: Sequence[UploadedPart], condition: Condition) -> str:
        listed = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"', "ChecksumSHA256": _base64(part.sha256)}
            for part in parts
        ]
        given = {"Key": key, "UploadId": upload, "MultipartUpload": {"Parts": listed}, **_conditions(condition)}
        answer = await self._call("complete_multipart_upload", given)
        self._sending.pop(upload, None)
        return _etag(answer)

    async def abort_upload(self, key: str, upload: str) -> None:
        # a part that arrives after an abort stays, and is paid for
        if sending := self._sending.pop(upload, None):
            await asyncio.wait([asyncio.ensure_future(asyncio.wrap_future(each)) for each in sending])
        with contextlib.suppress(NotInArchive):
            await self._call("abort_multipart_upload", {"Key": key, "UploadId": upload})

    async def close(self) -> None:
        """Wait for what is under way, but not for an archive that is silent: its answers are lost then."""
        under_way = [asyncio.wrap_future(request) for request in tuple(self._under_way)]
        if under_way:
            await asyncio.wait(under_way, timeout=CLOSE_S)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _check_bucket(self) -> None:
        try:
            await self._call("head_bucket", {})
        except NotInArchive:
            raise ArchiveRefused(f"there is no bucket {self._name}; look at the archive's settings") from None

    async def _call(
        self, operation: str, given: Mapping[str, Any], missing: type[AmberioError] = NotInArchive
    ) -> Answer:
        try:
            return await asyncio.wrap_future(self._begin(self._ask, operation, given))
        except NotInArchive as error:
            raise missing(str(error)) from error

    # -- on a thread

    def _ask(self, operation: str, given: Mapping[str, Any]) -> Answer:
        try:
            return cast(Answer, getattr(self._client, operation)(Bucket=self._name, **given))
        except (ClientError, BotoCoreError) as error:
            raise as_archive_error(error, f"{operation} {given.get('Key', self._name)}") from error

    def _get(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        end_s = self._clock.monotonic_s() + self._attempt_s
        given = {"Key": key, "Range": f"bytes={start}-{stop - 1}", **_conditions(Condition(if_match))}
        answer = self._ask("get_object", given)
        about = _archived(key, answer)
        piece = bytearray()
        try:
            with contextlib.closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(READ_BYTES):
                    piece += chunk
                    if self._clock.monotonic_s() > end_s:
                        raise ArchiveUnavailable(f"get_object {key}: it came too slowly")
        except BotoCoreError as error:
            raise as_archive_error(error, f"get_object {key}") from error
        if len(piece) != min(stop, about.size_bytes) - start:
            raise ArchiveUnavailable(f"get_object {key}: {len(piece)} bytes came of {given['Range']}")
        return about, bytes(piece)


def _described(label: Label) -> dict[str, Any]:
    return {"ContentType": label.content_type, "Metadata": dict(label.metadata)}


def _conditions(condition: Condition) -> dict[str, str]:
    given = {} if condition.if_match is None else {"IfMatch": f'"{condition.if_match}"'}
    return {**given, "IfNoneMatch": "*"} if condition.if_absent else given


def _archived(key: str, answer: Answer) -> Archived:
    # of a range, Content-Range ends with the size of the whole
    size = str(answer.get("ContentRange", answer["ContentLength"])).rpartition("/")[2]
    return Archived(
        key,
        int(size),
        _etag(answer),
        _ms(answer["LastModified"]),
        answer.get("ContentType", CONTENT_TYPE),
        dict(answer.get("Metadata", {})),
        None,
    )


def _etag(answer: Answer) -> str:
    return str(answer["ETag"]).strip('"')


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()
