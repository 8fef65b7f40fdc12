"""The embedded registry's file in a node's data directory: written whole, durable before the name is there.

With another registry it is this node's copy, with which it starts while that one is down.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from impl.errors import ConfigError

NAME: Final = "cluster.json"


class DirectoryFile:
    """`cluster.json` in `directory`, which is made if it is missing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / NAME

    @property
    def name(self) -> str:
        return str(self._file)

    def read(self) -> bytes | None:
        """The content, or None if it was never written. Raises ConfigError if it cannot be read."""
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be read: {error.strerror}; check disks[].path") from None

    def create(self, record: bytes) -> tuple[bytes, bool]:
        """See `face.Registry`. A temporary file, fsync, a link to it, fsync of the directory."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix=NAME, suffix=".tmp") as file:
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
                try:
                    os.link(file.name, self._file)  # unlike a rename, it does not replace what is there
                except FileExistsError:
                    return self._file.read_bytes(), False
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be written: {error.strerror}; check disks[].path") from None
        return record, True


class EveryDisk:
    """The file on each disk of a node, so that the configuration is known while one of them is left."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._files = [DirectoryFile(directory) for directory in directories]

    @property
    def name(self) -> str:
        return self._files[0].name

    def read(self) -> bytes | None:
        """The content, or None if it was never written to any of them. Raises ConfigError if it cannot be read.

        Disks that have none are given it: the others may be gone at the next start.
        """
        found = [file.read() for file in self._files]
        content = next((content for content in found if content is not None), None)
        for file, own in zip(self._files, found, strict=True):
            if content is not None and own is None:
                file.create(content)
        return content

    def create(self, record: bytes) -> tuple[bytes, bool]:
        """See `face.Registry`; whatever one of them has wins."""
        before = self.read()
        kept = before or record
        told = [file.create(kept) for file in self._files]
        return told[0][0], before is None and told[0][1]
