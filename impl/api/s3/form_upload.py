"""A browser's form upload as it comes in: its fields read and verified, its file still to be read.

What a form may do is said by its own policy (`forms_policy.py`), and then by access control, as for any other request:
so its fields become the headers that a PUT of the same object would have.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from impl.api.http.exchange import Request
from impl.api.node_face import BodySource
from impl.api.s3 import metadata, xml_requests
from impl.api.s3.auth import AuthKind, Payload, PayloadKind, Verified, Verifier
from impl.api.s3.errors import InvalidArgument
from impl.api.s3.forms import Form, FormReader
from impl.api.s3.forms_policy import SIGNED_FIELDS, SizeRange, verify_form
from impl.api.s3.tags import OBJECT_TAGS_MAX

_AS_HEADERS: Final = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)
_NO_HEADERS: Final = (*SIGNED_FIELDS, "x-amz-content-sha256", "x-amz-trailer", "x-amz-copy-source", "x-amz-tagging")
_OF_REQUEST: Final = ("host", "referer", "user-agent")
"""What bucket policies and answers look at, of the request that the form comes in."""
_NAME: Final = re.compile("[a-z0-9_.-]+")


class FormFile:
    """The file of a form, to be read to its end as a body is: how long it is shows only then.

    `read` raises what FormReader does, EntityTooLarge, EntityTooSmall, and what the connection's body does.
    """

    size_bytes: int | None = None

    def __init__(self, body: BodySource, reader: FormReader, begun: Sequence[bytes], allowed: SizeRange) -> None:
        self._body = body
        self._reader = reader
        self._pieces = [piece for piece in begun if piece]
        self._allowed = allowed
        self._seen_bytes = 0

    async def read(self) -> bytes:
        while not self._pieces:
            piece = await self._body.read()
            if not piece:
                self._reader.finish()
                self._allowed.check(self._seen_bytes, ended=True)
                return b""
            self._pieces = [piece for piece in self._reader.feed(piece) if piece]
        piece = self._pieces.pop(0)
        self._seen_bytes += len(piece)
        self._allowed.check(self._seen_bytes, ended=False)
        return piece


class FormUpload(msgspec.Struct, frozen=True):
    """A form whose fields are read; `headers` are those of a PUT that asks for the same."""

    form: Form
    verified: Verified
    headers: dict[str, str]
    file: FormFile


async def begin(request: Request, verifier: Verifier, bucket: str, bytes_max: int, now_s: float) -> FormUpload:
    """Read the fields, and see who made the form. Raises what FormReader and `verify_form` do, and InvalidArgument."""
    reader = FormReader(request.headers.get(b"content-type", b""))
    body = _Whole(request.body) if isinstance(request.body, bytes) else request.body
    begun: list[bytes] = []
    while reader.form is None:
        piece = await body.read()
        if not piece:
            reader.finish()
        begun = reader.feed(piece)
    verified = verify_form(verifier, reader.form, bucket, now_s)
    kind = AuthKind.ANONYMOUS if verified.identity.anonymous else AuthKind.FORM
    return FormUpload(
        reader.form,
        Verified(verified.identity, kind, Payload(PayloadKind.UNSIGNED)),
        _headers(request, reader.form.fields),
        FormFile(body, reader, begun, verified.size.within(SizeRange(0, bytes_max))),
    )


def _headers(request: Request, fields: Mapping[str, str]) -> dict[str, str]:
    headers = {name: value for name in _OF_REQUEST if (value := request.header(name.encode())) is not None}
    for name, value in fields.items():
        if name in _AS_HEADERS or (name.startswith("x-amz-") and not name.startswith(_NO_HEADERS)):
            if not _NAME.fullmatch(name):
                raise InvalidArgument("the name of a field cannot be that of a header", ArgumentName=name[:80])
            headers[name] = metadata.header_text(value)
    if "acl" in fields:
        headers["x-amz-acl"] = metadata.header_text(fields["acl"])
    if "tagging" in fields:
        tags = xml_requests.tagging(fields["tagging"].encode(), OBJECT_TAGS_MAX)
        headers["x-amz-tagging"] = urlencode([(tag.key, tag.value) for tag in tags])
    return headers


class _Whole:
    """A body that is here already."""

    def __init__(self, body: bytes) -> None:
        self.size_bytes: int | None = len(body)
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body
