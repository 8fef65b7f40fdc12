"""The server's figures: small and large objects, one node and three, against moto's server in the same run.

Everything shares this machine's cores: client, nodes, moto. fsync is on. Compare ratios, not absolute numbers.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ci.bench.cluster import Target, amberio, moto
from ci.bench.load import KEYS, Measured, wrk

SMALL_BYTES = 4096
LARGE_BYTES = 64 * 1024 * 1024
LARGE_KEYS = 4
CONNECTIONS = 16
SECONDS = 6
WIDTHS = (12, 9, 9, 9, 10, 10, 8)


@dataclass(frozen=True)
class Row:
    """One line of the table. `cpu_us` is the servers' CPU a request, `fsync_ms` the mean COMMIT (None: no commits)."""

    target: str
    what: str
    measured: Measured
    cpu_us: float
    fsync_ms: float | None


def main(seconds: int = SECONDS) -> None:
    """Measure everything and print the tables."""
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        rows: list[Row] = []
        with moto() as target:
            rows += _measure(target, seconds)
        for nodes, trace in ((1, False), (3, False), (3, True)):
            with amberio(nodes, room / f"{nodes}{trace}", trace=trace) as target:
                rows += _measure(target, seconds)
    _print(rows)


def _measure(target: Target, seconds: int) -> list[Row]:
    small = f"{target.base}/small"
    large = f"{target.base}/large"
    wrk(
        "PUT", small, SMALL_BYTES, KEYS, CONNECTIONS, 2, target.headers
    )  # every key is there, every path has its coordinator
    return [
        _one(target, "PUT 4 KiB", "PUT", small, SMALL_BYTES, KEYS, CONNECTIONS, seconds),
        _one(target, "GET 4 KiB", "GET", small, SMALL_BYTES, KEYS if target.metrics else 500, CONNECTIONS, seconds),
        _one(target, "PUT 64 MiB", "PUT", large, LARGE_BYTES, LARGE_KEYS, 1, seconds),
        _one(target, "GET 64 MiB", "GET", large, LARGE_BYTES, 1, 1, seconds),
    ]


def _one(
    target: Target, what: str, method: str, base: str, size_bytes: int, keys: int, connections: int, seconds: int
) -> Row:
    cpu_s, (count, sum_s) = target.cpu_s(), target.commits()
    measured = wrk(method, base, size_bytes, keys, connections, seconds, target.headers)
    used_s, (count_after, sum_after_s) = target.cpu_s() - cpu_s, target.commits()
    commits = count_after - count
    fsync_ms = (sum_after_s - sum_s) / commits * 1000 if commits else None
    return Row(target.name, what, measured, used_s / max(measured.requests, 1) * 1e6, fsync_ms)


def _print(rows: list[Row]) -> None:
    peer = {row.what: row.measured.per_s for row in rows if row.target == "moto"}
    names = ("a second", "x moto", "p50 ms", "p99 ms", "CPU us", "fsync ms", "errors")
    print(f"{'':28}" + "".join(f"{name:>{width}}" for name, width in zip(names, WIDTHS, strict=True)))
    for row in rows:
        measured = row.measured
        rate = f"{measured.per_s:,.0f}"
        if "MiB" in row.what:
            rate = f"{measured.per_s * LARGE_BYTES / 1e6:,.0f} MB"
        fsync = "-" if row.fsync_ms is None else f"{row.fsync_ms:.2f}"
        cells = (
            rate,
            f"{measured.per_s / peer[row.what]:.1f}",
            f"{measured.p50_ms:.2f}",
            f"{measured.p99_ms:.2f}",
            f"{row.cpu_us:,.0f}",
            fsync,
            str(measured.errors),
        )
        told = "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
        print(f"{row.target:16}{row.what:12}{told}")
