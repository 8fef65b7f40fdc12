"""GetObjectAttributes: what there is to know of an object without its bytes, also of the parts it was uploaded in.

The checksums of single parts are not kept once an upload is complete, so parts are told with their sizes.
"""

from typing import Final

from impl.api.http.exchange import Answer
from impl.api.s3 import listing, metadata, shapes, versions, xml
from impl.api.s3.call import Call, http_time, xml_answer
from impl.api.s3.errors import InvalidArgument, InvalidRequest
from impl.api.s3.objects import Objects
from impl.model import Head

ATTRIBUTES: Final = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})
_WANTED: Final = "x-amz-object-attributes"
_MOST: Final = "x-amz-max-parts"
_MARKER: Final = "x-amz-part-number-marker"


class ObjectAttributes:
    """The operation GetObjectAttributes."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, call: Call) -> Answer:
        """GetObjectAttributes."""
        wanted = _wanted(call)
        most = listing.max_entries(_MOST, call.headers.get(_MOST))
        marker = _marker(call)
        head = await self._objects.head(call)
        told = shapes.ObjectAttributes(
            etag=head.etag if "ETag" in wanted else None,
            checksum=metadata.checksum_in(head.attributes) if "Checksum" in wanted else None,
            parts=_parts(head, marker, most) if "ObjectParts" in wanted else None,
            storage_class=metadata.storage_class(head.attributes) if "StorageClass" in wanted else None,
            size_bytes=head.size_bytes if "ObjectSize" in wanted else None,
        )
        about = (("Last-Modified", http_time(head.updated_at_ms)), *versions.told_of_head(call.found, head))
        return xml_answer(xml.object_attributes(told), about)


def _wanted(call: Call) -> frozenset[str]:
    names = frozenset(name.strip() for name in call.headers.get(_WANTED, "").split(",")) - {""}
    if not names:
        raise InvalidRequest(
            f"The {_WANTED} header specifying the attributes to be retrieved is either missing or empty"
        )
    if unknown := sorted(names - ATTRIBUTES):
        raise InvalidArgument(
            "Invalid attribute name specified.", ArgumentName=_WANTED, ArgumentValue=", ".join(unknown)[:200]
        )
    return names


def _marker(call: Call) -> int:
    text = call.headers.get(_MARKER, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidArgument(
            f"{_MARKER} must be an integer between 0 and 2147483647", ArgumentName=_MARKER, ArgumentValue=text[:200]
        )
    return int(text)


def _parts(head: Head, marker: int, most: int) -> shapes.AttributeParts | None:
    """A page of the parts after number `marker`; None for what was not uploaded in parts.

    As S3 does it, single parts are told only of what was uploaded with a checksum.
    """
    sizes = metadata.part_sizes(head.attributes)
    if not sizes:
        return None
    listed: list[tuple[int, int]] = []
    if metadata.checksum_in(head.attributes) is not None:
        listed = list(enumerate(sizes[marker : marker + most], marker + 1))
    following = listed[-1][0] if listed and listed[-1][0] < len(sizes) else None
    return shapes.AttributeParts(len(sizes), marker, most, listed, following)
