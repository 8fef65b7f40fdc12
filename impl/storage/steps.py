"""One step of a register, from its decision to the answer: what waits for the disk meanwhile, and what is told then."""

from collections.abc import Callable

import msgspec

from impl.errors import AmberioError
from impl.model import Register
from impl.protocol.acceptor import Step


class Committed(msgspec.Struct, frozen=True):
    """A step that is durable (or, not taken, changed nothing), with the id of its trace event."""

    found: Register
    register: Register
    taken: bool
    event_id: str


Decide = Callable[[Register], Step]
Found = Callable[[Register | AmberioError], None]
Done = Callable[[Committed | AmberioError], None]


class Job:
    """A step on its way to the disk. `number` is that of its durable event, 0 if it has none.

    A step that was not taken waits here too, behind the steps it saw: its answer must not tell of a state before that
    state is durable.
    """

    __slots__ = ("done", "encoded", "found", "number", "path", "size_bytes", "slot", "step")

    def __init__(self, path: str, slot: int, found: Register, step: Step, done: Done) -> None:
        self.path = path
        self.slot = slot
        self.found = found
        self.step = step
        self.done = done
        self.number = 0
        self.encoded = b""
        head = step.register.head
        self.size_bytes = len(head.body) if head is not None and head.body is not None else 0
