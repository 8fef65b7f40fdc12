"""The last look: when all faults are healed, every key is read from every node, and listed by every node.

What clients were told and what the cluster holds are compared here, also for writes whose outcome was unknown.
"""

import asyncio
from typing import Final

from tracegen.history import Kind
from tracegen.workload.asked import Read
from tracegen.workload.client import Shared
from tracegen.workload.reads import carry_out

PATIENCE_S: Final = 15.0
PAUSE_S: Final = 0.1


async def read_everything(shared: Shared) -> list[str]:
    """Read all keys from all nodes at once; a line for each node that does not answer although nothing is broken."""
    problems = await asyncio.gather(*(_read_from(node, shared) for node in shared.cluster.nodes))
    return [problem for problem in problems if problem is not None]


async def _read_from(node: str, shared: Shared) -> str | None:
    connection = shared.cluster.connection(node)
    clock = asyncio.get_running_loop().time
    end_s = clock() + PATIENCE_S
    number = 0
    asked: list[tuple[Kind, str]] = [("get", key) for key in shared.keys]
    asked += [(kind, shared.prefix) for kind in shared.api.lists]
    try:
        for kind, path in asked:
            while True:
                number += 1
                read = Read(f"final-{node}", number, kind, path, node, shared.workload.deadline_s)
                result = await carry_out(read, shared.api, connection, shared.recorder)
                if result is not None and result.outcome == "ok":
                    break
                if clock() >= end_s:
                    status = "no answer" if result is None else f"status {result.status}"
                    return f"{node} does not answer after all faults are healed: {kind} {path}: {status}"
                await asyncio.sleep(PAUSE_S)
    finally:
        connection.close()
    return None
