"""Status line and headers as bytes. Pure."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
BODILESS: Final = frozenset({204, 304})


def head_bytes(
    status: int,
    headers: Iterable[tuple[str, str]],
    length: int | None,
    common: str,
    request_id: str,
    connection: str | None,
) -> bytes:
    """The head of an answer. `length` None: no Content-Length; `connection`: the value of that header, if it is due.

    Header values are text that a header may carry; line ends in them were refused when they came in.
    """
    lines = [STATUS_LINES[status], common, "x-amberio-request-id: ", request_id, "\r\n"]
    for name, value in headers:
        lines += (name, ": ", value, "\r\n")
    if length is not None and status not in BODILESS:
        lines += ("Content-Length: ", str(length), "\r\n")
    if connection is not None:
        lines += ("Connection: ", connection, "\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")
