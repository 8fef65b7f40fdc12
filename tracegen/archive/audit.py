"""The last look at the archive: when everything is shipped, it holds what clients may read, and nothing else.

And at no time did it go back, or was a client told that it has what it had not (`judge.py`).
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from tracegen.archive.face import ArchiveBehind
from tracegen.archive.judge import Current, Keys, Past, compare, told_too_early
from tracegen.archive.shape import KEY_PREFIX
from tracegen.backend.face import Answer, Connection
from tracegen.errors import Lost, NotSent
from tracegen.history import Operation
from tracegen.scenario import Scenario
from tracegen.workload.client import Shared

SETTLED_S: Final = 60.0
"""An archive that was away is asked again within half a minute; what a node left to another, and that did not ship, it
looks at itself a while later; and then again, after a request's longest life."""
LOOK_AGAIN_S: Final = 0.2
ASK_S: Final = 5.0
LINES_MAX: Final = 20
STATE: Final = "/_/api/v1/archive"
BLOBS: Final = "/_/api/v1/blobs"


class _State(msgspec.Struct):
    pending: int


class _Item(msgspec.Struct):
    path: str
    generation: int
    deleted: bool


class _Listing(msgspec.Struct):
    items: list[_Item]
    next_cursor: str | None


class _NoAnswer(Exception):
    """A node does not answer although nothing is broken."""


async def audit(shared: Shared, scenario: Scenario, operations: Sequence[Operation]) -> list[str]:
    """A line for each thing that is not in the archive as it should be; nothing is broken, and no client writes."""
    archive = shared.cluster.archive
    if archive is None:
        return []
    shape = scenario.archive
    try:
        problems = await _settle(shared, archive, scenario)
    except _NoAnswer as error:
        problems = [f"the archive cannot be audited: {error}"]
    zero_s = asyncio.get_running_loop().time() - shared.recorder.clock.now_us() / 1e6
    past = Past(archive.changes(), KEY_PREFIX, zero_s)
    problems += past.steps_back() + told_too_early(operations, past, shape)
    if len(problems) > LINES_MAX:
        problems = [*problems[:LINES_MAX], f"... and {len(problems) - LINES_MAX} more of the archive"]
    return problems


async def _settle(shared: Shared, archive: ArchiveBehind, scenario: Scenario) -> list[str]:
    """Wait until nothing is left to ship, nor held back on its way, and nothing differs; what does after a while.

    It may differ for a time when nodes say that all is shipped: they notice what a late write put back at another look,
    when no request can be alive any more.
    """
    clock = asyncio.get_running_loop().time
    end_s = clock() + SETTLED_S
    keys = Keys(KEY_PREFIX, scenario.key_prefix)
    while True:
        wrong = await _unshipped(shared, archive)
        if not wrong:
            current = await _read_everything(shared, scenario.key_prefix)
            wrong = compare(current, await archive.contents(), scenario.archive, keys)
        if not wrong:
            return []
        if clock() > end_s:
            return [f"{line}, {SETTLED_S:g} s after all faults are healed" for line in wrong]
        await asyncio.sleep(LOOK_AGAIN_S)


async def _unshipped(shared: Shared, archive: ArchiveBehind) -> list[str]:
    states = {node: await _state(shared, node) for node in shared.cluster.nodes}
    left = [f"{node} has {state.pending} objects left to ship" for node, state in states.items() if state.pending]
    return [*left, f"{archive.late} requests are held back"] if archive.late else left


async def _state(shared: Shared, node: str) -> _State:
    answer = await _ask(shared.cluster.connection(node), node, STATE)
    return msgspec.json.decode(answer.body, type=_State)


async def _read_everything(shared: Shared, prefix: str) -> dict[str, Current]:
    """What the first node lets clients read of each path that was ever written."""
    node = shared.cluster.nodes[0]
    connection = shared.cluster.connection(node)
    try:
        items: list[_Item] = []
        first = target = f"{BLOBS}?prefix={quote(prefix, safe='')}&limit=1000&include_deleted=true"
        while True:
            listing = msgspec.json.decode((await _ask(connection, node, target)).body, type=_Listing)
            items += listing.items
            if listing.next_cursor is None:
                break
            target = f"{first}&cursor={quote(listing.next_cursor, safe='')}"
        return {item.path: await _current(connection, node, item) for item in items}
    finally:
        connection.close()


async def _current(connection: Connection, node: str, item: _Item) -> Current:
    if item.deleted:
        return Current(item.generation, None)
    answer = await _ask(connection, node, f"{BLOBS}/{quote(item.path)}")
    generation = int(answer.headers.get(b"x-amberio-generation", b"0"))
    return Current(generation, hashlib.sha256(answer.body).hexdigest(), len(answer.body))


async def _ask(connection: Connection, node: str, target: str) -> Answer:
    """GET it until it is answered with 200; raises _NoAnswer."""
    clock = asyncio.get_running_loop().time
    end_s = clock() + SETTLED_S
    while True:
        try:
            answer = await connection.request("GET", target, (), None, ASK_S)
        except (Lost, NotSent) as error:
            says = str(error)
        else:
            if answer.status == 200:
                return answer
            says = f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}"
            if answer.status < 500:
                raise _NoAnswer(f"{node} answers GET {target} with {says}")
        if clock() > end_s:
            raise _NoAnswer(f"{node} does not answer GET {target}: {says}")
        await asyncio.sleep(LOOK_AGAIN_S)
