"""What the tests of this folder share: a clock of their own, no jitter, and a bucket that does as it is told."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from impl.archive.bucket import Condition, Label, UploadedPart
from impl.archive.face import Archived, Page
from impl.errors import NotInArchive


class Clock:
    """Time passes when somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return int(self.s * 1000)

    def monotonic_s(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.s += seconds
        await asyncio.sleep(0)


class Chance:
    """The same chance each time, and tokens in a row."""

    def __init__(self, chance: float = 0.5) -> None:
        self._chance = chance
        self._tokens = 0

    def uniform(self) -> float:
        return self._chance

    def token(self) -> str:
        self._tokens += 1
        return f"{self._tokens:032x}"


async def nothing(operation: str) -> None:
    return None


class StubBucket:
    """Keeps what it is given. `before` runs when a request arrives, `after` when it is done; either may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[Archived, bytes]] = {}
        self.uploads: dict[str, tuple[Label, dict[int, bytes]]] = {}
        self.asked: list[str] = []
        self.before: Callable[[str], Awaitable[None]] = nothing
        self.after: Callable[[str], Awaitable[None]] = nothing

    async def put_object(self, key: str, body: bytes, sha256: str, label: Label, condition: Condition) -> str:
        await self._ask("put_object")
        self._keep(key, body, label)
        await self.after("put_object")
        return "etag"

    async def get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        await self._ask("get_object")
        if key not in self.objects:
            raise NotInArchive(key)
        about, body = self.objects[key]
        return about, body[start:stop]

    async def head_object(self, key: str) -> Archived:
        await self._ask("head_object")
        if key not in self.objects:
            raise NotInArchive(key)
        return self.objects[key][0]

    async def delete_object(self, key: str, if_match: str | None) -> None:
        await self._ask("delete_object")
        self.objects.pop(key, None)
        await self.after("delete_object")

    async def list_objects(self, prefix: str, after: str | None, limit: int) -> Page:
        await self._ask("list_objects")
        return Page((), None)

    async def create_upload(self, key: str, label: Label) -> str:
        await self._ask("create_upload")
        upload = f"upload-{len(self.asked)}"
        self.uploads[upload] = (label, {})
        return upload

    async def upload_part(self, key: str, upload: str, number: int, body: bytes, sha256: str) -> UploadedPart:
        await self._ask("upload_part")
        assert hashlib.sha256(body).hexdigest() == sha256
        self.uploads[upload][1][number] = body
        await self.after("upload_part")
        return UploadedPart(number, f"part-{number}", sha256)

    async def complete_upload(self, key: str, upload: str, parts: Sequence[UploadedPart], condition: Condition) -> str:
        await self._ask("complete_upload")
        if upload not in self.uploads:
            raise NotInArchive(upload)
        label, bodies = self.uploads.pop(upload)
        self._keep(key, b"".join(bodies[part.number] for part in parts), label)
        await self.after("complete_upload")
        return "etag"

    async def abort_upload(self, key: str, upload: str) -> None:
        await self._ask("abort_upload")
        self.uploads.pop(upload, None)

    async def close(self) -> None:
        return None

    def _keep(self, key: str, body: bytes, label: Label) -> None:
        about = Archived(key, len(body), "etag", 1, label.content_type, dict(label.metadata), None)
        self.objects[key] = (about, body)

    async def _ask(self, operation: str) -> None:
        self.asked.append(operation)
        await self.before(operation)
