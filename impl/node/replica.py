"""The node as a replica: answers what coordinators ask, from its own disk and with its own word.

A step is durable, and its event is out, before its answer goes. The rules are `impl/protocol/acceptor.py`. A head that
names parts is accepted once these are here (`naming.py`); until then nothing waits behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Final

from impl.cluster import wire
from impl.errors import AmberioError, DiskFull, NeverWritten, NotReady, Overloaded
from impl.model import AcceptedPage, Register, Rows, slot_of
from impl.node.naming import LOOKS, Naming, names_parts
from impl.protocol import events
from impl.protocol.acceptor import on_accept, on_prepare, on_read
from impl.protocol.collecting import may_have_accepted
from impl.protocol.messages import Accept, Failure, Prepare, Read, Refusal, Reply, Request, State, Told
from impl.protocol.rules import Rules
from impl.protocol.tiering import on_confirm
from impl.storage.database import without_body
from impl.storage.face import Registers
from impl.storage.steps import Committed
from impl.trace import Tracer

ACCEPTING_MAX: Final = 1024
"""Heads that may wait for their parts, or for the disk, at once."""

Respond = Callable[[Reply], None]


class Replica:
    """This node's acceptors."""

    def __init__(self, store: Registers, tracer: Tracer, naming: Naming, total_slots: int, rules: Rules) -> None:
        self.before_telling: Callable[[], Awaitable[None]] = _at_once
        self._store = store
        self._naming = naming
        self._accepting: dict[asyncio.Task[None], None] = {}
        self._tracer = tracer
        self._total_slots = total_slots
        self._rules = rules

    def _slot_of(self, path: str) -> int:
        return slot_of(path, self._total_slots)

    def handle(self, request: Request, respond: Respond) -> None:
        """Answer one request of a coordinator, ours or another node's; `respond` is called exactly once."""
        if self._is_behind(request.path):
            respond(Failure("behind", "this replica lost its disk, and does not vote before it has caught up"))
            return
        if isinstance(request, Read):
            self._read(request, respond)
            return
        if isinstance(request, Accept) and names_parts(request.path, request.head):
            if len(self._accepting) >= ACCEPTING_MAX:
                respond(failure(Overloaded(f"{len(self._accepting)} heads wait for their parts already; slow down")))
                return
            task = asyncio.get_running_loop().create_task(self._accept(request, respond))
            self._accepting[task] = None
            task.add_done_callback(self._accepting.pop)
            return
        if isinstance(request, Prepare):
            decide = partial(on_prepare, request=request, rules=self._rules)
            with_head = True
        else:
            decide = partial(on_accept, request=request, rules=self._rules)
            with_head = False
        slot = self._slot_of(request.path)
        self._store.apply_then(request.path, slot, decide, partial(_answer, respond, with_head))

    async def _accept(self, request: Accept, respond: Respond) -> None:
        """Accept a head that names parts, once they are here."""
        decide = partial(on_accept, request=request, rules=self._rules)
        try:
            async with self._naming.held(request.path, request.head, LOOKS):
                committed = await self._store.apply(request.path, self._slot_of(request.path), decide)
        except AmberioError as error:
            respond(failure(error))
            return
        _answer(respond, False, committed)

    async def close(self) -> None:
        """Give up what waits for its parts: to be killed there does no harm either."""
        for task in tuple(self._accepting):
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)

    async def scan(self, prefix: str, after: str | None, limit: int, with_older: bool) -> Rows:
        """Our own registers, without bodies, that start with `prefix` and follow `after`."""
        refuse_if_behind(self._store)
        return await self._store.scan(prefix, after, limit, with_older)

    def digests(self) -> Mapping[int, int]:
        """A digest for each of our slots in which something is accepted."""
        return self._store.digests.all()

    async def accepted_page(self, slots: Collection[int], after: str | None, limit: int) -> AcceptedPage:
        """What we have accepted in these slots, of our next `limit` registers after a path."""
        return await self._store.accepted_page(slots, after, limit)

    def told(self, told: Told) -> None:
        """Another replica has put on record what the archive holds: so do we, if the disk lets us."""
        if self._is_behind(told.path):
            return
        decide = partial(
            on_confirm,
            path=told.path,
            generation=told.generation,
            by="told",
            cause=told.event,
            was_told_settled=told.is_settled,
        )
        self._store.apply_then(told.path, self._slot_of(told.path), decide, lambda _: None)

    async def known(self, asked: wire.Known) -> wire.KnownPage:
        """A page of the paths that we know in some slots, for a node that lost its disk (spec: Tell).

        Raises NotReady if we are behind there ourselves.
        """
        if not self._store.behind.isdisjoint(asked.slots):
            raise NotReady("this node lost its disk, too, and has not caught up")
        event = ""
        if asked.after is None:
            await self.before_telling()
            cause = (asked.cause,) if asked.cause else ()
            event = self._tracer.emit(
                events.Tell(cause=cause, read=asked.read, slots=asked.lost, total_slots=self._total_slots)
            )
        paths, next_after = await self._store.known_page(asked.slots, asked.after, asked.limit)
        return wire.KnownPage(event, paths, next_after, self._store.floors(asked.slots))

    def _is_behind(self, path: str) -> bool:
        behind = self._store.behind
        return bool(behind) and not self._rules.vote_after_disk_loss and self._slot_of(path) in behind

    def failure(self, error: AmberioError) -> Failure:
        """An error of ours as the other node is told it."""
        return failure(error)

    def _read(self, request: Read, respond: Respond) -> None:
        register = self._store.cached(request.path)
        if register is not None:
            self._report(request, respond, register)
            return
        self._store.read_then(request.path, partial(self._report, request, respond))

    def _report(self, request: Read, respond: Respond, register: Register | AmberioError) -> None:
        if isinstance(register, AmberioError):
            respond(failure(register))
            return
        event = ""
        if self._tracer.enabled:
            self._tracer.touch(request.path, register)
            event = self._tracer.emit(on_read(register, request))
        head = register.head
        if head is not None and head.body is not None and not request.body:
            head = without_body(head)
        respond(State(register.promised, register.accepted, head, event))


def refuse_if_behind(store: Registers) -> None:
    """Raises NotReady: a list by a node that has lost some of its registers is none."""
    if store.behind:
        raise NotReady(f"this node lost its disk, and has {len(store.behind)} slots to catch up")


async def _at_once() -> None:
    return


def failure(error: AmberioError) -> Failure:
    """An error of ours as the other node is told it."""
    reasons = {DiskFull: "disk_full", Overloaded: "overloaded", NotReady: "draining", NeverWritten: "not_found"}
    return Failure(reasons.get(type(error), "io_error"), str(error))


def _answer(respond: Respond, with_head: bool, committed: Committed | AmberioError) -> None:
    if isinstance(committed, AmberioError):
        respond(failure(committed))
        return
    register = committed.register
    if not committed.taken:
        respond(Refusal(register.promised, may_have_accepted(register), committed.event_id))
        return
    # whoever asked to accept knows the head it sent, so only a promise carries it back
    respond(State(register.promised, register.accepted, register.head if with_head else None, committed.event_id))
