"""Documents that clients send: small ones are parsed where they come in, large ones on a thread.

A CompleteMultipartUpload of 10,000 parts takes a tenth of a second to parse, or two: nobody else would be served. One
thread, as parsing is Python: more of them would only take turns with the event loop more often.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from impl.api.s3.call import Call

PARSED_AT_ONCE_BYTES: Final = 8 * 1024
"""The largest document that is parsed on the event loop; that takes up to two milliseconds."""

_THREAD: Final = ThreadPoolExecutor(1, "s3-xml")

T = TypeVar("T")


async def read(call: Call, parse: Callable[[bytes], T]) -> T:
    """The request's body, parsed. Raises MissingRequestBody, and what `parse` does."""
    return await parsed(await call.document(), parse)


async def parsed(document: bytes, parse: Callable[[bytes], T]) -> T:
    """A document as `parse` reads it, off the event loop if it is large."""
    if len(document) <= PARSED_AT_ONCE_BYTES:
        return parse(document)
    return await asyncio.get_running_loop().run_in_executor(_THREAD, parse, document)
