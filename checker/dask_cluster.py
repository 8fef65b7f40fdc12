"""Calls that go out to the machines of a Dask cluster, a bounded number at a time, and come back as what they return.

Nothing here knows TLC, traces or seeds. A call must be one that can be made twice: when the worker that has it dies,
Dask has another one make it again, as often as the scheduler's `distributed.scheduler.allowed-failures` says, and then
no more. What Dask leaves open is settled here: how many calls are out, what becomes of them when nobody is left to make
them, and that whoever makes them runs the same code, as another release could come to another answer.

Dask is imported when a cluster is asked for, and only then.
"""

import asyncio
import hashlib
import logging
import pickle
import sys
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from checker.errors import CannotCheck

if TYPE_CHECKING:
    from distributed import Client

Returned = TypeVar("Returned")

CONNECT_S: Final = 10.0
"""So long a scheduler has to answer."""
ALONE_S: Final = 30.0
"""So long a cluster may be without any worker; one that dies is started again by its nanny within a few seconds."""
LOOK_EVERY_S: Final = 2.0
NOT_INSTALLED: Final = ("No module named 'checker", "deserialization of the task graph")
"""What a worker says, and what a scheduler, to which this module is unknown."""
NAMED_MAX: Final = 3
"""Calls that a message names."""
LARGE_GRAPH: Final = {"distributed.admin.large-graph-warning-threshold": "1 GB"}
"""A call of ours carries all that it needs, so that any worker can make it again; Dask would warn of that."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Returned]):
    """A function of a module, and picklable arguments. `names` is what it does, for messages: "seeds 11 to 20"."""

    names: str
    function: Callable[..., Returned]
    arguments: tuple[object, ...]


@contextmanager
def connect(address: str, packages: Sequence[str] = ("checker",)) -> Iterator["DaskCluster"]:
    """The cluster whose scheduler listens at this address, such as tcp://10.0.0.5:8786, with at least one worker.

    Calls are made only where these packages are the same as here. Raises CannotCheck if Dask is not installed, if the
    address does not answer, or if no worker turns up.
    """
    try:
        import dask
        from distributed import Client
    except ModuleNotFoundError as error:
        raise CannotCheck(
            f"--cluster needs Dask, and there is no {error.name}: `pip install distributed`, here and on the cluster"
        ) from None
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they would say of lost workers, the answer says
    asyncio.run(_see_scheduler(address))
    with dask.config.set(LARGE_GRAPH), Client(address, timeout=CONNECT_S, set_as_default=False) as client:
        try:
            client.wait_for_workers(1, timeout=ALONE_S)
        except TimeoutError:
            raise CannotCheck(_nobody(address)) from None
        cluster = DaskCluster(address, client, packages)
        try:
            yield cluster
        finally:
            cluster.stop()


async def _see_scheduler(address: str) -> None:
    """Raise CannotCheck unless a scheduler answers there; a Client would wait for ever for one that says nothing."""
    from distributed.core import rpc

    try:
        async with asyncio.timeout(2 * CONNECT_S), rpc(address, timeout=CONNECT_S) as asked:
            found = (await asked.identity())["type"]
        fault = "" if found == "Scheduler" else f"it is the address of a {found}"
    except TimeoutError:
        fault = "what listens there says nothing"
    except (OSError, ValueError, MemoryError) as error:
        fault = str(error).partition("\n")[0] or "what listens there speaks another language"
    if fault:
        raise CannotCheck(
            f"no Dask scheduler answers at {address} ({fault}); start one with `dask scheduler`, and name the address "
            "that it prints"
        )


class DaskCluster:
    """A cluster that `connect` found. Any thread may make calls."""

    def __init__(self, address: str, client: "Client", packages: Sequence[str]) -> None:
        self.address = address
        self._client = client
        self._packages = tuple(packages)
        self._executor: Executor = client.get_executor(pure=False)

    @property
    def threads(self) -> int:
        """How many calls can be made at a time, now. Raises CannotCheck if the scheduler is gone."""
        try:
            return sum(self._client.nthreads().values())
        except (OSError, TimeoutError, CancelledError) as error:
            raise self._lost() from error

    def call(self, call: Call[Returned]) -> Returned:
        """What the call returns, or raises; raises CannotCheck when it could not be made."""
        (returned,) = self.each([call])
        return returned

    def each(self, calls: Iterable[Call[Returned]]) -> Iterator[Returned]:
        """What the calls return, in the order in which they are done; no more are out than the cluster has threads.

        More would gain nothing, and be blamed together with the one that kills a worker. Raises as `call` does.
        """
        to_do = iter(calls)
        out: dict[Future[Returned], Call[Returned]] = {}
        try:
            while True:
                for call in islice(to_do, max(0, max(1, self.threads) - len(out))):
                    out[self._send(call)] = call
                if not out:
                    return
                for future in self._first(out):
                    yield self._returned(out.pop(future), future)
        finally:
            for future in out:
                future.cancel()

    def stop(self) -> None:
        """Take back all calls: who waits for one gets CannotCheck. What a worker has begun, it ends for nobody."""
        self._executor.shutdown(wait=False)

    def _send(self, call: Call[Returned]) -> Future[Returned]:
        # As bytes: Dask would look for tasks of its own inside the arguments, and compresses nothing.
        sent = zlib.compress(pickle.dumps((call.function, call.arguments)), level=1)
        return self._executor.submit(_make, self._packages, code_digest(self._packages), sent)

    def _first(self, out: "dict[Future[Returned], Call[Returned]]") -> Collection[Future[Returned]]:
        """Those that are done, as soon as one is."""
        seen_s = time.monotonic()
        while True:
            done, _ = wait(out, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            if done:
                return done
            if self.threads:
                seen_s = time.monotonic()
            elif time.monotonic() - seen_s >= ALONE_S:
                raise CannotCheck(_nobody(self.address, [call.names for call in out.values()]))

    def _returned(self, call: Call[Returned], future: Future[Returned]) -> Returned:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise CannotCheck(
                f"{call.names}: given up after {error.allowed_failures + 1} deaths of workers at {self.address} "
                f"that had this (the last: {error.last_worker.address}); out of memory perhaps"
            ) from None
        except CancelledError:
            raise self._lost() from None
        except (ModuleNotFoundError, RuntimeError) as error:
            if not any(text in str(error) for text in NOT_INSTALLED):
                raise
            raise CannotCheck(
                f"the cluster at {self.address} does not know what is sent to it; install the same Amberio on the "
                "machines of the scheduler and of every worker"
            ) from error

    def _lost(self) -> CannotCheck:
        return CannotCheck(f"the scheduler at {self.address} is gone, and with it all that was under way")


@cache
def code_digest(packages: tuple[str, ...]) -> str:
    """What tells one state of these installed packages, and one Python, from another; their tests do not count.

    Raises CannotCheck if one of them is not installed.
    """
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for package in packages:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise CannotCheck(f"there is no package {package}; install the same Amberio on every machine")
        (folder,) = map(Path, spec.submodule_search_locations)
        for file in sorted(folder.rglob("*.py")):
            name = file.relative_to(folder)
            if "tests" not in name.parts:
                digest.update(f"{package}/{name.as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _make(packages: tuple[str, ...], digest: str, sent: bytes) -> Any:
    """On a worker: make the call."""
    from distributed import get_worker

    try:
        if code_digest(packages) != digest:
            raise CannotCheck(
                "runs another Amberio or another Python than the machine that asks; install the same on both, as the "
                "answers could differ"
            )
        function, arguments = pickle.loads(zlib.decompress(sent))
        return function(*arguments)
    except CannotCheck as error:
        raise CannotCheck(f"the worker {get_worker().address}: {error}") from None


def _nobody(address: str, waiting: Sequence[str] = ()) -> str:
    more = f", and {len(waiting) - NAMED_MAX} more" if len(waiting) > NAMED_MAX else ""
    whose = f" while it had {', '.join(waiting[:NAMED_MAX])}{more}" if waiting else ""
    return f"the cluster at {address} had no worker for {ALONE_S:g} s{whose}; start some with `dask worker {address}`"
