"""Access control: every request goes through `Access.admit` before its operation begins.

What may be done by whom is said in `asker.py`; here is which permissions an operation needs. An operation that is not
in ACTIONS cannot be served, so that none is forgotten. Where only an object's ACL lets somebody read it, the operation
runs on a node that shows no others (`public_only`): the head that is checked is the very one that is served.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from impl.api.node_face import Listing, ObjectNode
from impl.api.s3 import metadata, versions
from impl.api.s3.actions import action_on
from impl.api.s3.asker import Asker
from impl.api.s3.buckets import Buckets
from impl.api.s3.call import Call, object_path
from impl.api.s3.errors import AccessDenied, InvalidRequest, NoSuchKey, NoSuchVersion, S3Error
from impl.api.s3.names import copy_source
from impl.api.s3.policy_conditions import Asked
from impl.api.s3.shapes import CannedAcl
from impl.doors import Clock
from impl.model import Head

Place = tuple[str, str, str]
"""Method, what it is about (service, bucket, object), sub-resource ("" for the thing itself)."""

OF_EACH: Final = ""
"""The action of what asks for each object by itself, with `Call.require`."""
OF_ANY_KEY: Final = "any key"
"""The action of what is about no bucket that is there: every key may do it, see rule 5."""

ACTIONS: Final[dict[Place, str]] = {
    ("GET", "service", ""): OF_ANY_KEY,
    ("PUT", "bucket", ""): OF_ANY_KEY,
    ("HEAD", "bucket", ""): "s3:ListBucket",
    ("DELETE", "bucket", ""): "s3:DeleteBucket",
    ("GET", "bucket", ""): "s3:ListBucket",
    ("GET", "bucket", "versions"): "s3:ListBucketVersions",
    ("GET", "bucket", "uploads"): "s3:ListBucketMultipartUploads",
    ("GET", "bucket", "location"): "s3:GetBucketLocation",
    ("GET", "bucket", "versioning"): "s3:GetBucketVersioning",
    ("PUT", "bucket", "versioning"): "s3:PutBucketVersioning",
    ("GET", "bucket", "acl"): "s3:GetBucketAcl",
    ("PUT", "bucket", "acl"): "s3:PutBucketAcl",
    ("GET", "bucket", "policy"): "s3:GetBucketPolicy",
    ("PUT", "bucket", "policy"): "s3:PutBucketPolicy",
    ("DELETE", "bucket", "policy"): "s3:DeleteBucketPolicy",
    ("GET", "bucket", "policyStatus"): "s3:GetBucketPolicyStatus",
    ("GET", "bucket", "cors"): "s3:GetBucketCORS",
    ("PUT", "bucket", "cors"): "s3:PutBucketCORS",
    ("DELETE", "bucket", "cors"): "s3:PutBucketCORS",
    ("GET", "bucket", "tagging"): "s3:GetBucketTagging",
    ("PUT", "bucket", "tagging"): "s3:PutBucketTagging",
    ("DELETE", "bucket", "tagging"): "s3:PutBucketTagging",
    ("GET", "bucket", "lifecycle"): "s3:GetLifecycleConfiguration",
    ("GET", "bucket", "website"): "s3:GetBucketWebsite",
    ("GET", "bucket", "logging"): "s3:GetBucketLogging",
    ("GET", "bucket", "notification"): "s3:GetBucketNotification",
    ("GET", "bucket", "accelerate"): "s3:GetAccelerateConfiguration",
    ("GET", "bucket", "requestPayment"): "s3:GetBucketRequestPayment",
    ("GET", "bucket", "encryption"): "s3:GetEncryptionConfiguration",
    ("GET", "bucket", "object-lock"): "s3:GetBucketObjectLockConfiguration",
    ("GET", "bucket", "publicAccessBlock"): "s3:GetBucketPublicAccessBlock",
    ("GET", "bucket", "ownershipControls"): "s3:GetBucketOwnershipControls",
    ("GET", "bucket", "replication"): "s3:GetReplicationConfiguration",
    ("POST", "bucket", "delete"): OF_EACH,
    ("POST", "bucket", ""): "s3:PutObject",  # a form, whose key is that of the call
    ("GET", "object", ""): "s3:GetObject",
    ("HEAD", "object", ""): "s3:GetObject",
    ("PUT", "object", ""): "s3:PutObject",
    ("DELETE", "object", ""): "s3:DeleteObject",
    ("GET", "object", "acl"): "s3:GetObjectAcl",
    ("PUT", "object", "acl"): "s3:PutObjectAcl",
    ("GET", "object", "tagging"): "s3:GetObjectTagging",
    ("PUT", "object", "tagging"): "s3:PutObjectTagging",
    ("DELETE", "object", "tagging"): "s3:DeleteObjectTagging",
    ("GET", "object", "attributes"): "s3:GetObjectAttributes",
    ("POST", "object", "uploads"): "s3:PutObject",
    ("PUT", "object", "uploadId"): "s3:PutObject",
    ("POST", "object", "uploadId"): "s3:PutObject",
    ("GET", "object", "uploadId"): "s3:ListMultipartUploadParts",
    ("DELETE", "object", "uploadId"): "s3:AbortMultipartUpload",
}
_ATTRIBUTES: Final = ("GET", "object", "attributes")
_READS: Final = frozenset({("GET", "object", ""), ("HEAD", "object", "")})
_COPIES: Final = frozenset({("PUT", "object", ""), ("PUT", "object", "uploadId")})
_CONDITIONAL: Final = frozenset({("PUT", "object", ""), ("POST", "object", "uploadId")})
_NEW_OBJECTS: Final = frozenset({("PUT", "object", ""), ("POST", "object", "uploads"), ("POST", "bucket", "")})


class Admitted(msgspec.Struct, frozen=True):
    """A request that may be served. Of `public_only`, paths of objects each with the id of a version (None: the current
    one), may be read only what is public.

    Where the sender may not list all the buckets that it reads from, `hides_absence`: whether an object is there, or
    just not for them, looks the same.
    """

    call: Call
    public_only: tuple[tuple[str, str | None], ...] = ()

    @property
    def hides_absence(self) -> bool:
        askers = [asker for asker in (self.call.asker, self.call.source) if asker is not None]
        return not all(asker.may("s3:ListBucket") for asker in askers)

    def told(self, error: S3Error) -> S3Error:
        """The error that the sender may hear, in the place of this one."""
        return AccessDenied() if isinstance(error, NoSuchKey | NoSuchVersion) and self.hides_absence else error


class Access:
    """Admits requests. `everybody_may_all` is the configuration's `s3.anonymous`."""

    def __init__(self, buckets: Buckets, clock: Clock, everybody_may_all: bool) -> None:
        self._buckets = buckets
        self._clock = clock
        self._everybody_may_all = everybody_may_all

    async def admit(self, call: Call, place: Place) -> Admitted:
        """The request, with its bucket. Raises AccessDenied, NoSuchBucket, and for a copy's source InvalidArgument.

        InvalidRequest is for who has no key and asks for other headers than the object has.
        """
        action = ACTIONS[place]
        if action == OF_ANY_KEY:
            if call.verified.identity.anonymous and not self._may_all(call):
                raise AccessDenied()
            return Admitted(msgspec.structs.replace(call, may_all=self._may_all(call)))
        if not self._may_all(call) and call.verified.identity.anonymous and _dresses_up(call):
            raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
        asker = await self._asker(call, call.bucket)
        call = msgspec.structs.replace(call, asker=asker)
        if action == OF_EACH:
            return Admitted(call)
        public: list[tuple[str, str | None]] = []
        for needed, version in _needs(call, place, action):
            if place in _READS:
                public += _admit_to_read(asker, needed, call.key, version)
            elif not asker.may(needed, call.target.key, version):
                raise AccessDenied()
        if place in _COPIES and (said := call.headers.get("x-amz-copy-source")) is not None:
            named = copy_source(said)
            source = await self._asker(call, named.bucket)
            needed = action_on("s3:GetObject", named.version_id)
            public += _admit_to_read(source, needed, named.key, named.version_id)
            call = msgspec.structs.replace(call, source=source)
        return Admitted(call, tuple(public))

    async def _asker(self, call: Call, bucket: str) -> Asker:
        identity, request = call.verified.identity, call.request
        asked = Asked(
            request.source_ip,
            request.is_tls,
            self._clock.now_ms() // 1000,
            call.headers,
            call.arguments,
            None if identity.anonymous else identity.name,
            call.verified.kind.value or None,
        )
        return Asker(identity, await self._buckets.require(bucket), asked, may_all=self._may_all(call))

    def _may_all(self, call: Call) -> bool:
        return self._everybody_may_all or call.verified.identity.root


def _dresses_up(call: Call) -> bool:
    """Does a link, that anybody can make, say what the object shall pass for?"""
    return call.target.key is not None and any(name.startswith("response-") for name in call.arguments)


def _needs(call: Call, place: Place, action: str) -> Sequence[tuple[str, str | None]]:
    """The permissions that a request needs in its own bucket, each with the version that it is for."""
    version = call.arguments.get("versionId") if call.target.key is not None else None
    needs = [(action_on(action, version), version)]
    if place == _ATTRIBUTES:
        needs.append((action_on("s3:GetObject", version), version))
    if place in _CONDITIONAL and "if-match" in call.headers:
        needs.append(("s3:GetObject", None))  # what is refused tells of the object's etag
    if place in _NEW_OBJECTS and "x-amz-acl" in call.headers:
        needs.append(("s3:PutObjectAcl", None))
    if place in _NEW_OBJECTS and "x-amz-tagging" in call.headers:
        needs.append(("s3:PutObjectTagging", None))
    return needs


def _admit_to_read(asker: Asker, action: str, key: str, version_id: str | None) -> Sequence[tuple[str, str | None]]:
    """What may be read only if it is public: this object or version, or nothing. Raises AccessDenied."""
    if asker.may(action, key, version_id):
        return ()
    if not asker.may_if_public(action, key, version_id):
        raise AccessDenied()
    return ((object_path(asker.bucket.name, key), version_id),)


def public_only(node: ObjectNode, shown: Sequence[tuple[str, str | None]]) -> ObjectNode:
    """The node, but for reading these objects and versions: AccessDenied where their ACL is not public-read."""
    return cast(ObjectNode, _PublicOnly(node, shown))


class _PublicOnly:
    """All is the node's own but the two ways to a head."""

    def __init__(self, node: ObjectNode, shown: Sequence[tuple[str, str | None]]) -> None:
        self._node = node
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def head(self, path: str) -> Head | None:
        head = await self._node.head(path)
        for version_id in (version_id for shown, version_id in self._shown if shown == path):
            _check_public(head, version_id)
        return head

    async def list(self, *_: object) -> Listing:
        raise AccessDenied()


def _check_public(head: Head | None, version_id: str | None) -> None:
    if head is None:
        return
    seen = head if version_id is None else head.at(versions.read(version_id))
    if seen is None or (seen.deleted and version_id is None):
        return  # there is nothing to read, which the operation itself says
    if metadata.acl_of(seen.attributes) is not CannedAcl.PUBLIC_READ:
        raise AccessDenied()
