"""A Dask cluster of this machine, of real processes: a scheduler, and workers to start and to kill one by one."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

START_S = 60.0
STOP_S = 20.0


class Farm:
    """A scheduler at `address`, which a client of the test asks, and its workers by their names."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = os.environ | settings
        about = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(about)
        )
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        try:
            until("the scheduler listens", lambda: about.is_file() and about.stat().st_size > 0)
            self.address = str(json.loads(about.read_text())["address"])
            self.client = Client(self.address, set_as_default=False)
        except BaseException:
            self.scheduler.kill()
            raise

    def add(self, *names: str) -> None:
        """Start workers of one thread, which nobody starts again when they die, and wait for them."""
        for name in names:
            self.workers[name] = self._start(
                *("worker", self.address, "--host", "127.0.0.1", "--name", name, "--nthreads", "1"),
                *("--no-nanny", "--no-dashboard", "--local-directory", str(self._folder / name)),
            )
        until(f"{names} are there", lambda: set(names) <= self.alive())

    def alive(self) -> set[str]:
        """The workers that the scheduler knows."""
        return {str(about["name"]) for about in self.client.scheduler_info(n_workers=-1)["workers"].values()}

    def busy(self) -> dict[str, tuple[str, ...]]:
        """What each worker works at."""
        names = {at: str(about["name"]) for at, about in self.client.scheduler_info(n_workers=-1)["workers"].items()}
        return {names.get(at, at): tuple(map(str, keys)) for at, keys in self.client.processing().items() if keys}

    def kill(self, name: str) -> None:
        self.workers[name].kill()
        self.workers[name].wait(STOP_S)

    @contextmanager
    def killed_midway(self, name: str) -> Iterator[None]:
        """Kill this worker as soon as all are at work; fails if that never came about."""
        had: list[tuple[str, ...]] = []

        def watch() -> None:
            until("all workers are at work", lambda: self.busy().keys() == self.workers.keys())
            had.append(self.busy()[name])
            self.kill(name)

        watching = threading.Thread(target=watch)
        watching.start()
        yield
        watching.join()
        assert had and had[0], f"{name} had nothing to do when it was killed"
        assert name not in self.alive()

    def stop(self) -> None:
        self.client.close()
        for process in (*self.workers.values(), self.scheduler):
            process.kill()  # nobody wants what they still work at
            process.wait(STOP_S)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "dask", *arguments]
            return subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)


def until(what: str, is_so: Callable[[], bool]) -> None:
    """Wait for it; fails after START_S."""
    deadline = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {START_S:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def farm(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Farm]:
    """A scheduler without workers; `settings` are environment variables of Dask."""
    started = Farm(folder, settings or {})
    try:
        yield started
    finally:
        started.stop()
