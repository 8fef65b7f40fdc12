"""A process of its own for the simulations of a thread of a Dask worker, whose own process is Dask's.

A simulation wants a process to itself: it decides when garbage is collected there, and which event loop is running; a
worker has an event loop of its own beside its threads. multiprocessing starts none: workers with a nanny are forbidden.
"""

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from tracegen.errors import HarnessError

END_S: Final = 10.0
"""So long a process may take to end that has let go of its end of the pipe."""


class Child:
    """A process that makes calls, one after the other, until it loses the process that started it."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        command = f"from {__name__} import serve; serve({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", command], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """What the function returns there, or raises. Raises HarnessError when the process dies of it."""
        try:
            self._pipe.send((function, arguments))
            is_returned, returned = self._pipe.recv()
        except (EOFError, OSError):
            raise HarnessError(f"a process of the swarm died {self._end()}, out of memory perhaps") from None
        if not is_returned:
            raise returned
        return returned

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def _end(self) -> str:
        self._pipe.close()
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait(END_S)
        return f"of {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


_of_thread = threading.local()


def call_in_child(function: Callable[..., Any], *arguments: object) -> Any:
    """Make a call in the process that belongs to this thread, which is started when it is first needed."""
    child: Child | None = getattr(_of_thread, "child", None)
    if child is None or not child.is_alive:
        child = _of_thread.child = Child()
    return child.call(function, *arguments)


def serve(descriptor: int) -> None:
    """In the process: make what calls come through this end of the pipe, until nobody has the other one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    pipe: Connection[Any, Any] = Connection(descriptor)
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[bool, Any]
        try:
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, error
        try:
            pipe.send(answer)
        except OSError:
            return
