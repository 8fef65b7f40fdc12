"""POST Object: an upload by a browser's form. How the form is read, and what it may do, is `form_upload.py`."""

from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from impl.api.http.exchange import Answer, HeaderPairs
from impl.api.s3 import metadata, shapes, versions, xml
from impl.api.s3.call import Call, xml_answer
from impl.api.s3.objects import Objects
from impl.protocol.change import NO_CONDITION

_STATUSES: Final = {"200": 200, "201": 201}
_NO_CONTENT: Final = 204
_SEE_OTHER: Final = 303


class Posts:
    """The form uploads of one node."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def post(self, call: Call) -> Answer:
        """Write the form's file, and answer as the form asks: with a status, a document, or a way elsewhere."""
        body = call.body()
        attributes = metadata.of_request(call.headers)
        stored = await self._objects.stored(call, body)
        attributes = (*attributes, *metadata.of_checksum(body.checksum))
        written = await self._objects.write(call, stored, metadata.content_type(call.headers), attributes, NO_CONDITION)
        return _answer(call, written.etag or "", versions.told_of_write(call.found, written))


def _answer(call: Call, etag: str, about: HeaderPairs) -> Answer:
    assert call.form is not None
    fields = call.form.form.fields
    quoted = ("ETag", f'"{etag}"')
    if (elsewhere := _redirect(call, fields.get("success_action_redirect") or fields.get("redirect", ""), etag)) != "":
        return Answer(_SEE_OTHER, (quoted, ("Location", elsewhere), *about))
    scheme = "https" if call.request.is_tls else "http"
    location = f"{scheme}://{call.headers.get('host', '')}{_path(call)}"
    headers = (quoted, ("Location", location), *about)
    status = _STATUSES.get(fields.get("success_action_status", ""), _NO_CONTENT)
    if status != 201:
        return Answer(status, headers)
    posted = shapes.PostedObject(location, call.bucket, call.key, etag)
    return xml_answer(xml.posted_object(posted), headers, status)


def _path(call: Call) -> str:
    """The path of the new object, for the host that was asked: which may be the bucket's own."""
    encoded = quote(call.key, safe="/~")
    start = call.request.path.rstrip("/")
    return f"{start}/{encoded}"


def _redirect(call: Call, url: str, etag: str) -> str:
    """Where the browser shall go on, told what it uploaded; "" if the form names no such place, as S3 has it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc or not (url.isascii() and url.isprintable()):
        return ""
    said = f"bucket={call.bucket}&key={quote(call.key, safe='')}&etag={quote(chr(34) + etag + chr(34))}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{said}" if parts.query else said))
