"""What S3 and botocore say of a failure, as one of `impl.errors`: one table for S3's codes, one for botocore's classes.

Sources: the list of error codes in the S3 API reference; botocore.exceptions.
"""

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    TokenRetrievalError,
)

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

BY_CODE: Final[Mapping[str, type[AmberioError]]] = {
    # nothing was done, and the same may work in a while
    "SlowDown": ArchiveThrottled,
    "Throttling": ArchiveThrottled,
    "ThrottlingException": ArchiveThrottled,
    "RequestLimitExceeded": ArchiveThrottled,
    "TooManyRequests": ArchiveThrottled,
    "BandwidthLimitExceeded": ArchiveThrottled,
    "OperationAborted": ArchiveThrottled,
    "ConditionalRequestConflict": ArchiveThrottled,
    # S3 gave up on a request, and does not say how far it had got
    "InternalError": ArchiveUnavailable,
    "ServiceUnavailable": ArchiveUnavailable,
    "RequestTimeout": ArchiveUnavailable,
    # of the object
    "NoSuchKey": NotInArchive,
    "NoSuchUpload": NotInArchive,
    "PreconditionFailed": ArchiveChanged,
    "InvalidRange": RangeNotSatisfiable,
    "BadDigest": ArchiveCorrupted,
    "InvalidDigest": ArchiveCorrupted,
    "XAmzContentSHA256Mismatch": ArchiveCorrupted,
    "XAmzContentChecksumMismatch": ArchiveCorrupted,
    "IncompleteBody": ArchiveCorrupted,
    # 404s that are not the object's
    "NoSuchBucket": ArchiveRefused,
}
BY_STATUS: Final[Mapping[int, type[AmberioError]]] = {
    404: NotInArchive,
    408: ArchiveUnavailable,
    412: ArchiveChanged,
    416: RangeNotSatisfiable,
    429: ArchiveThrottled,
    501: ArchiveRefused,
}
"""For answers without a code, such as those to HEAD, and codes that are not in the table."""
TRANSIENT: Final = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    TokenRetrievalError,
)
"""What botocore raises when nobody answers; all else it raises is a fault of the configuration."""


def as_archive_error(error: ClientError | BotoCoreError, what: str) -> AmberioError:
    """What the failure of a request means; `what` names the request in the message."""
    if isinstance(error, ClientError):
        return _of_answer(error.response, what, has_body=not error.operation_name.startswith("Head"))
    if isinstance(error, (FlexibleChecksumError, ChecksumError)):
        return ArchiveCorrupted(f"{what}: {error}")
    if isinstance(error, TRANSIENT):
        return ArchiveUnavailable(f"{what}: {error}")
    return ArchiveRefused(f"{what}: {error}; look at the archive's settings")


def _of_answer(answer: Mapping[str, Any], what: str, *, has_body: bool) -> AmberioError:
    said, about = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = str(said.get("Code", "")), int(about.get("HTTPStatusCode", 500))
    kind = BY_CODE.get(code) or BY_STATUS.get(status) or (ArchiveUnavailable if status >= 500 else ArchiveRefused)
    if status == 503 and not has_body:
        kind = ArchiveThrottled  # it cannot say SlowDown, which is what S3 means by nearly every 503
    text = f"{what}: {status} {code} {said.get('Message', '')}".rstrip()
    if kind is ArchiveThrottled:
        after = about.get("HTTPHeaders", {}).get("retry-after", "")
        return ArchiveThrottled(text, float(after) if after.isdecimal() else None)
    if kind is ArchiveRefused:
        return ArchiveRefused(f"{text}; look at the archive's settings, and at the rights of its keys")
    return kind(text)
