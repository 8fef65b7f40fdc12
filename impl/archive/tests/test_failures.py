"""What S3 and botocore say of failures: what may be asked again, what was not done, what an operator must see."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from impl.archive.failures import BY_CODE, as_archive_error
from impl.errors import (
    AmberioError,
    ArchiveChanged,
    ArchiveCorrupted,
    ArchiveRefused,
    ArchiveThrottled,
    ArchiveUnavailable,
    NotInArchive,
    RangeNotSatisfiable,
)

ANSWERS = (
    (503, "SlowDown", ArchiveThrottled),
    (429, "", ArchiveThrottled),
    (409, "ConditionalRequestConflict", ArchiveThrottled),
    (500, "InternalError", ArchiveUnavailable),
    (503, "ServiceUnavailable", ArchiveUnavailable),
    (502, "", ArchiveUnavailable),
    (504, "Whatever", ArchiveUnavailable),
    (400, "RequestTimeout", ArchiveUnavailable),
    (404, "NoSuchKey", NotInArchive),
    (404, "404", NotInArchive),
    (404, "NoSuchUpload", NotInArchive),
    (404, "NoSuchBucket", ArchiveRefused),
    (412, "PreconditionFailed", ArchiveChanged),
    (412, "412", ArchiveChanged),
    (416, "InvalidRange", RangeNotSatisfiable),
    (400, "BadDigest", ArchiveCorrupted),
    (403, "AccessDenied", ArchiveRefused),
    (403, "RequestTimeTooSkewed", ArchiveRefused),
    (400, "ExpiredToken", ArchiveRefused),
    (301, "PermanentRedirect", ArchiveRefused),
    (501, "NotImplemented", ArchiveRefused),
)


def answer(status: int, code: str, headers: dict[str, str] | None = None, to: str = "PutObject") -> ClientError:
    about = {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": about}, to)


@pytest.mark.parametrize(("status", "code", "kind"), ANSWERS, ids=lambda value: str(getattr(value, "__name__", value)))
def test_each_answer_has_its_meaning(status: int, code: str, kind: type[AmberioError]) -> None:
    error = as_archive_error(answer(status, code), "put_object a")
    assert type(error) is kind
    assert "put_object a" in str(error) and str(status) in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    (
        (EndpointConnectionError(endpoint_url="x"), ArchiveUnavailable),
        (ConnectTimeoutError(endpoint_url="x"), ArchiveUnavailable),
        (ReadTimeoutError(endpoint_url="x"), ArchiveUnavailable),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), ArchiveUnavailable),
        (CredentialRetrievalError(provider="x", error_msg="x"), ArchiveUnavailable),
        (FlexibleChecksumError(error_msg="x"), ArchiveCorrupted),
        (NoCredentialsError(), ArchiveRefused),
        (ParamValidationError(report="x"), ArchiveRefused),
    ),
    ids=lambda value: type(value).__name__,
)
def test_each_failure_of_botocore_has_its_meaning(error: Exception, kind: type[AmberioError]) -> None:
    assert type(as_archive_error(error, "put_object a")) is kind


def test_throttling_says_when_to_come_again_if_it_was_said() -> None:
    for said, after_s in (("7", 7.0), ("", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None)):
        error = as_archive_error(answer(503, "SlowDown", {"retry-after": said}), "put_object a")
        assert isinstance(error, ArchiveThrottled) and error.after_s == after_s


def test_a_503_is_throttling_where_it_cannot_say_so_and_doubt_where_it_could() -> None:
    assert type(as_archive_error(answer(503, "503", to="HeadObject"), "head_object a")) is ArchiveThrottled
    assert type(as_archive_error(answer(503, "503", to="PutObject"), "put_object a")) is ArchiveUnavailable


def test_a_missing_bucket_is_never_taken_for_a_missing_object() -> None:
    assert not issubclass(BY_CODE["NoSuchBucket"], NotInArchive)
