"""The S3 API at the root: finds the operation that a request means, checks who asks, and answers errors in S3's form.

Everything whose URL does not begin as another API's does is S3. Which operation is meant is said by the method, by
whether there is a bucket and a key, and by the sub-resource that the query names.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import unquote

import structlog

from impl.api.http.exchange import Answer, Operation, Request, error_answer
from impl.api.http.routes import Route
from impl.api.node_face import ObjectNode
from impl.api.s3 import errors, form_upload, xml
from impl.api.s3.access import ACTIONS, Access, Admitted, Place, public_only
from impl.api.s3.amendments import Amendments
from impl.api.s3.auth import Verified, Verifier
from impl.api.s3.buckets import Buckets
from impl.api.s3.call import Call, bare_names, query_arguments, xml_answer
from impl.api.s3.configuration import Configuration
from impl.api.s3.credentials import Credentials
from impl.api.s3.cross_origin import CrossOrigin
from impl.api.s3.errors import AccessDenied, MethodNotAllowed, NotImplementedByS3, S3Error
from impl.api.s3.lists import Lists
from impl.api.s3.multipart import Multipart
from impl.api.s3.names import Target, bucket_of_host, check_key, target
from impl.api.s3.object_attributes import ObjectAttributes
from impl.api.s3.objects import PUT_BYTES_MAX, Objects
from impl.api.s3.operation_names import name_of
from impl.api.s3.posts import Posts
from impl.config import S3Settings
from impl.doors import Clock
from impl.errors import AmberioError
from impl.protocol.rules import HONEST, Rules

OTHERS: Final = ("/_", "/internal/")
"""How the URLs of the other APIs begin."""
PATTERN: Final = r"/(?!_|internal/).*"
METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
SUB_RESOURCES: Final = frozenset((
    "accelerate", "acl", "analytics", "append", "attributes", "cors", "delete", "encryption",
    "encryptionConfiguration", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location", "logging",
    "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics",
    "notification", "object-lock", "ownershipControls", "partNumber", "policy", "policyStatus", "publicAccessBlock",
    "renameObject", "replication", "requestPayment", "restore", "retention", "select", "session", "tagging",
    "torrent", "uploadId", "uploads", "versioning", "versions", "website"
))  # fmt: skip
FORM: Final[Place] = ("POST", "bucket", "")
"""A form upload: what it is about and who sends it is said in its body."""
_NOT_ALONE: Final = frozenset({"partNumber"})
"""Arguments that ask for no sub-resource by themselves."""

Handle = Callable[[Call], Awaitable[Answer]]

log = structlog.get_logger(__name__)


class S3Api:
    """The S3 API of one node. Without `credentials` all is denied, unless the settings let everybody in."""

    def __init__(
        self,
        node: ObjectNode,
        settings: S3Settings,
        credentials: Credentials | None,
        clock: Clock,
        rules: Rules = HONEST,
    ) -> None:
        self._node = node
        self._rules = rules
        self._settings = settings
        self._has_keys = credentials is not None
        self._clock = clock
        self._verifier = Verifier(credentials or Credentials(()), settings.region, settings.simple_keys)
        self._buckets = Buckets(node, clock, settings.region)
        self._cross_origin = CrossOrigin(self._buckets, settings.domains)
        self._access = Access(self._buckets, clock, settings.anonymous)
        self._operations = self._table(node)
        assert self._operations.keys() <= ACTIONS.keys(), self._operations.keys() - ACTIONS.keys()

    def routes(self) -> tuple[Route, ...]:
        """Where it is served: everywhere else, and whatever the path is where the host names a bucket.

        This must be the last of all routes.
        """
        operations = {method: Operation(f"s3_{method.lower()}", self.handle) for method in METHODS}
        owns_host = self._is_bucket if self._settings.domains else None
        return (Route(PATTERN, operations, hot_elsewhere=OTHERS, owns_host=owns_host),)

    def _is_bucket(self, host: str) -> bool:
        return bucket_of_host(host, self._settings.domains) is not None

    def _table(self, node: ObjectNode) -> dict[Place, Handle]:
        buckets, clock = self._buckets, self._clock
        configuration, objects, lists = (
            Configuration(node, buckets, clock),
            Objects(node, buckets, self._rules),
            Lists(node),
        )
        amendments = Amendments(node, objects)
        multipart = Multipart(node, buckets, objects, clock)
        table: dict[Place, Handle] = {
            ("GET", "service", ""): buckets.list,
            ("PUT", "bucket", ""): buckets.create,
            ("HEAD", "bucket", ""): buckets.head,
            ("DELETE", "bucket", ""): buckets.delete,
            ("GET", "bucket", ""): lists.objects,
            ("GET", "bucket", "versions"): lists.versions,
            ("GET", "bucket", "location"): buckets.location,
            ("GET", "bucket", "versioning"): configuration.versioning,
            ("PUT", "bucket", "versioning"): configuration.put_versioning,
            ("GET", "bucket", "acl"): configuration.acl,
            ("PUT", "bucket", "acl"): configuration.put_acl,
            ("GET", "bucket", "policy"): configuration.policy,
            ("PUT", "bucket", "policy"): configuration.put_policy,
            ("DELETE", "bucket", "policy"): configuration.delete_policy,
            ("GET", "bucket", "policyStatus"): configuration.policy_status,
            ("GET", "bucket", "cors"): configuration.cors,
            ("PUT", "bucket", "cors"): configuration.put_cors,
            ("DELETE", "bucket", "cors"): configuration.delete_cors,
            ("GET", "bucket", "tagging"): configuration.tagging,
            ("PUT", "bucket", "tagging"): configuration.put_tagging,
            ("DELETE", "bucket", "tagging"): configuration.delete_tagging,
            ("POST", "bucket", "delete"): objects.delete_many,
            FORM: Posts(objects).post,
            ("GET", "object", ""): objects.get,
            ("HEAD", "object", ""): objects.get,
            ("PUT", "object", ""): objects.put,
            ("DELETE", "object", ""): objects.delete,
            ("GET", "object", "attributes"): ObjectAttributes(objects).get,
            ("GET", "object", "acl"): amendments.acl,
            ("PUT", "object", "acl"): amendments.put_acl,
            ("GET", "object", "tagging"): amendments.tags,
            ("PUT", "object", "tagging"): amendments.put_tags,
            ("DELETE", "object", "tagging"): amendments.delete_tags,
            ("GET", "bucket", "uploads"): multipart.list_uploads,
            ("POST", "object", "uploads"): multipart.create,
            ("PUT", "object", "uploadId"): multipart.upload_part,
            ("GET", "object", "uploadId"): multipart.list_parts,
            ("POST", "object", "uploadId"): multipart.complete,
            ("DELETE", "object", "uploadId"): multipart.abort,
        }
        table |= {("GET", "bucket", name): _nothing_set(root) for name, root in _NOTHING_SET.items()}
        return table | {("GET", "bucket", name): _unset(error) for name, error in _UNSET.items()}

    async def handle(self, request: Request) -> Answer:
        """The answer to any request; never raises."""
        try:
            answer = await self._answer(request)
        except Exception as error:
            if not isinstance(error, AmberioError):
                log.exception("S3 request failed", path=request.path, request_id=request.request_id)
            answer = self.refusal(request, error)
        if _answers_instead_of_continue(request):
            request.keep_alive = False
        ids = (("x-amz-request-id", request.request_id), ("x-amz-id-2", self._node.node_id))
        headers = (*ids, *answer.headers, *await self._cross_origin.headers(request))
        return Answer(answer.status, headers, answer.body, answer.length)

    async def adopt_bucket(self, name: str) -> None:
        """Have a bucket of this name, as objects were imported into it."""
        await self._buckets.adopt(name)

    def refusal_at_the_edge(self, request: Request, error: AmberioError) -> Answer:
        """What the connection layer refuses, in the form of the API that was asked."""
        is_of_others = not request.path.startswith("/") or request.path.startswith(OTHERS)
        if is_of_others and not self._is_bucket(request.header(b"host") or ""):
            return error_answer(error, request.request_id)
        return self.refusal(request, error)

    def refusal(self, request: Request, error: Exception) -> Answer:
        """An error in S3's form."""
        told = errors.answer(error)
        request.error_code = told.code
        headers = tuple((name.title() if not name.startswith("x-") else name, value) for name, value in told.headers)
        if told.status in (204, 304):
            return Answer(told.status, headers)
        resource = unquote(request.path.encode("latin-1"), errors="replace") if request.path else ""
        return xml_answer(
            errors.error_xml(error, resource, request.request_id, self._node.node_id), headers, told.status
        )

    async def _answer(self, request: Request) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
        about = target(headers.get("host", ""), request.path, self._settings.domains)
        if request.method == "OPTIONS":
            request.operation = "s3_preflight"
            return await self._cross_origin.preflight(request, about)
        arguments = query_arguments(request.query)
        place = self._place(request, about, arguments)
        request.operation = name_of(place, request.headers)
        if place == FORM:
            call = await self._form_call(request, about)
        else:
            call = Call(request, about, arguments, headers, self._verified(request))
        admitted = await self._access.admit(call, place)
        try:
            return await self._operations_for(admitted)[place](admitted.call)
        except S3Error as error:
            raise admitted.told(error) from None

    def _verified(self, request: Request) -> Verified:
        self._require_keys()
        now_s = self._clock.now_ms() / 1000
        return self._verifier.verify(request.method, request.path, request.query, request.headers, now_s)

    async def _form_call(self, request: Request, about: Target) -> Call:
        """A form upload as a call: its key, its fields as headers, and who signed its policy."""
        assert about.bucket is not None
        self._require_keys()
        now_s = self._clock.now_ms() / 1000
        form = await form_upload.begin(request, self._verifier, about.bucket, PUT_BYTES_MAX, now_s)
        about = Target(about.bucket, check_key(form.form.key))
        return Call(request, about, {}, form.headers, form.verified, form=form)

    def _require_keys(self) -> None:
        if not self._has_keys and not self._settings.anonymous:
            raise AccessDenied(
                "Access Denied: this node has no access keys yet; its operator gives it some with s3.credentials_file"
            )

    def _operations_for(self, admitted: Admitted) -> Mapping[Place, Handle]:
        """The operations, on a node that shows what the request may see."""
        if not admitted.public_only:
            return self._operations
        return self._table(public_only(self._node, admitted.public_only))

    def _place(self, request: Request, about: Target, arguments: dict[str, str]) -> Place:
        level = "service" if about.bucket is None else "bucket" if about.key is None else "object"
        asked = sorted((arguments.keys() & SUB_RESOURCES) | bare_names(request.query))
        named = [name for name in asked if name not in _NOT_ALONE]
        sub_resource = named[0] if named else ""
        place = (request.method, level, sub_resource)
        if len(named) <= 1 and place in self._operations:
            return place
        if sub_resource:
            said = f"{NotImplementedByS3.said} ({request.method} ?{'&'.join(named)})"
            raise NotImplementedByS3(said[:300])
        raise MethodNotAllowed(Method=request.method, ResourceType=level.upper())


def _unset(error: type[S3Error]) -> Handle:
    """What reading a configuration gets that no bucket has."""

    async def unset(call: Call) -> Answer:
        raise error(BucketName=call.bucket)

    return unset


def _nothing_set(root: str) -> Handle:
    """What reading a configuration gets that is empty in all buckets, and an answer all the same."""

    async def nothing_set(call: Call) -> Answer:
        return xml_answer(xml.nothing_set(root))

    return nothing_set


_NOTHING_SET: Final = {
    "logging": "BucketLoggingStatus",
    "notification": "NotificationConfiguration",
    "accelerate": "AccelerateConfiguration",
    "requestPayment": "RequestPaymentConfiguration",
}
_UNSET: Final[dict[str, type[S3Error]]] = {
    "lifecycle": errors.NoSuchLifecycleConfiguration,
    "website": errors.NoSuchWebsiteConfiguration,
    "encryption": errors.ServerSideEncryptionConfigurationNotFound,
    "object-lock": errors.ObjectLockConfigurationNotFound,
    "publicAccessBlock": errors.NoSuchPublicAccessBlockConfiguration,
    "ownershipControls": errors.OwnershipControlsNotFound,
    "replication": errors.ReplicationConfigurationNotFound,
}


def _answers_instead_of_continue(request: Request) -> bool:
    """Does a client wait for `100 Continue` that has no body to send, so that it gets the final answer in its place?

    botocore takes the status of such an answer for that of the next one, too, if the connection is kept: then it waits
    for the next one until its time-out.
    """
    headers = request.headers
    return headers.get(b"expect", b"").lower() == b"100-continue" and headers.get(b"content-length", b"0") == b"0"
