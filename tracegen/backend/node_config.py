"""The configuration of a run's nodes, as they read it: what the harness knows of the server beside its HTTP face."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tracegen.scenario import ClusterShape

HEALTH: Final = "/_/api/v1/healthz"
DRAIN_S: Final = 4.0  # what a node has for its requests when asked to stop
REQUEST_S: Final = 3.0


@dataclass(frozen=True)
class Site:
    """Where a node is, as it is reached by the others, and its disks and traces, as it sees them itself."""

    node: str
    host: str
    port: int
    disks: Sequence[str]
    traces: str
    bind_host: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def disks_below(directory: str, count: int) -> list[str]:
    """A node's disks: the directory itself, or as many in it."""
    return [directory] if count == 1 else [f"{directory}/{number}" for number in range(1, count + 1)]


def node_config(
    own: Site,
    sites: Sequence[Site],
    shape: ClusterShape,
    secret: str,
    *,
    routes: Mapping[str, str],
    archive: Mapping[str, object] | None = None,
    mutants: Sequence[str] = (),
) -> dict[str, object]:
    """The file of one node. `routes` are the addresses at which it dials others, where these are not their own."""
    nodes = [
        {
            "node_id": site.node,
            "bind_addr": f"{site.bind_host or site.host}:{site.port}",
            "advertise_addr": site.address,
            "disks": [{"path": path} for path in site.disks],
        }
        for site in sites
    ]
    healing: dict[str, object] = {
        "enabled": shape.heal_every_s > 0,
        "every_s": shape.heal_every_s or 1.0,
        "tombstone_grace_s": shape.tombstones[0],
        "tombstones_every_s": shape.tombstones[1],
    }
    if shape.parts_grace_s:
        healing |= {"parts_every_s": shape.parts_grace_s / 2, "parts_grace_s": shape.parts_grace_s}
    config: dict[str, object] = {
        "initial_cluster": {
            "nodes": nodes,
            "replication": {"factor": shape.factor, "min_write_replicas": shape.min_write_replicas},
        },
        "auth": {"cluster_secret": secret},
        "limits": {"drain_s": DRAIN_S, "request_s": REQUEST_S},
        "trace": {"enabled": True, "directory": own.traces},
        "logging": {"format": "json", "level": "info"},
        "s3": {"anonymous": True},
        "healing": healing,
        "routes": dict(routes),
    }
    if archive is not None:
        config["archive"] = dict(archive)
    if mutants:
        config["mutants"] = list(mutants)
    return config


def write_config(file: Path, config: dict[str, object]) -> None:
    """Write a node's configuration for its owner's eyes only: it holds the cluster's secret."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        yaml.safe_dump(config, opened, sort_keys=False)
