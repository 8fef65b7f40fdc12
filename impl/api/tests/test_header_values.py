"""White space around a header's value is no part of it (RFC 9110 section 5.5), on both ways through the HTTP layer."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.api.tests.rig import Client, Rig, serving

PATH = "/_/api/v1/blobs/a"
padding = st.text(" \t", max_size=3)

pytestmark = pytest.mark.parametrize("way", ["direct", "tornado"])


async def put(rig: Rig, client: Client, headers: dict[str, str], before: str, after: str) -> int:
    lines = [f"{name}:{before}{value}{after}" for name, value in headers.items()]
    head = "\r\n".join([f"PUT {PATH} HTTP/1.1", *lines])
    client.send(head.encode() + b"\r\n\r\nx")
    return (await client.reply()).status


@settings(max_examples=25, deadline=None)
@given(padding, padding)
def test_white_space_around_values_changes_nothing(way: str, before: str, after: str) -> None:
    async def story() -> None:
        async with serving(way) as rig, rig.client() as client:
            headers = {"Host": "test", "Content-Length": "1", "content-type": "text/plain", "x-amberio-write-id": "w 1"}
            assert await put(rig, client, headers, before, after) == 201
            assert await put(rig, client, headers, " ", "") == 200, "the same write id"
            assert rig.node.heads["a"].content_type == "text/plain"
            assert (
                await put(rig, client, {**headers, "x-amberio-write-id": "w 2", "If-Match": "*"}, before, after) == 201
            )
            assert (
                await put(rig, client, {**headers, "x-amberio-write-id": "w 3", "If-None-Match": "*"}, "", after) == 412
            )

    asyncio.run(story())
