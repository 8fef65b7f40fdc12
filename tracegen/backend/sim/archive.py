"""The simulated archive: S3 in memory, in virtual time, with its outages, throttling and lost answers.

It belongs to no node: what was sent goes on when its sender is killed, and what was stored outlives everybody. Each
node asks it through an `Access` of its own (`impl.archive.bucket.Bucket`), which can be cut off alone. The server's own
`impl.archive.remote.RemoteArchive` makes an archive of that. All chance comes from one seeded source.
"""

import asyncio
import contextvars
import hashlib
import random
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeVar, cast

from impl.archive.bucket import Condition, Label, UploadedPart
from impl.archive.face import Archived, Listed, Page
from impl.errors import (
    AmberioError,
    ArchiveChanged,
    ArchiveRefused,
    ArchiveThrottled,
    ArchiveUnavailable,
    NotInArchive,
    RangeNotSatisfiable,
)
from impl.model import PART_BYTES
from tracegen.archive.face import GENERATION, Change, Held, Outage, Way
from tracegen.backend.face import Crossing
from tracegen.backend.sim.loop import SimLoop
from tracegen.backend.sim.node import EPOCH_MS

LATENCY_S: Final = (0.005, 0.05)
BYTES_PER_S: Final = 20e6

Answer = TypeVar("Answer")
WRITES: Final = ("put_object", "delete_object", "complete_upload")
FASTEST_LATE: Final = 0.3
"""A late request is held back for this share of the time at least."""
FOR_EVER_S: Final = float("inf")


@dataclass
class Faults:
    """What is wrong with the archive now, for everybody; each node's way has faults of its own.

    Probabilities are per request; `only` are S3's names of the requests that they are for, none: all.

    - `outage`: nothing arrives, and no answer to what had arrived gets out.
    - `slow_s`: each request takes so much longer, drawn anew from 0 to this.
    - `throttle`: refused with a 503 SlowDown, which says to come again after `retry_after_s`, if that is not None.
    - `fail`: the archive's own failure, a 500; half of these requests are carried out all the same.
    - `lose`: carried out, and the answer is lost; half of these connections break, of the others nothing is heard.
    - `refuse`: the keys are not valid any more.
    """

    outage: Outage | None = None
    slow_s: float = 0.0
    throttle: float = 0.0
    retry_after_s: float | None = None
    fail: float = 0.0
    lose: float = 0.0
    refuse: bool = False
    only: frozenset[str] = frozenset()


class _Upload:
    def __init__(self, key: str, label: Label) -> None:
        self.key = key
        self.label = label
        self.parts: dict[int, tuple[str, bytes]] = {}  # etag, bytes


class _Shelf:
    """What the bucket has. Each method is one of S3's requests, carried out at one instant."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.changes: list[Change] = []
        self.digests: set[str] = set()
        self.objects: dict[str, tuple[Archived, bytes]] = {}
        self.uploads: dict[str, _Upload] = {}
        self._keys: list[str] = []
        self._uploads_made = 0
        self._now_s = now_s

    def put_object(self, key: str, body: bytes, label: Label, condition: Condition) -> str:
        return self._store(key, body, hashlib.md5(body, usedforsecurity=False).hexdigest(), label, condition)

    def get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        about, content = self._of(key)
        if if_match is not None:
            self._check(key, Condition(if_match))
        if start and start >= len(content):
            raise RangeNotSatisfiable(f"{key} has {len(content)} bytes, none from {start}")
        return about, content[start:stop]

    def head_object(self, key: str) -> Archived:
        return self._of(key)[0]

    def delete_object(self, key: str, if_match: str | None) -> None:
        self._check(key, Condition(if_match))
        if self.objects.pop(key, None) is not None:
            self._keys.remove(key)
            self.changes.append(Change(self._now_s(), key, None, None))

    def list_objects(self, prefix: str, after: str | None, limit: int) -> Page:
        # code points order as their UTF-8 bytes do
        begin = bisect_left(self._keys, prefix) if after is None or after < prefix else bisect_right(self._keys, after)
        keys = [key for key in self._keys[begin : begin + limit + 1] if key.startswith(prefix)]
        found = (self.objects[key][0] for key in keys[:limit])
        listed = tuple(Listed(about.key, about.size_bytes, about.etag, about.modified_at_ms) for about in found)
        return Page(listed, keys[limit - 1] if len(keys) > limit else None)

    def create_upload(self, key: str, label: Label) -> str:
        self._uploads_made += 1
        self.uploads[f"upload-{self._uploads_made}"] = _Upload(key, label)
        return f"upload-{self._uploads_made}"

    def upload_part(self, upload: str, number: int, body: bytes, sha256: str) -> UploadedPart:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._upload(upload).parts[number] = (etag, body)
        return UploadedPart(number, etag, sha256)

    def complete_upload(self, upload: str, parts: Sequence[UploadedPart], condition: Condition) -> str:
        begun = self._upload(upload)
        bodies = []
        for part in parts:
            etag, body = begun.parts.get(part.number, ("", b""))
            if etag != part.etag:
                raise ArchiveRefused(f"{upload} has no part {part.number} with the etag {part.etag}")
            bodies.append(body)
        etags = hashlib.md5("".join(part.etag for part in parts).encode(), usedforsecurity=False).hexdigest()
        etag = self._store(begun.key, b"".join(bodies), f"{etags}-{len(parts)}", begun.label, condition)
        del self.uploads[upload]
        return etag

    def abort_upload(self, upload: str) -> None:
        self.uploads.pop(upload, None)

    def _store(self, key: str, content: bytes, etag: str, label: Label, condition: Condition) -> str:
        self._check(key, condition)
        if key not in self.objects:
            insort(self._keys, key)
        now_ms = EPOCH_MS + int(self._now_s() * 1000)
        about = Archived(key, len(content), etag, now_ms, label.content_type, dict(label.metadata), None)
        self.objects[key] = (about, content)
        self.changes.append(Change(self._now_s(), key, _generation(about), etag))
        self.digests.update(_sha256(content[at : at + PART_BYTES]) for at in range(0, len(content), PART_BYTES))
        return etag

    def _of(self, key: str) -> tuple[Archived, bytes]:
        if key not in self.objects:
            raise NotInArchive(f"there is no {key}")
        return self.objects[key]

    def _upload(self, upload: str) -> _Upload:
        if upload not in self.uploads:
            raise NotInArchive(f"there is no {upload}")
        return self.uploads[upload]

    def _check(self, key: str, condition: Condition) -> None:
        etag = self.objects[key][0].etag if key in self.objects else None
        if (condition.if_match not in (None, etag)) or (condition.if_absent and etag is not None):
            raise ArchiveChanged(f"{key} has the etag {etag}")


class SimBucket:
    """The bucket, and what is wrong with it; see `tracegen.archive.face.ArchiveBehind`.

    request_life_s: what was sent longer ago is refused. late: how many requests are held back.
    `done` counts what faults did, by their names; `requests` what arrived, by S3's names of requests: without those
    that an outage kept away. `in_flight` is how many of them are being worked on, `in_flight_most` the most ever.
    """

    def __init__(
        self, loop: SimLoop, draw: random.Random, nodes: Sequence[str] = (), request_life_s: float = FOR_EVER_S
    ) -> None:
        self.faults = Faults()
        self.late = 0
        self.cut_off: set[str] = set()
        self.done: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.in_flight = 0
        self.in_flight_most = 0
        self._loop = loop
        self._draw = draw
        self._shelf = _Shelf(loop.time)
        self._life_s = request_life_s
        self._ways = {node: Way() for node in nodes}
        self._left_in_silence: list[_Asked] = []

    def access(self, name: str) -> "Access":
        """How the node of this name asks; while the name is in `cut_off` it meets a silent outage."""
        return Access(self, self._shelf, name)

    # -- what the harness does and sees

    def objects(self) -> dict[str, tuple[Archived, bytes]]:
        """All objects by their keys, as they lie there."""
        return dict(self._shelf.objects)

    @property
    def uploads(self) -> int:
        """Uploads in parts that were begun, and neither completed nor aborted."""
        return len(self._shelf.uploads)

    def rot(self, key: str) -> None:
        """Flip a bit of an object that has bytes."""
        about, content = self._shelf.objects[key]
        rotten = bytearray(content)
        rotten[self._draw.randrange(len(content))] ^= 1 << self._draw.randrange(8)
        self._shelf.objects[key] = (about, bytes(rotten))

    def way(self, node: str) -> Way:
        return self._ways[node]

    def let_know(self, node: str) -> None:
        waiting = [asked for asked in self._left_in_silence if asked.name == node]
        self._left_in_silence = [asked for asked in self._left_in_silence if asked.name != node]
        for asked in waiting:
            asked.settle(None, ArchiveUnavailable(f"{asked.operation}: the connection broke"))

    async def try_way(self, node: str, patience_s: float) -> Crossing:
        began_s = self._loop.time()
        result: Literal["answered", "broken", "stalled"] = "answered"
        try:
            async with asyncio.timeout(patience_s):
                await self.ask(node, "list_objects", partial(self._shelf.list_objects, "", None, 1))
        except TimeoutError:
            result = "stalled"
        except ArchiveUnavailable:
            result = "broken"
        except AmberioError:
            pass  # it answers
        return Crossing(result, (self._loop.time() - began_s) * 1000)

    async def contents(self) -> dict[str, Held]:
        return {
            key: Held(len(content), _sha256(content), _generation(about))
            for key, (about, content) in self._shelf.objects.items()
        }

    def had_part(self, digest: str) -> bool:
        """Did some object ever have a part with this SHA-256, cut as nodes cut bodies that come in one piece?"""
        return digest in self._shelf.digests

    def changes(self) -> Sequence[Change]:
        return self._shelf.changes

    # -- a request on its way

    async def ask(self, name: str, operation: str, step: Callable[[], Answer], size_bytes: int = 0) -> Answer:
        """Have a request of so many bytes carried out; raises what an S3 client would make of what comes back."""
        asked = _Asked(name, operation, step, self._loop.create_future(), self._loop.time())
        slow_s = self._draw.random() * self.faults.slow_s
        if slow_s:
            self.done["slow"] += 1
        slow_s += self._slow_s_of_way(name)
        self._later(slow_s, size_bytes, lambda: self._arrive(asked))
        answer, error = await asked.answered
        if error is not None:
            raise error
        return cast(Answer, answer)

    def _arrive(self, asked: "_Asked") -> None:
        fate = self._draw_fate(asked.operation)
        if self._is_kept_away(asked):
            return
        fate = self._draw_fate_of_way(asked) or fate
        if fate.late_s:
            self._hold_back(asked, fate)
        else:
            self._carry_out(asked, fate)

    def _hold_back(self, asked: "_Asked", fate: "_Fate") -> None:
        self.late += 1
        if not fate.is_silent:
            asked.settle(None, fate.error)
        self._later(fate.late_s, 0, lambda: self._arrive_late(asked))

    def _arrive_late(self, asked: "_Asked") -> None:
        self.late -= 1
        if not self._is_kept_away(asked):
            self._carry_out(asked, _Fate(True, None))

    def _carry_out(self, asked: "_Asked", fate: "_Fate") -> None:
        if self._loop.time() - asked.at_s > self._life_s:
            fate = _Fate(False, ArchiveRefused(f"{asked.operation}: 403 RequestTimeTooSkewed"))
        self.requests[asked.operation] += 1
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight, self.in_flight_most)
        answer, error = None, fate.error
        if fate.is_done:
            try:
                answer = asked.step()
            except AmberioError as refusal:
                error = error or refusal
        size_bytes = len(answer[1]) if isinstance(answer, tuple) else 0
        self._later(0.0, size_bytes, lambda: self._leave(asked, answer, error, fate.is_silent))

    def _leave(self, asked: "_Asked", answer: object, error: AmberioError | None, is_silent: bool) -> None:
        self.in_flight -= 1
        if is_silent:
            self._leave_in_silence(asked)
        elif not self._is_kept_away(asked):
            asked.settle(answer, error)

    def _leave_in_silence(self, asked: "_Asked") -> None:
        if asked.name in self._ways:
            self._left_in_silence.append(asked)

    def _is_kept_away(self, asked: "_Asked") -> bool:
        """Does an outage end this here? Who asked hears of it, if it is an outage of which one hears."""
        outage = "silent" if asked.name in self.cut_off else self.faults.outage
        if outage is None and asked.name in self._ways:
            way = self._ways[asked.name]
            outage = way.faults.outage
            way.done["outage"] += outage is not None
        if outage is None:
            return False
        self.done["outage"] += 1
        if outage == "refuses":
            error = ArchiveUnavailable(f"{asked.operation}: the connection was refused")
            self._later(0.0, 0, lambda: asked.settle(None, error))
        else:
            self._leave_in_silence(asked)
        return True

    def _slow_s_of_way(self, name: str) -> float:
        way = self._ways.get(name)
        if way is None or not way.faults.slow_s:
            return 0.0
        way.done["slow"] += 1
        return way.faults.slow_s + self._draw.uniform(0, way.faults.slow_jitter_s)

    def _draw_fate_of_way(self, asked: "_Asked") -> "_Fate | None":
        """What a fault of the node's own way does to this, if one does."""
        way = self._ways.get(asked.name)
        if way is None:
            return None
        faults, operation = way.faults, asked.operation
        late = faults.late if operation in WRITES else 0.0
        if not (faults.throttle or faults.lose or faults.cut or late):
            return None
        chance, is_half = self._draw.random(), self._draw.random() < 0.5
        broke = ArchiveUnavailable(f"{operation}: the connection broke")
        late_s = self._draw.uniform(FASTEST_LATE, 1.0) * faults.late_s
        shares: Sequence[tuple[float, str, _Fate]] = (
            (faults.throttle, "throttle", _Fate(False, ArchiveThrottled(f"{operation}: 503 SlowDown"))),
            (faults.cut, "cut", _Fate(is_half, broke)),
            (faults.lose, "lose", _Fate(True, broke, is_silent=is_half)),
            (late, "late", _Fate(True, broke, is_silent=is_half, late_s=late_s)),
        )
        for share, name, fate in shares:
            if chance < share:
                way.done[name] += 1
                return fate
            chance -= share
        return None

    def _draw_fate(self, operation: str) -> "_Fate":
        chance, is_half = self._draw.random(), self._draw.random() < 0.5
        faults = self.faults
        if faults.refuse:
            self.done["refuse"] += 1
            return _Fate(False, ArchiveRefused(f"{operation}: 403 InvalidAccessKeyId"))
        if faults.only and operation not in faults.only:
            return _Fate(True, None)
        throttled = faults.throttle
        failed = throttled + faults.fail
        if chance < throttled:
            self.done["throttle"] += 1
            return _Fate(False, ArchiveThrottled(f"{operation}: 503 SlowDown", faults.retry_after_s))
        if chance < failed:
            self.done["fail"] += 1
            return _Fate(is_half, ArchiveUnavailable(f"{operation}: 500 InternalError"))
        if chance < failed + faults.lose:
            self.done["lose"] += 1
            return _Fate(True, ArchiveUnavailable(f"{operation}: the connection broke"), is_silent=is_half)
        return _Fate(True, None)

    def _later(self, more_s: float, size_bytes: int, step: Callable[[], None]) -> None:
        """Do it after the time that bytes take. The context is nobody's: what is on its way does not die with nodes."""
        takes_s = self._draw.uniform(*LATENCY_S) + size_bytes / BYTES_PER_S + more_s
        self._loop.call_later(takes_s, step, context=contextvars.Context())


@dataclass(frozen=True)
class _Fate:
    """What becomes of a request that arrived. `error` comes back in place of an answer, or nothing does.

    With `late_s` it is done after so long, and its sender is told nothing until then, or the error at once.
    """

    is_done: bool
    error: AmberioError | None
    is_silent: bool = False
    late_s: float = 0.0


class _Asked:
    """A request, and who waits for its answer, if anybody still does."""

    def __init__(
        self,
        name: str,
        operation: str,
        step: Callable[[], object],
        answered: "asyncio.Future[tuple[object, AmberioError | None]]",
        at_s: float,
    ) -> None:
        self.name = name
        self.operation = operation
        self.step = step
        self.answered = answered
        self.at_s = at_s

    def settle(self, answer: object, error: AmberioError | None) -> None:
        # an error is told as a value: nobody may be left to take an exception
        if not self.answered.done():
            self.answered.set_result((answer, error))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _generation(about: Archived) -> int | None:
    told = about.metadata.get(GENERATION, "")
    return int(told) if told.isdigit() else None


class Access:
    """The bucket as one node reaches it; see `impl.archive.bucket.Bucket`."""

    def __init__(self, bucket: SimBucket, shelf: _Shelf, name: str) -> None:
        self._bucket = bucket
        self._shelf = shelf
        self._name = name

    async def put_object(self, key: str, body: bytes, sha256: str, label: Label, condition: Condition) -> str:
        return await self._ask("put_object", partial(self._shelf.put_object, key, body, label, condition), len(body))

    async def get_object(self, key: str, start: int, stop: int, if_match: str | None) -> tuple[Archived, bytes]:
        return await self._ask("get_object", partial(self._shelf.get_object, key, start, stop, if_match))

    async def head_object(self, key: str) -> Archived:
        return await self._ask("head_object", partial(self._shelf.head_object, key))

    async def delete_object(self, key: str, if_match: str | None) -> None:
        await self._ask("delete_object", partial(self._shelf.delete_object, key, if_match))

    async def list_objects(self, prefix: str, after: str | None, limit: int) -> Page:
        return await self._ask("list_objects", partial(self._shelf.list_objects, prefix, after, limit))

    async def create_upload(self, key: str, label: Label) -> str:
        return await self._ask("create_upload", partial(self._shelf.create_upload, key, label))

    async def upload_part(self, key: str, upload: str, number: int, body: bytes, sha256: str) -> UploadedPart:
        step = partial(self._shelf.upload_part, upload, number, body, sha256)
        return await self._ask("upload_part", step, len(body))

    async def complete_upload(self, key: str, upload: str, parts: Sequence[UploadedPart], condition: Condition) -> str:
        return await self._ask("complete_upload", partial(self._shelf.complete_upload, upload, parts, condition))

    async def abort_upload(self, key: str, upload: str) -> None:
        await self._ask("abort_upload", partial(self._shelf.abort_upload, upload))

    async def close(self) -> None:
        return None

    async def _ask(self, operation: str, step: Callable[[], Answer], size_bytes: int = 0) -> Answer:
        return await self._bucket.ask(self._name, operation, step, size_bytes)
