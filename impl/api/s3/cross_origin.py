"""What the browsers of other origins' pages are told: the bucket's CORS rules, on preflights and on every answer.

A preflight comes without credentials. So do the rules: whether an answer may be read by a page says nothing of whether
its request was allowed, and refusals too must be readable for the page to know.
"""

from collections.abc import Iterable

from impl.api.http.exchange import Answer, HeaderPairs, Request
from impl.api.s3 import cors
from impl.api.s3.buckets import Buckets
from impl.api.s3.errors import CorsForbidden, NoSuchBucket
from impl.api.s3.names import Target, target
from impl.errors import AmberioError


class CrossOrigin:
    """The CORS protocol of all buckets. `domains` are those below which buckets are host names."""

    def __init__(self, buckets: Buckets, domains: Iterable[str]) -> None:
        self._buckets = buckets
        self._domains = tuple(domains)

    async def preflight(self, request: Request, about: Target) -> Answer:
        """The answer to OPTIONS. Raises BadRequest, CorsForbidden."""
        if about.bucket is None:
            raise CorsForbidden("CORSResponse: CORS is not enabled for this bucket.", Method=request.method)
        try:
            bucket = await self._buckets.require(about.bucket)
        except NoSuchBucket:
            raise CorsForbidden("CORSResponse: Bucket not found", Method=request.method) from None
        asked = (b"origin", b"access-control-request-method", b"access-control-request-headers")
        return Answer(200, _titled(cors.preflight(bucket.documents.cors, *map(request.header, asked))))

    async def headers(self, request: Request) -> HeaderPairs:
        """What to add to the answer of any other request."""
        origin = request.header(b"origin")
        if origin is None or request.method == "OPTIONS" or request.refusal is not None:
            return ()
        try:
            bucket = target(request.header(b"host") or "", request.path, self._domains).bucket
            rules = (await self._buckets.require(bucket)).documents.cors if bucket is not None else ()
        except AmberioError:
            return ()  # where no rules can be had, no page may read the answer, which itself tells what is wrong
        return _titled(cors.actual(rules, origin, request.method))


def _titled(headers: cors.Headers) -> HeaderPairs:
    return tuple((name.title(), value) for name, value in headers)
