"""botocore as an oracle: its parsers read our answers, its serialisers write our requests. And values to be said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.parsers
import botocore.serialize
import botocore.session
from botocore import handlers
from hypothesis import strategies as st

from impl.api.s3.checksums import Algorithm, Checksum, ChecksumType
from impl.api.s3.shapes import Owner

MODEL = botocore.session.get_session().get_service_model("s3")
XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r"),
    max_size=20,
)
"""What XML 1.0 can say."""


def parsed(operation: str, body: bytes) -> Any:
    """What boto3's callers would get, without the metadata; url-encoded names are decoded as boto3 does it."""
    shape = MODEL.operation_model(operation).output_shape
    response = {"body": body, "headers": {}, "status_code": 200}
    found = botocore.parsers.RestXMLParser().parse(response, shape)
    del found["ResponseMetadata"]
    decoder = {
        "ListObjects": handlers.decode_list_object,
        "ListObjectsV2": handlers.decode_list_object_v2,
        "ListObjectVersions": handlers.decode_list_object_versions,
    }.get(operation)
    if decoder:
        decoder(found, {"encoding_type_auto_set": True})
    return found


def serialised(operation: str, **parameters: Any) -> bytes:
    """The body that boto3 would send."""
    request = botocore.serialize.RestXMLSerializer().serialize_to_request(parameters, MODEL.operation_model(operation))
    body = request["body"]
    return body if isinstance(body, bytes) else body.encode()


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.integers(0, 2**40)
TIMES_MS = st.integers(0, 253402300799999)
OWNERS = st.builds(Owner, id=XML_TEXT, display_name=st.none() | XML_TEXT)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "checksum_algorithm": st.none() | st.sampled_from(Algorithm),
    "checksum_type": st.none() | st.sampled_from(ChecksumType),
}
CHECKSUMS = st.none() | st.builds(
    Checksum, algorithm=st.sampled_from(Algorithm), value=XML_TEXT, type=st.sampled_from(ChecksumType)
)


def moment(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def present(**members: Any) -> dict[str, Any]:
    """What botocore gives: what is not there is left out."""
    return {name: value for name, value in members.items() if value is not None and value != []}


def owner_of(owner: Owner | None) -> dict[str, Any] | None:
    return present(ID=owner.id, DisplayName=owner.display_name) if owner else None


def kind_of(entry: Any, in_list: bool = False) -> dict[str, Any]:
    algorithm = entry.checksum_algorithm and [entry.checksum_algorithm] if in_list else entry.checksum_algorithm
    return present(ChecksumAlgorithm=algorithm, ChecksumType=entry.checksum_type)
