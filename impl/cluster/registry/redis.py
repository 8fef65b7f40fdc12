"""The registry in Redis: one key, made with SET NX. It is as durable as that Redis is told to be (appendonly)."""

from typing import Final
from urllib.parse import urlsplit

import redis

from impl.cluster.registry.settings import RegistrySettings
from impl.errors import ConfigError, RegistryUnavailable

PORT: Final = 6379


class RedisRegistry:
    """See `face.Registry`."""

    def __init__(self, settings: RegistrySettings) -> None:
        own, parts = settings.redis, urlsplit(settings.redis.url)
        self.name = f"redis at {parts.hostname}:{parts.port or PORT}"
        self._key = f"{settings.namespace}:cluster"
        given: dict[str, object] = {"username": own.username or None, "password": own.password or None}
        if parts.scheme == "rediss" and own.ca_file is not None:
            given["ssl_ca_certs"] = str(own.ca_file)
        self._given = given
        self._url = own.url
        self._timeout_s = settings.timeout_s

    def create(self, record: bytes) -> tuple[bytes, bool]:
        """See `face.Registry`."""
        try:
            client = redis.Redis.from_url(
                self._url,
                socket_timeout=self._timeout_s,
                socket_connect_timeout=self._timeout_s,
                retry=None,  # an answer that is lost leaves open who won: not asked twice behind our back
                **self._given,
            )
            try:
                is_ours = client.set(self._key, record, nx=True) is not None
                kept = client.get(self._key)
            finally:
                client.close()
        except redis.AuthenticationError as error:
            raise ConfigError(
                f"registry: {self.name} refuses us: {error}; check registry.redis.username and password"
            ) from None
        except redis.ResponseError as error:
            text = f"registry: {self.name} will not keep {self._key}: {error}; check what this user may do"
            raise RegistryUnavailable(text) from None
        except (redis.RedisError, OSError) as error:
            text = f"registry: {self.name} does not answer: {error}; check registry.redis.url, or start it"
            raise RegistryUnavailable(text) from None
        if not isinstance(kept, bytes):
            raise RegistryUnavailable(f"registry: {self.name} has lost {self._key} again; check what removes its keys")
        return kept, is_ours
