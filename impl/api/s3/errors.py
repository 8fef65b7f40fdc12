"""The S3 API's errors: one class a code, one table from the node's own errors to codes, one way to write them.

A class below is a row of the table: code, HTTP status and the sentence that S3 says. What was seen goes into the
message, or as a named element beside it (`NoSuchKey(Key="a")`). No room of the S3 API names a status elsewhere, but
`auth_errors.py` for what only forms and chunked bodies have.
"""

from typing import ClassVar, Final, NamedTuple

from impl import errors as node
from impl.api.s3.text import xml_text
from impl.errors import AmberioError

Pairs = tuple[tuple[str, str], ...]


class S3Error(AmberioError):
    """Base of the errors that only S3 clients see.

    Without `text` the message is `said`. `details` become elements of the answer's XML, in the order given (`None`
    is left out); `headers` go with it.
    """

    said: ClassVar[str] = "We encountered an internal error. Please try again."

    def __init__(self, text: str | None = None, *, headers: Pairs = (), **details: str | int | None) -> None:
        super().__init__(text or self.said)
        self.headers = headers
        self.details: Pairs = tuple((name, str(value)) for name, value in details.items() if value is not None)


class AccessControlListNotSupported(S3Error):
    code, status = "AccessControlListNotSupported", 400
    said = "Only the canned ACLs private and public-read are kept; grant anything else with a bucket policy."


class AccessDenied(S3Error):
    code, status, said = "AccessDenied", 403, "Access Denied"


class AuthorizationHeaderMalformed(S3Error):
    code, status, said = "AuthorizationHeaderMalformed", 400, "The authorization header that you provided is not valid."


class AuthorizationQueryParametersError(S3Error):
    code, status = "AuthorizationQueryParametersError", 400
    said = "The authorization query parameters that you provided are not valid."


class BadDigest(S3Error):
    code, status = "BadDigest", 400
    said = "The Content-MD5 or checksum value that you specified did not match what the server received."


class BadRequest(S3Error):
    code, status, said = "BadRequest", 400, "The request is not one that S3 has."


class BucketAlreadyExists(S3Error):
    code, status = "BucketAlreadyExists", 409
    said = "The requested bucket name is not available. Select a different name and try again."


class BucketAlreadyOwnedByYou(S3Error):
    code, status = "BucketAlreadyOwnedByYou", 409
    said = "Your previous request to create the named bucket succeeded and you already own it."


class BucketNotEmpty(S3Error):
    code, status, said = "BucketNotEmpty", 409, "The bucket that you tried to delete is not empty."


class ConditionalRequestConflict(S3Error):
    code, status = "ConditionalRequestConflict", 409
    said = "A conflicting operation happened during a conditional write. Try the request again."


class CorsForbidden(S3Error):
    code, status = "AccessForbidden", 403
    said = "CORSResponse: This CORS request is not allowed."


class EntityTooLarge(S3Error):
    code, status = "EntityTooLarge", 400
    said = "Your proposed upload exceeds the maximum allowed object size."


class EntityTooSmall(S3Error):
    code, status = "EntityTooSmall", 400
    said = "Your proposed upload is smaller than the minimum allowed object size."


class ExpiredToken(S3Error):
    code, status, said = "ExpiredToken", 400, "The provided token has expired."


class IllegalLocationConstraintException(S3Error):
    code, status = "IllegalLocationConstraintException", 400
    said = "The specified location constraint is not the region of this cluster."


class IllegalVersioningConfigurationException(S3Error):
    code, status = "IllegalVersioningConfigurationException", 400
    said = "The versioning configuration specified in the request is invalid."


class IncompleteBody(S3Error):
    code, status = "IncompleteBody", 400
    said = "You did not provide the number of bytes specified by the Content-Length HTTP header."


class InvalidAccessKeyId(S3Error):
    code, status, said = "InvalidAccessKeyId", 403, "The access key ID that you provided does not exist in our records."


class InvalidArgument(S3Error):
    code, status, said = "InvalidArgument", 400, "An argument of the request is not valid."


class InvalidBucketName(S3Error):
    code, status, said = "InvalidBucketName", 400, "The specified bucket is not valid."


class InvalidBucketState(S3Error):
    code, status = "InvalidBucketState", 409
    said = "The request is not valid for the current state of the bucket."


class InvalidDigest(S3Error):
    code, status = "InvalidDigest", 400
    said = "The Content-MD5 or checksum value that you specified is not valid."


class InvalidEncryptionAlgorithmError(S3Error):
    code, status = "InvalidEncryptionAlgorithmError", 400
    said = "The encryption request that you specified is not valid; server-side encryption is not offered."


class InvalidLocationConstraint(S3Error):
    code, status = "InvalidLocationConstraint", 400
    said = "The specified location constraint is not valid."


class InvalidPart(S3Error):
    code, status = "InvalidPart", 400
    said = (
        "One or more of the specified parts could not be found. The part might not have been uploaded, or the "
        "specified entity tag might not have matched the part's entity tag."
    )


class InvalidPartNumber(S3Error):
    code, status, said = "InvalidPartNumber", 416, "The requested partnumber is not satisfiable"


class InvalidPartOrder(S3Error):
    code, status = "InvalidPartOrder", 400
    said = "The list of parts was not in ascending order. The parts list must be specified in order by part number."


class InvalidPolicyDocument(S3Error):
    code, status = "InvalidPolicyDocument", 400
    said = "The content of the form does not meet the conditions specified in the policy document."


class InvalidRange(S3Error):
    code, status, said = "InvalidRange", 416, "The requested range is not satisfiable"


class InvalidRequest(S3Error):
    code, status, said = "InvalidRequest", 400, "The request is not valid."


class InvalidStorageClass(S3Error):
    code, status, said = "InvalidStorageClass", 400, "The storage class you specified is not valid"


class InvalidTag(S3Error):
    code, status = "InvalidTag", 400
    said = "The tag provided was not a valid tag."


class InvalidToken(S3Error):
    code, status, said = "InvalidToken", 400, "The provided token is malformed or otherwise not valid."


class InvalidURI(S3Error):
    code, status, said = "InvalidURI", 400, "Couldn't parse the specified URI."


class KeyTooLongError(S3Error):
    code, status, said = "KeyTooLongError", 400, "Your key is too long"


class MalformedACLError(S3Error):
    code, status = "MalformedACLError", 400
    said = "The XML you provided was not well-formed or did not validate against our published schema"


class MalformedPOSTRequest(S3Error):
    code, status = "MalformedPOSTRequest", 400
    said = "The body of your POST request is not well-formed multipart/form-data."


class MalformedPolicy(S3Error):
    code, status, said = "MalformedPolicy", 400, "This policy contains invalid Json"


class MalformedXML(S3Error):
    code, status = "MalformedXML", 400
    said = "The XML you provided was not well-formed or did not validate against our published schema"


class MaxMessageLengthExceeded(S3Error):
    code, status, said = "MaxMessageLengthExceeded", 400, "Your request was too large."


class MaxPostPreDataLengthExceeded(S3Error):
    code, status = "MaxPostPreDataLengthExceededError", 400
    said = "Your POST request fields preceding the upload file were too large."


class MetadataTooLarge(S3Error):
    code, status = "MetadataTooLarge", 400
    said = "Your metadata headers exceed the maximum allowed metadata size"


class MethodNotAllowed(S3Error):
    code, status = "MethodNotAllowed", 405
    said = "The specified method is not allowed against this resource."


class MissingContentLength(S3Error):
    code, status = "MissingContentLength", 411
    said = "You must provide the Content-Length HTTP header."


class MissingRequestBody(S3Error):
    code, status, said = "MissingRequestBodyError", 400, "Request Body is empty"


class MissingSecurityHeader(S3Error):
    code, status, said = "MissingSecurityHeader", 400, "Your request is missing a required header."


class NoSuchBucket(S3Error):
    code, status, said = "NoSuchBucket", 404, "The specified bucket does not exist"


class NoSuchBucketPolicy(S3Error):
    code, status, said = "NoSuchBucketPolicy", 404, "The bucket policy does not exist"


class NoSuchCORSConfiguration(S3Error):
    code, status = "NoSuchCORSConfiguration", 404
    said = "The CORS configuration does not exist"


class NoSuchKey(S3Error):
    code, status, said = "NoSuchKey", 404, "The specified key does not exist."


class NoSuchLifecycleConfiguration(S3Error):
    code, status = "NoSuchLifecycleConfiguration", 404
    said = "The lifecycle configuration does not exist"


class NoSuchPublicAccessBlockConfiguration(S3Error):
    code, status = "NoSuchPublicAccessBlockConfiguration", 404
    said = "The public access block configuration was not found"


class NoSuchTagSet(S3Error):
    code, status, said = "NoSuchTagSet", 404, "The TagSet does not exist"


class NoSuchUpload(S3Error):
    code, status = "NoSuchUpload", 404
    said = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed."
    )


class NoSuchVersion(S3Error):
    code, status, said = "NoSuchVersion", 404, "The specified version does not exist."


class NoSuchWebsiteConfiguration(S3Error):
    code, status = "NoSuchWebsiteConfiguration", 404
    said = "The specified bucket does not have a website configuration"


class NotImplementedByS3(S3Error):
    """Everything we know of and do not do, and everything we do not know."""

    code, status = "NotImplemented", 501
    said = "A header or query you provided implies functionality that is not implemented."


class ObjectLockConfigurationNotFound(S3Error):
    code, status = "ObjectLockConfigurationNotFoundError", 404
    said = "Object Lock configuration does not exist for this bucket"


class OperationAborted(S3Error):
    code, status = "OperationAborted", 409
    said = "A conflicting conditional operation is currently in progress against this resource. Try again."


class OwnershipControlsNotFound(S3Error):
    code, status = "OwnershipControlsNotFoundError", 404
    said = "The bucket ownership controls were not found"


class PreconditionFailed(S3Error):
    code, status = "PreconditionFailed", 412
    said = "At least one of the pre-conditions you specified did not hold"


class ReplicationConfigurationNotFound(S3Error):
    code, status = "ReplicationConfigurationNotFoundError", 404
    said = "The replication configuration was not found"


class RequestExpired(S3Error):
    code, status, said = "AccessDenied", 403, "Request has expired"


class RequestTimeTooSkewed(S3Error):
    code, status = "RequestTimeTooSkewed", 403
    said = "The difference between the request time and the current time is too large."


class ServerSideEncryptionConfigurationNotFound(S3Error):
    code, status = "ServerSideEncryptionConfigurationNotFoundError", 404
    said = "The server side encryption configuration was not found"


class SignatureDoesNotMatch(S3Error):
    code, status = "SignatureDoesNotMatch", 403
    said = (
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method."
    )


class TooManyBuckets(S3Error):
    code, status = "TooManyBuckets", 400
    said = "You have attempted to create more buckets than allowed"


class UnexpectedContent(S3Error):
    code, status, said = "UnexpectedContent", 400, "This request does not support content"


class UserKeyMustBeSpecified(S3Error):
    code, status = "UserKeyMustBeSpecified", 400
    said = "The bucket POST must contain the specified field name. If it is specified, check the order of the fields."


class XAmzContentSHA256Mismatch(S3Error):
    code, status = "XAmzContentSHA256Mismatch", 400
    said = "The provided 'x-amz-content-sha256' header does not match what was computed."


class Row(NamedTuple):
    code: str
    status: int


NODE_ERRORS: Final[dict[type[AmberioError], Row]] = {
    AmberioError: Row("InternalError", 500),
    node.InvalidArgument: Row("InvalidArgument", 400),
    node.InvalidPath: Row("InvalidURI", 400),
    node.BodyCutShort: Row("IncompleteBody", 400),
    node.DigestMismatch: Row("BadDigest", 400),
    node.MalformedRequest: Row("BadRequest", 400),
    node.Unauthorised: Row("AccessDenied", 403),
    node.NeverWritten: Row("NoSuchKey", 404),
    node.NoSuchRoute: Row("InvalidURI", 400),
    node.MethodNotAllowed: Row("MethodNotAllowed", 405),
    node.RequestTimeout: Row("RequestTimeout", 400),  # as S3 has it: clients try again on this code, not on 408
    node.Conflict: Row("ConditionalRequestConflict", 409),
    node.Deleted: Row("NoSuchKey", 404),
    node.PreconditionFailed: Row("PreconditionFailed", 412),
    node.TooLarge: Row("EntityTooLarge", 400),
    node.RangeNotSatisfiable: Row("InvalidRange", 416),
    node.HeaderTooLarge: Row("RequestHeaderSectionTooLarge", 400),
    node.NotYetBuilt: Row("NotImplemented", 501),
    node.Overloaded: Row("SlowDown", 503),
    node.NotReady: Row("ServiceUnavailable", 503),
    node.NoQuorum: Row("ServiceUnavailable", 503),
    node.OutcomeUnknown: Row("ServiceUnavailable", 503),
    node.PeerError: Row("ServiceUnavailable", 503),
    # no client tries again by itself on 507, and it should not: only an operator makes room
    node.DiskFull: Row("InsufficientStorage", 507),
    node.DiskFailed: Row("ServiceUnavailable", 503),
    node.ArchiveUnavailable: Row("ServiceUnavailable", 503),
    node.ArchiveThrottled: Row("SlowDown", 503),
    node.ArchiveChanged: Row("OperationAborted", 409),
}
"""The nearest base class counts, so that an error added below one of these has a code at once."""


class Answer(NamedTuple):
    """What a client gets to see of an error. `headers` are in lower case."""

    code: str
    status: int
    message: str
    details: Pairs
    headers: Pairs


def answer(error: Exception) -> Answer:
    """What to tell a client of any error; of one that is not ours, nothing but that it happened."""
    if not isinstance(error, AmberioError):
        return Answer("InternalError", 500, S3Error.said, (), ())
    details: Pairs = ()
    headers: Pairs = ()
    if isinstance(error, S3Error):
        row, details, headers = Row(error.code, error.status), error.details, error.headers
    else:
        row = next(NODE_ERRORS[base] for base in type(error).__mro__ if base in NODE_ERRORS)
    if isinstance(error, node.MethodNotAllowed):
        headers += (("allow", ", ".join(error.allowed)),)
    if error.retry_after_s is not None:
        headers += (("retry-after", str(error.retry_after_s)),)
    if error.outcome is not None:
        headers += (("x-amberio-outcome", error.outcome),)
    message = S3Error.said if row == NODE_ERRORS[AmberioError] else str(error)
    return Answer(row.code, row.status, message, details, headers)


def error_xml(error: Exception, resource: str, request_id: str, host_id: str = "") -> bytes:
    """The body of an error's answer; `resource` is the path that was asked for, decoded."""
    told = answer(error)
    elements = (
        ("Code", told.code),
        ("Message", told.message),
        *told.details,
        ("Resource", resource),
        ("RequestId", request_id),
        ("HostId", host_id),
    )
    inner = "".join(f"<{name}>{xml_text(value)}</{name}>" for name, value in elements)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
