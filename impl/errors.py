"""The one hierarchy of errors. An error is part of the interface: code, HTTP status and text are decided here.

A message says what was wrong, the value seen, and what to do. Edges (`impl/api`) map errors to their own forms from
the class attributes; nothing else maps status codes.
"""

from typing import ClassVar


class AmberioError(Exception):
    """Base of all errors that a client or an operator may see.

    `code` is the stable name clients match on, `status` the HTTP status. `outcome` is set only where a write may be in
    doubt ("failed": certainly nothing was written, "unknown": it may have been), `retry_after_s` where waiting helps.
    """

    code: ClassVar[str] = "InternalError"
    status: ClassVar[int] = 500
    outcome: ClassVar[str | None] = None
    retry_after_s: ClassVar[int | None] = None


class InvalidArgument(AmberioError):
    code, status = "InvalidArgument", 400


class InvalidPath(AmberioError):
    code, status = "InvalidPath", 400


class BodyCutShort(AmberioError):
    """The client promised more bytes than it sent; nothing was written."""

    code, status = "IncompleteBody", 400


class DigestMismatch(AmberioError):
    """Bytes do not have the digest they were named by; they were not stored, or not served."""

    code, status = "BadDigest", 400


class MalformedRequest(AmberioError):
    """The bytes on the socket are not an HTTP/1.x request."""

    code, status = "MalformedRequest", 400


class Unauthorised(AmberioError):
    code, status = "AccessDenied", 403


class NeverWritten(AmberioError):
    code, status = "NotFound", 404


class NoSuchRoute(AmberioError):
    """Nothing is served under this URL."""

    code, status = "NoSuchRoute", 404


class MethodNotAllowed(AmberioError):
    """The URL is served, but not for this method; `allowed` are the methods it is served for."""

    code, status = "MethodNotAllowed", 405

    def __init__(self, text: str, allowed: tuple[str, ...]) -> None:
        super().__init__(text)
        self.allowed = allowed


class RequestTimeout(AmberioError):
    """The client took too long to send its request; nothing was written."""

    code, status = "RequestTimeout", 408


class Conflict(AmberioError):
    """An expected generation is not the current one."""

    code, status = "GenerationConflict", 409


class Deleted(AmberioError):
    code, status = "Deleted", 410


class PreconditionFailed(AmberioError):
    code, status = "PreconditionFailed", 412


class TooLarge(AmberioError):
    code, status = "TooLarge", 413


class RangeNotSatisfiable(AmberioError):
    code, status = "InvalidRange", 416


class HeaderTooLarge(AmberioError):
    code, status = "HeaderTooLarge", 431


class InternalError(AmberioError):
    """Stands in for an unexpected exception, whose text goes to the log and not to the client."""


class NotYetBuilt(AmberioError):
    code, status = "NotImplemented", 501


class Overloaded(AmberioError):
    """A bounded queue is full; nothing was done."""

    code, status, outcome, retry_after_s = "SlowDown", 503, "failed", 1


class NotReady(AmberioError):
    """Starting, draining or catching up; nothing was done."""

    code, status, outcome, retry_after_s = "NotReady", 503, "failed", 1


class NoQuorum(AmberioError):
    """Too few replicas answered, and no acceptance was asked for: certainly nothing was written."""

    code, status, outcome, retry_after_s = "NoQuorum", 503, "failed", 1


class OutcomeUnknown(AmberioError):
    """Acceptance was asked for and no quorum confirmed it in time: the write may be there, now or later."""

    code, status, outcome, retry_after_s = "OutcomeUnknown", 503, "unknown", 1


class DiskFull(AmberioError):
    code, status, outcome = "DiskFull", 507, "failed"


class DiskFailed(AmberioError):
    """The disk that keeps this slot here has failed and is out of service; nothing was done. Other replicas may be."""

    code, status, outcome, retry_after_s = "DiskFailed", 503, "failed", 1


class BadBytes(AmberioError):
    """No replica has the right bytes of a part; wrong ones are never served."""

    code, status = "DataCorrupted", 500


class PeerError(AmberioError):
    """Another node could not be asked, or did not answer in time. Internal: callers turn it into a quorum's outcome."""

    code, status = "PeerUnavailable", 503


class ArchiveError(AmberioError):
    """Base of what an archive (`impl/archive/face.py`) raises. It tells of the archive only: what becomes of a client's
    request, whoever serves it decides.
    """

    code, status = "ArchiveFailed", 500


class ArchiveUnavailable(ArchiveError):
    """The archive did not answer, or failed on its side: ask again later. A write that raised this may have happened,
    or may still: its answer can be what was lost.
    """

    code, status, retry_after_s = "ArchiveUnavailable", 503, 1


class ArchiveThrottled(ArchiveError):
    """Too much is asked of the archive; nothing was done. `after_s` is when to ask again, None if it did not say."""

    code, status, retry_after_s = "ArchiveThrottled", 503, 1

    def __init__(self, text: str, after_s: float | None = None) -> None:
        super().__init__(text)
        self.after_s = after_s


class NotInArchive(ArchiveError):
    """The archive has no object under this key."""

    code, status = "NotInArchive", 404


class ArchiveChanged(ArchiveError):
    """The object is not the expected one: another etag, gone, or there already. Nothing was done."""

    code, status = "ArchiveChanged", 412


class ArchiveCorrupted(ArchiveError):
    """Bytes do not have their digest: on the way in nothing was kept, on the way out the object is not to be served."""

    code, status = "ArchiveCorrupted", 500


class ArchiveRefused(ArchiveError):
    """The archive will not do this, however often it is asked: credentials, no such bucket, no room. Nothing was done;
    an operator must act.
    """

    code, status = "ArchiveRefused", 502


class ConfigError(AmberioError):
    """The configuration cannot be used; the text has one line a fault, each with key, value and what would be right."""

    code, status = "InvalidConfiguration", 500


class RegistryUnavailable(AmberioError):
    """The registry of the cluster's configuration does not answer, or will not: who has a copy can go on with that."""

    code, status = "RegistryUnavailable", 503
