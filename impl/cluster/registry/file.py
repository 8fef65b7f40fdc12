"""The embedded registry's file in a node's data directory: written whole, durable before the name is there."""

import os
from pathlib import Path
from typing import Final

from impl.errors import ConfigError

NAME: Final = "cluster.json"


class DirectoryFile:
    """`cluster.json` in `directory`, which is made if it is missing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / NAME

    def read(self) -> bytes | None:
        """The content, or None if it was never written. Raises ConfigError if it cannot be read."""
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be read: {error.strerror}; check disks[].path") from None

    def write(self, content: bytes) -> None:
        """Make `content` the file's, durably: temporary name, fsync, rename, fsync of the directory."""
        temporary = self._file.with_suffix(".tmp")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise ConfigError(f"{self._file}: cannot be written: {error.strerror}; check disks[].path") from None
