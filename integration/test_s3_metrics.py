"""What a node counts of S3: requests, errors, bytes and latencies by operation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.cluster import running
from integration.s3_cluster import S3Nodes, cluster, refused

OPTIONS = {"direct": (), "tornado": ("--no-direct-path",)}


@pytest.fixture(params=OPTIONS)
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Nodes]:
    with running(cluster(tmp_path, 1, *OPTIONS[request.param])) as started:
        assert isinstance(started, S3Nodes)
        yield started


def counted(nodes: S3Nodes) -> dict[str, float]:
    text = nodes.ask("n1", "GET", "/_metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^(amberio_(?:http|s3)_\S+) (\S+)$", text, re.M)}


def test_requests_are_counted_by_what_s3_calls_them(nodes: S3Nodes) -> None:
    s3: Any = nodes.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=bytes(100_000))
    s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/k")
    for _ in range(2):
        s3.get_object(Bucket="bucket", Key="k")["Body"].read()
    with refused("NoSuchKey"):
        s3.get_object(Bucket="bucket", Key="none")
    assert nodes.ask("n1", "GET", "/bucket/k").status == 403
    assert nodes.ask("n1", "GET", "/bucket/k?torrent").status == 501
    found = counted(nodes)
    requests = "amberio_http_request_seconds_count"
    assert found[f'{requests}{{operation="s3_create_bucket",status="200"}}'] == 1
    assert found[f'{requests}{{operation="s3_put_object",status="200"}}'] == 1
    assert found[f'{requests}{{operation="s3_copy_object",status="200"}}'] == 1
    assert found[f'{requests}{{operation="s3_get_object",status="200"}}'] == 2
    assert found[f'{requests}{{operation="s3_get_object",status="404"}}'] == 1
    assert found['amberio_s3_errors_total{code="NoSuchKey",operation="s3_get_object"}'] == 1
    assert found['amberio_s3_errors_total{code="AccessDenied",operation="s3_get_object"}'] == 1
    assert found['amberio_s3_errors_total{code="NotImplemented",operation="s3_get"}'] == 1
    assert found['amberio_http_received_bytes_total{operation="s3_put_object"}'] >= 100_000
    assert 200_000 <= found['amberio_http_sent_bytes_total{operation="s3_get_object"}'] < 210_000


def test_strangers_cannot_make_new_series(nodes: S3Nodes) -> None:
    for name in ("first", "second", "third"):
        nodes.ask("n1", "GET", f"/{name}-bucket/k?{name}")
        nodes.ask("n1", "GET", "/bucket", headers={"x-amz-content-sha256": name, "Authorization": name})
        if name == "first":
            before = counted(nodes).keys()
    assert counted(nodes).keys() <= before | {name for name in counted(nodes) if '"metrics"' in name}
