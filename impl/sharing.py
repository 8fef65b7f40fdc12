"""What one node tells another that joins: the cluster's record and the configuration, without secrets.

A secret that stands in the configuration does not travel: in its place goes the name of a variable that must be in the
environment of whoever joins (impl/config_secrets.py). Nor does `routes`, which is about one node's own way to the
others, nor how to reach the registry: what that would say is told here. Files that the configuration names (the keys of
S3, TLS) must be on the joining node's own disk.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from impl.cluster.registry.embedded import Cluster, recorded
from impl.config import NodeSettings, Tree
from impl.config_secrets import without_secrets
from impl.errors import ConfigError

SECRET_VARIABLE: Final = "AMBERIO_SECRET"
"""The environment's name for the cluster's secret, which whoever joins has already."""


class Shared(msgspec.Struct, frozen=True):
    """The record of the cluster, as the registry has it, and the configuration as a tree."""

    record: bytes
    configuration: dict[str, object]


def share(cluster: Cluster, tree: Tree) -> Shared:
    """What a node with this configuration tells."""
    own = {"registry": {"namespace": cluster.wanted.namespace}, "auth": {"cluster_secret": f"${{{SECRET_VARIABLE}}}"}}
    told = without_secrets({name: part for name, part in tree.items() if name not in ("routes", *own)})
    assert isinstance(told, dict)
    return Shared(recorded(cluster), told | own)


def with_data(configuration: Mapping[str, object], me: NodeSettings, directories: Sequence[str]) -> dict[str, object]:
    """The configuration with other directories for the disks of one node. Raises ConfigError if they do not fit."""
    if len(directories) != len(me.disks):
        raise ConfigError(
            f"--data is given {len(directories)} times but node {me.node_id} has {len(me.disks)} "
            f"disk{'s' if len(me.disks) > 1 else ''}; give one directory for each"
        )
    changed: dict[str, object] = msgspec.json.decode(msgspec.json.encode(configuration))
    cluster = changed["initial_cluster"]
    assert isinstance(cluster, dict)
    for node in cluster["nodes"]:
        if node["node_id"] == me.node_id:
            for disk, directory in zip(node["disks"], directories, strict=True):
                disk["path"] = directory
    return changed
