"""The most memory that a node uses while an object of 1 GiB is written and read through it, on three nodes."""

import http.client
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ci.bench.cluster import amberio

SIZE_BYTES = 1024**3
PIECE = bytes(range(256)) * 4096


def main() -> None:
    """Write it, read it back from another node, print the peak of each."""
    with tempfile.TemporaryDirectory() as directory, amberio(3, Path(directory)) as target:
        before_mib = target.peak_mib()
        host, _, path = target.base.removeprefix("http://").partition("/")
        began_s = time.monotonic()
        connection = http.client.HTTPConnection(host, timeout=120)
        connection.request("PUT", f"/{path}/gib", body=_pieces(), headers={"Content-Length": str(SIZE_BYTES)})
        answer = connection.getresponse()
        answer.read()
        wrote_s, wrote_mib = time.monotonic() - began_s, target.peak_mib()
        began_s = time.monotonic()
        connection.request("GET", f"/{path}/gib")
        body = connection.getresponse()
        received = 0
        while piece := body.read(1024 * 1024):
            received += len(piece)
        read_s = time.monotonic() - began_s
        wrote, read = SIZE_BYTES / wrote_s / 1e6, received / read_s / 1e6
        print(f"PUT 1 GiB: status {answer.status}, {wrote:,.0f} MB/s, peak {wrote_mib:.0f} MiB a node")
        print(f"GET 1 GiB: {received:,} bytes, {read:,.0f} MB/s, peak {target.peak_mib():.0f} MiB a node")
        print(f"before: peak {before_mib:.0f} MiB")


def _pieces() -> Iterator[bytes]:
    for _ in range(SIZE_BYTES // len(PIECE)):
        yield PIECE
