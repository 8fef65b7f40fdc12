"""The cluster's configuration as it is persisted, and the registry that needs no server: a file of each node's disk.

The record is written at first start and never changed. A later start must bring the same one: placement follows from
it, and two nodes with different tables would count different quorums. Addresses are not part of it: a node may move.
"""

import hashlib
from typing import Final, Protocol

import msgspec

from impl.cluster.registry.face import Registry
from impl.errors import ConfigError
from impl.protocol.placement import Site, Table, place

FORMAT: Final = 1


class ClusterFile(Registry, Protocol):
    """A registry in a file, durable when `create` returns."""

    def read(self) -> bytes | None: ...


class Wanted(msgspec.Struct, frozen=True):
    """What the configuration file of this start says of the cluster."""

    namespace: str
    sites: tuple[Site, ...]
    factor: int
    min_write_replicas: int
    total_slots: int


class Cluster(msgspec.Struct, frozen=True):
    """The cluster as all its nodes know it. `table[slot]` is the slot's replica set, preferred coordinator first."""

    cluster_id: str
    wanted: Wanted
    table: Table

    @property
    def write_quorum(self) -> int:
        return self.wanted.min_write_replicas

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(site.node_id for site in self.wanted.sites)


class _Record(msgspec.Struct, frozen=True):
    format: int
    cluster: Cluster


def open_cluster(file: ClusterFile, wanted: Wanted) -> tuple[Cluster, bool]:
    """The persisted cluster, made from `wanted` at the first start. Also: was it made just now?

    The id is a digest of the configuration, so that nodes that start apart agree on it without talking.
    Raises ConfigError if `wanted` is not the persisted one, naming what differs, or if the file cannot be understood.
    """
    content = file.read()
    is_fresh = False
    if content is None:
        content, is_fresh = file.create(record_of(wanted))
    return understood(content, wanted), is_fresh


def record_of(wanted: Wanted) -> bytes:
    """The record of a new cluster."""
    return recorded(Cluster(_cluster_id(wanted), wanted, place(wanted.sites, wanted.factor, wanted.total_slots)))


def recorded(cluster: Cluster) -> bytes:
    """The record of a cluster that is there."""
    return msgspec.json.encode(_Record(FORMAT, cluster))


def understood(record: bytes, wanted: Wanted) -> Cluster:
    """The cluster of a record. Raises ConfigError as `open_cluster`."""
    cluster = _decode(record)
    differences = differing(cluster.wanted, wanted)
    if differences:
        raise ConfigError("\n".join(differences))
    return cluster


def differing(persisted: Wanted, wanted: Wanted) -> list[str]:
    """One line for each thing in which a configuration differs from the persisted one."""
    lines = []
    for name in ("namespace", "factor", "min_write_replicas", "total_slots"):
        before, now = getattr(persisted, name), getattr(wanted, name)
        if before != now:
            lines.append(f"{name} is {now} but the cluster was initialised with {before}; set it back")
    before_sites = {site.node_id: site for site in persisted.sites}
    now_sites = {site.node_id: site for site in wanted.sites}
    for node_id in sorted(before_sites.keys() | now_sites.keys()):
        before_site, now_site = before_sites.get(node_id), now_sites.get(node_id)
        if before_site is None:
            lines.append(f"node {node_id} is new but the cluster was initialised without it; remove it")
        elif now_site is None:
            lines.append(f"node {node_id} is missing but the cluster was initialised with it; put it back")
        else:
            lines += [
                f"{name} of node {node_id} is {getattr(now_site, name)} but the cluster was initialised with "
                f"{getattr(before_site, name)}; set it back"
                for name in ("rack", "weight")
                if getattr(before_site, name) != getattr(now_site, name)
            ]
    return lines


def _cluster_id(wanted: Wanted) -> str:
    ordered = msgspec.structs.replace(wanted, sites=tuple(sorted(wanted.sites, key=lambda site: site.node_id)))
    return hashlib.sha256(msgspec.json.encode(ordered)).hexdigest()[:16]


def _decode(content: bytes) -> Cluster:
    try:
        record = msgspec.json.decode(content, type=_Record)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the persisted cluster configuration cannot be read: {error}; restore the file") from None
    if record.format != FORMAT:
        raise ConfigError(
            f"the persisted cluster configuration has format {record.format}, this version reads {FORMAT}; "
            "start the version that wrote it"
        )
    return record.cluster
