"""What the second read of a bucket costs each PUT (impl/api/s3/bucket_guard.py): the same load with it and without.

The nodes without it are the real server with that one function taken out, so they lose objects beside DeleteBucket:
they exist only here. Both take turns in the same run, in pieces, so that what else the machine does hits both alike.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ci.bench import cluster
from ci.bench.cluster import Target

BODY_BYTES = 4096
PIECE_S = 2.0
PIECES = 5
CONNECTIONS = (1, 8)
WITHOUT = """
import sys
from impl.api.s3.bucket_guard import BucketGuard
async def settle(self, bucket, path, generation, token): pass
BucketGuard.settle = settle
from impl.server import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> None:
    """Print requests a second, and CPU a request of all nodes, with the second read and without."""
    print(f"PUT of {BODY_BYTES} bytes, anonymous, path style; medians of {PIECES} pieces of {PIECE_S:.0f} s each\n")
    print(
        f"{'':10} {'connections':>11} {'PUT/s with':>11} {'without':>9} {'ratio':>6} {'CPU us with':>12} {'without':>9}"
    )
    for nodes in (1, 3):
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            both = [
                stack.enter_context(_cluster(nodes, Path(directory) / name, command))
                for name, command in (("with", ["-m", "impl.server"]), ("without", ["-c", WITHOUT]))
            ]
            for connections in CONNECTIONS:
                _compare(nodes, connections, both)


def _compare(nodes: int, connections: int, both: list[Target]) -> None:
    rates: list[list[float]] = [[], []]
    cpu_us: list[list[float]] = [[], []]
    for piece in range(PIECES):
        for at in (0, 1) if piece % 2 else (1, 0):
            before_s = both[at].cpu_s()
            done, took_s = asyncio.run(_load(both[at].base, connections))
            rates[at].append(done / took_s)
            cpu_us[at].append((both[at].cpu_s() - before_s) / done * 1e6)
    with_it, without = (statistics.median(each) for each in rates)
    cpu_with, cpu_without = (statistics.median(each) for each in cpu_us)
    print(
        f"{nodes} node{'s' if nodes > 1 else ' '}    {connections:11} {with_it:11,.0f} {without:9,.0f} "
        f"{with_it / without:6.2f} {cpu_with:12,.0f} {cpu_without:9,.0f}"
    )


async def _load(base: str, connections: int) -> tuple[int, float]:
    """Requests answered 200, and the seconds that took."""
    host, _, port = base.removeprefix("http://").partition(":")
    began_s = time.perf_counter()
    counts = await asyncio.gather(*(_client(host, int(port), at, began_s + PIECE_S) for at in range(connections)))
    return sum(counts), time.perf_counter() - began_s


async def _client(host: str, port: int, at: int, end_s: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.perf_counter() < end_s:
        head = f"PUT /bench/{at}-{count % 512} HTTP/1.1\r\nHost: bench\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        writer.write(head.encode() + bytes(BODY_BYTES))
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"bench: PUT got {answer.decode()}")
        count += 1
    writer.close()
    return count


@contextmanager
def _cluster(nodes: int, directory: Path, command: list[str]) -> Iterator[Target]:
    ports = cluster.free_ports(nodes)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    listed = "".join(
        f'    - {{node_id: {name}, bind_addr: "127.0.0.1:{port}", disks: [{{path: "{directory / name}"}}]}}\n'
        for name, port in zip(names, ports, strict=True)
    )
    directory.mkdir(parents=True)
    config = directory / "config.yaml"
    config.write_text(
        f"initial_cluster:\n  nodes:\n{listed}auth: {{cluster_secret: benchmark-secret}}\n"
        "logging: {level: warning}\ns3: {anonymous: true}\n"
    )
    config.chmod(0o600)
    commands = [[sys.executable, *command, "--config", str(config), "--node", name] for name in names]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with cluster.running(commands, [f"{url}/_/api/v1/healthz" for url in urls]) as processes:
        urllib.request.urlopen(urllib.request.Request(f"{urls[0]}/bench", method="PUT"))
        yield Target(f"{nodes} nodes", urls[0], processes, [])
