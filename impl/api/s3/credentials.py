"""Who may speak S3 to us: the credentials file, YAML to a table of access keys, checked as a whole.

    keys:
      - access_key_id: AKIAIOSFODNN7EXAMPLE
        secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
        name: backup       # the access key id if left out
        root: true         # may do everything, whatever a bucket's policy says; false if left out

`load` names every fault at once. Neither its errors nor anything's repr show a value of this file: any of them may be a
secret that stands in the wrong place.
"""

import hashlib
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import yaml

from impl.config_reader import Faults, Section
from impl.errors import ConfigError

KEYS_MAX: Final = 10_000
FILE_BYTES_MAX: Final = 8 * 1024 * 1024
ACCESS_KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{2,127}")
SECRET: Final = re.compile(r"[\x21-\x7e]{8,256}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{0,127}")
_SHOWN: Final = frozenset({"missing", "empty", "an unknown key"})


class Identity(msgspec.Struct, frozen=True):
    """Who sent a request. `access_key_id` is "" for somebody unknown; `root` may do everything."""

    access_key_id: str
    name: str
    root: bool = False

    @property
    def anonymous(self) -> bool:
        """Did the request come without any credentials?"""
        return not self.access_key_id


ANONYMOUS: Final = Identity("", "anonymous")


def canonical_user_id(access_key_id: str) -> str:
    """Who has this key, as ACLs and lists name them: 64 hex digits."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key and its secret, which is left out of the repr."""

    identity: Identity
    secret: str = field(repr=False)


class Credentials:
    """The access keys of one file. `warnings` is what an operator should be told of it, one line each."""

    def __init__(self, credentials: Iterable[Credential], warnings: tuple[str, ...] = ()) -> None:
        self._by_id = {credential.identity.access_key_id: credential for credential in credentials}
        self.warnings = warnings

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return f"Credentials({len(self)} keys)"

    def find(self, access_key_id: str) -> Credential | None:
        """The credential with this access key id, None if there is none."""
        return self._by_id.get(access_key_id)

    def identities(self) -> tuple[Identity, ...]:
        """All of them, in the order of the file."""
        return tuple(credential.identity for credential in self._by_id.values())


class _DiscreetFaults(Faults):
    """Faults that show no value."""

    def add(self, key: str, seen: object, right: str, but: bool = False) -> None:
        super().add(key, seen if seen in _SHOWN else "(hidden)", right, but)


def load(file: Path) -> Credentials:
    """Read and check a credentials file. Raises ConfigError with one line for each fault."""
    tree = _parse(file)
    faults = _DiscreetFaults(file.name)
    root = Section("", tree, faults)
    entries = root.sections("keys", required=True)
    if len(entries) > KEYS_MAX:
        root.fault("keys", "(hidden)", f"there are {len(entries)} keys; use at most {KEYS_MAX}")
        entries = []
    credentials = [_read(entry) for entry in entries]
    _refuse_repeated(root, credentials)
    root.refuse_unknown()
    faults.raise_any()
    return Credentials(credentials, _warnings(file))


def _parse(file: Path) -> dict[object, object]:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{file}: more than {FILE_BYTES_MAX} bytes; this is no credentials file")
        tree = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; give the path of a credentials file") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not valid UTF-8 at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise ConfigError(f"{file}: not valid YAML{line}; the text is not shown, it may hold secrets") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{file}: not valid YAML; the text is not shown, it may hold secrets") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: must be a mapping with the key keys: a list of access_key_id and secret")
    return tree


def _read(entry: Section) -> Credential:
    access_key_id, secret = entry.text("access_key_id"), entry.text("secret")
    name = entry.text("name", access_key_id)
    if access_key_id and not ACCESS_KEY_ID.fullmatch(access_key_id):
        entry.fault(
            "access_key_id", "(hidden)", "use 3 to 128 letters, digits or any of _.+@-, a letter or digit first"
        )
    elif name and not NAME.fullmatch(name):
        entry.fault("name", "(hidden)", "use 1 to 128 letters, digits or any of _.+@-, a letter or digit first")
    if secret and not SECRET.fullmatch(secret):
        entry.fault(
            "secret", "(hidden)", "use 8 to 256 printable ASCII characters without spaces, better 40 random ones"
        )
    return Credential(Identity(access_key_id, name, entry.boolean("root", False)), secret)


def _refuse_repeated(root: Section, credentials: list[Credential]) -> None:
    first: dict[str, int] = {}
    for position, credential in enumerate(credentials):
        earlier = first.setdefault(credential.identity.access_key_id, position)
        if earlier != position and credential.identity.access_key_id:
            root.fault(
                f"keys[{position}].access_key_id", "(hidden)", f"it is already that of keys[{earlier}]; give another"
            )
    for position, credential in enumerate(credentials):
        meant = first.get(credential.identity.name, position)
        if meant != position and credentials[meant].identity.access_key_id != credential.identity.access_key_id:
            root.fault(
                f"keys[{position}].name",
                "(hidden)",
                f"it is the access_key_id of keys[{meant}], whom policies would mean by it; give another",
            )


def _warnings(file: Path) -> tuple[str, ...]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o077:
        return ()
    who = "everybody" if mode & 0o007 else "its group"
    return (f"{file}: {who} may open this file of secrets (mode {mode:04o}); chmod 600 it",)
