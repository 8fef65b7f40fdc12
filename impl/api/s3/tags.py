"""Tags of objects and buckets: which are allowed, and how a header says them. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from impl.api.s3.errors import BadRequest, InvalidArgument, InvalidTag
from impl.api.s3.shapes import Tag

OBJECT_TAGS_MAX: Final = 10
BUCKET_TAGS_MAX: Final = 50
KEY_CHARS_MAX: Final = 128
VALUE_CHARS_MAX: Final = 256

_BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def check_tags(tags: Sequence[Tag], count_max: int) -> tuple[Tag, ...]:
    """The tags, if S3 would keep them. Raises BadRequest for too many, else InvalidTag."""
    if len(tags) > count_max:
        what = "Object" if count_max == OBJECT_TAGS_MAX else "Bucket"
        raise BadRequest(f"{what} tags cannot be greater than {count_max}")
    for tag in tags:
        if not 1 <= len(tag.key) <= KEY_CHARS_MAX or not all(map(_is_allowed, tag.key)):
            raise InvalidTag("The TagKey you have provided is invalid", TagKey=tag.key[:KEY_CHARS_MAX])
        if tag.key.lower().startswith("aws:"):
            raise InvalidTag("System tags cannot be added/updated by requester", TagKey=tag.key)
        if len(tag.value) > VALUE_CHARS_MAX or not all(map(_is_allowed, tag.value)):
            raise InvalidTag("The TagValue you have provided is invalid", TagKey=tag.key)
    if len({tag.key for tag in tags}) < len(tags):
        raise InvalidTag("Cannot provide multiple Tags with the same key")
    return tuple(tags)


def tags_of_header(header: str) -> tuple[Tag, ...]:
    """The tags of `x-amz-tagging`, which are written as a query. Raises InvalidArgument, BadRequest, InvalidTag."""
    pairs = [pair.partition("=") for pair in header.split("&")] if header else []
    tags = [Tag(_decode(key, header), _decode(value, header)) for key, _, value in pairs]
    return check_tags(tags, OBJECT_TAGS_MAX)


def _decode(encoded: str, header: str) -> str:
    try:
        if not _BAD_ESCAPE.search(encoded):
            return unquote_to_bytes(encoded.replace("+", " ").encode("latin-1")).decode()
    except UnicodeError:
        pass
    raise InvalidArgument(
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name "
        "duplicates.",
        ArgumentName="x-amz-tagging",
        ArgumentValue=header[:1024],
    )


def _is_allowed(character: str) -> bool:
    return unicodedata.category(character)[0] in "LZN" or character in "_.:/=+-@"
