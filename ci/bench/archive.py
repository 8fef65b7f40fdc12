"""How fast write-back ships, beside what the same archive takes from a client that does nothing else.

`python -m ci.bench archive`. The archive is moto's S3 server as a process of its own; the peer in the same run is this
project's own S3 client with as many requests at a time, which puts as many objects of the same size there. A shipment
is a HEAD and a PUT, so the peer does both, too. All share this machine's cores.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

from ci.bench import cluster
from impl.archive.face import Archive
from impl.archive.s3 import open_s3
from impl.archive.settings import S3Settings
from impl.doors import RealClock, RealRandom
from impl.errors import NotInArchive

OBJECTS: Final = 1500
BODY_BYTES: Final = 16 * 1024
AT_ONCE: Final = 8
BUCKET: Final = "bench"
PATIENCE_S: Final = 300.0


def main() -> None:
    """Print how long the client took, how long the node's clients, and how long until all was shipped."""
    with tempfile.TemporaryDirectory() as directory:
        archive_port, port = cluster.free_ports(2)
        log = Path(directory) / "archive.log"
        command = [sys.executable, "-m", "tracegen.archive.s3_server", "127.0.0.1", str(archive_port)]
        command += [BUCKET, str(log)]
        moto = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            peer_s = asyncio.run(_put_all(archive_port))
            config = _config(Path(directory), port, archive_port)
            node = [sys.executable, "-m", "impl.server", "--config", str(config), "--node", "n1"]
            url = f"http://127.0.0.1:{port}/_/api/v1"
            with cluster.running([node], [f"{url}/healthz"]):
                began_s = time.perf_counter()
                asyncio.run(_write_all(port))
                wrote_s = time.perf_counter() - began_s
                most = _state(url)
                _until_shipped(url)
                shipped_s = time.perf_counter() - began_s
        finally:
            moto.kill()
            moto.wait(30)
    print(f"{OBJECTS:,} objects of {BODY_BYTES:,} bytes, {AT_ONCE} at a time\n")
    print(f"a client with HEAD and PUT: {peer_s:.1f} s")
    print(f"written to the node in {wrote_s:.1f} s, shipped after {shipped_s:.1f} s")
    print(f"waiting when the last write was answered: {most['pending']:,} objects, {most['oldest_s']:.1f} s")
    print(f"write-back ships at {peer_s / shipped_s:.2f} of the archive's speed")


def _config(directory: Path, port: int, archive_port: int) -> Path:
    config = directory / "config.yaml"
    keys = {"access_key_id": "key", "secret_access_key": "secret"}
    endpoint = f"http://127.0.0.1:{archive_port}"
    s3 = {"bucket": BUCKET, "endpoint": endpoint, "allow_http": True, "credentials": keys}
    disks = [{"path": str(directory / "n1")}]
    tree = {
        "initial_cluster": {"nodes": [{"node_id": "n1", "bind_addr": f"127.0.0.1:{port}", "disks": disks}]},
        "auth": {"cluster_secret": "benchmark-secret"},
        "logging": {"level": "warning"},
        "archive": {"archive_type": "s3", "mode": "write_back", "s3": s3, "ships_at_once": AT_ONCE},
    }
    config.write_text(json.dumps(tree))
    config.chmod(0o600)
    return config


async def _put_all(port: int) -> float:
    settings = S3Settings(BUCKET, "us-east-1", f"http://127.0.0.1:{port}", "key", "secret")
    archive = await open_s3(settings, RealClock(), RealRandom())
    await _until_there(archive)
    began_s = time.perf_counter()

    async def client(first: int) -> None:
        for number in range(first, OBJECTS, AT_ONCE):
            try:
                await archive.head(f"peer/{number}")
            except NotInArchive:
                await archive.put(f"peer/{number}", bytes(BODY_BYTES), if_absent=True)

    await asyncio.gather(*(client(first) for first in range(AT_ONCE)))
    took_s = time.perf_counter() - began_s
    await archive.close()
    return took_s


async def _until_there(archive: Archive) -> None:
    for _ in range(100):
        try:
            await archive.list()
        except Exception:  # whatever it says while it starts
            await asyncio.sleep(0.1)
        else:
            return
    raise SystemExit("bench: the archive does not start")


async def _write_all(port: int) -> None:
    shares = (range(first, OBJECTS, AT_ONCE) for first in range(AT_ONCE))
    await asyncio.gather(*(cluster.put_blobs(port, "back", share, BODY_BYTES) for share in shares))


def _state(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/archive", timeout=10) as answer:
        state: dict[str, float] = json.load(answer)
        return state


def _until_shipped(url: str) -> None:
    began_s = time.perf_counter()
    while _state(url)["pending"]:
        if time.perf_counter() - began_s > PATIENCE_S:
            raise SystemExit(f"bench: not shipped in {PATIENCE_S:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
