"""POST form uploads: multipart/form-data read as it comes, the file passed on, only the fields before it held.

python-multipart finds the parts; here is what S3 makes of them ("POST Object", the S3 API Reference): names in any
case, the file last (what comes after it is ignored), `${filename}` in the key. Whether the form may do what it says is
decided in `forms_policy.py`, once the fields are here and before a byte of the file is kept.
"""

import logging
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from impl.api.s3.auth_errors import IncorrectNumberOfFilesInPostRequest, RequestIsNotMultiPartContent
from impl.api.s3.errors import (
    InvalidArgument,
    MalformedPOSTRequest,
    MaxPostPreDataLengthExceeded,
    S3Error,
    UserKeyMustBeSpecified,
)

FIELDS_BYTES_MAX: Final = 20 * 1024
"""Names and values of all fields before the file, as S3 has it."""
FIELD_OVERHEAD_BYTES: Final = 16
"""What a field counts beside its name and value, so that empty ones are bounded too."""
PART_HEADERS_MAX: Final = 8
PART_HEADER_BYTES_MAX: Final = 4096
FILE: Final = "file"
_FILE_NAME: Final = "${filename}"
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")

# it warns of every body that is not well-formed; here that is an error which the client is told
logging.getLogger("python_multipart.multipart").setLevel(logging.ERROR)


class Form(msgspec.Struct, frozen=True):
    """What stands before the file: `fields` by name in lower case, with the file's name put into the key.

    `file_name` is without directories, "" if there is none; `file_type` the content type of the file's part, or "".
    """

    fields: Mapping[str, str]
    file_name: str
    file_type: str

    @property
    def key(self) -> str:
        """The key to write to."""
        return self.fields["key"]


class FormReader:
    """Reads one form, whose Content-Type header is given. `form` is None until the file begins.

    Raises RequestIsNotMultiPartContent for another content type, MalformedPOSTRequest without a usable boundary.
    """

    def __init__(self, content_type: bytes) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise RequestIsNotMultiPartContent()
        boundary = options.get(b"boundary", b"")
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedPOSTRequest(
                "the content type multipart/form-data must have a boundary of 1 to 70 characters"
            )
        self.form: Form | None = None
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_begin": self._on_header_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=PART_HEADERS_MAX,
            max_header_size=PART_HEADER_BYTES_MAX,
        )
        self._beginning = b"--" + boundary
        """What the body must begin with, as far as it has not come: the parser skips other beginnings, or not."""
        self._failure: S3Error | None = None
        self._fields: dict[str, str] = {}
        self._fields_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._field_name: str | None = None
        self._field_value = bytearray()
        self._in_file = False
        self._file: list[bytes] = []
        self._ended = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The bytes of the file that this piece of the body holds, in order; none before `form` is there.

        Raises MalformedPOSTRequest, MaxPostPreDataLengthExceeded, UserKeyMustBeSpecified if no key stands before the
        file, InvalidArgument for a field that comes twice. After an error it raises the same again.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._check_beginning(piece)
            self._parser.write(piece)
        except FormParserError as error:
            self._failure = MalformedPOSTRequest(f"the body is not well-formed multipart/form-data: {error}")
            raise self._failure from None
        except S3Error as error:
            self._failure = error
            raise
        file, self._file = self._file, []
        return file

    def finish(self) -> None:
        """The body has ended.

        Raises IncorrectNumberOfFilesInPostRequest without a file, MalformedPOSTRequest if it was cut short.
        """
        if self._failure is not None:
            raise self._failure
        if not self._ended:
            raise MalformedPOSTRequest("the body ended before its closing boundary")
        if self.form is None:
            raise IncorrectNumberOfFilesInPostRequest()

    # -- the parser's callbacks, in the order in which they come

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._field_name = None

    def _on_header_begin(self) -> None:
        self._header_name, self._header_value = bytearray(), bytearray()

    def _on_header_field(self, piece: bytes, start: int, end: int) -> None:
        self._header_name += piece[start:end]

    def _on_header_value(self, piece: bytes, start: int, end: int) -> None:
        self._header_value += piece[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)

    def _on_headers_finished(self) -> None:
        if self.form is not None:
            return
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise MalformedPOSTRequest("a part has no Content-Disposition: form-data with a name")
        name = _text(options[b"name"], "the name of a field").lower()
        if name == FILE:
            self.form = self._begin_file(_text(options.get(b"filename", b""), "the name of the file"))
            self._in_file = True
            return
        if name in self._fields:
            raise InvalidArgument(f"the field {name[:80]!r} comes twice; give it once", ArgumentName=name[:80])
        self._count(len(options[b"name"]) + FIELD_OVERHEAD_BYTES)
        self._field_name, self._field_value = name, bytearray()

    def _on_part_data(self, piece: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._file.append(piece[start:end])
        elif self._field_name is not None:
            self._count(end - start)
            self._field_value += piece[start:end]

    def _on_part_end(self) -> None:
        self._in_file = False
        if self._field_name is not None:
            self._fields[self._field_name] = _text(bytes(self._field_value), f"the field {self._field_name[:80]!r}")
            self._field_name = None

    def _on_end(self) -> None:
        self._ended = True

    # -- the rules

    def _check_beginning(self, piece: bytes) -> None:
        awaited, self._beginning = self._beginning[: len(piece)], self._beginning[len(piece) :]
        if not piece.startswith(awaited):
            raise MalformedPOSTRequest("the body does not begin with the boundary of its content type")

    def _count(self, size_bytes: int) -> None:
        self._fields_bytes += size_bytes
        if self._fields_bytes > FIELDS_BYTES_MAX:
            raise MaxPostPreDataLengthExceeded(
                f"the fields before the file have more than {FIELDS_BYTES_MAX} bytes; is the file the last field?"
            )

    def _begin_file(self, file_name: str) -> Form:
        file_name = file_name.replace("\\", "/").rpartition("/")[2]
        key = self._fields.get("key")
        if not key:
            raise UserKeyMustBeSpecified("a form must have the field key before the file")
        fields = {**self._fields, "key": key.replace(_FILE_NAME, file_name)}
        return Form(fields, file_name, self._headers.get(b"content-type", b"").decode("latin-1"))


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedPOSTRequest(f"{what} is not valid UTF-8") from None
