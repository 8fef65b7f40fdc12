"""Real nodes with an S3 face, and boto3's clients for them."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3.session
import botocore.config
import botocore.exceptions

from integration.cluster import Nodes

KEYS = {"AKIAALICE": "alice-secret-0123456789", "AKIABOB": "bob-secret-0123456789"}


_making = threading.Lock()


@cache
def _session() -> boto3.session.Session:
    """One for all: each reads S3's model anew, which costs more than most tests. Making clients wants a lock."""
    return boto3.session.Session()


@dataclass
class S3Nodes(Nodes):
    """A cluster whose nodes speak S3 to those who have one of KEYS. `s3` is added to that section."""

    s3: Mapping[str, object] | None = None

    def sections(self) -> dict[str, object]:
        keys = self.root / "keys.yaml"
        self.root.mkdir(parents=True, exist_ok=True)
        keys.write_text(json.dumps({"keys": [{"access_key_id": key, "secret": KEYS[key]} for key in KEYS]}))
        keys.chmod(0o600)
        return {"s3": {"credentials_file": str(keys), **(self.s3 or {})}}

    def client(self, node: str = "n1", key: str = "AKIAALICE", secret: str | None = None, **config: Any) -> Any:
        """A boto3 client that talks to one node, path style, and tries once."""
        settings: dict[str, Any] = {
            "s3": {"addressing_style": "path"},
            "read_timeout": 15,
            "retries": {"total_max_attempts": 1},
        } | config
        with _making:
            return _session().client(
                "s3",
                endpoint_url=f"http://127.0.0.1:{self.ports[node]}",
                aws_access_key_id=key,
                aws_secret_access_key=secret or KEYS[key],
                region_name="us-east-1",
                config=botocore.config.Config(**settings),
            )


@contextmanager
def refused(code: str, status: int | None = None) -> Iterator[None]:
    """What is done inside gets this error of S3's."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
        if status is not None:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error.response
    else:
        raise AssertionError(f"no {code}")


def cluster(root: Path, count: int, *options: str, **settings: Any) -> S3Nodes:
    return S3Nodes(root, count, options=options, **settings)
