"""Virtual-host style: where the host names a bucket, all of the path is a key, also what is another API's elsewhere."""

from collections.abc import Iterator

import pytest

from integration.cluster import running
from integration.s3_cluster import S3Nodes, cluster

DOMAIN = "s3.example.org"
OPTIONS = {"direct": (), "tornado": ("--no-direct-path",)}
KEYS = ["_/api/v1/healthz", "_metrics", "internal/v1/rpc", "_", "internal/", "plain"]


@pytest.fixture(scope="module", params=OPTIONS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Nodes]:
    settings = {"domains": [DOMAIN], "anonymous": True}
    directory = tmp_path_factory.mktemp(request.param)
    with running(cluster(directory, 1, *OPTIONS[request.param], s3=settings)) as started:
        assert isinstance(started, S3Nodes)
        assert started.ask("n1", "PUT", "/the-bucket").status == 200
        yield started


@pytest.mark.parametrize("key", KEYS)
def test_a_key_may_begin_as_the_other_apis_do_where_the_host_is_the_bucket(nodes: S3Nodes, key: str) -> None:
    to_bucket = {"Host": f"the-bucket.{DOMAIN}:8080"}
    assert nodes.ask("n1", "PUT", f"/{key}", key.encode(), to_bucket).status == 200
    assert nodes.ask("n1", "GET", f"/{key}", headers=to_bucket).body == key.encode()
    assert nodes.ask("n1", "GET", f"/the-bucket/{key}").body == key.encode()


@pytest.mark.parametrize("host", [DOMAIN, "127.0.0.1", f"x{DOMAIN}"])
def test_at_other_hosts_the_other_apis_are_where_they_were(nodes: S3Nodes, host: str) -> None:
    assert nodes.ask("n1", "GET", "/_/api/v1/healthz", headers={"Host": host}).json["status"] == "ok"
    assert b"# HELP amberio_" in nodes.ask("n1", "GET", "/_metrics", headers={"Host": host}).body


def test_what_the_connection_layer_refuses_of_a_bucket_is_said_in_s3s_form(nodes: S3Nodes) -> None:
    coded = {"Host": f"the-bucket.{DOMAIN}", "Transfer-Encoding": "gzip"}
    assert b"<Error><Code>" in nodes.ask("n1", "PUT", "/_/k", headers=coded).body
