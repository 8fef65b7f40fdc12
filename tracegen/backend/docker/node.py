"""One node's container, which lives on its machine: its life and death, its log, its disk."""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tracegen.backend.docker.disk import volume_options
from tracegen.backend.docker.engine import Mark, understood
from tracegen.backend.docker.machine import DISK, Machine
from tracegen.backend.face import NodeState
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

IN_IMAGE: Final = (10001, 10001)
USER: Final = IN_IMAGE if os.getuid() == 0 else (os.getuid(), os.getgid())
"""Whose a node's files are: the image's own user, or who runs the harness, if that is not root."""
SERVER: Final = ("python3", "-m", "impl.server")
CONFIG: Final = "/etc/amberio/config.yaml"
TRACES: Final = "/traces"
END_S: Final = 15
UNLIMITED_BYTES: Final = 1 << 40
_KILLED_BY: Final = 128
"""The engine's exit code of a process that a signal ended is so much more than the signal."""


class NodeContainer:
    """A node. It is made once, and started again and again."""

    def __init__(self, client: "DockerClient", mark: Mark, machine: Machine, places: RunPlaces) -> None:
        self.client = client
        self.node = machine.node
        self.machine = machine
        self.end_is_wanted = True
        self._mark = mark
        self._places = places
        self._container: Container | None = None
        self.disk_binds: list[str] = []

    def make_disk(self, *, is_limited: bool) -> None:
        """A directory of the run, or a volume of limited size."""
        directory = self._places.disks / self.node
        directory.mkdir(exist_ok=True)
        for owned in (directory, self._places.traces):
            os.chown(owned, *USER)
        self.disk_binds = [f"{directory.resolve()}:{DISK}"]
        if is_limited:
            name = self._mark.name(f"{self.node}-disk")
            with understood():
                self.client.api.create_volume(
                    name, driver="local", driver_opts=volume_options(USER), labels=self._mark.labels
                )
            self.disk_binds = [f"{name}:{DISK}"]

    def make(self, image: str, mutants: Sequence[str], binds: Sequence[str], environment: Mapping[str, str]) -> None:
        """Make its container; its machine must be there."""
        allow = ["--allow-mutants"] if mutants else []
        config, traces = self._places.config(self.node).resolve(), self._places.traces.resolve()
        config.touch(0o600)
        from docker.types import LogConfig

        with understood():
            made = self.client.api.create_container(
                image,
                name=self._mark.name(self.node),
                command=["--config", CONFIG, "--node", self.node, *allow],
                entrypoint=list(SERVER),
                environment=dict(environment),
                user="{}:{}".format(*USER),
                labels=self._mark.labels,
                healthcheck={"test": ["NONE"]},  # the harness asks more often
                host_config=self.client.api.create_host_config(
                    binds=[*self.disk_binds, f"{config}:{CONFIG}:ro", f"{traces}:{TRACES}", *binds],
                    network_mode=self.machine.network_mode,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    log_config=LogConfig(type=LogConfig.types.JSON),
                ),
            )
            self._container = self.client.containers.get(made["Id"])

    def start(self) -> None:
        if not self.is_gone():
            raise HarnessError(f"{self.node} runs already; it cannot be started")
        self.end_is_wanted = False
        with understood():
            self._made.start()

    def end(self, number: signal.Signals) -> int:
        """Send this signal, and wait; the exit code, as of a process: negative if a signal ended it."""
        if self.is_gone():
            raise HarnessError(f"{self.node} is gone: it cannot get {number.name}")
        self.end_is_wanted = True
        with understood():
            self._made.kill(number.name)
            try:
                code = int(self._made.wait(timeout=END_S)["StatusCode"])
            except OSError as error:  # of requests: the time is out
                raise HarnessError(f"{self.node} still runs {END_S} s after {number.name}") from error
        return _KILLED_BY - code if code > _KILLED_BY else code

    def pause(self) -> None:
        self._must_be("running", "be paused")
        with understood():
            self._made.pause()

    def resume(self) -> None:
        self._must_be("paused", "be resumed")
        with understood():
            self._made.unpause()

    def state(self) -> NodeState:
        """As the engine sees it now."""
        if self._container is None:
            return "gone"
        with understood():
            self._container.reload()
        match self._container.status:
            case "running":
                return "running"
            case "paused":
                return "paused"
        return "gone"

    def is_gone(self) -> bool:
        return self.state() == "gone"

    def exit_code(self) -> int:
        return int(self._made.attrs["State"]["ExitCode"])

    def memory(self) -> tuple[int, int]:
        """How many bytes it has that it would soon need again, and how often it met its limit so far."""
        with understood():
            told = self.client.api.stats(str(self._made.id), stream=False, one_shot=True)["memory_stats"]
        pages = told.get("stats", {})
        # as cgroups 1 and 2 call them
        own = pages.get("rss", pages.get("anon", 0)) + pages.get("mapped_file", pages.get("file_mapped", 0))
        return int(own), int(told.get("failcnt", 0))

    def limit_memory(self, limit_bytes: int) -> None:
        """Let it have so much from now on."""
        with understood():
            self.client.api.update_container(str(self._made.id), mem_limit=limit_bytes, memswap_limit=-1)

    def was_out_of_memory(self) -> bool:
        """Did the kernel end it for its memory?"""
        with understood():
            self._made.reload()
        return bool(self._made.attrs["State"]["OOMKilled"])

    def keep_log(self) -> None:
        """Have all that it said so far in the run directory."""
        if self._container is None:
            return
        with understood():
            self._places.log(self.node).write_bytes(self._container.logs())

    @property
    def _made(self) -> "Container":
        if self._container is None:
            raise HarnessError(f"{self.node} has no container yet")
        return self._container

    def _must_be(self, wanted: NodeState, what: str) -> None:
        found = self.state()
        if found != wanted:
            raise HarnessError(f"{self.node} is {found}: it cannot {what}")
