"""Seeds on the machines of a Dask cluster: chunks go out, outcomes come back, and with them the runs that are kept.

A chunk may be tried twice, when the worker that has it dies: nothing is kept there, and the same seed is the same run.
"""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from checker.dask_cluster import Call, DaskCluster, connect
from checker.errors import CannotCheck
from tracegen.errors import HarnessError
from tracegen.swarm.child import call_in_child
from tracegen.swarm.pool import Chunk, TryChunks, try_chunk
from tracegen.swarm.trial import IN_MEMORY, Outcome

SAME_EVERYWHERE: Final = ("impl", "tracegen", "checker")
"""The packages that decide what comes of a seed."""

Packed = bytes
"""A run directory as a ZIP archive; nothing if the run was not kept."""


@contextmanager
def cluster_workers(address: str) -> Iterator[TryChunks]:
    """The workers of the cluster whose scheduler listens there. Raises HarnessError when they cannot try chunks."""
    try:
        with connect(address, SAME_EVERYWHERE) as cluster:
            yield lambda chunks: _try_there(cluster, chunks)
    except CannotCheck as error:
        raise HarnessError(str(error)) from error


def _try_there(cluster: DaskCluster, chunks: Iterable[Chunk]) -> Iterator[list[Outcome]]:
    keeps = dict[int, Path]()

    def calls() -> Iterator[Call[list[tuple[Outcome, Packed]]]]:
        for chunk in chunks:
            keeps.update(dict.fromkeys(chunk.seeds, chunk.keep))
            yield Call(f"seeds {chunk.seeds[0]} to {chunk.seeds[-1]}", call_in_child, (try_packed, chunk))

    for packed in cluster.each(calls()):
        yield [_kept(outcome, archive, keeps.pop(outcome.seed)) for outcome, archive in packed]


def try_packed(chunk: Chunk) -> list[tuple[Outcome, Packed]]:
    """On a worker's machine: try the seeds, and pack what is kept."""
    room = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="amberio-kept-", dir=room) as keep:
        outcomes = try_chunk(replace(chunk, keep=Path(keep)))
        return [
            (msgspec.structs.replace(outcome, kept=""), _pack(Path(outcome.kept)) if outcome.kept else b"")
            for outcome in outcomes
        ]


def _pack(run: Path) -> Packed:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(run.rglob("*")):
            packed.write(path, path.relative_to(run))
    return archive.getvalue()


def _kept(outcome: Outcome, archive: Packed, keep: Path) -> Outcome:
    """The outcome as of a run of this machine: unpack what was kept of it."""
    if not archive:
        return outcome
    place = keep / str(outcome.seed)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(place)
    return msgspec.structs.replace(outcome, kept=str(place))
