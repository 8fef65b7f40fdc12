"""Liveness: once every fault is healed, what was asked is answered, and a new write succeeds at every node, in time.

The bounds are in seconds of the run's own clock, which is why only simulated runs are held to them.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from typing import Final

from tracegen.backend.face import Connection
from tracegen.errors import Lost, NotSent
from tracegen.history import Operation, Outcome
from tracegen.workload.asked import Write
from tracegen.workload.bodies import body
from tracegen.workload.client import Shared
from tracegen.workload.shapes import UNCONDITIONAL, Result

ANSWERED_S: Final = 30.0
"""A node may wait for a part from one that is silent: no longer than `part_s` in impl/node/limits.py."""
SUCCEEDS_S: Final = 10.0
LOOK_AGAIN_S: Final = 0.1
SIZE_BYTES: Final = 24
CLIENTS: Final = "final-alive-"
"""What the probers are called: with the other ones of the last look."""


async def await_answers(under_way: Callable[[], list[str]]) -> list[str]:
    """A line for each request that a node still works on though nothing is broken; `under_way` names them all."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + ANSWERED_S
    while under_way() and loop.time() < end_s:  # noqa: ASYNC110 # the simulated nodes know nothing of us
        await asyncio.sleep(LOOK_AGAIN_S)
    return [f"{request} is not answered {ANSWERED_S:g} s after all faults are healed" for request in under_way()]


async def write_everywhere(shared: Shared) -> list[str]:
    """A line for each node at which no new write succeeds though nothing is broken."""
    nodes = shared.cluster.nodes
    written = await asyncio.gather(*(_write_at(node, at, shared) for at, node in enumerate(nodes)))
    return [problem for problem in written if problem is not None]


async def _write_at(node: str, at: int, shared: Shared) -> str | None:
    """Write something new at this node until that succeeds."""
    clock = asyncio.get_running_loop().time
    end_s = clock() + SUCCEEDS_S
    connection = shared.cluster.connection(node)
    path = shared.keys[at % len(shared.keys)]
    if shared.window.is_full(path):
        path = f"{shared.prefix}alive-{node}"
    try:
        for number in itertools.count(1):
            result = await _put(shared, node, connection, path, number)
            if result is not None and result.outcome == "ok":
                return None
            if clock() >= end_s:
                status = "no answer" if result is None else f"status {result.status}"
                return f"no write succeeds at {node} {SUCCEEDS_S:g} s after all faults are healed: put {path}: {status}"
            await asyncio.sleep(LOOK_AGAIN_S)
    finally:
        connection.close()
    return None


async def _put(shared: Shared, node: str, connection: Connection, path: str, number: int) -> Result | None:
    """One write of this node's own prober, recorded; None when no answer came."""
    client = f"{CLIENTS}{node}"
    content = body(shared.seed, client, number, SIZE_BYTES)
    now_us = shared.recorder.clock.now_us
    write = Write(
        op=number,
        kind="put",
        path=path,
        write_id=f"s{shared.seed}-{client}-{number}",
        body=content,
        condition=UNCONDITIONAL,
        bound=shared.window.begin(path),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    invoke_us = now_us()
    result: Result | None = None
    outcome: Outcome
    try:
        result = await shared.api.write(connection, write, shared.workload.deadline_s)
        outcome = result.outcome
    except NotSent:
        outcome = "failed"
    except Lost:
        outcome = "unknown"
    if outcome != "unknown":
        shared.window.settle(path)
    shared.recorder.record(
        Operation(
            client=client,
            op=number,
            kind="put",
            path=path,
            node=node,
            invoke_us=invoke_us,
            return_us=now_us() if outcome != "unknown" else None,
            outcome=outcome,
            status=(result.status or None) if result else None,
            write_id=write.write_id,
            generation=result.generation if result else None,
            etag=result.etag if result else None,
            deleted=result.deleted if result else None,
            size_bytes=len(content),
            sha256=write.sha256,
            version=result.version if result else None,
            versioned=shared.api.is_versioned,
        )
    )
    return result
