"""What a scenario says of the archive: its kind, what goes there and when, and its knobs in the nodes' configuration.

The section `[archive]` of a scenario file is written with the names that the nodes' own configuration has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tracegen.reading import TableReader

KINDS: Final = ("none", "s3", "directory")
MODES: Final = ("none", "write_through", "write_back")
BYTES_MAX: Final = 2**50
RULES_MAX: Final = 64
REQUEST_LIFE_S_MAX: Final = 900.0
"""So long S3 takes a request after it was signed."""
OF_THE_HARNESS: Final = ("archive_type", "s3", "directory", "key_prefix")
"""What the harness itself says in the nodes' configuration."""

KEY_PREFIX: Final = "cluster/"
"""What stands before every path in the archive: nodes must not take the whole of it to be theirs."""

Knob = str | int | float | bool


@dataclass(frozen=True)
class ModeRule:
    """Paths that begin with `prefix` have `mode`; of several such rules the longest prefix counts."""

    prefix: str
    mode: str


@dataclass(frozen=True)
class ArchiveShape:
    """`mode` is that of the paths which no rule is about.

    - `lag_bytes_max`: what may wait to be shipped on a node; `evict_above_bytes`: how much a node's parts may come to
      before it lets go of some. 0: what the server says if nobody says anything.
    - `request_life_s`: how long a request may be under way before it surely has no effect any more. The nodes are told,
      and the archive refuses what is older, as S3 does what was signed long ago.
    - `settings`: anything else for the section `archive` of the nodes' configuration, as it is.
    """

    kind: str = "none"
    mode: str = "none"
    rules: tuple[ModeRule, ...] = ()
    lag_bytes_max: int = 0
    evict_above_bytes: int = 0
    request_life_s: float = 5.0
    settings: Mapping[str, Knob] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        return self.kind != "none"

    def mode_of(self, path: str) -> str:
        """What becomes of this path's objects."""
        matching = [rule for rule in self.rules if path.startswith(rule.prefix)]
        return max(matching, key=lambda rule: len(rule.prefix)).mode if matching else self.mode

    def node_config(self, place: Mapping[str, object]) -> dict[str, object]:
        """The section `archive` of a node's configuration; `place` says where it is, as it is reached from there."""
        config: dict[str, object] = {"archive_type": self.kind, "mode": self.mode, "key_prefix": KEY_PREFIX, **place}
        if self.rules:
            config["rules"] = [{"prefix": rule.prefix, "mode": rule.mode} for rule in self.rules]
        if self.lag_bytes_max:
            config["lag_bytes_max"] = self.lag_bytes_max
        if self.evict_above_bytes:
            config["evict_above_bytes"] = self.evict_above_bytes
        return config | {"request_life_s": self.request_life_s} | dict(self.settings)


NO_ARCHIVE: Final = ArchiveShape()


def read_archive(reader: TableReader, key_prefix: str) -> ArchiveShape:
    """The section `[archive]`; faults are noted in the reader. All keys of the scenario begin with `key_prefix`."""
    usual = ArchiveShape()
    kind = reader.choice("kind", usual.kind, KINDS)
    if kind == "none":
        for key in reader.keys:
            if key != "kind":
                reader.fault(key, "does nothing without an archive", 'leave it out, or use kind = "s3"')
        return NO_ARCHIVE
    rules = tuple(_rule(entry, key_prefix) for entry in reader.tables("rules"))
    if len(rules) > RULES_MAX:
        reader.fault("rules", f"has {len(rules)} rules", f"use {RULES_MAX} at most")
    mode = reader.choice("mode", "none" if rules else None, MODES)
    is_said = reader.has("mode") or rules
    if is_said and mode == "none" and all(rule.mode == "none" for rule in rules):
        reader.fault("mode", "is 'none'", "nothing would go to the archive: use write_through or write_back, or a rule")
    shape = ArchiveShape(
        kind=kind,
        mode=mode,
        rules=rules,
        lag_bytes_max=reader.integer("lag_bytes_max", usual.lag_bytes_max, 0, BYTES_MAX),
        evict_above_bytes=reader.integer("evict_above_bytes", usual.evict_above_bytes, 0, BYTES_MAX),
        request_life_s=reader.number("request_life_s", usual.request_life_s, 0.1, REQUEST_LIFE_S_MAX),
        settings=_settings(reader.table("settings")),
    )
    reader.finish()
    return shape


def _rule(reader: TableReader, key_prefix: str) -> ModeRule:
    prefix = reader.text("prefix")
    if prefix and not prefix.startswith(key_prefix) and not key_prefix.startswith(prefix):
        reader.fault("prefix", f"is {prefix!r}", f"no key begins so: they all begin with {key_prefix!r}")
    rule = ModeRule(prefix, reader.choice("mode", None, MODES))
    reader.finish()
    return rule


_NAME: Final = re.compile("[a-z][a-z0-9_]*")
_FIELDS: Final = ("mode", "rules", "lag_bytes_max", "evict_above_bytes", "request_life_s")


def _settings(reader: TableReader) -> dict[str, Knob]:
    """Knobs of the server that the harness does not know: the server checks them when it starts."""
    found: dict[str, Knob] = {}
    for key in reader.keys:
        if key in _FIELDS:
            reader.fault(key, "has a place of its own", f"say {key} in [archive]")
        elif key in OF_THE_HARNESS:
            reader.fault(key, "is the harness's to say", "leave it out; use archive.kind")
        elif not _NAME.fullmatch(key):
            reader.fault(key, "is no name of a setting", "use lower-case letters, digits and _")
        else:
            found[key] = reader.knob(key)
    return found
