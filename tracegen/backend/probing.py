"""What a backend asks over HTTP to know how a node or a link is."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tracegen.backend.face import Crossing
from tracegen.backend.node_config import HEALTH
from tracegen.errors import HarnessError, Lost, NotSent
from tracegen.places import last_lines
from tracegen.workload.connection import HttpConnection

READY_S: Final = 30.0
POLL_S: Final = 0.02


async def until_ready(node: str, address: tuple[str, int], death: Callable[[], str | None], log: Path) -> None:
    """Wait until a node says that it is well; raises HarnessError when it does not, or with how it died."""
    clock = asyncio.get_running_loop().time
    end_s = clock() + READY_S
    connection = HttpConnection(*address)
    says = "nothing"
    try:
        while clock() < end_s:
            died = death()
            if died is not None:
                raise HarnessError(died)
            try:
                answer = await connection.request("GET", HEALTH, (), None, 1.0)
            except (NotSent, Lost) as error:
                says = str(error)
            else:
                if answer.status == 200:
                    return
                says = f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}"
            await asyncio.sleep(POLL_S)
    finally:
        connection.close()
    raise HarnessError(f"{node} is not ready after {READY_S:g} s; it says: {says}{last_lines(log)}")


async def cross(address: tuple[str, int], patience_s: float) -> Crossing:
    """Ask for a node's health at this address, on a connection of its own."""
    connection = HttpConnection(*address)
    clock = asyncio.get_running_loop().time
    start_s = clock()
    try:
        await connection.request("GET", HEALTH, (), None, patience_s)
    except (Lost, NotSent):
        took_s = clock() - start_s
        # a request that failed before its time was out, failed because somebody broke it
        return Crossing("broken" if took_s < patience_s * 0.95 else "stalled", took_s * 1000)
    finally:
        connection.close()
    return Crossing("answered", (clock() - start_s) * 1000)


async def is_reset(address: tuple[str, int], patience_s: float) -> bool:
    """Open a connection, say nothing, and see whether it is reset within this time."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(patience_s):
            return await reader.read(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    finally:
        writer.transport.abort()
