"""What took effect is never called failed, whatever goes wrong afterwards: a client that is told so may try again."""

import asyncio
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from impl.api.http.exchange import Answer, Request
from impl.api.s3.api import S3Api
from impl.api.s3.multipart import UPLOADS
from impl.api.tests.double import NodeDouble, Written
from impl.config import S3Settings
from impl.doors import RealClock
from impl.errors import NoQuorum
from impl.model import NULL_VERSION, Head
from impl.protocol.change import Condition

PATH = "the-bucket/k"


class LosesItsQuorum(NodeDouble):
    """Once the object is written, its head cannot be read, and no upload be deleted."""

    @property
    def is_alone(self) -> bool:
        return f"write {PATH}" in self.calls

    async def head(self, path: str) -> Head | None:
        if self.is_alone and path == PATH:
            raise NoQuorum("alone")
        return await super().head(path)

    async def delete(
        self, path: str, *, condition: Condition, write_id: str | None, version: int = NULL_VERSION
    ) -> Written:
        if self.is_alone and path.startswith(UPLOADS):
            raise NoQuorum("alone")
        return await super().delete(path, condition=condition, write_id=write_id, version=version)


Ask = Callable[..., Answer]


def copy(ask: Ask) -> Answer:
    ask("PUT", "/the-bucket/source", body=b"bytes")
    return ask("PUT", f"/{PATH}", headers={b"x-amz-copy-source": b"/the-bucket/source"})


def complete(ask: Ask) -> Answer:
    begun = ask("POST", f"/{PATH}", "uploads")
    assert isinstance(begun.body, bytes)
    upload = ElementTree.fromstring(begun.body).findtext("{*}UploadId")
    etag = dict(ask("PUT", f"/{PATH}", f"partNumber=1&uploadId={upload}", body=b"bytes").headers)["ETag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    return ask("POST", f"/{PATH}", f"uploadId={upload}", body=document)


@pytest.mark.parametrize("write", [copy, complete])
def test_what_took_effect_is_never_called_failed(write: Callable[[Ask], Answer]) -> None:
    async def story() -> Answer:
        node = LosesItsQuorum()
        api = S3Api(node, S3Settings(anonymous=True), None, RealClock())
        count = iter(range(100))

        async def handled(
            method: str, path: str, query: str = "", body: bytes = b"", headers: dict[bytes, bytes] | None = None
        ) -> Answer:
            request = Request(method, path, query, headers or {}, f"r{next(count)}")
            request.body = body
            return await api.handle(request)

        loop = asyncio.get_running_loop()

        def ask(*arguments: str, **more: object) -> Answer:
            return asyncio.run_coroutine_threadsafe(handled(*arguments, **more), loop).result()  # type: ignore[arg-type]

        await handled("PUT", "/the-bucket")
        answer = await asyncio.to_thread(write, ask)
        assert node.heads[PATH].generation == 1
        return answer

    answer = asyncio.run(story())
    assert (answer.status, dict(answer.headers)["x-amberio-outcome"]) == (503, "unknown")
