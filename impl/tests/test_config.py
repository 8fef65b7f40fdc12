"""The configuration: every fault is named at once, with its key, the value seen and what would be right."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from impl.cluster.registry.embedded import Wanted, open_cluster
from impl.cluster.registry.file import DirectoryFile
from impl.cluster.registry.settings import RegistrySettings
from impl.config import Limits, S3Settings, Settings, load
from impl.errors import ConfigError
from impl.protocol.placement import Site

SECRET = "0123456789abcdef"


def tree(nodes: int = 3, **changes: object) -> dict[str, Any]:
    """A configuration that is right, with some top-level sections changed; None removes one."""
    listed = [
        {"node_id": f"n{n}", "bind_addr": f"127.0.0.1:{8080 + n}", "disks": [{"path": f"/data/n{n}"}]}
        for n in range(1, nodes + 1)
    ]
    right: dict[str, Any] = {"initial_cluster": {"nodes": listed}, "auth": {"cluster_secret": "${AMBERIO_SECRET}"}}
    right.update(changes)
    return {key: value for key, value in right.items() if value is not None}


def read(directory: Path, content: object, environment: Mapping[str, str] | None = None, mode: int = 0o600) -> Settings:
    file = directory / "config.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    file.chmod(mode)
    return load(file, {"AMBERIO_SECRET": SECRET} if environment is None else environment)


def faults(directory: Path, content: object, environment: Mapping[str, str] | None = None, mode: int = 0o600) -> str:
    with pytest.raises(ConfigError) as raised:
        read(directory, content, environment, mode)
    return str(raised.value)


def with_nodes(**changes: object) -> dict[str, Any]:
    """One node, whose entry is changed."""
    whole = tree(1)
    whole["initial_cluster"]["nodes"][0].update(changes)
    return whole


def replicated(nodes: int = 3, **replication: object) -> dict[str, Any]:
    whole = tree(nodes)
    whole["initial_cluster"]["replication"] = replication
    return whole


def bucket(**s3: object) -> dict[str, Any]:
    """An archive whose bucket is described so."""
    return tree(1, archive={"archive_type": "s3", "s3": {"bucket": "b", **s3}})


def test_of_the_rules_for_an_archive_the_longest_prefix_counts(tmp_path: Path) -> None:
    rules = [{"prefix": "logs/", "mode": "write_back"}, {"prefix": "logs/tmp/", "mode": "none"}]
    settings = read(
        tmp_path, tree(1, archive={"archive_type": "directory", "directory": {"path": "a"}, "rules": rules})
    )
    modes = [settings.archive.mode_of(path) for path in ("photos/a", "logs/a", "logs/tmp/a", "/b/photos")]
    assert modes == ["write_through", "write_back", "none", "none"]


def redis(**section: object) -> dict[str, Any]:
    return tree(1, registry={"backend": "redis", "redis": section})


def test_the_smallest_configuration_has_a_value_for_everything(tmp_path: Path) -> None:
    settings = read(tmp_path, tree(3))
    assert settings.auth.cluster_secret == SECRET and settings.limits == Limits()
    assert (settings.replication.factor, settings.replication.min_write_replicas) == (3, 2)
    assert [str(node.advertise_addr) for node in settings.nodes] == [f"127.0.0.1:{8080 + n}" for n in (1, 2, 3)]
    assert [node.rack for node in settings.nodes] == ["n1", "n2", "n3"]
    assert not settings.trace.enabled and settings.mutants == () and settings.registry == RegistrySettings()


@pytest.mark.parametrize(("nodes", "factor", "quorum"), [(1, 1, 1), (2, 2, 2), (3, 3, 2), (5, 3, 2)])
def test_replication_fits_the_cluster_if_nothing_is_said(tmp_path: Path, nodes: int, factor: int, quorum: int) -> None:
    replication = read(tmp_path, tree(nodes)).replication
    assert (replication.factor, replication.min_write_replicas) == (factor, quorum)


def test_the_s3_section_is_read_as_it_is_written(tmp_path: Path) -> None:
    assert read(tmp_path, tree(1)).s3 == S3Settings()
    written = {"credentials_file": "keys.yaml", "region": "eu-west-1", "domains": ["s3.test"], "simple_keys": True}
    expected = S3Settings(True, Path("keys.yaml"), "eu-west-1", False, ("s3.test",), True)
    assert read(tmp_path, tree(1, s3=written)).s3 == expected


def test_every_fault_of_the_s3_section_is_named_at_once(tmp_path: Path) -> None:
    wrong = {"region": "Here!", "domains": ["S3.test:80"], "simple_keys": True, "anonymus": True, "enabled": "yes"}
    lines = faults(tmp_path, tree(1, s3=wrong)).splitlines()
    named = [line.removeprefix("config.yaml: s3.").split(" is ")[0] for line in lines]
    assert sorted(named) == ["anonymus", "domains", "enabled", "region", "simple_keys"]


def test_every_fault_is_named_at_once_one_a_line(tmp_path: Path) -> None:
    content = replicated(3, min_write_replicas=4, factr=3)
    content["initial_cluster"]["nodes"][1]["bind_addr"] = "somewhere"
    content["initial_cluster"]["nodes"][2]["disks"] = []
    content |= {"limts": {}, "limits": {"requests_max": 0, "idle_s": -1}, "trace": {"enabled": "yes"}}
    lines = faults(tmp_path, content, environment={}).split("\n")
    wanted = [
        "auth.cluster_secret is ${AMBERIO_SECRET}: this environment variable is not set; export it, or write the value",
        "initial_cluster.nodes[1].bind_addr is somewhere: use host:port, such as 127.0.0.1:8080",
        "initial_cluster.nodes[2].disks is empty: give a list with at least one entry",
        "initial_cluster.replication.min_write_replicas is 4 but the cluster has 3 nodes; use 2",
        "auth.cluster_secret is empty: give a text",
        "limits.requests_max is 0: use a whole number from 1 to",
        "limits.idle_s is -1: use a number above 0, such as 75",
        "trace.enabled is 'yes': use true or false",
        "limts is an unknown key: did you mean limits? known here:",
        "initial_cluster.replication.factr is an unknown key: did you mean factor? known here:",
    ]
    assert len(lines) == len(wanted)
    for text in wanted:
        assert any(line.startswith(f"config.yaml: {text}") for line in lines), text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[1, 2]", "must be a mapping of sections"),
        ("a: [", "not valid YAML"),
        ("", "must be a mapping of sections"),
        (tree(1, initial_cluster=None), "initial_cluster is missing: give this section"),
        (tree(1, initial_cluster={"nodes": []}), "initial_cluster.nodes is empty: give a list"),
        (tree(1, initial_cluster={"nodes": "n1"}), "initial_cluster.nodes is 'n1': use a list"),
        (tree(1, initial_cluster={"nodes": ["n1"]}), "initial_cluster.nodes[0] is 'n1': use a mapping"),
        (tree(1, auth=None), "auth is missing: give this section"),
        (tree(1, auth={"cluster_secret": "${S}"}), "auth.cluster_secret is (hidden): it is too short"),
        (tree(1, auth={"cluster_secret": "${UNSET}"}), "auth.cluster_secret is ${UNSET}: this environment variable"),
        (with_nodes(bind_addr="127.0.0.1"), "nodes[0].bind_addr is 127.0.0.1: use host:port"),
        (with_nodes(bind_addr="127.0.0.1:99999"), "nodes[0].bind_addr is 127.0.0.1:99999: use host:port"),
        (with_nodes(bind_addr=":80"), "nodes[0].bind_addr is :80: use host:port"),
        (with_nodes(advertise_addr="n1:0"), "nodes[0].advertise_addr is n1:0: use host:port"),
        (with_nodes(node_id="a b"), "nodes[0].node_id is a b: use 1 to 32 letters, digits"),
        (with_nodes(node_id="n" * 33), "nodes[0].node_id is nnn"),
        (with_nodes(disks=[{"path": "a"}, {"path": "b"}, {"path": "a"}]), "nodes[0].disks[2].path is a: another disk"),
        (with_nodes(disks=[{"path": f"/{n}"} for n in range(33)]), "nodes[0].disks is a list of 33: at most 32 disks"),
        (with_nodes(disks=[{"path": "/a", "weight": 0}]), "disks[0].weight is 0: use a number above 0"),
        (with_nodes(disks=[{"path": "/a", "weight": float("inf")}]), "disks[0].weight is inf: use a number above 0"),
        (with_nodes(disks=[{"weight": 1}]), "disks[0].path is missing: give a text"),
        (replicated(3, factor=4), "replication.factor is 4: the cluster has 3 nodes; use 3 or less"),
        (replicated(1, factor=2), "replication.factor is 2: the cluster has 1 node; use 1 or less"),
        (replicated(5, factor=3, min_write_replicas=4), "min_write_replicas is 4 but factor is 3; use 2"),
        (replicated(3, min_write_replicas=1), "min_write_replicas is 1: two writes could miss each other; use 2"),
        (replicated(3, factor="three"), "replication.factor is 'three': use a whole number from 1 to 16"),
        (replicated(3, factor=True), "replication.factor is True: use a whole number"),
        (replicated(3, total_slots=0), "replication.total_slots is 0: use a whole number from 1 to 65536"),
        (tree(1, archive={"mode": "write_back"}), "archive.archive_type is none: a mode needs an archive; use s3 or"),
        (tree(1, archive={"archive_type": "s3"}), "archive.s3.bucket is missing: give a text"),
        (tree(1, archive={"archive_type": "directory"}), "archive.directory.path is missing: give a text"),
        (bucket(endpoint="http://127.0.0.1:1"), "endpoint is http://127.0.0.1:1: this sends data in the clear; use"),
        (bucket(endpoint="s3.example.org"), "archive.s3.endpoint is s3.example.org: use a URL"),
        (bucket(credentials={"access_key_id": "a"}), "archive.s3.credentials.secret_access_key is missing: give both"),
        (tree(1, init_scan={"enabled": True}), "init_scan.enabled is true: there is nothing to import without an"),
        (tree(1, registry={"backend": "zk"}), "registry.backend is 'zk': use embedded or redis or etcd"),
        (tree(1, registry={"redis": {}}), "registry.redis is set: backend is embedded; remove this section, or set"),
        (redis(url="127.0.0.1:6379"), "registry.redis.url is 127.0.0.1:6379: use a URL such as redis://127.0.0.1:6379"),
        (redis(url="redis://a:hush@b"), "registry.redis.url is a URL with a user or password in it: give them as"),
        (redis(username="u"), "registry.redis.password is missing: there is a username; give its password"),
        (
            tree(1, registry={"backend": "etcd", "etcd": {"endpoints": ["localhost:2379"]}}),
            "registry.etcd.endpoints is localhost:2379: use a URL such as http://127.0.0.1:2379",
        ),
        (tree(1, tls={"certificate_file": "c", "key_file": "k"}), "tls is set: no node of initial_cluster.nodes has a"),
        (
            with_nodes(tls_bind_addr="127.0.0.1:8443"),
            "tls is missing: a node has a tls_bind_addr; give certificate_file",
        ),
        (with_nodes(tls_bind_addr="8443"), "nodes[0].tls_bind_addr is 8443: use host:port"),
        (tree(1, tls={"cert": "x"}), "tls.certificate_file is missing"),
        (tree(1, trace={"enabled": True}), "trace.directory is missing: tracing is on; give the directory"),
        (tree(1, logging={"level": "loud"}), "logging.level is 'loud': use debug or info or warning or error"),
        (tree(1, mutants=["quorum-of-two"]), "mutants is 'quorum-of-two': did you mean quorum-of-one? the known"),
        (tree(1, mutants="quorum-of-one"), "mutants is 'quorum-of-one': use a list"),
        (tree(1, routes={"n9": "127.0.0.1:1"}), "routes.n9 is an unknown key: known here: n1"),
        (tree(1, routes={"n1": "nowhere"}), "routes.n1 is nowhere: use host:port"),
    ],
)
def test_a_fault_is_told_with_its_key_its_value_and_what_would_be_right(
    tmp_path: Path, content: object, fault: str
) -> None:
    told = faults(tmp_path, content, {"AMBERIO_SECRET": SECRET, "S": "short"})
    assert fault in told and all("config.yaml: " in line for line in told.split("\n"))


def test_two_nodes_may_not_share_an_id_an_address_or_a_disk(tmp_path: Path) -> None:
    content = tree(2)
    first, second = content["initial_cluster"]["nodes"]
    second.update(node_id=first["node_id"], bind_addr=first["bind_addr"], disks=first["disks"])
    lines = faults(tmp_path, content).split("\n")
    assert [line.split(" is ")[0] for line in lines] == [
        f"config.yaml: initial_cluster.nodes[1].{key}" for key in ("node_id", "advertise_addr", "disks")
    ]
    assert all("it is already that of nodes[0]; give another" in line for line in lines)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_with_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    told = faults(tmp_path, tree(1, auth={"cluster_secret": SECRET}), mode=mode)
    assert f"others can read this file (mode {mode:04o}); chmod 600 it" in told and SECRET not in told
    assert read(tmp_path, tree(1, auth={"cluster_secret": SECRET})).auth.cluster_secret == SECRET


def test_every_secret_that_others_can_read_is_named_and_not_shown(tmp_path: Path) -> None:
    content = redis(username="u", password="hush-hush")
    told = faults(tmp_path, content, mode=0o644)
    assert "registry.redis.password is (hidden): others can read this file" in told and "hush" not in told
    assert read(tmp_path, redis(username="u", password="${AMBERIO_SECRET}"), mode=0o644).registry.redis.password


def test_a_file_that_names_a_variable_may_be_read_by_all(tmp_path: Path) -> None:
    assert read(tmp_path, tree(1), mode=0o644).auth.cluster_secret == SECRET


def test_a_variable_may_stand_in_any_text(tmp_path: Path) -> None:
    settings = read(
        tmp_path, with_nodes(disks=[{"path": "/${A}/x/${B}"}]), {"A": "a", "B": "b", "AMBERIO_SECRET": SECRET}
    )
    assert str(settings.nodes[0].disks[0].path) == "/a/x/b"


def test_an_unknown_node_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no node 'n7' in initial_cluster.nodes; use one of: n1, n2"):
        read(tmp_path, tree(2)).node("n7")


# -- the cluster's configuration, first wins

SITES = (Site("n1", "r1"), Site("n2", "r2"), Site("n3", "r3", 2.0))
WANTED = Wanted("amberio", SITES, 3, 2, 64)


def test_nodes_that_start_apart_agree_on_cluster_and_placement(tmp_path: Path) -> None:
    clusters = []
    for name, sites in (("a", SITES), ("b", SITES[::-1])):
        file = DirectoryFile(tmp_path / name)
        cluster, is_fresh = open_cluster(file, msgspec.structs.replace(WANTED, sites=sites))
        again, is_fresh_again = open_cluster(file, WANTED)
        assert (is_fresh, is_fresh_again) == (True, False) and again == cluster
        clusters.append(cluster)
    assert clusters[0].cluster_id == clusters[1].cluster_id and clusters[0].table == clusters[1].table


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"namespace": "x"}, "namespace is x but the cluster was initialised with amberio; set it back"),
        ({"factor": 2}, "factor is 2 but the cluster was initialised with 3; set it back"),
        ({"min_write_replicas": 3}, "min_write_replicas is 3 but the cluster was initialised with 2"),
        ({"total_slots": 128}, "total_slots is 128 but the cluster was initialised with 64"),
        ({"sites": SITES[:2]}, "node n3 is missing but the cluster was initialised with it; put it back"),
        ({"sites": (*SITES, Site("n4", "r4"))}, "node n4 is new but the cluster was initialised without it"),
        ({"sites": (Site("n1", "r2"), *SITES[1:])}, "rack of node n1 is r2 but the cluster was initialised with r1"),
        ({"sites": (*SITES[:2], Site("n3", "r3"))}, "weight of node n3 is 1.0 but the cluster was initialised with 2"),
    ],
)
def test_a_cluster_that_was_initialised_otherwise_is_refused(
    tmp_path: Path, change: dict[str, Any], difference: str
) -> None:
    open_cluster(DirectoryFile(tmp_path), WANTED)
    with pytest.raises(ConfigError) as raised:
        open_cluster(DirectoryFile(tmp_path), msgspec.structs.replace(WANTED, **change))
    assert difference in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2, "cluster": null}', b"\x00\x01"])
def test_a_damaged_record_of_the_cluster_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cluster.json").write_bytes(content)
    with pytest.raises(ConfigError, match="persisted cluster configuration"):
        open_cluster(DirectoryFile(tmp_path), WANTED)
    assert (tmp_path / "cluster.json").read_bytes() == content


# -- the command line


def server(directory: Path, content: object, *arguments: str, node: str = "n1") -> subprocess.CompletedProcess[str]:
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    file.chmod(0o600)
    return subprocess.run(
        [sys.executable, "-m", "impl.server", "--config", str(file), "--node", node, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "AMBERIO_SECRET": SECRET},
    )


def of_one(directory: Path, port: int = 1, **changes: object) -> dict[str, Any]:
    """A cluster of one, with its disk in `directory`."""
    content = tree(1, **changes)
    content["initial_cluster"]["nodes"][0].update(
        bind_addr=f"127.0.0.1:{port}", disks=[{"path": str(directory / "data")}]
    )
    return content


def assert_refused(ended: subprocess.CompletedProcess[str], *told: str) -> None:
    """Exit code 2, and lines for a person."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    for text in told:
        assert text in ended.stderr


def test_init_writes_the_clusters_configuration_once_and_says_so(tmp_path: Path) -> None:
    first = server(tmp_path, of_one(tmp_path), "--init")
    again = server(tmp_path, of_one(tmp_path), "--init")
    assert (first.returncode, again.returncode) == (0, 0)
    cluster_id = first.stdout.split()[2]
    assert first.stdout == f"n1: cluster {cluster_id} initialised\n"
    assert again.stdout == f"n1: cluster {cluster_id} was initialised before\n"
    changed = of_one(tmp_path, registry={"namespace": "other"})
    assert_refused(server(tmp_path, changed, "--init"), "amberio: namespace is other but the cluster was initialised")


def test_a_bad_configuration_is_told_line_by_line_with_exit_code_2(tmp_path: Path) -> None:
    content = of_one(tmp_path, limts={}, logging={"level": "loud"})
    ended = server(tmp_path, content)
    assert_refused(
        ended, "amberio: config.yaml: limts is an unknown key", "amberio: config.yaml: logging.level is 'loud'"
    )
    assert len(ended.stderr.splitlines()) == 2


def test_an_unknown_node_cannot_start(tmp_path: Path) -> None:
    assert_refused(server(tmp_path, of_one(tmp_path), node="n5"), "there is no node 'n5'", "use one of: n1")


def test_mutants_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    content = of_one(tmp_path, mutants=["quorum-of-one"])
    assert_refused(server(tmp_path, content), "mutants is quorum-of-one", "--allow-mutants")
    assert server(tmp_path, content, "--allow-mutants", "--init").returncode == 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_refused(server(tmp_path, of_one(tmp_path, port)), f"127.0.0.1:{port}", "in use")


def test_a_disk_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a directory should be")
    assert_refused(server(tmp_path, of_one(tmp_path)), str(tmp_path / "data"), "check disks[].path")


def test_a_trace_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("a file where a directory should be")
    content = of_one(tmp_path, trace={"enabled": True, "directory": str(tmp_path / "traces")})
    assert_refused(server(tmp_path, content), str(tmp_path / "traces"), "check trace.directory")
