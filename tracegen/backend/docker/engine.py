"""The Docker engine: the way there, and the labels by which all that a run makes can be found and removed again.

Whoever cannot use it gets one line that says what to do.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracegen.errors import HarnessError

if TYPE_CHECKING:
    from docker import DockerClient

RUN: Final = "org.amberio.run"
HARNESS: Final = "org.amberio.harness"
IMAGE: Final = "org.amberio.image"
ANSWER_S: Final = 120
"""An engine under load takes its time; one that takes longer hangs."""
INSTEAD: Final = "or use --backend process"


@dataclass(frozen=True)
class Mark:
    """What everything that one run makes is labelled and named with. `harness` is whose it is: this process's."""

    run: str = field(default_factory=lambda: secrets.token_hex(4))
    harness: str = field(default_factory=lambda: _sign_of_life(os.getpid()))

    @property
    def labels(self) -> dict[str, str]:
        return {RUN: self.run, HARNESS: self.harness}

    def name(self, what: str) -> str:
        return f"amberio-{self.run}-{what}"


def connect() -> "DockerClient":
    """The engine that the environment names; raises HarnessError if it cannot be used."""
    try:
        import docker
    except ImportError as error:
        raise HarnessError(f"--backend docker needs its SDK ({error}): pip install docker, {INSTEAD}") from None
    with understood():
        client = docker.from_env(timeout=ANSWER_S)
        client.ping()
        return client


@contextmanager
def understood() -> Iterator[None]:
    """Has what the engine refuses be a HarnessError of one line."""
    import docker.errors
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        told = " ".join(str(getattr(error, "explanation", None) or error).split())
        if "Permission denied" in told or "PermissionError" in told:
            raise HarnessError(
                f"the Docker engine lets only root and the group docker in: usermod -aG docker USER, {INSTEAD}"
            ) from error
        if not isinstance(error, docker.errors.APIError):
            raise HarnessError(
                f"no Docker engine answers ({told[:160]}): start it, as root: dockerd, {INSTEAD}"
            ) from error
        raise HarnessError(f"the Docker engine refuses: {told[:400]}") from error


# -- what is there, and its end


@dataclass(frozen=True)
class Left:
    """What runs have made at the engine and is there now, by name."""

    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.containers) + len(self.networks) + len(self.volumes)


def left_by(client: "DockerClient", run: str | None = None, harness: str | None = None) -> Left:
    """What is there of this run, of the runs of this harness, or of all."""
    label = RUN if run is None else f"{RUN}={run}"
    wanted = {"label": label if harness is None else f"{HARNESS}={harness}"}
    with understood():
        return Left(
            tuple(str(one["Names"][0]).lstrip("/") for one in client.api.containers(all=True, filters=wanted)),
            tuple(str(one["Name"]) for one in client.api.networks(filters=wanted)),
            tuple(str(one["Name"]) for one in client.api.volumes(filters=wanted)["Volumes"] or ()),
        )


def remove(client: "DockerClient", run: str) -> None:
    """Remove all that a run made; what is gone already is no fault."""
    from docker.errors import NotFound

    found = left_by(client, run)
    with understood():
        for container in found.containers:
            try:
                client.api.remove_container(container, force=True, v=True)
            except NotFound:
                pass
        for network in found.networks:
            try:
                client.api.remove_network(network)
            except NotFound:
                pass
        for volume in found.volumes:
            try:
                client.api.remove_volume(volume, force=True)
            except NotFound:
                pass


def runs_there(client: "DockerClient") -> dict[str, bool]:
    """The runs of which something is there, and whether their harness is alive."""
    wanted = {"label": RUN}
    with understood():
        found = [
            *client.api.containers(all=True, filters=wanted),
            *client.api.networks(filters=wanted),
            *(client.api.volumes(filters=wanted)["Volumes"] or ()),
        ]
    labels = [one["Labels"] for one in found]
    return {one[RUN]: _is_alive(one.get(HARNESS, "")) for one in labels}


def _sign_of_life(pid: int) -> str:
    """A process of this machine, so that another one that gets its number is not taken for it."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{pid}:{started}"


def _is_alive(sign: str) -> bool:
    pid = sign.partition(":")[0]
    return pid.isdigit() and _sign_of_life(int(pid)) == sign
