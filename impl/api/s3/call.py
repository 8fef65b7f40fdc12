"""One S3 request, read: what it is about, what it asks, who sent it; and the small pieces of every answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from impl.api.http.exchange import Answer, HeaderPairs, Request
from impl.api.s3.asker import Asker
from impl.api.s3.auth import Verified
from impl.api.s3.bodies import CheckedBody
from impl.api.s3.bucket import Bucket
from impl.api.s3.checksums import Algorithm, declared_by
from impl.api.s3.credentials import canonical_user_id
from impl.api.s3.errors import AccessDenied, InvalidArgument, InvalidURI, MissingRequestBody
from impl.api.s3.form_upload import FormUpload
from impl.api.s3.names import Target
from impl.api.s3.shapes import Owner
from impl.errors import AmberioError, OutcomeUnknown
from impl.protocol.change import Condition

XML_TYPE: Final = ("Content-Type", "application/xml")
XML_BYTES_MAX: Final = 4 * 1024 * 1024
"""The largest document that a client may send: a DeleteObjects or CompleteMultipartUpload of many entries."""
_INVOCATION_CHARACTERS_MAX: Final = 100


class Call(msgspec.Struct, frozen=True):
    """A request to S3. `arguments` are those of the query, decoded; `headers` have lower-case names.

    access.py sets `asker` for all that is about a bucket which is there, `source`, the same for the bucket that a copy
    is from, and `may_all` for whom nothing is denied. Of a form upload, `target`, `headers` and `verified` are the
    form's, and the body is its file.
    """

    request: Request
    target: Target
    arguments: dict[str, str]
    headers: dict[str, str]
    verified: Verified
    asker: Asker | None = None
    may_all: bool = False
    form: FormUpload | None = None
    source: Asker | None = None

    @property
    def found(self) -> Bucket:
        """The bucket as it was read when the request began; for operations that are about one."""
        assert self.asker is not None
        return self.asker.bucket

    def require(self, action: str, key: str, version_id: str | None = None) -> None:
        """Raises AccessDenied unless the sender may do this to an object of the bucket; for requests about many."""
        if not self.may(action, key, version_id):
            raise AccessDenied()

    def may(self, action: str, key: str, version_id: str | None = None) -> bool:
        """May the sender do this to an object of the bucket?"""
        return self.asker is not None and self.asker.may(action, key, version_id)

    @property
    def bucket(self) -> str:
        """The bucket's name; for operations that are about one."""
        assert self.target.bucket is not None
        return self.target.bucket

    @property
    def key(self) -> str:
        """The object's key; for operations that are about one."""
        assert self.target.key is not None
        return self.target.key

    @property
    def path(self) -> str:
        """The path of the object's register."""
        return object_path(self.bucket, self.key)

    @property
    def write_id(self) -> str | None:
        """What the SDKs send with every try of one call: so a try after a lost answer finds what the first one did.

        Only in the same bucket: what was written in one that is gone since is gone too.
        """
        invocation = self.headers.get("amz-sdk-invocation-id", "")
        if not invocation or len(invocation) > _INVOCATION_CHARACTERS_MAX or not invocation.isprintable():
            return None
        return f"s3 {self.asker.bucket.creation_id if self.asker is not None else ''} {invocation}"

    def body(self, algorithm: Algorithm | None = None) -> CheckedBody:
        """The request's body, to be read once. `algorithm`: of the checksum to compute if none is declared."""
        body = self.request.body if self.form is None else self.form.file
        return CheckedBody(body, self.verified.payload, self.request.headers, declared_by(self.headers), algorithm)

    async def document(self, required: bool = True) -> bytes:
        """A small body, whole. Raises MissingRequestBody if there must be one."""
        body = await self.body().read_all(XML_BYTES_MAX)
        if required and not body:
            raise MissingRequestBody()
        return body


@contextmanager
def once_written(text: str) -> Iterator[None]:
    """What goes wrong after a write took effect leaves it unknown, and is not called failed. Raises OutcomeUnknown."""
    try:
        yield
    except OutcomeUnknown:
        raise
    except AmberioError as error:
        raise OutcomeUnknown(f"{text}: {error}; try again") from error


def object_path(bucket: str, key: str) -> str:
    """The path of an object's register. A bucket's name has no slash, so no two objects share a path."""
    return f"{bucket}/{key}"


def query_arguments(query: str) -> dict[str, str]:
    """The arguments of a query, percent-encoding removed; of a name that is there twice, the first counts.

    Raises InvalidURI for what is not UTF-8.
    """
    arguments: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if pair:
            arguments.setdefault(_decoded(name), _decoded(value))
    return arguments


def bare_names(query: str) -> set[str]:
    """The names in a query that have no `=`: each asks for a sub-resource."""
    return {_decoded(pair) for pair in query.split("&") if pair and "=" not in pair}


def _decoded(encoded: str) -> str:
    try:
        return unquote_to_bytes(encoded.replace("+", " ").encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise InvalidURI(f"Couldn't parse the specified URI: {encoded[:80]!r} in the query is not UTF-8.") from None


def number_argument(call: Call, name: str, low: int, high: int) -> int:
    """A whole number in the query. Raises InvalidArgument."""
    text = call.arguments[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise InvalidArgument(
            f"{name} must be an integer between {low} and {high}, inclusive",
            ArgumentName=name,
            ArgumentValue=text[:200],
        )
    return int(text)


def xml_answer(document: bytes, headers: HeaderPairs = (), status: int = 200) -> Answer:
    """An answer whose body is an XML document."""
    return Answer(status, (XML_TYPE, *headers), document, len(document))


def owner_of(access_key_id: str, name: str = "") -> Owner:
    """Somebody as XML names them: an access key id has a canonical user id, 64 hex digits."""
    return Owner(canonical_user_id(access_key_id), name or access_key_id or "anonymous")


def http_time(at_ms: int) -> str:
    """Milliseconds since the epoch as headers have it."""
    return formatdate(at_ms // 1000, usegmt=True)


def refusal_of_condition(condition: Condition) -> str:
    """The name of the header that a refused condition came from."""
    return "If-None-Match" if condition.kind in ("absent", "etag_is_not") else "If-Match"
