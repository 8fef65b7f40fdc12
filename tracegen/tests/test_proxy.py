"""The network under the harness's hand, over real sockets: what a wire does to bytes and to connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tracegen.backend.proxy import HELD_BYTES_MAX, LoopbackWire, Proxy

SOON_S = 0.05


@dataclass
class Echo:
    """A server that sends back what it gets, behind a proxy; `arrived` is all that it got."""

    there: LoopbackWire
    back: LoopbackWire
    address: tuple[str, int]
    arrived: bytearray

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    arrived = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                arrived.extend(chunk)
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    there, back = LoopbackWire("n1", "n2"), LoopbackWire("n2", "n1")
    proxy = Proxy(there, back, server.sockets[0].getsockname()[:2])
    await proxy.open()
    try:
        yield Echo(there, back, proxy.address, arrived)
    finally:
        proxy.close()
        server.close()
        await asyncio.sleep(0.01)


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SOON_S):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


def test_an_open_wire_passes_bytes_both_ways_and_counts_them() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            writer.write(b"x" * 300_000)
            assert await reader.readexactly(300_000) == b"x" * 300_000
            assert node.there.passed_bytes == node.back.passed_bytes == 300_000
            writer.close()

    asyncio.run(scene())


def test_an_end_of_stream_is_passed_on() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            writer.write(b"last words")
            writer.write_eof()
            assert await reader.read() == b"last words"
            writer.close()

    asyncio.run(scene())


def test_a_cut_resets_connections_and_refuses_new_ones_until_it_is_open_again() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            writer.write(b"a")
            await reader.readexactly(1)
            node.there.cut()
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            again, again_writer = await node.dial()
            again_writer.write(b"b")
            with pytest.raises(ConnectionResetError):
                await again.read(1)
            assert bytes(node.arrived) == b"a"
            node.there.open()
            last, last_writer = await node.dial()
            last_writer.write(b"c")
            assert await last.readexactly(1) == b"c"
            last_writer.close()

    asyncio.run(scene())


def test_a_cut_the_other_way_leaves_connections_that_this_side_made() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            node.back.cut()
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            writer.close()

    asyncio.run(scene())


def test_a_stall_holds_bytes_back_without_a_word_and_an_open_wire_delivers_them_in_order() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            node.there.stall()
            writer.write(b"one ")
            assert await is_silent(reader)
            writer.write(b"two")
            await asyncio.sleep(0.01)
            assert not node.arrived and node.there.passed_bytes == 0
            node.there.open()
            assert await reader.readexactly(7) == b"one two"
            writer.close()

    asyncio.run(scene())


def test_a_stall_one_way_lets_requests_through_and_holds_their_answers() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            node.back.stall()
            writer.write(b"question")
            assert await is_silent(reader)
            assert bytes(node.arrived) == b"question"
            assert (node.there.passed_bytes, node.back.passed_bytes) == (8, 0)
            writer.close()

    asyncio.run(scene())


def test_a_stalled_wire_holds_a_bounded_amount() -> None:
    async def scene() -> None:
        async with echo() as node:
            _, writer = await node.dial()
            node.there.stall()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    for _ in range(64):  # 64 MiB: more than the proxy and the kernel's buffers hold
                        writer.write(b"x" * HELD_BYTES_MAX)
                        await writer.drain()
            (pipe,) = node.there.pipes
            assert pipe._held_bytes < 2 * HELD_BYTES_MAX
            writer.transport.abort()

    asyncio.run(scene())


def test_a_delay_is_at_least_kept_and_keeps_the_order() -> None:
    async def scene() -> None:
        async with echo() as node:
            reader, writer = await node.dial()
            clock = asyncio.get_running_loop().time
            node.there.delay(0.08, 0.02, "seed")
            start_s = clock()
            for digit in b"0123456789":
                writer.write(bytes([digit]))
                await asyncio.sleep(0)
            assert await reader.readexactly(10) == b"0123456789"
            assert clock() - start_s >= 0.08
            node.there.open()
            start_s = clock()
            writer.write(b"fast")
            assert await reader.readexactly(4) == b"fast"
            assert clock() - start_s < 0.08
            writer.close()

    asyncio.run(scene())


def test_dropping_connections_says_how_many_there_were_and_new_ones_work() -> None:
    async def scene() -> None:
        async with echo() as node:
            dialled = [await node.dial() for _ in range(3)]
            for reader, writer in dialled:
                writer.write(b"a")
                await reader.readexactly(1)
            assert node.there.drop_connections() == 3
            for reader, _ in dialled:
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
            assert node.there.drop_connections() == 0
            reader, writer = await node.dial()
            writer.write(b"b")
            assert await reader.readexactly(1) == b"b"
            writer.close()

    asyncio.run(scene())


def test_a_target_that_does_not_listen_looks_like_a_broken_connection() -> None:
    async def scene() -> None:
        there, back = LoopbackWire("n1", "n2"), LoopbackWire("n2", "n1")
        proxy = Proxy(there, back, ("127.0.0.1", 1))
        await proxy.open()
        reader, writer = await asyncio.open_connection(*proxy.address)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert not there.pipes and not there.dialled
        writer.close()
        proxy.close()

    asyncio.run(scene())
