"""What a URL and headers say, checked: paths, query arguments, write ids. Pure."""

import base64
import binascii
import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from impl.errors import InvalidArgument, InvalidPath, RangeNotSatisfiable
from impl.model import NULL_VERSION, PATH_BYTES_MAX, PathError, normalise_path

WRITE_ID: Final = re.compile(r"[\x20-\x7e]{1,128}")
CONTENT_TYPE: Final = re.compile(r"[\x20-\x7e]{1,256}")
LIST_LIMIT_MAX: Final = 1000
VERSION_DIGITS_MAX: Final = 18
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")


def object_path(encoded: str) -> str:
    """The normalised path of an object from its percent-encoded form. Raises InvalidPath."""
    if len(encoded) <= PATH_BYTES_MAX and _PLAIN.fullmatch(encoded):
        return encoded  # as most paths are: nothing to decode, fold or refuse
    text = _utf8(unquote_to_bytes(encoded.encode("latin-1")), "path")
    try:
        return normalise_path(text)
    except PathError as error:
        raise InvalidPath(str(error)) from None


def list_prefix(text: str) -> str:
    """A prefix in the spelling that paths have: NFC, no leading or repeated `/`. Raises InvalidArgument."""
    prefix = re.sub("/+", "/", unicodedata.normalize("NFC", text)).lstrip("/")
    if any(unicodedata.category(character) == "Cc" for character in prefix):
        raise InvalidArgument(f"the prefix {text[:200]!r} has a control character; use printable characters only")
    if len(prefix.encode()) > PATH_BYTES_MAX:
        raise InvalidArgument(f"the prefix has {len(prefix.encode())} bytes; at most {PATH_BYTES_MAX} are allowed")
    return prefix


def query_arguments(query: str) -> dict[str, str]:
    """The arguments of a query. Raises InvalidArgument for one that comes twice or is not UTF-8."""
    arguments: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        decoded = _argument(name)
        if decoded in arguments:
            raise InvalidArgument(f"the argument {decoded[:80]!r} is given twice; give it once")
        arguments[decoded] = _argument(value)
    return arguments


def _argument(encoded: str) -> str:
    raw = unquote_to_bytes(encoded.replace("+", " ").encode("latin-1"))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"the query has {raw[:80]!r}, which is not valid UTF-8") from None


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidPath(f"the {what} {raw[:80]!r} is not valid UTF-8; percent-encode its UTF-8 bytes") from None


def list_limit(text: str | None) -> int:
    """How many items a page may have, 1 to 1000."""
    if text is None:
        return LIST_LIMIT_MAX
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LIST_LIMIT_MAX):
        raise InvalidArgument(f"limit is {text[:80]!r}; use a whole number from 1 to {LIST_LIMIT_MAX}")
    return int(text)


def flag(name: str, text: str | None) -> bool:
    """true, false, 1 or 0; false if missing."""
    if text in (None, "false", "0"):
        return False
    if text in ("true", "1"):
        return True
    raise InvalidArgument(f"{name} is {text[:80] if text else text!r}; use true or false")


def version_id(text: str | None) -> int | None:
    """The version that a request names: the generation that made it, or `null`; None for the current one."""
    if text is None:
        return None
    if text == "null":
        return NULL_VERSION
    if not (text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX and int(text) > 0):
        raise InvalidArgument(f"version is {text[:40]!r}; give the generation that made it, or null")
    return int(text)


def span(start: str | None, end: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The bytes [start, end) that a request asks for in its query; None for all. `end` may be beyond the end."""
    if start is None and end is None:
        return None
    first, last = _offset("start", start or "0"), size_bytes if end is None else _offset("end", end)
    if first >= last or first >= size_bytes:
        raise RangeNotSatisfiable(
            f"start {first} and end {last} name no byte of the {size_bytes}; ask for some of them"
        )
    return first, min(last, size_bytes)


def _offset(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX):
        raise InvalidArgument(f"{name} is {text[:40]!r}; give a number of bytes")
    return int(text)


def encode_cursor(after: str) -> str:
    """A cursor: opaque to clients, the last path to us."""
    return base64.urlsafe_b64encode(after.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """The path after which a listing goes on. Raises InvalidArgument for what no listing gave out."""
    if not cursor:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        after = raw.decode()
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"the cursor {cursor[:80]!r} was not given out by a listing; start without one") from None
    if not after or len(raw) > PATH_BYTES_MAX:
        raise InvalidArgument(f"the cursor {cursor[:80]!r} was not given out by a listing; start without one")
    return after


def write_id(text: str | None) -> str | None:
    """The client's idempotency key. Raises InvalidArgument unless it is 1 to 128 printable ASCII characters."""
    if text is None or WRITE_ID.fullmatch(text):
        return text
    raise InvalidArgument(f"x-amberio-write-id is {text[:140]!r}; use 1 to 128 printable ASCII characters")


def content_type(text: str | None) -> str:
    """The media type to keep with an object. Raises InvalidArgument unless it is printable ASCII, up to 256."""
    if text is None or text == "":
        return "application/octet-stream"
    if not CONTENT_TYPE.fullmatch(text):
        raise InvalidArgument(f"content-type is {text[:80]!r}; use up to 256 printable ASCII characters")
    return text
