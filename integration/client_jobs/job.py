"""How a job of this folder is asked and answers: `python minio_jobs.py FUNCTION ARGUMENTS` prints the result, in JSON.

The jobs run in an environment that has the clients and nothing of ours (`integration/clients.py: library`).
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
KEY_ID, SECRET = "AKIAALICE", "alice-secret-0123456789"


def answer(functions: Mapping[str, Any]) -> None:
    """Do what the command line asks."""
    _, name, arguments = sys.argv
    print(json.dumps(functions[name](**json.loads(arguments))))


def files(root: str) -> Iterator[tuple[str, Path]]:
    """The names of the files below `root`, and their paths."""
    for path in sorted(Path(root).rglob("*")):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def pieces(path: str, size_bytes: int = MIB) -> Iterator[bytes]:
    """The bytes of a file."""
    with Path(path).open("rb") as file:
        while piece := file.read(size_bytes):
            yield piece
