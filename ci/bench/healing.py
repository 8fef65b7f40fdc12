"""How soon a node that was away catches up: its heads, compared slot by slot and adopted, and nothing else going on.

`python -m ci.bench healing`. The peer in the same run is the writing itself: what the other two nodes took to write the
objects that the third one then adopts. Everything shares this machine's cores, and fsync is on.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from ci.bench import cluster

OBJECTS = 10_000
BODY_BYTES = 4096
CONNECTIONS = 16
PATIENCE_S = 300.0
HEALED = "amberio_healing_healed_total "


def main() -> None:
    """Print how long the writing took, and how long the catching up."""
    with tempfile.TemporaryDirectory() as directory:
        ports = cluster.free_ports(3)
        config = configured(Path(directory), ports)
        commands = [
            [sys.executable, "-m", "impl.server", "--config", str(config), "--node", f"n{number}"]
            for number in (1, 2, 3)
        ]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        with cluster.running(commands, [f"{url}/_/api/v1/healthz" for url in urls]) as processes:
            processes[2].send_signal(signal.SIGTERM)
            processes[2].wait(30)
            wrote_s = asyncio.run(write(ports[:2]))
            back = subprocess.Popen(commands[2], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                healed_s = _until_healed(urls[2])
            finally:
                back.kill()
                back.wait(30)
    print(f"{OBJECTS:,} objects of {BODY_BYTES} bytes, 3 nodes, one away while they were written\n")
    print(f"written in {wrote_s:.1f} s; from the start of the process that was away, adopted in {healed_s:.1f} s")
    print(f"catching up takes {healed_s / wrote_s:.2f} of the writing")


def configured(directory: Path, ports: list[int]) -> Path:
    """The configuration of a cluster of so many nodes, with its data in the directory."""
    listed = "".join(
        f'    - {{node_id: n{number}, bind_addr: "127.0.0.1:{port}", disks: [{{path: "{directory / str(number)}"}}]}}\n'
        for number, port in enumerate(ports, start=1)
    )
    config = directory / "config.yaml"
    config.write_text(
        f"initial_cluster:\n  nodes:\n{listed}auth: {{cluster_secret: benchmark-secret}}\nlogging: {{level: warning}}\n"
    )
    config.chmod(0o600)
    return config


async def write(ports: list[int], prefix: str = "away") -> float:
    """Write all objects; how long it took, in seconds."""
    began_s = time.perf_counter()
    shares = ((ports[at % len(ports)], range(at, OBJECTS, CONNECTIONS)) for at in range(CONNECTIONS))
    await asyncio.gather(*(cluster.put_blobs(port, prefix, share, BODY_BYTES) for port, share in shares))
    return time.perf_counter() - began_s


def _until_healed(url: str) -> float:
    began_s = time.perf_counter()
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
            healed = next((float(line.removeprefix(HEALED)) for line in lines if line.startswith(HEALED)), 0.0)
            if healed >= OBJECTS:
                return time.perf_counter() - began_s
        if time.perf_counter() - began_s > PATIENCE_S:
            raise SystemExit(f"bench: not healed in {PATIENCE_S:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
