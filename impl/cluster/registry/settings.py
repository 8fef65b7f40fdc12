"""The section `registry` of the configuration: who keeps what the cluster has agreed on, and how to reach it."""

from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from impl.config_reader import Section

REDIS_URL: Final = "redis://127.0.0.1:6379/0"
ETCD_ENDPOINTS: Final = ("http://127.0.0.1:2379",)
TIMEOUT_S: Final = 5.0


class RedisSettings(msgspec.Struct, frozen=True):
    """`url` is redis:// or, by TLS, rediss://, and ends in the database's number; `ca_file` signs its certificate."""

    url: str = REDIS_URL
    username: str = ""
    password: str = ""
    ca_file: Path | None = None


class EtcdSettings(msgspec.Struct, frozen=True):
    """`endpoints` are http:// or https:// URLs of one etcd cluster, asked in this order until one answers."""

    endpoints: tuple[str, ...] = ETCD_ENDPOINTS
    username: str = ""
    password: str = ""
    ca_file: Path | None = None


class RegistrySettings(msgspec.Struct, frozen=True):
    """`namespace` tells clusters apart that share a registry. `timeout_s` bounds each question to it."""

    backend: Literal["embedded", "redis", "etcd"] = "embedded"
    namespace: str = "amberio"
    timeout_s: float = TIMEOUT_S
    redis: RedisSettings = RedisSettings()
    etcd: EtcdSettings = EtcdSettings()


def read_registry(section: Section) -> RegistrySettings:
    """The section as it is written, its faults noted."""
    backend = section.choice("backend", ("embedded", "redis", "etcd"), "embedded")
    redis, etcd = section.section("redis"), section.section("etcd")
    for name in ("redis", "etcd"):
        if backend != name and section.has(name):
            section.fault(name, "set", f"backend is {backend}; remove this section, or set backend to {name}")
    return RegistrySettings(
        backend=backend,  # type: ignore[arg-type]  # one of the three
        namespace=section.text("namespace", "amberio"),
        timeout_s=section.number("timeout_s", TIMEOUT_S, above=0.0),
        redis=_read_redis(redis),
        etcd=_read_etcd(etcd),
    )


def _read_redis(section: Section) -> RedisSettings:
    url = section.text("url", REDIS_URL)
    _check_url(section, "url", url, ("redis", "rediss"), "such as redis://127.0.0.1:6379/0, or rediss:// for TLS")
    return RedisSettings(url, *_read_access(section))


def _read_etcd(section: Section) -> EtcdSettings:
    endpoints = section.texts("endpoints") or ETCD_ENDPOINTS
    for endpoint in endpoints:
        _check_url(section, "endpoints", endpoint, ("http", "https"), "such as http://127.0.0.1:2379")
    return EtcdSettings(tuple(endpoint.rstrip("/") for endpoint in endpoints), *_read_access(section))


def _read_access(section: Section) -> tuple[str, str, Path | None]:
    username, password = section.text("username", ""), section.text("password", "")
    if username and not password:
        section.fault("password", "missing", "there is a username; give its password, best as ${NAME}")
    ca_file = section.text("ca_file", "")
    return username, password, Path(ca_file) if ca_file else None


def _check_url(section: Section, key: str, url: str, schemes: tuple[str, ...], example: str) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        section.fault(key, "no URL", f"use one {example}")
        return
    if parts.username is not None or parts.password is not None:
        # not shown: it would be in every log
        section.fault(key, "a URL with a user or password in it", "give them as username and password beside it")
    elif not is_right:
        section.fault(key, url, f"use a URL {example}")
