"""An asyncio event loop in virtual time: nothing waits, nothing is read, and whatever is next happens next.

Every callback belongs to the owner in whose context it was scheduled (a node's incarnation, or nobody: the harness).
An owner can be killed, and then none of its callbacks runs any more, wherever its code stood; or paused, and then they
are held until it goes on. What a real node has threads for runs at one instant, after a time that its disk asks.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

OWNER: Final[contextvars.ContextVar["Owner | None"]] = contextvars.ContextVar("owner", default=None)
CLOSE_TRIES: Final = 8
TASKS_KEPT: Final = 200
STEPS_MAX: Final = 20_000_000
"""Callbacks that one run may need; whoever needs more goes round in circles."""

Latency = Callable[["Owner | None"], float]
"""How long work on a thread takes, in seconds."""


class Owner:
    """One incarnation of a node, as the loop knows it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self.held: list[SimHandle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.working: list[Callable[[], Any]] = []
        self._look_again_at = TASKS_KEPT

    def remember(self, task: "asyncio.Task[Any]") -> None:
        """Keep a task, at least until it is done."""
        self.tasks.append(task)
        if len(self.tasks) >= self._look_again_at:
            self.tasks = [task for task in self.tasks if not task.done()]
            self._look_again_at = 2 * len(self.tasks) + TASKS_KEPT

    def forget(self) -> None:
        """The run is over: end what still waits, here and not wherever it would be collected."""
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if not task.done():
                _close(task.get_coro())
        self.tasks.clear()
        self.working.clear()


def _close(coroutine: Any) -> None:
    for _ in range(CLOSE_TRIES):
        try:
            coroutine.close()
        except Exception:
            continue  # it waited again in a `finally`, or missed the event loop there
        return


class Stuck(Exception):
    """Somebody waits for what does not come: nothing is left to happen, or all the time that a run has is over."""


class SimHandle:
    """One callback to come: what `asyncio.Handle` and `TimerHandle` are, without what no simulation needs."""

    __slots__ = ("_args", "_callback", "_context", "_is_cancelled")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._is_cancelled = False

    def cancel(self) -> None:
        self._is_cancelled = True

    def cancelled(self) -> bool:
        return self._is_cancelled


class _Work:
    """What a thread is to do. It is no closure, as one that knows itself would have to wait for the collector."""

    __slots__ = ("_args", "_func", "_future", "_owner")

    def __init__(
        self, owner: Owner | None, future: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._owner = owner
        self._future = future
        self._func = func
        self._args = args

    def __call__(self) -> None:
        if self._owner is not None:
            self._owner.working.remove(self)
        if self._future.cancelled():
            return
        try:
            result = self._func(*self._args)
        except Exception as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(result)


def _wake(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class SimLoop(asyncio.BaseEventLoop):
    """Runs until the given task is done. `time()` is virtual seconds since the run began."""

    def __init__(self, end_s: float = float("inf"), steps_max: int = STEPS_MAX) -> None:
        super().__init__()
        self._end_s = end_s
        self._steps_max = steps_max
        self.latency: Latency = lambda _: 0.0
        self._now_s = 0.0
        self._ready: deque[SimHandle] = deque()
        # what is due at one time happens in the order in which it was asked for: the number comes before the handle
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._timers_made = 0
        self._free_at_s: dict[int, float] = {}
        self._executors: list[Executor] = []
        self._owners: list[Owner] = []
        self._may_be_out = False
        self.steps = 0
        self.errors: list[str] = []
        self.set_exception_handler(_remember)

    def time(self) -> float:
        return self._now_s

    def let_go(self) -> None:
        """The run is over: nothing runs any more, and what could not be finished is dropped without a word."""
        self._timers.clear()
        self.close()

    # -- owners

    def new_owner(self, name: str) -> Owner:
        owner = Owner(name)
        self._owners.append(owner)
        return owner

    def kill(self, owner: Owner) -> None:
        """None of the owner's callbacks runs from now on."""
        owner.is_dead = self._may_be_out = True
        owner.held.clear()

    def pause(self, owner: Owner) -> None:
        owner.is_paused = self._may_be_out = True

    def resume(self, owner: Owner) -> None:
        owner.is_paused = False
        self._ready.extend(owner.held)
        owner.held.clear()

    # -- what asyncio asks of a loop

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        handle = SimHandle(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there are no threads

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        handle = SimHandle(callback, args, contextvars.copy_context() if context is None else context)
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def create_task(
        self, coro: Any, *, name: object = None, context: contextvars.Context | None = None
    ) -> "asyncio.Task[Any]":
        """A task that its owner remembers: collecting a killed one runs its code, so that must wait for the end."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, context=context)
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is not None:
            owner.remember(task)
        return task

    def run_in_executor(  # type: ignore[override]  # typeshed has type variables that only a newer Python can write
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Run `func` at one instant, after the time it takes; an executor does one thing after the other."""
        owner = OWNER.get()
        future = self.create_future()
        end_s = self._now_s + self.latency(owner)
        if executor is not None:
            if id(executor) not in self._free_at_s:
                self._executors.append(executor)  # kept, so that no other one gets its id
            end_s = max(end_s, self._free_at_s.get(id(executor), 0.0))
            self._free_at_s[id(executor)] = end_s

        work = _Work(owner, future, func, args)
        if owner is not None:
            owner.working.append(work)
        self.call_at(end_s, work)
        return future

    async def sleep(self, seconds: float) -> None:
        """As asyncio.sleep, which asks the system each time whose process this is."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = self.create_future()
        self.call_later(seconds, _wake, woken)
        await woken

    def _process_events(self, event_list: Any) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def _run_once(self) -> None:
        """Run what is ready, in order, and what that makes ready; then move the clock to the next timer; and so on."""
        ready, timers = self._ready, self._timers
        while not self._stopping:  # type: ignore[attr-defined]
            self.steps += len(ready)
            if self.steps > self._steps_max:
                raise Stuck(f"{self.steps:,} steps are done at {self._now_s:.3f} s, and no end; {self._waiting()}")
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._is_cancelled or (self._may_be_out and self._is_out(handle)):
                    continue
                try:
                    handle._context.run(handle._callback, *handle._args)
                except Exception as error:
                    self.errors.append(f"{_name(handle._callback)}: {error!r}")
            if not ready and not self._stopping:  # type: ignore[attr-defined]
                self._go_on(timers)
            while timers and timers[0][0] <= self._now_s:
                ready.append(heapq.heappop(timers)[2])

    def _is_out(self, handle: SimHandle) -> bool:
        """Does a callback not run now, as its owner is dead, or paused and has it for later?"""
        owner = handle._context.get(OWNER)
        if owner is not None and owner.is_paused and not owner.is_dead:
            owner.held.append(handle)
            return True
        return owner is not None and owner.is_dead

    def _go_on(self, timers: list[tuple[float, int, SimHandle]]) -> None:
        """Nothing is left to do now: it is the time of the next timer."""
        while timers and timers[0][2]._is_cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Stuck(f"nothing is left to happen at {self._now_s:.3f} s, and yet somebody waits")
        self._now_s = max(self._now_s, timers[0][0])
        if self._now_s > self._end_s:
            raise Stuck(f"somebody still waits after {self._now_s:g} s; {self._waiting()}")

    def _waiting(self) -> str:
        """Where the harness waits: the innermost frame of each of its tasks."""
        places = []
        of_nodes = {task for owner in self._owners for task in owner.tasks}
        for task in asyncio.all_tasks(self) - of_nodes:
            coroutine: Any = task.get_coro()
            while (inner := getattr(coroutine, "cr_await", None)) is not None and hasattr(inner, "cr_frame"):
                coroutine = inner
            frame = coroutine.cr_frame
            if frame is not None:
                places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}")
        return "the harness waits in " + ", ".join(sorted(places))


def _name(callback: Callable[..., Any]) -> str:
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def _remember(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, SimLoop)
    error = context.get("exception")
    loop.errors.append(f"{context.get('message')}: {error!r}")
