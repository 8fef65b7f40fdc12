"""What a registry is: one small record, the cluster's configuration, of which the first one written wins.

Blocking, as it is asked only while a node starts. What the record means is `embedded.py`, who asks `agreement.py`.
"""

from typing import Protocol


class Registry(Protocol):
    """Keeps one record. `name` says which registry it is and where, for people; it holds no secrets."""

    @property
    def name(self) -> str: ...

    def create(self, record: bytes) -> tuple[bytes, bool]:
        """Keep `record` unless there is one already. The one that is kept, and whether it is this one, just now.

        Of any number of callers at once exactly one is told True, and all get the same record. The record is as durable
        as the registry is. Raises RegistryUnavailable, ConfigError.
        """
