"""Where a cluster agrees on its configuration: embedded, Redis and etcd keep one contract (features A6 and A7)."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from impl.cluster.registry.agreement import Agreed, agree, registry_of
from impl.cluster.registry.embedded import Wanted
from impl.cluster.registry.face import Registry
from impl.cluster.registry.file import NAME, DirectoryFile
from impl.cluster.registry.settings import EtcdSettings, RedisSettings, RegistrySettings
from impl.errors import ConfigError, RegistryUnavailable
from impl.protocol.placement import Site
from integration.registries import PASSWORD, USER, etcd_server, lock_etcd, redis_server
from integration.test_s3_tls import certificate

WANTED = Wanted("amberio", tuple(Site(f"n{n}", f"r{n}") for n in (1, 2, 3)), 3, 2, 64)
OTHER = msgspec.structs.replace(WANTED, min_write_replicas=3)
STARTERS = 8


@dataclass
class Place:
    """A registry that runs. `settings` reach it; `disk` is where a starter keeps its own copy."""

    settings: RegistrySettings
    directory: Path

    def registry(self, namespace: str) -> Registry:
        """As it is asked: the embedded one is the data directory itself."""
        own = msgspec.structs.replace(self.settings, namespace=namespace)
        return registry_of(own) or DirectoryFile(self.directory / namespace)

    def agree(self, namespace: str, starter: int, wanted: Wanted) -> Agreed:
        """One start of a node. With the embedded registry all starters share a data directory."""
        settings = msgspec.structs.replace(self.settings, namespace=namespace)
        registry = registry_of(settings)
        disk = self.directory / namespace if registry is None else self.directory / f"{namespace}-{starter}"
        return agree(DirectoryFile(disk), registry, msgspec.structs.replace(wanted, namespace=namespace))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSettings]:
    with redis_server(tmp_path_factory.mktemp("redis")) as settings:
        yield settings


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdSettings]:
    with etcd_server(tmp_path_factory.mktemp("etcd")) as settings:
        yield settings


@pytest.fixture(params=["embedded", "redis", "etcd"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    backend = request.param
    servers = {} if backend == "embedded" else {backend: request.getfixturevalue(backend)}
    return Place(RegistrySettings(backend=backend, **servers), tmp_path)


def together(work: Callable[[int], object]) -> list[object]:
    """What each of the starters came to, all at once."""
    gate = threading.Barrier(STARTERS)

    def one(starter: int) -> object:
        gate.wait()
        try:
            return work(starter)
        except ConfigError as error:
            return error

    with ThreadPoolExecutor(STARTERS) as pool:
        return list(pool.map(one, range(STARTERS)))


# -- the contract


def test_of_racing_writers_one_wins_and_all_get_its_record(place: Place) -> None:
    """A7: first wins."""
    registry = place.registry("race")
    told = together(lambda starter: registry.create(b"%d" % starter))
    kept = {record for record, _ in told}  # type: ignore[misc]
    assert len(kept) == 1 and sum(is_ours for _, is_ours in told) == 1  # type: ignore[misc]
    assert ((kept.pop(), True)) in told
    assert registry.create(b"late") == (told[0][0], False)  # type: ignore[index]


def test_of_racing_starters_one_makes_the_cluster_and_those_who_want_another_are_told(place: Place) -> None:
    """A6: half of them want another write quorum; whoever wins, nobody runs with what did not win."""
    told = together(lambda starter: place.agree("starters", starter, WANTED if starter % 2 else OTHER))
    agreed = [each for each in told if isinstance(each, Agreed)]
    refused = [str(each) for each in told if isinstance(each, ConfigError)]
    assert len(agreed) == len(refused) == STARTERS // 2
    assert sum(each.is_fresh for each in agreed) == 1 and len({each.cluster.cluster_id for each in agreed}) == 1
    assert all("min_write_replicas is " in text and "initialised with" in text for text in refused)


def test_each_difference_to_what_was_agreed_on_is_named(place: Place) -> None:
    place.agree("differences", 1, WANTED)
    changed = msgspec.structs.replace(WANTED, factor=2, min_write_replicas=2, sites=WANTED.sites[:2])
    with pytest.raises(ConfigError) as raised:
        place.agree("differences", 2, changed)
    lines = str(raised.value).split("\n")
    assert len(lines) == 2
    assert "factor is 2 but the cluster was initialised with 3; set it back" in lines[0]
    assert "node n3 is missing but the cluster was initialised with it; put it back" in lines[1]


def test_clusters_of_different_namespaces_share_a_registry(place: Place) -> None:
    first, second = (place.agree(name, 1, wanted) for name, wanted in (("one", WANTED), ("two", OTHER)))
    assert first.is_fresh and second.is_fresh and first.cluster != second.cluster


# -- a registry that is down, empty, or not ours


@pytest.fixture(params=["redis", "etcd"])
def absent(request: pytest.FixtureRequest) -> Iterator[RegistrySettings]:
    """Somebody listens, and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        redis, etcd = RedisSettings(f"redis://{address}/0"), EtcdSettings((f"http://{address}",))
        yield RegistrySettings(request.param, timeout_s=0.3, redis=redis, etcd=etcd)


def test_a_node_that_has_a_copy_starts_without_the_registry_and_says_so(place: Place, absent: RegistrySettings) -> None:
    first = place.agree("copied", 1, WANTED)
    disk = place.directory / ("copied" if place.settings.backend == "embedded" else "copied-1")
    again = agree(DirectoryFile(disk), registry_of(absent), msgspec.structs.replace(WANTED, namespace="copied"))
    assert again.cluster == first.cluster and not again.is_fresh
    assert "does not answer" in again.notice and str(disk / NAME) in again.notice


def test_a_first_start_without_the_registry_is_refused(tmp_path: Path, absent: RegistrySettings) -> None:
    with pytest.raises(RegistryUnavailable, match=r"does not answer: .*; check registry\..*, or start it"):
        agree(DirectoryFile(tmp_path), registry_of(absent), WANTED)
    assert not (tmp_path / NAME).exists()


def test_a_registry_that_lost_the_record_gets_it_again_from_a_copy(redis: RedisSettings, tmp_path: Path) -> None:
    wanted = msgspec.structs.replace(WANTED, namespace="wiped")
    alone = agree(DirectoryFile(tmp_path / "a"), None, wanted)
    registry = registry_of(RegistrySettings("redis", "wiped", redis=redis))
    back = agree(DirectoryFile(tmp_path / "a"), registry, wanted)
    assert back.cluster == alone.cluster and "had lost the record" in back.notice
    assert agree(DirectoryFile(tmp_path / "b"), registry, wanted) == Agreed(alone.cluster, False)


def test_a_copy_of_another_cluster_than_the_registrys_is_refused(redis: RedisSettings, tmp_path: Path) -> None:
    registry = registry_of(RegistrySettings("redis", "mixed", redis=redis))
    assert registry is not None
    agree(DirectoryFile(tmp_path / "a"), registry, OTHER)
    agree(DirectoryFile(tmp_path / "b"), None, WANTED)
    with pytest.raises(ConfigError, match=r"registry: redis at .*: min_write_replicas is 2 but .* initialised with 3"):
        agree(DirectoryFile(tmp_path / "b"), registry, WANTED)


# -- who may, and by which way


def test_redis_by_tls_with_a_password(tmp_path: Path) -> None:
    tls = {name: str(file) for name, file in certificate(tmp_path, "redis").items()}
    with redis_server(tmp_path, "--requirepass", PASSWORD, tls=tls) as settings:
        trusting = msgspec.structs.replace(settings, ca_file=Path(tls["certificate_file"]))
        right = msgspec.structs.replace(trusting, password=PASSWORD)
        assert _create(RegistrySettings("redis", redis=right)) == (b"ours", True)
        for wrong in (trusting, msgspec.structs.replace(trusting, password="let-me-in")):
            with pytest.raises(ConfigError, match=r"redis at .* refuses us: .*; check registry.redis.username") as told:
                _create(RegistrySettings("redis", redis=wrong))
            assert "let-me-in" not in str(told.value)
        with pytest.raises(RegistryUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            _create(RegistrySettings("redis", redis=msgspec.structs.replace(right, ca_file=None)))


def test_etcd_with_a_password(tmp_path: Path) -> None:
    with etcd_server(tmp_path) as settings:
        lock_etcd(settings.endpoints[0])
        right = msgspec.structs.replace(settings, username=USER, password=PASSWORD)
        assert _create(RegistrySettings("etcd", etcd=right)) == (b"ours", True)
        for wrong in (settings, msgspec.structs.replace(right, password="let-me-in")):
            with pytest.raises(ConfigError, match=r"etcd at .* refuses us: .*; check registry.etcd.username") as told:
                _create(RegistrySettings("etcd", etcd=wrong))
            assert "let-me-in" not in str(told.value)


def test_the_next_endpoint_of_etcd_is_asked_when_one_is_down(etcd: EtcdSettings, absent: RegistrySettings) -> None:
    both = EtcdSettings((*absent.etcd.endpoints, *etcd.endpoints))
    namespace = f"endpoints-{absent.backend}"
    assert _create(RegistrySettings("etcd", namespace, timeout_s=0.5, etcd=both)) == (b"ours", True)


def _create(settings: RegistrySettings) -> tuple[bytes, bool]:
    registry = registry_of(settings)
    assert registry is not None
    return registry.create(b"ours")
