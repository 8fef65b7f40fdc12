"""Text and times as S3 writes them into XML."""

import re
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

PLAIN: Final = re.compile(r"[A-Za-z0-9_.~/-]*")
"""Text that is the same in XML and in a URL, as most keys are."""

_NOT_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES: Final = {'"': "&quot;"}


def xml_text(text: str) -> str:
    """Text for an element's content.

    Characters that XML 1.0 has no way to write become references such as `&#x1;`, as S3 does: a strict parser refuses
    those aloud. Put another character there, and a client would go on from a key that is not the one we sent.
    """
    if PLAIN.fullmatch(text):
        return text
    escaped = escape(text, _QUOTES)
    if escaped.isprintable():
        return escaped
    return _NOT_XML.sub(lambda match: f"&#x{ord(match[0]):x};", escaped)


def iso_time(at_ms: int) -> str:
    """Milliseconds since the epoch as `2009-10-12T17:50:30.000Z`."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{ms:03d}Z"
