"""The registry in etcd: one key, made in a transaction that compares its create revision with 0.

By etcd's JSON gateway (etcd.io/docs, "Why gRPC gateway"), which every etcd from 3.4 serves under /v3.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import urllib3

from impl.cluster.registry.settings import RegistrySettings
from impl.errors import ConfigError, RegistryUnavailable

UNAUTHENTICATED: Final = 16
PERMISSION_DENIED: Final = 7
INVALID_ARGUMENT: Final = 3
"""Codes of gRPC; etcd calls a wrong password an invalid argument."""


class EtcdRegistry:
    """See `face.Registry`."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings.etcd
        self._timeout_s = settings.timeout_s
        self._key = f"/{settings.namespace}/cluster"
        self.name = f"etcd at {', '.join(urlsplit(endpoint).netloc for endpoint in self._settings.endpoints)}"

    def create(self, record: bytes) -> tuple[bytes, bool]:
        """See `face.Registry`."""
        key = _text(self._key.encode())
        transaction = {
            "compare": [{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}],
            "success": [{"request_put": {"key": key, "value": _text(record)}}],
            "failure": [{"request_range": {"key": key}}],
        }
        ca_file = self._settings.ca_file
        with urllib3.PoolManager(
            timeout=urllib3.Timeout(total=self._timeout_s),
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=None if ca_file is None else str(ca_file),
        ) as http:
            failures = []
            for endpoint in self._settings.endpoints:
                try:
                    return self._decided(self._ask(http, endpoint, "/v3/kv/txn", transaction), record)
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    failures.append(f"{urlsplit(endpoint).netloc}: {_brief(error)}")
        raise RegistryUnavailable(
            f"registry: etcd does not answer: {'; '.join(failures)}; check registry.etcd.endpoints, or start it"
        )

    def _decided(self, answer: Mapping[str, Any], record: bytes) -> tuple[bytes, bool]:
        """What the transaction came to."""
        if answer.get("succeeded"):
            return record, True
        try:
            return base64.b64decode(answer["responses"][0]["response_range"]["kvs"][0]["value"]), False
        except (KeyError, IndexError, TypeError, ValueError):
            raise RegistryUnavailable(
                f"registry: {self.name} answered what cannot be understood; is it an etcd of version 3.4 or above?"
            ) from None

    def _ask(self, http: urllib3.PoolManager, endpoint: str, target: str, asked: object) -> Mapping[str, Any]:
        headers = {"content-type": "application/json"}
        if self._settings.username and target != "/v3/auth/authenticate":
            access = {"name": self._settings.username, "password": self._settings.password}
            headers["authorization"] = str(self._ask(http, endpoint, "/v3/auth/authenticate", access).get("token", ""))
        reply = http.request("POST", endpoint + target, body=msgspec.json.encode(asked), headers=headers)
        try:
            answer = msgspec.json.decode(reply.data, type=dict[str, Any])
        except msgspec.DecodeError:
            answer = {"error": f"HTTP status {reply.status}, and no JSON"}
        if reply.status == 200:
            return answer
        text = str(answer.get("error") or answer.get("message"))[:200]
        if answer.get("code") in (UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT):
            where = f"etcd at {urlsplit(endpoint).netloc}"
            raise ConfigError(
                f"registry: {where} refuses us: {text}; check registry.etcd.username and password, and that this user "
                f"may read and write {self._key}"
            )
        raise OSError(text)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _brief(error: Exception) -> str:
    """What went wrong, without urllib3's own objects, which its texts begin with."""
    return str(error).rpartition(">: ")[2] or type(error).__name__
