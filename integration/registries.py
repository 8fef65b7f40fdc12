"""Real registries for tests: Debian's redis-server and etcd, each on a port and in a directory of its own."""

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from impl.cluster.registry.settings import EtcdSettings, RedisSettings
from integration.cluster import free_ports

ROOT = Path(__file__).resolve().parent.parent
INSTALL_S = 300.0
START_S = 20.0
STOP_S = 20.0
USER, PASSWORD = "amberio", "let-us-in-please"


@cache
def _why_not() -> str | None:
    """Why there are no such servers here; None if there are. Installs them where that may be done."""
    done = subprocess.run(
        [ROOT / "ci" / "registries" / "install"], capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    return None if done.returncode == 0 else done.stdout.strip() or done.stderr.strip()


def need_servers() -> None:
    """Skip the test, and say why, where there are none."""
    reason = _why_not()
    if reason is not None:
        pytest.skip(reason)


@contextmanager
def redis_server(directory: Path, *arguments: str, tls: Mapping[str, str] | None = None) -> Iterator[RedisSettings]:
    """A redis-server, and how it is reached; by TLS only if there is a certificate."""
    need_servers()
    (port,) = free_ports(1)
    ports = ["--port", str(port)]
    if tls is not None:
        certificate, key = tls["certificate_file"], tls["key_file"]
        ports = ["--port", "0", "--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key]
        ports += ["--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"]
    command = ["redis-server", "--bind", "127.0.0.1", *ports, "--save", "", "--dir", str(directory), *arguments]
    with _running(command, directory / "redis.log", lambda: "Ready to accept" in _text(directory / "redis.log")):
        yield RedisSettings(f"{'redis' if tls is None else 'rediss'}://127.0.0.1:{port}/0")


@contextmanager
def etcd_server(directory: Path) -> Iterator[EtcdSettings]:
    """A cluster of one etcd, and how it is reached."""
    need_servers()
    clients, peers = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    command = ["etcd", "--name", "one", "--data-dir", str(directory / "etcd")]
    command += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
    command += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
    command += ["--initial-cluster", f"one={peers}", "--heartbeat-interval", "50", "--election-timeout", "500"]
    with _running(command, directory / "etcd.log", lambda: _is_healthy(clients)):
        yield EtcdSettings((clients,))


def lock_etcd(endpoint: str) -> None:
    """From now on etcd serves only USER (and root), with PASSWORD."""
    everything = {"permType": "READWRITE", "key": _base64("\0"), "range_end": _base64("\0")}
    for target, asked in (
        ("user/add", {"name": "root", "password": PASSWORD}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("role/add", {"name": "cluster"}),
        ("role/grant", {"name": "cluster", "perm": everything}),
        ("user/add", {"name": USER, "password": PASSWORD}),
        ("user/grant", {"user": USER, "role": "cluster"}),
        ("enable", {}),
    ):
        request = urllib.request.Request(f"{endpoint}/v3/auth/{target}", json.dumps(asked).encode(), method="POST")
        urllib.request.urlopen(request, timeout=START_S).close()


def _is_healthy(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/health", timeout=2.0) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _running(command: list[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    with log.open("wb") as opened:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=opened, stderr=opened)
    try:
        end_s = time.monotonic() + START_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > end_s:
                raise AssertionError(f"{command[0]} does not start (exit code {process.returncode}):\n{_text(log)}")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait(STOP_S)


def _text(file: Path) -> str:
    return file.read_text(errors="replace")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
