"""One start of a node: its configuration, its own copy of the cluster's, and the registry's must say the same.

The registry decides, as the first one written there wins. A node that has a copy starts without it, because nothing in
the record ever changes: what the registry would say is known.
"""

import msgspec

from impl.cluster.registry.embedded import Cluster, ClusterFile, Wanted, open_cluster, record_of, understood
from impl.cluster.registry.face import Registry
from impl.cluster.registry.settings import RegistrySettings
from impl.errors import ConfigError, RegistryUnavailable


class Agreed(msgspec.Struct, frozen=True):
    """The cluster; whether this start made it; and what a person should know of how it was found, or empty."""

    cluster: Cluster
    is_fresh: bool
    notice: str = ""


def registry_of(settings: RegistrySettings) -> Registry | None:
    """The registry that is asked beside the node's own disk; None for the embedded one, which is that disk."""
    if settings.backend == "redis":
        from impl.cluster.registry.redis import RedisRegistry  # who has no Redis need not load its client

        return RedisRegistry(settings)
    if settings.backend == "etcd":
        from impl.cluster.registry.etcd import EtcdRegistry

        return EtcdRegistry(settings)
    return None


def agree(file: ClusterFile, registry: Registry | None, wanted: Wanted) -> Agreed:
    """The cluster that this node is of, made from `wanted` if it is the very first. Keeps a copy in `file`.

    Raises ConfigError that names each difference between `wanted` and what was agreed on, or RegistryUnavailable if the
    registry does not answer and there is no copy.
    """
    if registry is None:
        return Agreed(*open_cluster(file, wanted))
    copy = file.read()
    mine = None if copy is None else understood(copy, wanted)
    try:
        record, is_fresh = registry.create(copy or record_of(wanted))
    except RegistryUnavailable as error:
        if mine is None:
            raise
        return Agreed(mine, False, f"{error}. This node goes on with its own copy, {file.name}")
    cluster = _from(registry, record, wanted)
    if mine is None:
        file.create(record)
        return Agreed(cluster, is_fresh)
    if cluster != mine:
        raise ConfigError(
            f"registry: {registry.name} has cluster {cluster.cluster_id}, but the copy {file.name} is of cluster "
            f"{mine.cluster_id}; check that this is the right registry and namespace"
        )
    return Agreed(mine, False, f"registry: {registry.name} had lost the record; it has it again" if is_fresh else "")


def _from(registry: Registry, record: bytes, wanted: Wanted) -> Cluster:
    try:
        return understood(record, wanted)
    except ConfigError as error:
        raise ConfigError("\n".join(f"registry: {registry.name}: {line}" for line in str(error).split("\n"))) from None
