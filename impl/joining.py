"""`join`: a node gets its configuration from one that runs, and keeps what it got for a start when none does."""

import os
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from impl.asking import ask
from impl.cluster.secret import Secret
from impl.config import Address, Settings, settings_of
from impl.doors import RealClock
from impl.errors import ConfigError, PeerError
from impl.sharing import SECRET_VARIABLE, Shared, with_data

SCHEME: Final = "cluster://"
COPY: Final = "joined.json"
AGAIN_S: Final = 0.5


class SeedRegistry:
    """The record as a node of the cluster told it: somebody wrote it first, long ago. See `registry/face.py`."""

    def __init__(self, name: str, record: bytes) -> None:
        self.name = name
        self._record = record

    def create(self, record: bytes) -> tuple[bytes, bool]:
        """The seed's record, whatever the caller would write."""
        return self._record, False


class Joined(msgspec.Struct, frozen=True):
    """The settings of a node that joins, and what it was told; `notice` says if that was long ago."""

    settings: Settings
    shared: Shared
    source: str
    notice: str = ""


def join(
    url: str, node_id: str, directories: Sequence[str], secret: str, environment: Mapping[str, str], wait_s: float
) -> Joined:
    """Ask the nodes that `url` names, for up to `wait_s`. Raises ConfigError; PeerError if there is no answer.

    Without an answer, what was told last time is in the first of `directories`, and does.
    """
    seeds = seeds_of(url)
    source, notice = f"the configuration of {url}", ""
    copy = Path(directories[0]) / COPY if directories else None
    known = {**environment, SECRET_VARIABLE: secret}
    try:
        shared = _fetch(seeds, node_id, Secret(secret), 0.0 if copy is not None and copy.exists() else wait_s)
    except PeerError as error:
        if copy is None or not copy.exists():
            raise
        shared = _read(copy)
        source, notice = str(copy), f"{error}. This node goes on with what it was told last time, {copy}"
    settings = settings_of(shared.configuration, known, source)
    if directories:
        changed = with_data(shared.configuration, settings.node(node_id), directories)
        settings = settings_of(changed, known, source)
    return Joined(settings, shared, source, notice)


def keep(joined: Joined, directory: Path) -> None:
    """Keep what was told, for a start when nobody answers. There is no secret in it. Raises ConfigError."""
    temporary, copy = directory / f"{COPY}.tmp", directory / COPY
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(joined.shared))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(copy)
    except OSError as error:
        raise ConfigError(f"{copy}: cannot be written: {error.strerror}; check --data") from None


def seeds_of(url: str) -> list[Address]:
    """The nodes of cluster://host:port, or of several with commas between them. Raises ConfigError."""
    seeds = []
    for text in url.removeprefix(SCHEME).rstrip("/").split(","):
        host, _, port = text.rpartition(":")
        if not (url.startswith(SCHEME) and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ConfigError(f"{url} names no node; use {SCHEME}host:port, such as {SCHEME}127.0.0.1:8080")
        seeds.append(Address(host.strip("[]"), int(port)))
    return seeds


def secret_of(environment: Mapping[str, str], file: Path | None) -> str:
    """The cluster's secret, from a file for its owner's eyes only or from the environment. Raises ConfigError."""
    if file is None:
        if not environment.get(SECRET_VARIABLE):
            raise ConfigError(
                f"the environment has no {SECRET_VARIABLE}, the cluster's secret; export it, or give --secret-file"
            )
        return environment[SECRET_VARIABLE]
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--secret-file {file}: cannot be read: {error}") from None
    if mode & 0o077:
        raise ConfigError(f"--secret-file {file}: others can read it (mode {mode:04o}); chmod 600 it")
    if not text:
        raise ConfigError(f"--secret-file {file}: it is empty; write the cluster's secret into it")
    return text


def _fetch(seeds: Sequence[Address], node_id: str, secret: Secret, wait_s: float) -> Shared:
    target = f"/internal/v1/cluster?node={quote(node_id, safe='')}"
    clock = RealClock()
    end_s = clock.monotonic_s() + wait_s
    is_told = False
    while True:
        silent = []
        for seed in seeds:
            try:
                return msgspec.json.decode(ask(seed, "GET", target, secret, clock), type=Shared)
            except PeerError as error:
                silent.append(str(error))
            except msgspec.DecodeError as error:
                raise ConfigError(f"{seed} told what cannot be read: {error}; check its version") from None
        left_s = end_s - clock.monotonic_s()
        if left_s <= 0:
            raise PeerError(f"no node of the cluster answers: {'; '.join(silent)}; check that one runs there")
        if not is_told:
            print(f"amberio: {'; '.join(silent)}; asking again for {left_s:.0f} s", file=sys.stderr)
            is_told = True
        time.sleep(min(AGAIN_S, left_s))


def _read(copy: Path) -> Shared:
    try:
        return msgspec.json.decode(copy.read_bytes(), type=Shared)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{copy}: cannot be read: {error}; start again when a node of the cluster runs") from None
