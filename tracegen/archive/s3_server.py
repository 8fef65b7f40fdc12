"""An S3 for the nodes of a run, as a process of its own: `python -m tracegen.archive.s3_server HOST PORT BUCKET LOG`.

It is moto's, which keeps objects in memory. Beside it stands what S3 promises and moto does not: a write happens at one
instant, also beside others, and keeps its preconditions. Each change of an object becomes a line of LOG
(`face.Change`) before anybody is told of it.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, BinaryIO, Final, cast
from urllib.parse import parse_qs

import msgspec

from tracegen.archive.face import GENERATION, Change

NO_MOTO: Final = 3
"""The exit code of a machine without moto."""
_FAILED: Final = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message></Error>"

try:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import make_server
except ImportError as error:
    if __name__ == "__main__":
        print(f"an archive of kind s3 needs moto ({error}); pip install 'moto[s3,server]'", file=sys.stderr)
        sys.exit(NO_MOTO)
    raise


class Archive:
    """A WSGI application: moto's S3, one write at a time."""

    def __init__(self, bucket: str, log: BinaryIO) -> None:
        self._bucket = bucket
        self._log = log
        self._lock = threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return cast(Iterable[bytes], self._moto(environ, start_response))
        # WSGI has the bytes of a path as Latin-1
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        key = path.removeprefix(f"/{self._bucket}/")
        with self._lock:
            before = self._object(key)
            wrong = self._unmet(environ, before)
            if wrong:
                status, code = wrong
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(status, [("Content-Type", "application/xml")])
                return [_FAILED.format(code, "a precondition does not hold").encode()]
            answer = list(self._moto(environ, start_response))
            after = self._object(key)
            if after is not before:
                self._tell(key, after)
            return answer

    def _object(self, key: str) -> Any:
        """What moto has under this key."""
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[self._bucket].keys.get(key)

    def _unmet(self, environ: dict[str, Any], found: Any) -> tuple[str, str] | None:
        """S3's answer to a precondition that does not hold, where moto does not look: as an upload is completed."""
        if environ["REQUEST_METHOD"] != "POST" or "uploadId" not in parse_qs(environ["QUERY_STRING"]):
            return None
        if_match = environ.get("HTTP_IF_MATCH")
        if if_match is not None and found is None:
            return "404 NOT FOUND", "NoSuchKey"
        if if_match is not None and if_match.strip('"') != found.etag.strip('"'):
            return "412 PRECONDITION FAILED", "PreconditionFailed"
        if environ.get("HTTP_IF_NONE_MATCH") == "*" and found is not None:
            return "412 PRECONDITION FAILED", "PreconditionFailed"
        return None

    def _tell(self, key: str, found: Any) -> None:
        told = "" if found is None else str(found.metadata.get(f"x-amz-meta-{GENERATION}", ""))
        # the clock is the machine's, and so the harness's
        etag = None if found is None else str(found.etag).strip('"')
        change = Change(time.monotonic(), key, int(told) if told.isdigit() else None, etag)
        self._log.write(msgspec.json.encode(change) + b"\n")


def main() -> None:
    """Serve until killed."""
    host, port, bucket, log = sys.argv[1:]
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    with open(log, "ab", buffering=0) as file:
        archive = Archive(bucket, file)
        make_server(host, int(port), archive, threaded=True, request_handler=MotoRequestHandler).serve_forever()


if __name__ == "__main__":
    main()
