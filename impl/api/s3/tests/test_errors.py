"""What clients hear of an error: botocore's parser reads it, and every error of the node has a code that S3 has."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import botocore.parsers
import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

import impl.errors
from impl.api.s3 import auth_errors, errors
from impl.api.s3.errors import S3Error, answer, error_xml
from impl.errors import AmberioError

SHAPES = botocore.session.get_session().get_service_model("s3")
XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), min_size=1
)


def subclasses(base: type[AmberioError]) -> Iterator[type[AmberioError]]:
    for child in base.__subclasses__():
        yield child
        yield from subclasses(child)


NODE = [kind for kind in [AmberioError, *subclasses(AmberioError)] if kind.__module__ == impl.errors.__name__]
S3 = [kind for kind in subclasses(S3Error) if kind.__module__ in (errors.__name__, auth_errors.__name__)]


def parsed(body: bytes, status: int) -> Any:
    response = {"body": body, "headers": {}, "status_code": status}
    return botocore.parsers.RestXMLParser().parse(response, SHAPES.operation_model("ListObjectsV2").output_shape)


@given(message=XML_TEXT, resource=XML_TEXT, key=XML_TEXT, request_id=XML_TEXT)
def test_botocore_reads_what_an_error_says(message: str, resource: str, key: str, request_id: str) -> None:
    body = error_xml(errors.NoSuchKey(message, Key=key), resource, request_id, "host")
    said = {"Code": "NoSuchKey", "Message": message, "Resource": resource, "Key": key}
    assert parsed(body, 404)["Error"] == said
    document = ET.fromstring(body)
    assert (document.findtext("RequestId"), document.findtext("HostId")) == (request_id, "host")


@given(st.text(st.characters()))
def test_no_text_keeps_an_error_from_being_written(text: str) -> None:
    body = error_xml(errors.InvalidArgument(text, ArgumentValue=text), text, text).decode("utf-8")
    assert body.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InvalidArgument</Code>')
    assert body.count("<") == 2 + 2 * 6 + 1
    assert not re.search("[\x00-\x08\x0b-\x1f\ufffe\uffff]", body)


def test_the_elements_come_in_the_order_that_s3_has() -> None:
    body = error_xml(errors.NoSuchBucket(BucketName="b", Unset=None), "/b/", "r")
    order = [element.tag for element in ET.fromstring(body)]
    assert order == ["Code", "Message", "BucketName", "Resource", "RequestId", "HostId"]


@pytest.mark.parametrize("kind", NODE, ids=lambda kind: kind.__name__)
def test_every_error_of_the_node_has_a_code_and_status_of_s3(kind: type[AmberioError]) -> None:
    error = kind.__new__(kind)
    error.args = ("the text",)
    if isinstance(error, impl.errors.MethodNotAllowed):
        error.allowed = ("GET",)
    told = answer(error)
    assert told.code in S3_CODES
    assert 400 <= told.status <= 507
    assert kind.retry_after_s is None or (told.status == 503 and ("retry-after", "1") in told.headers)
    assert (kind.outcome is not None) == any(name == "x-amberio-outcome" for name, _ in told.headers)


@pytest.mark.parametrize("kind", S3, ids=lambda kind: kind.__qualname__)
def test_codes_have_one_status_each(kind: type[AmberioError]) -> None:
    statuses = {other.status for other in S3 if other.code == kind.code}
    statuses |= {row.status for row in errors.NODE_ERRORS.values() if row.code == kind.code}
    assert statuses == {kind.status}


def test_an_error_of_a_class_that_nobody_listed_is_told_as_its_nearest_base() -> None:
    class NoQuorumOfArchives(impl.errors.NoQuorum):
        pass

    assert answer(NoQuorumOfArchives("x")) == answer(impl.errors.NoQuorum("x"))


def test_what_went_wrong_inside_is_not_told() -> None:
    for error in (KeyError("secret"), AmberioError("secret"), impl.errors.BadBytes("secret")):
        assert b"secret" not in error_xml(error, "/", "r")
        assert answer(error).status == 500


S3_CODES = {kind.code for kind in S3} | {
    "InternalError",
    "ServiceUnavailable",
    "SlowDown",
    "RequestTimeout",
    "RequestHeaderSectionTooLarge",
    "InsufficientStorage",
}
