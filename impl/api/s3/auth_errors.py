"""The errors that only aws-chunked bodies and forms have, written as `errors.py` tells; all others are there.

No text that these rooms give to an error holds a secret, a signing key or the signature that would have been right.
"""

from impl.api.s3.errors import S3Error


class IncorrectNumberOfFilesInPostRequest(S3Error):
    code, status = "IncorrectNumberOfFilesInPostRequest", 400
    said = "POST requires exactly one file upload per request."


class InvalidChunkSizeError(S3Error):
    """A signed chunk is held until its signature is checked: above the bound it is refused."""

    code, status, said = "InvalidChunkSizeError", 403, "The chunk is larger than is allowed here."


class MalformedTrailerError(S3Error):
    """Trailing headers that cannot be read, or are not those that x-amz-trailer announced; nothing was written."""

    code, status = "MalformedTrailerError", 400
    said = "The request contained trailing data that was not well-formed or did not conform to our published schema."


class RequestIsNotMultiPartContent(S3Error):
    code, status = "RequestIsNotMultiPartContent", 400
    said = "Bucket POST must be of the enclosure type multipart/form-data."
