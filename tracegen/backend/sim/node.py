"""One simulated node: the server's own code, started and ended in place, with its disk outliving it."""

import asyncio
import contextvars
import functools
import random
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import structlog

from impl.api.archive import ArchiveApi
from impl.api.http.body import BodyStream
from impl.api.http.exchange import Answer, Operation, Request, answer_to
from impl.api.http.routes import HotRoutes, Route
from impl.api.native import NativeApi
from impl.api.s3.api import S3Api
from impl.archive.bucket import Bucket
from impl.archive.face import Archive
from impl.archive.remote import RemoteArchive
from impl.archive.retries import Limits as ArchiveLimits
from impl.archive.settings import ArchiveSettings
from impl.cluster.registry.embedded import Cluster as ClusterTable
from impl.config import Settings
from impl.errors import AmberioError
from impl.model import INLINE_BODY_BYTES_MAX
from impl.node.birth import Unborn
from impl.node.opening import Doors
from impl.node.running import Running
from impl.node.start import start_node
from impl.protocol.rules import broken
from tracegen.backend.sim.disks import SimDisks
from tracegen.backend.sim.loop import OWNER, Owner, SimLoop
from tracegen.backend.sim.network import SimNetwork
from tracegen.backend.sim.vfs import SimDisk
from tracegen.errors import HarnessError

EPOCH_MS: Final = 1_800_000_000_000
"""The wall clock when a run begins: any will do, as nothing may depend on it."""
DRAIN_S: Final = 4.0
"""What a node has for its requests when asked to stop, as with the process backend."""
HALF_DONE_WRITES_MAX: Final = 8
"""A kill in the midst of work on the disk lets through fewer writes than this."""

Result = TypeVar("Result")
CUT: Final = "cut"
LATE: Final = "late"
Answered = tuple[Answer, bytes] | Literal["cut", "late"]
"""An answer with its whole body, or why there is none: the connection was cut, or the client waits no longer."""


def settle(asked: "asyncio.Future[Answered]", answered: Answered) -> None:
    """Tell a client what became of its request, unless it knows already."""
    if not asked.done():
        asked.set_result(answered)


class SimClock:
    """Virtual time; the wall clock may be off by `skew_ms`, which may change.

    `last_skew_ms` is by how much it was off when the node last looked; None if it never did.
    """

    def __init__(self, loop: SimLoop) -> None:
        self.skew_ms = 0
        self.last_skew_ms: int | None = None
        self._loop = loop

    def now_ms(self) -> int:
        self.last_skew_ms = self.skew_ms
        return EPOCH_MS + int(self._loop.time() * 1000) + self.skew_ms

    def monotonic_s(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await self._loop.sleep(seconds)


class SimRandom:
    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def uniform(self) -> float:
        return self._draw.random()

    def token(self) -> str:
        return f"{self._draw.getrandbits(128):032x}"


class _Dialler:
    """The Network door of one node; nodes are known to each other by name."""

    def __init__(self, network: SimNetwork, name: str) -> None:
        self._network = network
        self._name = name

    async def dial(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        await self._network.dial(self._name, host, factory)


class _NoLock:
    """Nobody else can use a simulated disk."""

    def __init__(self, directory: Path) -> None:
        return None

    def release(self) -> None:
        return None


class _Incarnation:
    """What of a node ends with a kill. `ended` is done then, so that nobody outside waits for the dead."""

    def __init__(self, name: str, loop: SimLoop) -> None:
        self.owner = loop.new_owner(name)
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self.owner)
        self.ended: asyncio.Future[None] = loop.create_future()
        self.running: Running | None = None
        self.api: NativeApi | None = None
        self.routes: Callable[[Request], Operation | None]
        self.all_routes: tuple[Route, ...] = ()
        self.is_draining = False
        self.serving: dict[int, asyncio.Task[None]] = {}
        self.asked: dict[int, asyncio.Future[Answered]] = {}


class SimNode:
    """A node of a simulated cluster. `disk` and `clock` outlive its incarnations.

    `failed` says how it ended by itself, one line each time; `is_dark` that its power was cut, so that nobody answers.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        table: ClusterTable,
        loop: SimLoop,
        network: SimNetwork,
        disk: SimDisk | SimDisks,
        draw: random.Random,
        bucket: Bucket | None = None,
        archive_limits: ArchiveLimits | None = None,
    ) -> None:
        self.name = name
        self.disk = disk
        self.clock = SimClock(loop)
        self.failed: list[str] = []
        self.is_dark = False
        self._settings = settings
        self._table = table
        self._loop = loop
        self._network = network
        self._bucket = bucket
        self._archive_limits = archive_limits or ArchiveLimits()
        self._draw = draw
        self._random = SimRandom(draw)
        self._now: _Incarnation | None = None
        self._request_ids = 0
        # dead incarnations stay as they stood: collecting one would run its code
        self._buried: list[_Incarnation] = []

    @property
    def owner(self) -> Owner | None:
        return self._now.owner if self._now is not None else None

    @property
    def is_serving(self) -> bool:
        """Does it listen?"""
        now = self._now
        return now is not None and now.running is not None and not now.is_draining

    # -- its life

    async def start(self, is_new: bool = False) -> None:
        """Start an incarnation, and wait until it serves; raises HarnessError if it does not come to that.

        With `is_new` its disk is known to be new; else a node with an empty one serves once the others have told it
        what they know of it.
        """
        self.is_dark = False
        now = self._now = _Incarnation(self.name, self._loop)
        try:
            running = await self._unless_ended(now, self._start(is_new))
        except AmberioError as error:
            self._end(now)
            raise HarnessError(f"{self.name} does not start: {error}") from error
        if running is None:
            raise HarnessError(f"{self.name} was killed while it started")
        now.running = running
        rules = broken(self._settings.mutants)
        now.api = NativeApi(running.node, rules)
        s3 = S3Api(running.node, self._settings.s3, None, self.clock, rules)
        of_archive = ArchiveApi(running.node, running.tiering).routes() if running.tiering is not None else ()
        now.all_routes = (*now.api.routes(), *of_archive, *s3.routes())
        now.routes = HotRoutes(now.all_routes)
        self._network.listen(self.name, running.rpc, now.context)
        self._loop.create_task(self._watch(now, running), context=now.context)

    def kill(self, *, power_cut: bool) -> int:
        """End the incarnation between two instructions; with the power, what the disk had not synced is gone too.

        How many writes those were.
        """
        now = self._now
        if now is None:
            return 0
        # a kill may come while a thread works: it may have done all of it, some writes, or nothing, and not said so
        for work in list(now.owner.working):
            fate = self._draw.random()
            if fate < 0.3:
                self.disk.break_off_after(self._draw.randrange(HALF_DONE_WRITES_MAX))
            if fate < 0.6:
                now.context.run(work)
        unsynced = self.disk.cut_power() if power_cut else 0
        self.is_dark = power_cut
        self._network.bury(self.name, is_silent=power_cut)
        self._end(now)
        return unsynced

    async def terminate(self) -> int:
        """Drain and end, as after SIGTERM; the exit code."""
        now = self._now
        assert now is not None and now.running is not None, f"{self.name} does not run"
        await self._unless_ended(now, self._stop(now, now.running))
        if self._now is now:
            self._network.bury(self.name, is_silent=False)
            self._end(now)
        return 0

    async def settle(self) -> None:
        """Wait until an incarnation whose disk has failed has stopped; stop one that goes on with others."""
        now = self._now
        if now is None or now.running is None:
            return
        if now.running.failed.is_set():
            await now.ended
        elif not all(now.running.node.disks().values()) and not now.is_draining:
            await self.terminate()

    def bury_for_good(self) -> None:
        """The run is over: let go of what the dead had, without any of their code having an effect."""
        if self._now is not None:
            self.kill(power_cut=False)
        for incarnation in self._buried:
            incarnation.owner.forget()
            if incarnation.running is not None:
                incarnation.running.abandon()
        self._buried.clear()

    async def _start(self, is_new: bool) -> Running:
        network = _Dialler(self._network, self.name)
        doors = Doors(
            self.clock,
            self._random,
            self.disk,
            network,
            _NoLock,
            self._open_archive,
            self.disk.at,
            self._receive,
            is_new,
        )
        return await start_node(self._settings, self._table, self.name, structlog.get_logger("amberio"), doors)

    @asynccontextmanager
    async def _receive(self, unborn: Unborn) -> AsyncIterator[None]:
        """While this lasts, other nodes reach one that is unborn."""
        self._network.listen(self.name, unborn.rpc, contextvars.copy_context())
        try:
            yield
        finally:
            self._network.unlisten(self.name)

    async def _open_archive(self, settings: ArchiveSettings) -> Archive:
        assert self._bucket is not None, f"{self.name} asks for an archive that the scenario does not have"
        return RemoteArchive(self._bucket, self._archive_limits, self.clock, self._random)

    async def _stop(self, now: _Incarnation, running: Running) -> None:
        """What `impl/server.py` does when it is told to stop, in the node's own context."""
        assert now.api is not None
        now.api.draining = now.is_draining = running.liveness.draining = True
        self._network.unlisten(self.name)
        if now.serving:
            await asyncio.wait(now.serving.values(), timeout=DRAIN_S)
        await running.close()

    async def _watch(self, now: _Incarnation, running: Running) -> None:
        """A node whose disk has failed stops itself."""
        await running.failed.wait()
        is_meant = self.disk.is_failing
        try:
            await self._stop(now, running)
        except Exception as error:
            # as the real one: it ends with a stack trace, and nothing that it was about to say is said
            log = f"{error!r}"
        else:
            log = "and drained"
        if not is_meant:
            self.failed.append(f"{self.name} stopped itself as its disk failed ({log})")
        self._loop.call_soon(self._after_failure, now, context=contextvars.Context())

    def _after_failure(self, now: _Incarnation) -> None:
        if self._now is now:
            self._network.bury(self.name, is_silent=False)
            self._end(now)

    def _end(self, now: _Incarnation) -> None:
        self._loop.kill(now.owner)
        self.disk.let_go()
        if now.running is not None:
            now.running.abandon()
        self._buried.append(now)
        self._now = None
        for asked in now.asked.values():
            settle(asked, CUT)
        if not now.ended.done():
            now.ended.set_result(None)

    async def _unless_ended(self, now: _Incarnation, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Have an incarnation do something, and wait for it; None if it ended first."""
        task = self._loop.create_task(work, context=now.context)
        await asyncio.wait((task, now.ended), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None

    # -- its clients

    def ask(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> "asyncio.Future[Answered]":
        """Begin a request on this node, in its own context; done when it is answered, or can be no more."""
        now = self._now
        assert now is not None and now.running is not None
        self._request_ids += 1
        asked = now.asked[self._request_ids] = self._loop.create_future()
        request = _request(f"{self.name}-{self._request_ids}", method, target, headers, body)
        serving = self._serve(now, now.running, self._request_ids, request, asked)
        now.serving[self._request_ids] = self._loop.create_task(serving, context=now.context)
        return asked

    def under_way(self) -> list[str]:
        """The requests that this node still works on, whether or not anybody waits for their answers."""
        now = self._now
        return [] if now is None else [f"{self.name}: request {number}" for number in now.serving]

    async def _serve(
        self, now: _Incarnation, running: Running, number: int, request: Request, asked: "asyncio.Future[Answered]"
    ) -> None:
        answer = await answer_to(request, self._operation(now, request))
        running.flush()  # the events that an answer rests on are out before it
        content = answer.body
        try:
            if not isinstance(content, bytes):
                content = b"".join([bytes(piece) async for piece in content])
        except AmberioError:
            settle(asked, CUT)  # the head of the answer was out already: nothing can be said
        else:
            settle(asked, (answer, content))
        finally:
            del now.serving[number], now.asked[number]

    def _operation(self, now: _Incarnation, request: Request) -> Operation:
        found = now.routes(request)
        if found is None:
            for route in now.all_routes:
                if route.pattern == request.path and request.method in route.operations:
                    return route.operations[request.method]
            raise AssertionError(f"no route for {request.method} {request.path}")
        return found


def _request(
    request_id: str, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None
) -> Request:
    path, _, query = target.partition("?")
    named = {name.lower().encode(): value.encode("latin-1") for name, value in headers}
    request = Request(method, path, query, named, request_id)
    if body is not None and len(body) > INLINE_BODY_BYTES_MAX:
        stream = BodyStream(len(body), len(body), lambda _: None)
        stream.feed(body)
        stream.feed_end()
        request.body = stream
    elif body is not None:
        request.body = body
    return request


@functools.cache
def quiet_logs() -> None:
    """Simulated nodes do not log: thousands of them would, and their traces say it better."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=True, processors=[_drop]
    )


def _drop(logger: object, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    raise structlog.DropEvent
