"""The configuration file: YAML to a frozen, typed model, checked as a whole before anything starts.

`load` names every fault at once, each with its key, the value seen and what would be right. The keys are those of
native-api.md; what each means is said by the classes below. `${NAME}` in a text is taken from the environment.
"""

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

from impl.archive.settings import ArchiveSettings, ScanSettings, read_archive, read_scan
from impl.cluster.registry.settings import RegistrySettings, read_registry
from impl.config_reader import Faults, Section
from impl.config_secrets import VARIABLE, written_secrets
from impl.errors import ConfigError
from impl.model import TOTAL_SLOTS
from impl.protocol.rules import MUTANTS
from impl.tls import TlsSettings

NODES_MAX: Final = 64
DISKS_MAX: Final = 32
NODE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")

Tree = Mapping[str, object]
"""A configuration as it is written: nothing checked, no variable filled in."""


class Address(msgspec.Struct, frozen=True):
    """Where to listen or dial."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class DiskSettings(msgspec.Struct, frozen=True):
    """A directory to keep data in, and its share of the node's slots (`weight`, relative, above 0).

    Each disk is for its own slots only. The list is for ever that of the first start (impl/storage/membership.py).
    """

    path: Path
    weight: float = 1.0


class NodeSettings(msgspec.Struct, frozen=True):
    """One node of the cluster: it listens at `bind_addr`, others reach it at `advertise_addr`.

    At `tls_bind_addr`, if there is one, it serves clients by TLS; nodes always meet at the other address.
    `rack` is its failure domain; a slot has at most one replica in a rack while there are racks left.
    """

    node_id: str
    bind_addr: Address
    advertise_addr: Address
    rack: str
    disks: tuple[DiskSettings, ...]
    tls_bind_addr: Address | None = None


class Replication(msgspec.Struct, frozen=True):
    """`factor` replicas a slot; a write is acknowledged when `min_write_replicas` of them have it on disk."""

    factor: int
    min_write_replicas: int
    total_slots: int = TOTAL_SLOTS


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what the node holds and waits for; bytes and seconds.

    `requests_max` at once over all `connections_max` connections; beyond, 503 SlowDown. `idle_s` ends a connection
    without requests, `header_s` a request whose headers do not come, `body_stall_s` and `write_stall_s` a client that
    sends or reads nothing for so long, or fewer than `slow_bytes_min`. `drain_s` is how long SIGTERM waits for requests
    to finish. `request_s` is how long a write or read may wait for its quorum, `cache_bytes` bounds the registers kept
    in memory.
    """

    header_bytes_max: int = 32 * 1024
    request_line_bytes_max: int = 8 * 1024
    object_bytes_max: int = 5 * 1024**4
    connections_max: int = 4096
    requests_max: int = 1024
    idle_s: float = 75.0
    header_s: float = 20.0
    body_stall_s: float = 30.0
    write_stall_s: float = 60.0
    slow_bytes_min: int = 16 * 1024
    drain_s: float = 10.0
    request_s: float = 5.0
    cache_bytes: int = 64 * 1024 * 1024


class TraceSettings(msgspec.Struct, frozen=True):
    """Whether the node writes its trace, and into which directory."""

    enabled: bool = False
    directory: Path | None = None


class HealingSettings(msgspec.Struct, frozen=True):
    """Whether a node looks for what others have accepted and it has not, and how long it rests in between.

    Every `parts_every_s` it looks for parts that are missing, and for those that no head has named for `parts_grace_s`,
    which it deletes; so one body must not take longer than that to arrive. Parts are read and checked at
    `scrub_bytes_per_s`, all over again after a rest of `parts_every_s`.

    It forgets a tombstone that is older than `tombstone_grace_s` once all replicas have it, and looks for such ones
    every `tombstones_every_s`. The grace is for people, and for retries that find their write; nothing else needs it.
    """

    enabled: bool = True
    every_s: float = 10.0
    parts_every_s: float = 3600.0
    parts_grace_s: float = 86_400.0
    scrub_bytes_per_s: int = 4 * 1024 * 1024
    tombstone_grace_s: float = 86_400.0
    tombstones_every_s: float = 3600.0


class LoggingSettings(msgspec.Struct, frozen=True):
    """`format` json (an object a line) or human; `access_every` n logs every n-th request (0: only failing ones)."""

    format: str = "human"
    level: str = "info"
    access_every: int = 0


class AuthSettings(msgspec.Struct, frozen=True):
    """`cluster_secret`: what nodes prove to each other with an HMAC. Never logged."""

    cluster_secret: str


class S3Settings(msgspec.Struct, frozen=True):
    """The S3 API at the root. `credentials_file` holds the access keys (impl/api/s3/credentials.py).

    Without one, every request is denied, unless `anonymous` lets everybody do everything: for tests, and for networks
    where everybody is trusted. `domains` are the host names below which buckets are host names too
    (`<bucket>.<domain>`); `simple_keys` allows key and secret in the headers x-access-key and x-secret-key.
    """

    enabled: bool = True
    credentials_file: Path | None = None
    region: str = "us-east-1"
    anonymous: bool = False
    domains: tuple[str, ...] = ()
    simple_keys: bool = False


class Settings(msgspec.Struct, frozen=True):
    """Everything the file says. `routes` maps a node id to where this node dials it instead of its advertise_addr."""

    nodes: tuple[NodeSettings, ...]
    replication: Replication
    auth: AuthSettings
    limits: Limits
    trace: TraceSettings
    logging: LoggingSettings
    routes: Mapping[str, Address]
    mutants: tuple[str, ...]
    s3: S3Settings = S3Settings()
    tls: TlsSettings | None = None
    healing: HealingSettings = HealingSettings()
    archive: ArchiveSettings = ArchiveSettings()
    init_scan: ScanSettings = ScanSettings()
    registry: RegistrySettings = RegistrySettings()

    def node(self, node_id: str) -> NodeSettings:
        """The settings of one node. Raises ConfigError if there is no such node."""
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        known = ", ".join(node.node_id for node in self.nodes)
        raise ConfigError(f"there is no node {node_id!r} in initial_cluster.nodes; use one of: {known}")


def load(file: Path, environment: Mapping[str, str]) -> Settings:
    """Read and check a configuration file. Raises ConfigError with one line for each fault."""
    return settings_of(read_tree(file), environment, file.name, file)


def read_tree(file: Path) -> Tree:
    """What a configuration file says, as it is written. Raises ConfigError."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; give the path of a configuration with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: must be a mapping of sections, such as initial_cluster: ...")
    return tree


def settings_of(tree: Tree, environment: Mapping[str, str], name: str, file: Path | None = None) -> Settings:
    """What a tree means; `name` is what faults call it, and who may read `file` is checked if it stands in one.

    Raises ConfigError with one line for each fault.
    """
    faults = Faults(name)
    if file is not None:
        _refuse_open_secrets(file, tree, faults)
    root = Section("", _with_environment(tree, environment, "", faults), faults)
    settings = _read(root)
    root.refuse_unknown()
    faults.raise_any()
    return settings


def _read(root: Section) -> Settings:
    cluster = root.section("initial_cluster", required=True)
    nodes = tuple(_read_node(node) for node in cluster.sections("nodes", required=True))
    _check_nodes(cluster, nodes)
    archive = read_archive(root.section("archive"))
    return Settings(
        registry=read_registry(root.section("registry")),
        nodes=nodes,
        replication=_read_replication(cluster.section("replication"), len(nodes)),
        auth=AuthSettings(_read_secret(root.section("auth", required=True))),
        limits=_read_limits(root.section("limits")),
        healing=_read_healing(root.section("healing")),
        trace=_read_trace(root.section("trace")),
        logging=_read_logging(root.section("logging")),
        routes=_read_routes(root.section("routes"), nodes),
        mutants=root.choices("mutants", tuple(MUTANTS)),
        s3=_read_s3(root.section("s3")),
        tls=_read_tls(root, nodes),
        archive=archive,
        init_scan=read_scan(root.section("init_scan"), archive),
    )


def _read_node(node: Section) -> NodeSettings:
    node_id = node.text("node_id")
    if node_id and not NODE_ID.fullmatch(node_id):
        node.fault("node_id", node_id, "use 1 to 32 letters, digits, '-' or '_'")
    bind = _read_address(node, "bind_addr", node.text("bind_addr"))
    advertised = node.text("advertise_addr", "")
    by_tls = node.text("tls_bind_addr", "")
    disks = tuple(
        DiskSettings(Path(disk.text("path")), disk.number("weight", 1.0, above=0.0))
        for disk in node.sections("disks", required=True)
    )
    if len(disks) > DISKS_MAX:
        node.fault("disks", f"a list of {len(disks)}", f"at most {DISKS_MAX} disks make a node")
    paths = [str(disk.path) for disk in disks]
    for position, path in enumerate(paths):
        if path in paths[:position]:
            node.fault(f"disks[{position}].path", path, "another disk of this node has it; give each its own")
    return NodeSettings(
        node_id=node_id,
        bind_addr=bind,
        advertise_addr=_read_address(node, "advertise_addr", advertised) if advertised else bind,
        rack=node.text("rack", node_id),
        disks=disks,
        tls_bind_addr=_read_address(node, "tls_bind_addr", by_tls) if by_tls else None,
    )


def _read_address(section: Section, key: str, text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if text and not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        section.fault(key, text, "use host:port, such as 127.0.0.1:8080")
    elif text:
        return Address(host.strip("[]"), int(port))
    return Address("", 0)


def _check_nodes(cluster: Section, nodes: tuple[NodeSettings, ...]) -> None:
    if len(nodes) > NODES_MAX:
        cluster.fault("nodes", f"a list of {len(nodes)}", f"at most {NODES_MAX} nodes make a cluster")
    seen: dict[str, str] = {}
    for position, node in enumerate(nodes):
        claims = [("node_id", node.node_id), ("advertise_addr", str(node.advertise_addr))]
        claims += [("disks", path) for path in dict.fromkeys(str(disk.path) for disk in node.disks)]
        for key, value in claims:
            claim = f"{key} {value}"
            if value and claim in seen and not (key == "disks" and not Path(value).is_absolute()):
                cluster.fault(f"nodes[{position}].{key}", value, f"it is already that of {seen[claim]}; give another")
            seen.setdefault(claim, f"nodes[{position}]")


def _read_replication(section: Section, nodes: int) -> Replication:
    factor = section.integer("factor", min(3, max(nodes, 1)), low=1, high=16)
    if nodes and factor > nodes:
        section.fault("factor", factor, f"the cluster has {nodes} {_plural('node', nodes)}; use {nodes} or less")
        factor = nodes
    majority = factor // 2 + 1
    least = section.integer("min_write_replicas", majority, low=1, high=16)
    if least > factor:
        where = f"the cluster has {nodes} {_plural('node', nodes)}" if least > nodes else f"factor is {factor}"
        section.fault("min_write_replicas", least, f"{where}; use {majority}", but=True)
    elif least < majority:
        section.fault("min_write_replicas", least, f"two writes could miss each other; use {majority} or more")
    return Replication(factor, least, section.integer("total_slots", TOTAL_SLOTS, low=1, high=65536))


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def _read_secret(auth: Section) -> str:
    secret = auth.text("cluster_secret")
    if 0 < len(secret) < 8:
        auth.fault("cluster_secret", "(hidden)", "it is too short; use 8 characters or more, better 32 random ones")
    return secret


def _read_limits(section: Section) -> Limits:
    usual = Limits()
    values: dict[str, int | float] = {}
    for name in Limits.__struct_fields__:
        default = getattr(usual, name)
        if isinstance(default, int):
            values[name] = section.integer(name, default, low=1, high=2**50)
        else:
            values[name] = section.number(name, default, above=0.0)
    return Limits(**values)  # type: ignore[arg-type]  # each value has the type of its default


def _read_healing(section: Section) -> HealingSettings:
    usual = HealingSettings()
    return HealingSettings(
        enabled=section.boolean("enabled", usual.enabled),
        every_s=section.number("every_s", usual.every_s, above=0.0),
        parts_every_s=section.number("parts_every_s", usual.parts_every_s, above=0.0),
        parts_grace_s=section.number("parts_grace_s", usual.parts_grace_s, above=0.0),
        scrub_bytes_per_s=section.integer("scrub_bytes_per_s", usual.scrub_bytes_per_s, low=1, high=2**40),
        tombstone_grace_s=section.number("tombstone_grace_s", usual.tombstone_grace_s, above=0.0),
        tombstones_every_s=section.number("tombstones_every_s", usual.tombstones_every_s, above=0.0),
    )


def _read_trace(section: Section) -> TraceSettings:
    enabled = section.boolean("enabled", False)
    directory = section.text("directory", "")
    if enabled and not directory:
        section.fault("directory", "missing", "tracing is on; give the directory to write traces into")
    return TraceSettings(enabled, Path(directory) if directory else None)


def _read_logging(section: Section) -> LoggingSettings:
    return LoggingSettings(
        section.choice("format", ("human", "json"), "human"),
        section.choice("level", ("debug", "info", "warning", "error"), "info"),
        section.integer("access_every", 0, low=0, high=2**31),
    )


def _read_s3(section: Section) -> S3Settings:
    usual = S3Settings()
    region = section.text("region", usual.region)
    if not REGION.fullmatch(region):
        section.fault("region", region, "use lower-case letters, digits and '-', such as us-east-1")
    domains = section.texts("domains")
    for domain in domains:
        if not HOST_NAME.fullmatch(domain):
            section.fault("domains", domain, "use lower-case host names without a port, such as s3.example.org")
    file = section.text("credentials_file", "")
    simple_keys = section.boolean("simple_keys", usual.simple_keys)
    if simple_keys and not file:
        section.fault("simple_keys", "true", "there are no keys without a credentials_file; give one, or use false")
    return S3Settings(
        enabled=section.boolean("enabled", usual.enabled),
        credentials_file=Path(file) if file else None,
        region=region,
        anonymous=section.boolean("anonymous", usual.anonymous),
        domains=domains,
        simple_keys=simple_keys,
    )


def _read_tls(root: Section, nodes: tuple[NodeSettings, ...]) -> TlsSettings | None:
    listens = any(node.tls_bind_addr is not None for node in nodes)
    if not root.has("tls"):
        if listens:
            root.fault("tls", "missing", "a node has a tls_bind_addr; give certificate_file and key_file here")
        return None
    section = root.section("tls")
    certificate, key = section.text("certificate_file"), section.text("key_file")
    if not listens:
        root.fault(
            "tls", "set", "no node of initial_cluster.nodes has a tls_bind_addr; give it one, such as 0.0.0.0:8443"
        )
    return TlsSettings(Path(certificate), Path(key))


def _read_routes(section: Section, nodes: tuple[NodeSettings, ...]) -> dict[str, Address]:
    routes = {}
    for node in nodes:
        if text := section.text(node.node_id, ""):
            routes[node.node_id] = _read_address(section, node.node_id, text)
    return routes


def _with_environment(value: object, environment: Mapping[str, str], key: str, faults: Faults) -> object:
    """The tree with every `${NAME}` replaced; an unset one is a fault."""
    if isinstance(value, dict):
        return {
            name: _with_environment(part, environment, f"{key}.{name}".lstrip("."), faults)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_with_environment(part, environment, f"{key}[{at}]", faults) for at, part in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            faults.add(key, f"${{{name}}}", "this environment variable is not set; export it, or write the value")
        return environment.get(name, "")

    return VARIABLE.sub(replacement, value)


def _refuse_open_secrets(file: Path, tree: Tree, faults: Faults) -> None:
    """A secret that stands in the file itself must be for its owner's eyes only."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o077:
        return
    for key, _ in written_secrets(tree):
        right = f"others can read this file (mode {mode:04o}); chmod 600 it, or take the secret from ${{NAME}}"
        faults.add(key, "(hidden)", right)
