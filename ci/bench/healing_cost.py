"""What healing costs those who are served: throughput with, and without, a node that has much to catch up.

`python -m ci.bench healing_cost`. Clients write and read at two of three nodes all the while. In turns, in one run, the
third node has either nothing to do but its share, or it comes back after OBJECTS were written without it; each turn is
measured for as long as it heals. Everything shares this machine's cores, and fsync is on.
"""

import asyncio
import contextlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from ci.bench import cluster, healing
from ci.bench.healing import HEALED, OBJECTS

ROUNDS = 3
CLIENTS = 8
QUIET_S = 8.0
SETTLE_S = 2.0
KEYS = 500


def main() -> None:
    """Print both throughputs of each round, and the ratio of their medians."""
    with tempfile.TemporaryDirectory() as directory:
        ports = cluster.free_ports(3)
        config = healing.configured(Path(directory), ports)
        commands = [
            [sys.executable, "-m", "impl.server", "--config", str(config), "--node", f"n{number}"]
            for number in (1, 2, 3)
        ]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        with cluster.running(commands, [f"{url}/_/api/v1/healthz" for url in urls]) as processes:
            quiet, busy, took_s = [], [], []
            for number in range(ROUNDS):
                time.sleep(SETTLE_S)
                quiet.append(asyncio.run(_load(ports[:2], asyncio.sleep(QUIET_S))))
                processes[2].send_signal(signal.SIGTERM)
                processes[2].wait(30)
                asyncio.run(healing.write(ports[:2], f"away{number}"))
                processes[2] = subprocess.Popen(commands[2], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                began_s = time.perf_counter()
                busy.append(asyncio.run(_load(ports[:2], _until_healed(urls[2]))))
                took_s.append(time.perf_counter() - began_s)
                print(f"{quiet[-1]:,.0f}/s; {busy[-1]:,.0f}/s while {OBJECTS:,} objects heal in {took_s[-1]:.0f} s")
    ratio = statistics.median(busy) / statistics.median(quiet)
    print(f"throughput while a node heals: {ratio:.2f} of what it is otherwise (a process that starts included)")


async def _until_healed(url: str) -> None:
    """Until the node has adopted all that was written without it."""
    while True:
        with contextlib.suppress(OSError):
            text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/_metrics", timeout=10).read())
            line = next((line for line in text.decode().splitlines() if line.startswith(HEALED)), f"{HEALED}0")
            if float(line.removeprefix(HEALED)) >= OBJECTS:
                return
        await asyncio.sleep(0.2)


async def _load(ports: list[int], until: Coroutine[Any, Any, None]) -> float:
    """Operations a second of a few clients at these ports, until something is over."""
    done = [0]
    clients = [asyncio.create_task(_client(ports[at % len(ports)], at, done)) for at in range(CLIENTS)]
    began_s = time.perf_counter()
    await until
    took_s = time.perf_counter() - began_s
    counted = done[0]
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return counted / took_s


async def _client(port: int, at: int, done: list[int]) -> None:
    """A write, three reads, and again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while True:
        number += 1
        key = f"fore/{at}/{number // 4 % KEYS}"
        body = bytes(1024) if number % 4 == 0 else b""
        method = "PUT" if body else "GET"
        head = f"{method} /_/api/v1/blobs/{key} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        done[0] += 1


if __name__ == "__main__":
    main()
