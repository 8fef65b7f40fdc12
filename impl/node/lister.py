"""Lists: one round trip that asks every node for its part of the range, merged path by path.

A path is listed as a quorum of its replicas agree on it; where they do not, it is read like any other path. So a list
sees every write acknowledged before it began. Not traced: the clients' histories judge it.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from impl.cluster.peers import Peers
from impl.errors import AmberioError, NoQuorum
from impl.model import SYSTEM_START, Head, Register, ReplicaSet, present
from impl.node.limits import Timing
from impl.node.locate import Locate
from impl.node.reader import Reader
from impl.node.replica import refuse_if_behind
from impl.protocol.messages import State
from impl.protocol.proposer import ReadTally
from impl.protocol.rules import HONEST, Rules
from impl.storage.face import Registers

_SYSTEM_END = SYSTEM_START + "\U0010ffff"
"""Above all system paths, and below all other paths that are above one of them."""
READS_AT_ONCE_MAX = 32
"""How many disagreements of one page are settled at the same time."""


class Listing(msgspec.Struct, frozen=True):
    """A page, in the order of the paths' UTF-8 bytes; `next_after` is None on the last one."""

    items: list[tuple[str, Head]]
    next_after: str | None


class _Answer(msgspec.Struct, frozen=True):
    """One node's rows of the range; `until` is its last path if there may be more, else None."""

    registers: dict[str, Register]
    until: bytes | None


class Lister:
    """Answers which paths there are, and their heads."""

    def __init__(
        self,
        node_id: str,
        nodes: Sequence[str],
        store: Registers,
        peers: Peers,
        reader: Reader,
        locate: Locate,
        timing: Timing,
        rules: Rules = HONEST,
    ) -> None:
        self._node_id = node_id
        self._nodes = tuple(nodes)
        self._store = store
        self._peers = peers
        self._reader = reader
        self._locate = locate
        self._timing = timing
        self._rules = rules

    async def page(
        self, prefix: str, limit: int, after: str | None, include_deleted: bool, with_older: bool = False
    ) -> Listing:
        """Up to `limit` paths that start with `prefix` and follow `after`; raises NoQuorum.

        System paths are there only for a prefix that asks for them. `with_older` heads have the versions before the
        current one too, and every path that has versions is there; many of them make a page long, so ask for few then.
        """
        with_system = prefix.startswith(SYSTEM_START)
        items: list[tuple[str, Head]] = []
        while True:
            answers = await self._scan(prefix, after, limit + 1, with_older)
            horizon = min((answer.until for answer in answers.values() if answer.until is not None), default=None)
            paths = sorted({path for answer in answers.values() for path in answer.registers}, key=str.encode)
            if horizon is not None:
                paths = [path for path in paths if path.encode() <= horizon]
            if not with_system:
                paths = [path for path in paths if not path.startswith(SYSTEM_START)]
            for path, head in await self._settle(paths, answers):
                if head is not None and (include_deleted or not head.deleted or (with_older and head.version_ids)):
                    items.append((path, head))
            if len(items) > limit:
                return Listing(items[:limit], items[limit - 1][0])
            if horizon is None:
                return Listing(items, None)
            after = horizon.decode()
            if not with_system and after.startswith(SYSTEM_START):
                after = max(after, _SYSTEM_END, key=str.encode)  # never back

    async def _scan(self, prefix: str, after: str | None, limit: int, with_older: bool) -> dict[str, _Answer]:
        """The rows of enough nodes that every slot has its quorums among them."""
        asked = {
            asyncio.create_task(self._scan_at(node, prefix, after, limit, with_older)): node for node in self._nodes
        }
        answers: dict[str, _Answer] = {}
        reasons: list[str] = []
        try:
            for finished in asyncio.as_completed(asked):
                node, outcome = await finished
                if isinstance(outcome, AmberioError):
                    reasons.append(f"{node}: {outcome}")
                    continue
                answers[node] = outcome
                if self._suffices(answers):
                    return answers
        finally:
            for task in asked:
                task.cancel()
        raise NoQuorum(f"only {', '.join(answers) or 'none'} of the nodes answered the list: {'; '.join(reasons)}")

    async def _scan_at(
        self, node: str, prefix: str, after: str | None, limit: int, with_older: bool
    ) -> tuple[str, _Answer | AmberioError]:
        try:
            if node == self._node_id:
                refuse_if_behind(self._store)
                rows = await self._store.scan(prefix, after, limit, with_older)
            else:
                rows = await self._peers.scan(node, prefix, after, limit, with_older, self._timing.step_s)
        except AmberioError as error:
            return node, error
        registers = rows.registers
        has_more = rows.has_more and not self._rules.list_misses_tail
        return node, _Answer(dict(registers), registers[-1][0].encode() if has_more else None)

    def _suffices(self, answers: dict[str, _Answer]) -> bool:
        """A quorum of every replica set has answered: any set misses at most as many nodes as the cluster does."""
        missing = 0 if self._rules.list_of_one else len(self._nodes) - len(answers)
        group = self._locate("")[1]
        return len(group.nodes) - missing >= max(group.write_quorum, group.read_quorum)

    async def _settle(self, paths: list[str], answers: dict[str, _Answer]) -> list[tuple[str, Head | None]]:
        heads: dict[str, Head | None] = {}
        unsettled: list[str] = []
        for path in paths:
            agreed, head = _agreed(self._locate(path)[1], path, answers)
            if agreed:
                heads[path] = head
            elif not self._rules.list_skips_unsettled:
                unsettled.append(path)
        for first in range(0, len(unsettled), READS_AT_ONCE_MAX):
            batch = unsettled[first : first + READS_AT_ONCE_MAX]
            heads.update(zip(batch, await asyncio.gather(*(self._reader.head(path) for path in batch)), strict=True))
        return [(path, heads[path]) for path in paths if path in heads]


def _agreed(group: ReplicaSet, path: str, answers: dict[str, _Answer]) -> tuple[bool, Head | None]:
    tally = ReadTally(group)
    for node in group.nodes:
        answer = answers.get(node)
        if answer is None:
            continue
        register = answer.registers.get(path, Register())
        tally.add(node, State(register.promised, register.accepted, register.head))
    if tally.decided is None:
        return False, None
    return True, present(next(iter(tally.decided[1].values())).head)
