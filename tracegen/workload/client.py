"""One client: draws an operation, carries it out with retries, records it, and so on until the load is over."""

import hashlib
import random
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tracegen.backend.face import Cluster, Connection
from tracegen.errors import Lost, NotSent
from tracegen.history import Kind, Operation, Outcome, Recorder
from tracegen.operations import CONDITION_OF, LISTS
from tracegen.scenario import Workload
from tracegen.workload.api import Api
from tracegen.workload.asked import NULL, Read, Version, Write
from tracegen.workload.bodies import body
from tracegen.workload.mix import Intention, Mix, Source
from tracegen.workload.native import Native
from tracegen.workload.pace import Pace
from tracegen.workload.reads import carry_out
from tracegen.workload.shapes import NULL_VERSION, Condition, Result
from tracegen.workload.window import Window

SHUN_S: Final = 1.0  # how long a client leaves a node alone that did not answer
REPLAYS_KEPT: Final = 32
UNEXPECTED_KEPT: Final = 20
VERSIONS_KEPT: Final = 12
MAKES_SHARE: Final = 0.5
NO_ETAG: Final = "0" * 32
LIST_PAGES: Final = (2, 10, 1000)
"""How many paths a list asks for at a time."""


@dataclass
class Shared:
    """What all clients of a run share."""

    seed: int
    prefix: str
    keys: Sequence[str]
    workload: Workload
    cluster: Cluster
    recorder: Recorder
    api: Api = field(default_factory=Native)
    window: Window = field(default_factory=Window)
    etags: dict[str, str] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """etag -> client, operation, and size of the body that has it; see bodies.py."""
    versions: defaultdict[str, deque[Version]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=VERSIONS_KEPT))
    )
    """The newest versions of each path that clients were told of, also those that are gone since."""
    retries: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)

    def note_unexpected(self, line: str) -> None:
        if line in self.unexpected or len(self.unexpected) < UNEXPECTED_KEPT:
            self.unexpected[line] += 1


class Client:
    """A sequential client whose own node is `home`. It does what `script` says, or draws what it does."""

    def __init__(self, name: str, home: str, shared: Shared, script: Source | None = None) -> None:
        self._name = name
        self._home = home
        self._shared = shared
        self._draw = random.Random(f"{shared.seed}/client/{name}")
        self._source: Source = script or Mix(shared.workload, shared.keys, self._draw)
        self._connections: dict[str, Connection] = {}
        self._shunned_until_us: dict[str, int] = {}
        self._finished: deque[Write] = deque(maxlen=REPLAYS_KEPT)
        self._count = 0

    async def run(self, until_us: int, pace: Pace) -> None:
        """Operate until the run's clock says `until_us`, or nothing is left; the operation then running is finished."""
        now_us = self._shared.recorder.clock.now_us
        try:
            while (intention := self._source.next()) is not None:
                await pace(intention)
                if now_us() >= until_us:
                    return
                await self._perform(intention)
        finally:
            for connection in self._connections.values():
                connection.close()

    async def _perform(self, intention: Intention) -> None:
        self._count = intention.listed.op if intention.listed else self._count + 1
        kind = intention.kind
        if kind in LISTS:
            await self._read(self._list(intention), intention)
        elif kind.startswith("get") or self._shared.window.is_full(intention.path):
            await self._read(self._get(intention), intention)
        elif kind == "put_replay":
            await self._replay(intention)
        else:
            await self._write(self._new_write(intention), intention)

    def _list(self, intention: Intention) -> Read:
        kind: Kind = "list_versions" if intention.kind == "list_versions" else "list"
        read = Read(self._name, self._count, kind, self._shared.prefix, "", self._shared.workload.deadline_s)
        return replace(read, page=intention.listed.page if intention.listed else self._draw.choice(LIST_PAGES))

    def _get(self, intention: Intention) -> Read:
        path = intention.path
        read = Read(self._name, self._count, "get", path, "", self._shared.workload.deadline_s)
        etag = self._shared.etags.get(path)
        if intention.kind == "get_version":
            return replace(read, version=self._version(intention))
        if intention.kind == "get_range" and intention.listed:
            return replace(read, span=intention.listed.span)
        if intention.kind == "get_range":
            first = self._draw.randrange(intention.size_bytes + 1)
            return replace(read, span=(first, first + self._draw.randrange(intention.size_bytes + 1)))
        if etag is not None and intention.kind == "get_if_match":
            return replace(read, condition=Condition("etag_is", etag))
        if etag is not None and intention.kind == "get_if_none_match":
            return replace(read, condition=Condition("etag_is_not", etag))
        return read

    async def _read(self, read: Read, intention: Intention) -> None:
        node = self._choose_node(intention, 0)
        shared = self._shared
        result = await carry_out(replace(read, node=node), shared.api, self._connection(node), shared.recorder)
        if result is None:
            self._shun(node)
        else:
            self._check_piece(read, result)
        self._note(read.path, result, shows_current=read.kind == "get" and read.version is None)

    def _check_piece(self, read: Read, result: Result) -> None:
        """A range of a body that we know must have just its bytes."""
        known = self._shared.bodies.get(result.etag or "")
        if result.piece is None or known is None:
            return
        first, content = result.piece.start, result.piece.content
        if content != body(self._shared.seed, *known)[first : first + len(content)]:
            self._shared.note_unexpected(f"206 wrong bytes for {read.span} of {read.path}, etag {result.etag}")

    def _new_write(self, intention: Intention) -> Write:
        path = intention.path
        word = intention.kind.partition("_")[0]
        kind: Kind = "put"
        match word:
            case "tag" | "copy":
                kind = word
            case "delete":
                kind = "delete" if intention.kind == "delete_version" else self._shared.api.delete_kind
        content = b""
        if kind == "put":
            content = body(self._shared.seed, self._name, self._count, intention.size_bytes)
        return Write(
            op=self._count,
            kind=kind,
            path=path,
            write_id=f"s{self._shared.seed}-{self._name}-{self._count}",
            body=content,
            condition=self._condition(intention),
            bound=self._shared.window.begin(path),
            sha256=hashlib.sha256(content).hexdigest() if kind == "put" else None,
            version=self._version(intention) if intention.kind == "delete_version" else None,
            source=self._source_of_copy(intention) if kind == "copy" else None,
            is_multipart=word == "multipart",
        )

    def _version(self, intention: Intention) -> Version:
        """A version that some client was told of; the null version where nobody was told of any."""
        known = self._shared.versions.get(intention.path, ())
        if intention.listed:
            return next((each for each in known if each.made_by == intention.listed.made_by), NULL)
        return self._draw.choice((*known, NULL)) if known else NULL

    def _source_of_copy(self, intention: Intention) -> str:
        if intention.listed:
            return self._shared.prefix + intention.listed.source
        return self._draw.choice(self._shared.keys)

    def _condition(self, intention: Intention) -> Condition:
        """What the kind asks for, by what was told last of the path.

        Where no etag was told, it is one that nothing has; or the write is one that makes something, so that more is.
        """
        operation, _, asked = intention.kind.partition("_if_")
        kind = CONDITION_OF.get(asked, "none")
        etag = self._shared.etags.get(intention.path)
        if kind == "generation_is":
            return Condition(kind, generation=self._shared.generations.get(intention.path, 0))
        if kind not in ("etag_is", "etag_is_not"):
            return Condition(kind)
        if etag is None and not intention.listed and self._draw.random() < MAKES_SHARE:
            return Condition("none" if operation == "delete" else "absent")
        return Condition(kind, etag or NO_ETAG)

    async def _replay(self, intention: Intention) -> None:
        """Send a finished write again, as a client does that never saw the answer: the answer must be the first one."""
        window = self._shared.window
        known = [write for write in self._finished if window.may_send_again(write.path, write.bound)]
        if intention.listed:
            known = [write for write in known if write.op == intention.listed.again]
        if not known:
            await self._read(self._get(intention), intention)
            return
        write = self._draw.choice(known)
        window.hold(write.path, write.bound)
        outcome = await self._write(write, intention, is_replay=True)
        if outcome != "unknown":
            window.release(write.path, write.bound)

    async def _write(self, write: Write, intention: Intention, *, is_replay: bool = False) -> Outcome:
        """Send a write until its outcome is known, or it is not wise to send it again; one line of history."""
        shared = self._shared
        recorder, window = shared.recorder, shared.window
        invoke_us = recorder.clock.now_us()
        in_doubt = False
        tried: list[str] = []
        while True:
            node = self._choose_node(intention, len(tried))
            tried.append(node)
            write, result = await self._attempt(node, write)
            in_doubt = in_doubt or result is None or result.outcome == "unknown"
            is_over = result is not None and (result.outcome == "ok" or not in_doubt)
            if is_over or len(tried) > self._retries(intention) or (in_doubt and write.kind not in _SENT_AGAIN):
                break
            if not window.may_send_again(write.path, write.bound):
                break
            window.hold(write.path, write.bound)
            shared.retries += 1
        told = result if result is not None and (not in_doubt or _is_last_word(write, result)) else None
        outcome: Outcome = told.outcome if told is not None else "unknown"
        if not is_replay:
            self._note(write.path, result, shows_current=write.version is None and write.kind != "tag")
            if outcome != "unknown":
                window.settle(write.path)
            if outcome == "ok" and write.kind == "put" and not write.is_multipart:
                self._finished.append(write)
            if outcome == "ok" and write.kind == "put" and result is not None and result.etag is not None:
                shared.bodies[result.etag] = (self._name, self._count, len(write.body))
            if outcome == "ok" and write.kind in _MAKES and result is not None and result.version:
                shared.versions[write.path].append(Version(result.version, f"{self._name}/{self._count}"))
        recorder.record(
            Operation(
                client=self._name,
                op=self._count,
                kind=write.kind,
                path=write.path,
                node=node,
                invoke_us=invoke_us,
                return_us=recorder.clock.now_us() if outcome != "unknown" else None,
                outcome=outcome,
                status=(result.status or None) if result else None,
                write_id=write.write_id,
                condition=write.condition.kind,
                condition_etag=write.condition.etag,
                condition_generation=write.condition.generation,
                generation=told.generation if told else None,
                etag=told.etag if told else None,
                deleted=told.deleted if told else None,
                size_bytes=len(write.body) if write.kind == "put" else None,
                sha256=write.sha256,
                tried=tuple(tried),
                of_version=write.version.id if write.version else None,
                made_by=(write.version.made_by or None) if write.version else None,
                version=told.version if told else None,
                versioned=shared.api.is_versioned and write.kind in _MAKES,
                source=write.source,
                parts=1 if write.is_multipart else 0,
            )
        )
        return outcome

    async def _attempt(self, node: str, write: Write) -> tuple[Write, Result | None]:
        """Send it once; no result when no answer came. NotSent is a definite failure: the node never saw it.

        The write comes back with what was sent beforehand, which is not sent again.
        """
        api, deadline_s = self._shared.api, self._shared.workload.deadline_s
        connection = self._connection(node)
        if not write.upload:
            try:
                prepared = await api.prepare(connection, write, deadline_s)
            except (NotSent, Lost):
                self._shun(node)
                return write, Result(outcome="failed", status=0)
            if isinstance(prepared, Result):
                return write, prepared
            write = prepared
        self._shared.recorder.write_begins(node)
        try:
            return write, await api.write(connection, write, deadline_s)
        except NotSent:
            self._shun(node)
            return write, Result(outcome="failed", status=0)
        except Lost:
            self._shun(node)
            return write, None

    def _note(self, path: str, result: Result | None, *, shows_current: bool) -> None:
        if result is None:
            return
        if result.unexpected is not None:
            self._shared.note_unexpected(result.unexpected)
        if result.outcome == "ok" and result.generation is not None:
            self._shared.generations[path] = result.generation
        if result.outcome == "ok" and shows_current:
            if result.etag and not result.deleted:
                self._shared.etags[path] = result.etag
            else:
                self._shared.etags.pop(path, None)

    def _retries(self, intention: Intention) -> int:
        if intention.listed:
            return len(intention.listed.then)
        return 0 if intention.is_hot else self._shared.workload.retries

    def _choose_node(self, intention: Intention, attempt: int) -> str:
        if intention.listed:
            return (intention.listed.node, *intention.listed.then)[attempt]
        nodes = self._shared.cluster.nodes
        wanted = self._draw.choice(nodes) if intention.roams else self._home
        now_us = self._shared.recorder.clock.now_us()
        if self._shunned_until_us.get(wanted, 0) <= now_us:
            return wanted
        others = [node for node in nodes if self._shunned_until_us.get(node, 0) <= now_us]
        return self._draw.choice(others) if others else wanted

    def _shun(self, node: str) -> None:
        self._shunned_until_us[node] = self._shared.recorder.clock.now_us() + int(SHUN_S * 1e6)

    def _connection(self, node: str) -> Connection:
        if node not in self._connections:
            self._connections[node] = self._shared.cluster.connection(node)
        return self._connections[node]


_MAKES: Final = ("put", "copy", "mark")
"""What makes a version, or replaces the null version."""
_SENT_AGAIN: Final = ("put", "copy", "mark", "delete")
"""What has its effect once however often it is sent. A tag is read, changed and written back, each time it is sent."""


def _is_last_word(write: Write, result: Result) -> bool:
    """Does this answer settle a write of which an earlier attempt may still be on its way?

    A node knows a write that it has applied, so a late attempt changes nothing. It does not know a delete that found
    nothing to delete: a late attempt may find something, unless it is about a version, which never comes back.
    """
    if write.kind == "delete":
        is_gone = write.version is not None and write.version.id != NULL_VERSION
        return result.outcome == "ok" and (result.is_replay or is_gone)
    return result.outcome == "ok" and write.kind in _MAKES
