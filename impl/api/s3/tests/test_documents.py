"""Large documents do not hold up the event loop."""

import asyncio
import threading

import pytest

from impl.api.s3 import documents
from impl.api.s3.documents import PARSED_AT_ONCE_BYTES
from impl.api.s3.errors import MalformedXML
from impl.api.s3.xml_requests import complete_multipart_upload


def thread_that_parses(document: bytes) -> int:
    return asyncio.run(documents.parsed(document, lambda _: threading.get_ident()))


def test_a_small_document_is_parsed_at_once() -> None:
    assert thread_that_parses(bytes(PARSED_AT_ONCE_BYTES)) == threading.get_ident()


def test_a_large_document_is_parsed_off_the_event_loop_always_on_the_same_thread() -> None:
    threads = {thread_that_parses(bytes(PARSED_AT_ONCE_BYTES + size)) for size in (1, 2, 3)}
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_what_is_wrong_with_a_large_document_is_said_as_of_a_small_one() -> None:
    for size in (1, PARSED_AT_ONCE_BYTES + 1):
        with pytest.raises(MalformedXML):
            asyncio.run(documents.parsed(b"<" * size, complete_multipart_upload))
