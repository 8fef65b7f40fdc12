"""What httptools finds in the bytes, made into requests, within bounds. No I/O.

Refusals: RFC 9112 where it says MUST, the bounds of HttpLimits, and nothing else.
"""

import re
from collections.abc import Callable
from typing import Final

import httptools

from impl.api.http.body import BodyStream
from impl.api.http.edge import Edge
from impl.api.http.exchange import METHODS, Request
from impl.errors import (
    AmberioError,
    BodyCutShort,
    HeaderTooLarge,
    InvalidArgument,
    MalformedRequest,
    MethodNotAllowed,
    NotYetBuilt,
    TooLarge,
)
from impl.model import INLINE_BODY_BYTES_MAX

OWS: Final = b" \t"
"""What may stand around a header's value and is no part of it (RFC 9110 section 5.5); httptools leaves some of it."""
HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+;=:\[\]]*")


class RequestReader:
    """The callbacks of one connection's parser.

    `arrived(request)` is called for a request that can be answered: when all of it is here, or, if its body is to be
    streamed, when its headers are. `refusal` is set at the first fault; from then on everything is ignored.
    """

    def __init__(
        self,
        edge: Edge,
        arrived: Callable[[Request], None],
        stream_full: Callable[[bool], None],
        send_continue: Callable[[], None],
    ) -> None:
        self.refusal: AmberioError | None = None
        self.upgrade: Request | None = None
        self.parser = httptools.HttpRequestParser(self)
        self._edge = edge
        self._arrived = arrived
        self._stream_full = stream_full
        self._send_continue = send_continue
        self._host_seen = b""
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._in_head = False
        self._fed_in_head_bytes = 0
        self._request: Request | None = None
        self._stream: BodyStream | None = None
        self._pieces: list[bytes] = []
        self.began_s = 0.0

    @property
    def in_head(self) -> bool:
        """Has a request begun whose headers are not complete?"""
        return self._in_head

    @property
    def in_body(self) -> bool:
        """Are the headers of a request here, but not the end of its body?"""
        return self._request is not None

    @property
    def path(self) -> str:
        """The path of the request that came last, as far as it came; "" before any."""
        return self._url.decode("latin-1").partition("?")[0]

    @property
    def addressed(self) -> dict[bytes, bytes]:
        """Of the headers of the request that came last only the Host, if it came."""
        return {name: value for name, value in self._headers.items() if name == b"host"}

    @property
    def stream(self) -> BodyStream | None:
        """The body that is arriving, if it is streamed."""
        return self._stream

    def fed(self, size_bytes: int) -> None:
        """Bound a head that comes in many pieces, of which the parser has not told us yet (one endless header line)."""
        if self._in_head:
            self._fed_in_head_bytes += size_bytes
            if (
                self._fed_in_head_bytes
                > 2 * self._edge.limits.header_bytes_max + self._edge.limits.request_line_bytes_max
            ):
                self._head_too_long()

    def cut(self, error: AmberioError | None = None) -> None:
        """The client sends no more (or may not): whatever is incomplete stays so."""
        if self._stream is not None:
            self._stream.fail(error)
        elif self._request is not None:
            self.refusal = error or BodyCutShort("the body ended before its announced length; nothing was written")
        elif self._in_head:
            self.refusal = error or MalformedRequest("the request ended before its headers did")

    # -- httptools' callbacks, in the order in which they come

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._head_bytes = self._fed_in_head_bytes = 0
        self._in_head = True
        self.began_s = self._edge.now_s

    def on_url(self, piece: bytes) -> None:
        self._url += piece
        if len(self._url) > self._edge.limits.request_line_bytes_max and self.refusal is None:
            self.refusal = InvalidArgument(
                f"the request line has more than {self._edge.limits.request_line_bytes_max} bytes; shorten the URL"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._edge.limits.header_bytes_max:
            self._head_too_long()
            return
        name = name.lower()
        value = value.strip(OWS)
        earlier = self._headers.get(name)
        self._headers[name] = value if earlier is None else earlier + b"," + value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.refusal is not None:
            return
        request = self._new_request()
        if self.refusal is None:
            self._request = request
            self._expect_body(request)

    def on_body(self, piece: bytes) -> None:
        if self._stream is not None:
            self._stream.feed(piece)
        elif self._request is not None:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.feed_end()
        elif request is not None and self.refusal is None:
            if self._pieces:
                request.body = b"".join(self._pieces)
                self._pieces = []
            if self.upgrade is None:
                self._arrived(request)

    # -- the rules

    def _new_request(self) -> Request:
        parser = self.parser
        target = self._url.decode("latin-1")
        if not target.startswith("/"):
            target = self._origin_form(target)
        path, _, query = target.partition("#")[0].partition("?")
        request = Request(parser.get_method().decode(), path, query, self._headers, self._edge.next_request_id())
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        self._check(request)
        if parser.should_upgrade() and path in self._edge.upgrades and self.refusal is None:
            self.upgrade = request
        return request

    def _origin_form(self, target: str) -> str:
        """RFC 9112 section 3.2: absolute form is for proxies, but a server must take it; `*` is for OPTIONS."""
        scheme, colons, rest = target.partition("://")
        if colons and scheme.lower() in ("http", "https"):
            return "/" + rest.partition("/")[2]
        if target != "*":
            self.refusal = MalformedRequest(f"the request target {target[:80]!r} is no path; it must begin with '/'")
        return "/"

    def _check(self, request: Request) -> None:
        host = self._headers.get(b"host")
        if request.version not in ("1.1", "1.0"):
            self.refusal = MalformedRequest(f"HTTP/{request.version} is not spoken here; use HTTP/1.1")
        elif host is None and request.version == "1.1":
            self.refusal = MalformedRequest("the Host header is missing (RFC 9112 section 3.2)")
        elif host is not None and host != self._host_seen and not HOST.fullmatch(host):
            self.refusal = MalformedRequest("the Host header is not one host name")
        elif request.method not in METHODS:
            self.refusal = MethodNotAllowed(f"the method {request.method} is not served", METHODS)
        else:
            self._host_seen = host or b""

    def _expect_body(self, request: Request) -> None:
        headers = self._headers
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            self.refusal = NotYetBuilt(f"transfer-encoding {coding.decode('latin-1')!r} is not supported; use chunked")
            return
        size_bytes = None if coding is not None else int(headers.get(b"content-length", b"0") or b"0")
        limit_bytes = self._edge.limits.object_bytes_max
        if size_bytes is not None and size_bytes > limit_bytes:
            self.refusal = TooLarge(
                f"the body has {size_bytes} bytes; at most {limit_bytes} are allowed (limits.object_bytes_max)"
            )
            return
        waits = request.version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue" and size_bytes != 0
        if size_bytes is not None and size_bytes <= INLINE_BODY_BYTES_MAX and not waits:
            return
        send_continue = self._send_continue if waits else None
        self._stream = request.body = BodyStream(size_bytes, limit_bytes, self._stream_full, send_continue)
        self._arrived(request)

    def _head_too_long(self) -> None:
        if self.refusal is None:
            limit = self._edge.limits.header_bytes_max
            self.refusal = HeaderTooLarge(f"the headers have more than {limit} bytes; send fewer or shorter ones")
