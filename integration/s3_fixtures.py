"""Clusters for the S3 tests: one node, one that sends all through Tornado, and three; and what tests need there."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from integration.cluster import running
from integration.s3_cluster import S3Nodes, cluster

SHAPES = {"one": (1, ()), "one-tornado": (1, ("--no-direct-path",)), "three": (3, ())}
LARGE = random.Random(1).randbytes(9 * 1024 * 1024 + 17)


@pytest.fixture(scope="module", params=SHAPES)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Nodes]:
    count, options = SHAPES[request.param]
    with running(cluster(tmp_path_factory.mktemp(request.param), count, *options)) as started:
        assert isinstance(started, S3Nodes)
        yield started


@pytest.fixture
def s3(nodes: S3Nodes) -> Any:
    return nodes.client()


unique = itertools.count(1)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{next(unique)}"
    s3.create_bucket(Bucket=name)
    return name


def everywhere(nodes: S3Nodes) -> list[Any]:
    """A client for each node."""
    return [nodes.client(node) for node in nodes.names]
