"""A cluster of stub nodes (stub_node.py) for one test."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tracegen.backend.process import ProcessCluster
from tracegen.places import RunPlaces
from tracegen.scenario import ClusterShape

STUB = (sys.executable, str(Path(__file__).parent / "stub_node.py"))


@asynccontextmanager
async def stub_cluster(root: Path, nodes: int = 2, *, keep: bool = False) -> AsyncIterator[ProcessCluster]:
    """Started when the block begins, and ended with it."""
    cluster = ProcessCluster(RunPlaces(root), ClusterShape(nodes, nodes, nodes // 2 + 1), keep=keep, command=STUB)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
