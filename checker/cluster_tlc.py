"""TLC on the machines of a Dask cluster: the generated modules go out as text, and what TLC said comes back.

Each worker has a TLC and a Java of its own: its $TLA2TOOLS_JAR, or what pip installed there with the checker.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from checker import tlc
from checker.dask_cluster import Call, DaskCluster

SENT: Final = (".tla", ".cfg")
Texts = Mapping[str, str]
"""The text of each file, by its name."""


class ClusterTlc:
    """A tlc.Replayer whose TLCs run on a cluster."""

    def __init__(self, cluster: DaskCluster) -> None:
        self._cluster = cluster

    def replay(self, module: Path, libraries: Path, heap_mb: int, timeout_s: float | None) -> tlc.Outcome:
        """As Tool.replay; raises CannotCheck, too, when the cluster cannot do it."""
        arguments = (module.name, _texts(module.parent), _texts(libraries), heap_mb, timeout_s)
        return self._cluster.call(Call(f"a partition of the trace ({module.stem})", replay_texts, arguments))

    def stop(self) -> None:
        self._cluster.stop()


def replay_texts(name: str, beside: Texts, libraries: Texts, heap_mb: int, timeout_s: float | None) -> tlc.Outcome:
    """On a worker: write the modules, and have its TLC replay the one of this name."""
    tool = tlc.locate()
    with tempfile.TemporaryDirectory(prefix="checker-") as scratch:
        folders = Path(scratch) / "beside", Path(scratch) / "libraries"
        for folder, texts in zip(folders, (beside, libraries), strict=True):
            _write(folder, texts.items())
        return tool.replay(folders[0] / name, folders[1], heap_mb, timeout_s)


def _texts(folder: Path) -> Texts:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.suffix in SENT}


def _write(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    folder.mkdir()
    for name, text in texts:
        (folder / name).write_text(text, encoding="utf-8")
