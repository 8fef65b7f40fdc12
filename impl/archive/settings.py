"""The sections `archive` and `init_scan` of the configuration: which archive is behind the cluster, and for what.

All nodes of a cluster must be given the same. Nothing is opened here (`opening.py`).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from impl.archive.face import KEY_BYTES_MAX, PAGE_MAX
from impl.config_reader import Section
from impl.model import PATH_BYTES_MAX, SYSTEM_START

Kind = Literal["none", "s3", "directory"]
Mode = Literal["none", "write_through", "write_back"]
KINDS: Final = ("none", "s3", "directory")
MODES: Final = ("none", "write_through", "write_back")
GIB: Final = 1024**3


@dataclass(frozen=True)
class S3Settings:
    """Where the bucket is, and as whom to ask. Without keys boto3 looks for them in its usual places.

    `endpoint_url` is for stores that are not AWS; their buckets are then named in the path. Times are for one step on
    the socket; `Limits.attempt_s` is for a request.
    """

    bucket: str
    region: str = "us-east-1"
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    addressing: Literal["auto", "path", "virtual"] = "auto"
    connect_s: float = 5.0
    read_s: float = 20.0


class ModeRule(msgspec.Struct, frozen=True):
    """Paths that begin with `prefix` (a bucket and a slash, or more) have `mode`."""

    prefix: str
    mode: Mode


class ArchiveSettings(msgspec.Struct, frozen=True):
    """Which archive, what goes there and when.

    `mode` is that of paths which no rule of `rules` is about; of several rules the longest prefix counts. A path's key
    in the archive is `key_prefix` and the path.

    - `lag_bytes_max`, `lag_s_max`: what may wait to be shipped on a node, in bytes and seconds; beyond, writes in
      write-back mode are told to slow down.
    - `evict_above_bytes`: when a node's parts come to more, those used longest ago go that the archive has for certain;
      0: none ever.
    - `request_life_s`: how long a request to the archive may be under way before it can certainly have no effect any
      more. S3 refuses one that was signed more than 15 minutes ago.
    - `ships_at_once`: objects that one node ships at a time.
    """

    kind: Kind = "none"
    mode: Mode = "none"
    rules: tuple[ModeRule, ...] = ()
    s3: S3Settings | None = None
    directory: Path | None = None
    key_prefix: str = ""
    lag_bytes_max: int = 4 * GIB
    lag_s_max: float = 3600.0
    evict_above_bytes: int = 0
    request_life_s: float = 900.0
    ships_at_once: int = 8

    def mode_of(self, path: str) -> Mode:
        """The mode of a path. What is no object, such as a bucket, is never archived."""
        if self.kind == "none" or path.startswith(SYSTEM_START):
            return "none"
        matching = [rule for rule in self.rules if path.startswith(rule.prefix)]
        return max(matching, key=lambda rule: len(rule.prefix)).mode if matching else self.mode

    def key_of(self, path: str) -> str:
        """The key of a path in the archive."""
        return self.key_prefix + path


class ScanSettings(msgspec.Struct, frozen=True):
    """Whether a new cluster takes over what its archive holds already, and how many objects it lists at a time."""

    enabled: bool = False
    page_size: int = PAGE_MAX


NO_ARCHIVE: Final = ArchiveSettings()


def read_archive(section: Section) -> ArchiveSettings:
    """The section `archive`; faults are noted in it."""
    usual = ArchiveSettings()
    kind = section.choice("archive_type", KINDS, "none")
    mode = section.choice("mode", MODES, "none" if kind == "none" else "write_through")
    rules = tuple(
        ModeRule(rule.text("prefix"), rule.choice("mode", MODES, "none"))  # type: ignore[arg-type]  # one of MODES
        for rule in section.sections("rules")
    )
    if kind == "none" and (mode != "none" or any(rule.mode != "none" for rule in rules)):
        section.fault("archive_type", "none", "a mode needs an archive; use s3 or directory, or mode none")
    s3, key_prefix = _read_s3(section.section("s3"), kind == "s3")
    directory = section.section("directory")
    path = directory.text("path") if kind == "directory" else directory.text("path", "")
    prefix = section.text("key_prefix", key_prefix)
    if len(prefix.encode()) > KEY_BYTES_MAX - PATH_BYTES_MAX // 2:
        section.fault("key_prefix", prefix, f"it is too long; use {KEY_BYTES_MAX - PATH_BYTES_MAX // 2} bytes or less")
    return ArchiveSettings(
        kind=kind,  # type: ignore[arg-type]  # one of KINDS
        mode=mode,  # type: ignore[arg-type]
        rules=rules,
        s3=s3 if kind == "s3" else None,
        directory=Path(path) if kind == "directory" and path else None,
        key_prefix=prefix,
        lag_bytes_max=section.integer("lag_bytes_max", usual.lag_bytes_max, low=1, high=2**50),
        lag_s_max=section.number("lag_s_max", usual.lag_s_max, above=0.0),
        evict_above_bytes=section.integer("evict_above_bytes", usual.evict_above_bytes, low=0, high=2**60),
        request_life_s=section.number("request_life_s", usual.request_life_s, above=0.0),
        ships_at_once=section.integer("ships_at_once", usual.ships_at_once, low=1, high=256),
    )


def read_scan(section: Section, archive: ArchiveSettings) -> ScanSettings:
    """The section `init_scan`; faults are noted in it."""
    enabled = section.boolean("enabled", False)
    if enabled and archive.kind == "none":
        section.fault("enabled", "true", "there is nothing to import without an archive; give archive.archive_type")
    return ScanSettings(enabled, section.integer("page_size", PAGE_MAX, low=1, high=PAGE_MAX))


def _read_s3(section: Section, is_used: bool) -> tuple[S3Settings, str]:
    usual = S3Settings("")
    keys = section.section("credentials")
    endpoint = section.text("endpoint", "")
    is_plain = section.boolean("allow_http", False)
    if endpoint and not endpoint.startswith(("https://", "http://")):
        section.fault("endpoint", endpoint, "use a URL, such as https://s3.example.org")
    if endpoint.startswith("http://") and not is_plain:
        section.fault("endpoint", endpoint, "this sends data in the clear; use https://, or set allow_http: true")
    key_id, secret = keys.text("access_key_id", ""), keys.text("secret_access_key", "")
    if bool(key_id) != bool(secret):
        keys.fault("secret_access_key" if key_id else "access_key_id", "missing", "give both, or neither")
    settings = S3Settings(
        bucket=section.text("bucket") if is_used else section.text("bucket", ""),
        region=section.text("region", usual.region),
        endpoint_url=endpoint or None,
        access_key_id=key_id or None,
        secret_access_key=secret or None,
    )
    return settings, section.text("key_prefix", "")
