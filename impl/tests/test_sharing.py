"""What a node tells one that joins: everything but secrets (feature R2)."""

from typing import Any

import msgspec
import pytest

from impl.cluster.registry.embedded import Wanted, record_of, understood
from impl.config import settings_of
from impl.errors import ConfigError
from impl.protocol.placement import Site
from impl.sharing import SECRET_VARIABLE, share, with_data

WANTED = Wanted("edge", (Site("n1", "n1"), Site("n2", "n2")), 2, 2, 64)
CLUSTER = understood(record_of(WANTED), WANTED)
KEYS = {"access_key_id": "AKIAHUSH", "secret_access_key": "hush-hush"}
TREE: dict[str, Any] = {
    "initial_cluster": {
        "nodes": [
            {"node_id": name, "bind_addr": f"127.0.0.1:{port}", "disks": [{"path": f"/data/{name}", "weight": 2.0}]}
            for name, port in (("n1", 8081), ("n2", 8082))
        ]
    },
    "auth": {"cluster_secret": "hush-hush-hush"},
    "registry": {"backend": "redis", "namespace": "edge", "redis": {"password": "hush-too"}},
    "archive": {"archive_type": "s3", "s3": {"bucket": "b", "credentials": KEYS}},
    "s3": {"credentials_file": "keys.yaml"},
    "limits": {"requests_max": 7},
    "routes": {"n2": "127.0.0.1:9"},
}


def test_what_is_told_has_all_but_secrets_and_ones_own_routes() -> None:
    told = share(CLUSTER, TREE)
    assert b"hush" not in msgspec.json.encode(told.configuration).lower()
    assert "routes" not in told.configuration and told.configuration["limits"] == {"requests_max": 7}
    assert told.configuration["s3"] == {"credentials_file": "keys.yaml"}
    assert understood(told.record, WANTED) == CLUSTER


def test_a_secret_that_is_missed_is_named_and_one_that_is_there_is_used() -> None:
    told = share(CLUSTER, TREE).configuration
    variables = [f"AMBERIO_ARCHIVE_S3_CREDENTIALS_{name.upper()}" for name in KEYS]
    with pytest.raises(ConfigError) as raised:
        settings_of(told, {SECRET_VARIABLE: "our-secret"}, "told")
    assert all(
        f"${{{name}}}: this environment variable is not set; export it" in str(raised.value) for name in variables
    )
    settings = settings_of(told, {SECRET_VARIABLE: "our-secret", **dict.fromkeys(variables, "mine")}, "told")
    assert settings.auth.cluster_secret == "our-secret" and settings.registry.namespace == "edge"


def test_a_variable_travels_by_its_name() -> None:
    tree = TREE | {"archive": {"archive_type": "s3", "s3": {"bucket": "b", "credentials": {"access_key_id": "${ID}"}}}}
    archive = share(CLUSTER, tree).configuration["archive"]
    assert archive == {"archive_type": "s3", "s3": {"bucket": "b", "credentials": {"access_key_id": "${ID}"}}}


def test_data_may_lie_elsewhere_on_the_machine_of_the_node_that_joins() -> None:
    settings = settings_of(TREE, {}, "told")
    changed = with_data(TREE, settings.node("n2"), ["/elsewhere"])
    disks = [disk for node in settings_of(changed, {}, "told").nodes for disk in node.disks]
    assert [(str(disk.path), disk.weight) for disk in disks] == [("/data/n1", 2.0), ("/elsewhere", 2.0)]
    with pytest.raises(ConfigError, match="--data is given 2 times but node n2 has 1 disk; give one"):
        with_data(TREE, settings.node("n2"), ["/a", "/b"])
