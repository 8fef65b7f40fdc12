"""Which texts of a configuration are secrets, by the names of their keys, and a tree without them.

By name, so that a section added later keeps its secrets without a word here.
"""

import re
from collections.abc import Iterator
from typing import Final

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""`${NAME}`: taken from the environment of the node that reads it."""
_SECRET: Final = re.compile(r"(?:.*_)?(?:secret|password|token|credentials|access_key_id|secret_access_key)")


def written_secrets(tree: object, key: str = "") -> Iterator[tuple[str, str]]:
    """The key and text of each secret that stands in the tree itself, not as a variable. Who has a key is none."""
    for name, value, is_secret in _texts(tree, key, False):
        if is_secret and value and not name.endswith("access_key_id") and not VARIABLE.fullmatch(value):
            yield name, value


def without_secrets(tree: object, key: str = "", is_secret: bool = False) -> object:
    """The tree with each secret that stands in it replaced by a variable named after its key.

    `archive.s3.credentials.secret_access_key` becomes `${AMBERIO_ARCHIVE_S3_CREDENTIALS_SECRET_ACCESS_KEY}`, and what
    is a variable already remains that one: whoever reads the tree must have it in the environment, and is told so.
    """
    if isinstance(tree, dict):
        return {
            name: without_secrets(part, _below(key, name), is_secret or _names_a_secret(name))
            for name, part in tree.items()
        }
    if isinstance(tree, list):
        return [without_secrets(part, f"{key}[{at}]", is_secret) for at, part in enumerate(tree)]
    if is_secret and tree not in (None, "") and not VARIABLE.fullmatch(str(tree)):
        return "${AMBERIO_" + re.sub(r"[^A-Z0-9]+", "_", key.upper()).strip("_") + "}"
    return tree


def _texts(tree: object, key: str, is_secret: bool) -> Iterator[tuple[str, str, bool]]:
    if isinstance(tree, dict):
        for name, part in tree.items():
            yield from _texts(part, _below(key, name), is_secret or _names_a_secret(name))
    elif isinstance(tree, list):
        for at, part in enumerate(tree):
            yield from _texts(part, f"{key}[{at}]", is_secret)
    elif tree is not None:
        yield key, str(tree), is_secret


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _names_a_secret(name: object) -> bool:
    return isinstance(name, str) and _SECRET.fullmatch(name) is not None
