"""Starts what the server benchmark measures: one node, three nodes, or moto; each as processes of its own."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

START_S = 20.0
TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Target:
    """Something that answers PUT and GET under `base`; `metrics` are the `/_metrics` of those that have one."""

    name: str
    base: str
    processes: list[subprocess.Popen[bytes]]
    metrics: list[str]
    headers: dict[str, str] = field(default_factory=dict)

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system, by all its processes."""
        total = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS_S

    def peak_mib(self) -> float:
        """The most memory that any of its processes ever used."""
        statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in self.processes]
        return max(int(match[1]) for status in statuses if (match := re.search(r"VmHWM:\s+(\d+) kB", status))) / 1024

    def commits(self) -> tuple[float, float]:
        """COMMITs so far over all nodes, and the seconds spent in them."""
        count = sum_s = 0.0
        for url in self.metrics:
            text = urllib.request.urlopen(url).read().decode()
            count += sum(float(value) for value in re.findall(r"^amberio_commit_seconds_count (\S+)", text, re.M))
            sum_s += sum(float(value) for value in re.findall(r"^amberio_commit_seconds_sum (\S+)", text, re.M))
        return count, sum_s


@contextlib.contextmanager
def amberio(nodes: int, directory: Path, *options: str, trace: bool = False) -> Iterator[Target]:
    """A cluster of so many nodes; its data is under `directory`."""
    ports = free_ports(nodes)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    listed = "".join(
        f'    - {{node_id: {name}, bind_addr: "127.0.0.1:{port}", disks: [{{path: "{directory / name}"}}]}}\n'
        for name, port in zip(names, ports, strict=True)
    )
    traced = f'trace: {{enabled: true, directory: "{directory / "traces"}"}}\n' if trace else ""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "config.yaml"
    config.write_text(
        f"initial_cluster:\n  nodes:\n{listed}auth: {{cluster_secret: benchmark-secret}}\n"
        f"logging: {{level: warning}}\n{traced}"
    )
    config.chmod(0o600)
    commands = [
        [sys.executable, "-m", "impl.server", "--config", str(config), "--node", name, *options] for name in names
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with running(commands, [f"{url}/_/api/v1/healthz" for url in urls]) as processes:
        time.sleep(0.5)  # the nodes reach each other
        name = f"{nodes} node{'s' if nodes > 1 else ''}{' traced' if trace else ''}"
        yield Target(name, f"{urls[0]}/_/api/v1/blobs", processes, [f"{url}/_metrics" for url in urls])


@contextlib.contextmanager
def moto() -> Iterator[Target]:
    """moto's server, which keeps everything in memory and nothing on disk."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running([command], [f"{url}/moto-api/"]) as processes:
        urllib.request.urlopen(urllib.request.Request(f"{url}/bench", method="PUT"))
        # moto looks whether a request is signed, not whether the signature is right
        credential = "Credential=bench/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
        yield Target("moto", f"{url}/bench", processes, [], {"Authorization": f"AWS4-HMAC-SHA256 {credential}"})


@contextlib.contextmanager
def running(commands: list[list[str]], ready: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
    ]
    try:
        for url in ready:
            _wait_until_ready(url)
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(url: str) -> None:
    end_s = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end_s:
                raise SystemExit(f"bench: {url} does not answer within {START_S:.0f} s") from None
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


async def put_blobs(port: int, prefix: str, numbers: Iterable[int], body_bytes: int) -> None:
    """Write the objects `prefix`/number by the native API on one connection, one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        target = f"/_/api/v1/blobs/{prefix}/{number}"
        head = f"PUT {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: {body_bytes}\r\n\r\n"
        writer.write(head.encode() + bytes(body_bytes))
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 201"):
            raise SystemExit(f"bench: PUT got {answer.decode()}")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()
