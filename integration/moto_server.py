"""moto's S3 on a real socket, in threads of the test process, with a hand between it and its clients."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import boto3.session
import moto.s3.models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

Fault = Literal["throttle", "fail", "lose", "refuse", "cut", "damage", "unsaid"]
"""What becomes of a request: 503 SlowDown; 500; done, and the connection cut; 403; the connection cut before anything;
one bit of the answer's body flipped; a 200 that says 500 in its body, as S3 does when it completes an upload."""

XML = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>as the test wants</Message></Error>"
ANSWERS = {"throttle": (503, "SlowDown"), "fail": (500, "InternalError"), "refuse": (403, "InvalidAccessKeyId")}


class Moto:
    """The server, and a `client` of its own. `trouble` decides over each request (its WSGI environment).

    `hold_s` makes each wait in the server; `seen` are those that arrived, `most` is how many were in it at once.
    """

    def __init__(self) -> None:
        self.trouble: Callable[[dict[str, Any]], Fault | None] = lambda _: None
        self.hold_s = 0.0
        self.seen: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=MotoRequestHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="moto", daemon=True)
        self._thread.start()
        self.client = boto3.session.Session().client(
            "s3", "us-east-1", endpoint_url=self.url, aws_access_key_id="key", aws_secret_access_key="secret"
        )

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """No trouble any more, and nothing was seen."""
        self.trouble = lambda _: None
        self.hold_s = 0.0
        self.seen = []
        self.most = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self.seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if self.hold_s:
                time.sleep(self.hold_s)
            return self._answer(environ, start_response)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fault = self.trouble(environ)
        if fault in ANSWERS:
            status, code = ANSWERS[fault]
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} {code}", [("Content-Type", "application/xml"), ("Retry-After", "0")])
            return [XML.format(code=code).encode()]
        if fault == "cut":
            _cut(environ)
            return []
        if fault == "lose":
            answer = list(self._moto(environ, lambda *_: lambda _: None))
            _cut(environ)
            return answer[:0]
        if fault == "unsaid":
            start_response("200 OK", [("Content-Type", "application/xml")])
            return [XML.format(code="InternalError").encode()]
        answer = list(self._moto(environ, start_response))
        if fault == "damage":
            return [bytes([answer[0][0] ^ 1]) + answer[0][1:], *answer[1:]]
        return answer


def _cut(environ: dict[str, Any]) -> None:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


@contextmanager
def running() -> Iterator[Moto]:
    """A server for as long as this lasts; parts of uploads may be small."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    smallest, moto.s3.models.S3_UPLOAD_PART_MIN_SIZE = moto.s3.models.S3_UPLOAD_PART_MIN_SIZE, 1
    server = Moto()
    try:
        yield server
    finally:
        server.close()
        moto.s3.models.S3_UPLOAD_PART_MIN_SIZE = smallest
