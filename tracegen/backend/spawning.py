"""Starts processes that end with the harness, however that ends, and finds ports that they may listen on."""

import asyncio
import ctypes
import os
import random
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from tracegen.backend.proxy import HOST
from tracegen.errors import HarnessError

PACKAGES: Final = str(Path(__file__).resolve().parents[2])  # where impl is, whatever the working directory
PORTS_BELOW_EPHEMERAL: Final = 12_000
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


async def spawn(command: Sequence[str], log: IO[bytes]) -> asyncio.subprocess.Process:
    """Start a process that ends with the harness.

    It has a session of its own: Ctrl-C is for the harness, which then ends its nodes.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (PACKAGES, os.getenv("PYTHONPATH"))))}
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    except OSError as error:
        raise HarnessError(f"cannot start {command[0]}: {error}") from error


def _die_with_parent() -> None:
    """Runs in the child between fork and exec: the kernel kills it when the harness is gone, even by kill -9."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to outgoing connections.

    A node that is killed must find its own port free when it comes back: an ephemeral one may by then belong to some
    connection.
    """
    try:
        first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        first_ephemeral = 32_768
    low = max(1024, first_ephemeral - PORTS_BELOW_EPHEMERAL)
    candidates = list(range(low, max(first_ephemeral, low + 1000)))
    random.SystemRandom().shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise HarnessError(f"there are not {count} free ports on {HOST}; end what holds ports {low} and above")
