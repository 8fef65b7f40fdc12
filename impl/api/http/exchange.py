"""A request and its answer, as both ways through the HTTP layer see them.

One function decides an answer (`answer_to`); the direct path and Tornado's handlers only render it, so that they
cannot differ.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec
import structlog

from impl.api.http.body import BodyStream
from impl.errors import AmberioError, InternalError, MethodNotAllowed

HeaderPairs = tuple[tuple[str, str], ...]
BodyPieces = AsyncIterator[bytes | memoryview]

JSON_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")

log = structlog.get_logger(__name__)


class Request:
    """One HTTP request. `path` and `query` are as on the wire (percent-encoded); header names are lower-case.

    A header that came twice has its values joined by "," (RFC 9110 section 5.3): so SigV4 signs it, and S3 keeps
    metadata. `body` is bytes when it was small and its length announced (all of it is here already), else a stream.
    `source_ip` is the address at the other end of the connection, "" where that has none. `refusal` is set instead of
    all that when the connection layer itself must refuse the request; the connection is closed after the answer.
    For the metrics, an API may say in `operation` more exactly than its routes do what was asked for, and in
    `error_code` what it was refused with; both are of a bounded set.
    """

    __slots__ = (
        "body", "error_code", "headers", "is_tls", "keep_alive", "method", "operation", "path", "query", "refusal",
        "request_id", "source_ip", "version",
    )  # fmt: skip

    def __init__(self, method: str, path: str, query: str, headers: dict[bytes, bytes], request_id: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.request_id = request_id
        self.version = "1.1"
        self.keep_alive = True
        self.body: bytes | BodyStream = b""
        self.refusal: AmberioError | None = None
        self.source_ip = ""
        self.is_tls = False
        self.operation: str | None = None
        self.error_code: str | None = None

    def header(self, name: bytes) -> str | None:
        """The value of a header (lower-case name), or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class Answer(msgspec.Struct, frozen=True):
    """What to say: `length` is the size in bytes of the body, also where none is sent (HEAD).

    `body` is bytes, or an iterator of pieces that add up to `length`.
    """

    status: int
    headers: HeaderPairs = ()
    body: bytes | BodyPieces = b""
    length: int = 0


Handler = Callable[[Request], Awaitable[Answer]]


class Operation(msgspec.Struct, frozen=True):
    """Something a client can ask for: its name in metrics and logs, and the function that decides the answer."""

    name: str
    handle: Handler


def json_answer(status: int, value: object, headers: HeaderPairs = ()) -> Answer:
    """An answer whose body is `value` (a msgspec.Struct) as JSON."""
    body = msgspec.json.encode(value)
    return Answer(status, (JSON_TYPE, *headers), body, len(body))


class _ErrorText(msgspec.Struct, frozen=True):
    code: str
    message: str
    request_id: str


class _ErrorBody(msgspec.Struct, frozen=True):
    error: _ErrorText


def error_answer(error: AmberioError, request_id: str, headers: HeaderPairs = ()) -> Answer:
    """The one form of all errors (native-api.md), decided by the error's class attributes."""
    if error.outcome is not None:
        headers += (("x-amberio-outcome", error.outcome),)
    if error.retry_after_s is not None:
        headers += (("Retry-After", str(error.retry_after_s)),)
    if isinstance(error, MethodNotAllowed):
        headers += (("Allow", ", ".join(error.allowed)),)
    text = str(error) or (type(error).__doc__ or error.code).strip().splitlines()[0]
    return json_answer(error.status, _ErrorBody(_ErrorText(error.code, text, request_id)), headers)


async def answer_to(request: Request, operation: Operation) -> Answer:
    """The answer to a request; never raises. An error that nobody foresaw is logged and answered as a 500."""
    try:
        return await operation.handle(request)
    except AmberioError as error:
        return error_answer(error, request.request_id)
    except Exception:
        log.exception("request failed", operation=operation.name, path=request.path, request_id=request.request_id)
        return error_answer(InternalError("an unexpected error; the log has its trace"), request.request_id)
