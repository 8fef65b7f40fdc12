"""Tornado's Application on our connections: the seam is `tornado.httputil.HTTPServerConnectionDelegate`.

Tornado routes and runs handlers; parsing, bodies, framing and keep-alive stay in `connection.py`. A body does not pass
through Tornado: handlers read `Request.body`, which is bounded, so the message is finished as soon as it begins.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from tornado import httputil, web
from tornado.routing import Matcher, PathMatches, Rule

from impl.api.http.connection import Connection
from impl.api.http.exchange import METHODS, Answer, Operation, Request, answer_to, error_answer
from impl.api.http.render import BODILESS
from impl.api.http.routes import Route
from impl.errors import MalformedRequest, MethodNotAllowed, NoSuchRoute

log = structlog.get_logger(__name__)


class Exchange(httputil.HTTPConnection):
    """One request and its answer on a connection, in the shape that Tornado's handlers write to."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.request = request
        self.operation = "unrouted"
        self._connection = connection

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Tornado wants to tell handlers of a lost client; ours learn it from the body or from `write`."""

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        assert isinstance(start_line, httputil.ResponseStartLine)
        length = headers.pop("Content-Length", None)
        known = None if length is None and start_line.code not in BODILESS else int(length or 0)
        self._connection.send_head(self.request, start_line.code, _as_given(headers), known, chunk or b"")
        return self._writable()

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        self._connection.send_body(chunk)
        return self._writable()

    async def write_pieces(self, answer: Answer) -> None:
        """The streamed body of an answer whose head is out."""
        assert not isinstance(answer.body, bytes)
        await self._connection.send_pieces(self.request, answer.body, answer.length)

    def finish(self) -> None:
        self._connection.finish(self.request, self.operation)

    def _writable(self) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@web.stream_request_body
class OperationHandler(web.RequestHandler):
    """Renders the answer of the operation that a route names for the request's method."""

    def initialize(self, operations: dict[str, Operation]) -> None:
        self._operations = operations

    def set_default_headers(self) -> None:
        for name in ("Server", "Content-Type", "Date"):
            self.clear_header(name)

    def compute_etag(self) -> str | None:
        return None

    def data_received(self, chunk: bytes) -> None:
        raise NotImplementedError("bodies do not pass through Tornado")

    def log_exception(self, *_: Any) -> None:
        log.exception("handler failed", uri=self.request.uri)

    async def _answer(self) -> None:
        exchange = self.request.connection
        assert isinstance(exchange, Exchange)
        request = exchange.request
        operation = self._operations.get(request.method)
        if operation is None:
            answer = _no_operation(request, self._operations)
        else:
            exchange.operation = operation.name
            answer = await answer_to(request, operation)
        self.set_status(answer.status)
        for name, value in answer.headers:
            self.add_header(name, value)
        if answer.status not in BODILESS:
            self.set_header("Content-Length", str(answer.length))
        if isinstance(answer.body, bytes):
            self.finish(answer.body or None)
            return
        self.flush()
        await exchange.write_pieces(answer)
        self.finish()

    get = head = put = post = delete = patch = options = _answer


class _OfHost(Matcher):
    """Matches what is asked of a host that a route owns."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def match(self, request: httputil.HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self._route.owns(request.headers.get("Host", "").encode("latin-1")) else None


def _as_given(headers: httputil.HTTPHeaders) -> list[tuple[str, str]]:
    """Tornado writes `X-Amz-Meta-A` where the answer said `x-amz-meta-a`, and S3's clients keep the name that came."""
    return [(name.lower() if name.startswith("X-") else name, value) for name, value in headers.get_all()]


def _no_operation(request: Request, operations: dict[str, Operation]) -> Answer:
    if not operations:
        error = NoSuchRoute(f"nothing is served at {request.path[:200]!r}; the API is under /_/api/v1")
        return error_answer(error, request.request_id)
    allowed = tuple(method for method in METHODS if method in operations)
    text = f"{request.method} is not served at {request.path[:200]!r}; use {' or '.join(allowed)}"
    return error_answer(MethodNotAllowed(text, allowed), request.request_id)


class TornadoSeam:
    """Starts requests in a Tornado Application made of `routes`."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        hosts = [route for route in routes if route.owns_host is not None]
        rules = [Rule(_OfHost(route), OperationHandler, {"operations": route.operations}) for route in hosts]
        rules += [
            Rule(PathMatches(route.pattern), OperationHandler, {"operations": route.operations}) for route in routes
        ]
        self._application = web.Application(
            rules,
            default_handler_class=OperationHandler,
            default_handler_args={"operations": {}},
            log_function=lambda handler: None,
        )

    def start(self, connection: Connection, request: Request) -> None:
        exchange = Exchange(connection, request)
        start_line = httputil.RequestStartLine(request.method, request.path, f"HTTP/{request.version}")
        try:
            headers = httputil.HTTPHeaders()
            for name, value in request.headers.items():
                headers.add(name.decode("latin-1"), value.decode("latin-1"))
            delegate = self._application.start_request(connection, exchange)
            delegate.headers_received(start_line, headers)
            delegate.finish()
        except httputil.HTTPInputError as error:
            answer = error_answer(MalformedRequest(str(error)), request.request_id)
            assert isinstance(answer.body, bytes)
            request.keep_alive = False
            connection.send_head(request, answer.status, answer.headers, answer.length, answer.body)
            connection.finish(request, "refused")
