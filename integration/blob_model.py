"""What the native API must answer: a dict of objects, and its contract in short words. Knows nothing of `impl`."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

PATH_BYTES_MAX = 1024
REMEMBERED_WRITES = 16


def normal(raw: str) -> str | None:
    """The one spelling of a path; None for what cannot name an object."""
    text = unicodedata.normalize("NFC", raw)
    path = re.sub("/+", "/", text).removeprefix("/")
    is_bad = any(unicodedata.category(character) == "Cc" for character in path)
    is_bad |= any(segment in (".", "..") for segment in path.split("/"))
    return path if path and not is_bad and len(path.encode()) <= PATH_BYTES_MAX else None


@dataclass
class Written:
    """What a write's client was told."""

    write_id: str | None
    generation: int
    etag: str | None
    size_bytes: int


@dataclass
class Stored:
    """A path's object; generation 0: never written."""

    generation: int = 0
    is_live: bool = False
    etag: str | None = None
    body: bytes = b""
    content_type: str = ""
    recent: list[Written] = field(default_factory=list)

    def earlier(self, write_id: str | None) -> Written | None:
        """What was told of this write before, if it is not too long ago."""
        found = [written for written in self.recent if write_id is not None and written.write_id == write_id]
        return found[-1] if found else None

    def write(self, write_id: str | None, etag: str | None, body: bytes, content_type: str) -> Written:
        """The next generation; no etag: a tombstone."""
        self.generation += 1
        self.is_live, self.etag, self.body, self.content_type = etag is not None, etag, body, content_type
        written = Written(write_id, self.generation, etag, len(body))
        self.recent = [*self.recent, written][-REMEMBERED_WRITES:]
        return written


class Stores(dict[str, Stored]):
    """All objects by path."""

    def __missing__(self, path: str) -> Stored:
        return self.setdefault(path, Stored())

    def listed(self, prefix: str, after: str, include_deleted: bool) -> list[tuple[str, Stored]]:
        """In the order of their paths' bytes."""
        return [
            (path, stored)
            for path, stored in sorted(self.items(), key=lambda item: item[0].encode())
            if path.startswith(prefix) and path.encode() > after.encode() and stored.generation
            if stored.is_live or include_deleted
        ]


@dataclass(frozen=True)
class Guard:
    """The precondition of a write. ETAG, BARE and GENERATION stand for those of the object; None: nonsense."""

    headers: tuple[tuple[str, str], ...]
    holds: Callable[[Stored], bool] | None = field(repr=False)
    refusal: int = 412


GUARDS = (
    *(Guard((), lambda stored: True),) * 8,
    Guard((("If-None-Match", "*"),), lambda stored: not stored.is_live),
    Guard((("If-None-Match", "ETAG"),), lambda stored: not stored.is_live),
    Guard((("If-None-Match", "W/ETAG"),), lambda stored: not stored.is_live),
    Guard((("If-None-Match", '"other"'),), lambda stored: True),
    Guard((("If-Match", "*"),), lambda stored: stored.is_live),
    Guard((("If-Match", "ETAG"),), lambda stored: stored.is_live),
    Guard((("If-Match", "BARE"),), lambda stored: stored.is_live),
    Guard((("If-Match", '"other"'),), lambda stored: False),
    Guard((("x-amberio-if-generation", "GENERATION"),), lambda stored: True, 409),
    Guard((("x-amberio-if-generation", "0"),), lambda stored: stored.generation == 0, 409),
    Guard((("x-amberio-if-generation", "3"),), lambda stored: stored.generation == 3, 409),
    Guard((("x-amberio-if-generation", "-1"),), None),
    Guard((("If-Match", "W/ETAG"),), None),
    Guard((("If-Match", '"one", "two"'),), None),
    Guard((("If-Match", "*"), ("If-None-Match", "*")), None),
)

Verdict = Literal["serve", "not modified", "failed"]


@dataclass(frozen=True)
class Asked:
    """Conditional headers of a read of a live object, and what they lead to; `ranged`: a Range beside them counts."""

    headers: tuple[tuple[str, str], ...]
    verdict: Verdict = "serve"
    ranged: bool = True


ASKED = (
    *(Asked(()),) * 4,
    Asked((("If-Match", "ETAG"),)),
    Asked((("If-Match", '"other", ETAG'),)),
    Asked((("If-Match", "*"),)),
    Asked((("If-Match", "W/ETAG"),), "failed"),
    Asked((("If-Match", '"other"'),), "failed"),
    Asked((("If-None-Match", "ETAG"),), "not modified"),
    Asked((("If-None-Match", '"other", W/ETAG'),), "not modified"),
    Asked((("If-None-Match", "*"),), "not modified"),
    Asked((("If-None-Match", '"other"'),)),
    Asked((("If-Match", '"other"'), ("If-None-Match", "ETAG")), "failed"),
    Asked((("If-Range", "ETAG"),)),
    Asked((("If-Range", "W/ETAG"),), ranged=False),
    Asked((("If-Range", '"other"'),), ranged=False),
    Asked((("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),), "not modified"),
    Asked((("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"),), "failed"),
)


def filled(headers: tuple[tuple[str, str], ...], stored: Stored) -> dict[str, str]:
    """The headers with what stands for the object's own values put in."""
    etag = stored.etag or '"none"'
    return {
        name: value.replace("ETAG", etag).replace("BARE", etag.strip('"')).replace("GENERATION", str(stored.generation))
        for name, value in headers
    }


@dataclass(frozen=True)
class Span:
    """A Range header, and which slice it asks for; None: a header without sense, which is ignored."""

    header: str
    slice: Callable[[int], tuple[int, int]] | None = field(repr=False)


def spans(first: int, last: int) -> tuple[Span, ...]:
    """Ways to ask for a range with these two numbers."""
    return (
        Span(f"bytes={first}-{last}", (lambda size: (first, min(last + 1, size))) if first <= last else None),
        Span(f"bytes={first}-", lambda size: (first, size)),
        Span(f"bytes=-{last}", lambda size: (max(0, size - last), size)),
        Span(f"bytes={first}-{last},0-0", None),
        Span(f"lines={first}-{last}", None),
    )
