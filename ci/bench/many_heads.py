"""How soon a node with a million heads serves, and in how much memory.

`python -m ci.bench many_heads`. The rows are written into the database directly, by the store's own function, so that
this takes no hour; then the real server is started on them, alone, and asked until it answers.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ci.bench import cluster
from impl.model import Applied, Ballot, Head, Register, slot_of
from impl.storage import database
from impl.storage.layout import Layout

HEADS = 1_000_000
BODY_BYTES = 100
AT_ONCE = 20_000
STARTS = 3
PATIENCE_S = 120.0


def main() -> None:
    """Print how long each of a few starts takes, and the most memory that the node uses."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (port,) = cluster.free_ports(1)
        config = _config(root, port)
        began_s = time.perf_counter()
        size_bytes = _fill(Layout(root / "n1").database)
        wrote_s = time.perf_counter() - began_s
        print(
            f"{HEADS:,} heads with bodies of {BODY_BYTES} bytes: {size_bytes / 1e6:,.0f} MB, filled in {wrote_s:.0f} s"
        )
        for _ in range(STARTS):
            start_s, peak_mib = _start(config, f"http://127.0.0.1:{port}")
            print(f"from the start of the process to the first answer {start_s:.1f} s; peak {peak_mib:.0f} MiB")


def _config(root: Path, port: int) -> Path:
    config = root / "config.yaml"
    config.write_text(
        f'initial_cluster:\n  nodes:\n    - {{node_id: n1, bind_addr: "127.0.0.1:{port}", '
        f'disks: [{{path: "{root / "n1"}"}}]}}\n'
        "auth: {cluster_secret: benchmark-secret}\nlogging: {level: warning}\n"
    )
    config.chmod(0o600)
    return config


def _fill(file: Path) -> int:
    file.parent.mkdir(parents=True)
    connection = database.open_database(file, is_fsynced=False)
    for rows in _rows():
        database.commit(connection, lambda rows=rows: database.write(connection, rows, [], 0))
        database.copy_back(connection)
    connection.close()
    return file.stat().st_size


def _rows() -> Iterator[list[database.Row]]:
    body = bytes(BODY_BYTES)
    etag = hashlib.sha256(body).hexdigest()[:32]
    for first in range(0, HEADS, AT_ONCE):
        yield [_row(f"bench/objects/{number:08}", body, etag) for number in range(first, first + AT_ONCE)]


def _row(path: str, body: bytes, etag: str) -> database.Row:
    recent = (Applied(f"write-{path}", 1, etag, len(body), False),)
    head = Head(1, False, etag, len(body), "application/octet-stream", 1_700_000_000_000, body, (), recent)
    return database.row_of(path, slot_of(path), Register(Ballot(2, "n1"), Ballot(0, "n1"), head))


def _start(config: Path, url: str) -> tuple[float, float]:
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "impl.server", "--config", str(config), "--node", "n1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    target = cluster.Target("n1", url, [process], [])
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/_/api/v1/healthz", timeout=5).read()
                break
            except (urllib.error.URLError, OSError):
                if time.perf_counter() - began_s > PATIENCE_S or process.poll() is not None:
                    raise SystemExit(f"bench: the node does not answer within {PATIENCE_S:.0f} s") from None
                time.sleep(0.02)
        start_s = time.perf_counter() - began_s
        urllib.request.urlopen(f"{url}/_/api/v1/blobs/bench/objects/00000001", timeout=30).read()
        time.sleep(3.0)  # what begins in the background has begun
        return start_s, target.peak_mib()
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
