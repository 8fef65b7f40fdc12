"""What nodes say to each other about one register. Sans-I/O: encoding and sockets are `impl/cluster/peers.py`.

`cause` is the id of the trace event that sent the message ("" when tracing is off): the receiver's event names it,
which is how the checker orders events of different nodes.
"""

import msgspec

from impl.model import Ballot, Head


class Prepare(msgspec.Struct, frozen=True, tag="prepare", array_like=True):
    """Ask for a promise not to accept anything below `ballot`."""

    path: str
    ballot: Ballot
    cause: str = ""


class Accept(msgspec.Struct, frozen=True, tag="accept", array_like=True):
    """Ask to accept `head` at `ballot`, and to promise `next` with it (NO_BALLOT: nothing further)."""

    path: str
    ballot: Ballot
    head: Head | None
    next: Ballot
    cause: str = ""


class Read(msgspec.Struct, frozen=True, tag="read", array_like=True):
    """Ask what is accepted. `read` names the read in traces; without `body` the head comes without its inline body."""

    path: str
    read: str
    body: bool = False


class State(msgspec.Struct, frozen=True, tag="state", array_like=True):
    """The acceptor's state after a step it took, or as a read found it.

    One shape answers all three requests, as in the spec: whoever accepted with `next` has promised `next`. `event` is
    the id of the acceptor's own trace event.
    """

    promised: Ballot
    accepted: Ballot
    head: Head | None
    event: str = ""


class Refusal(msgspec.Struct, frozen=True, tag="refusal", array_like=True):
    """The step was not taken, because a higher ballot is promised; nothing changed.

    `accepted` says whether the acceptor can have taken this very step before: a request that comes twice is refused
    the second time, and the answer to the first may be lost.
    """

    promised: Ballot
    accepted: Ballot
    event: str = ""


class Failure(msgspec.Struct, frozen=True, tag="failure", array_like=True):
    """The step was not taken, because the node could not: `reason` is one of FAILURE_REASONS."""

    reason: str
    detail: str = ""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """The archive holds this generation of a path, as the sender has on record; nobody answers (spec: Confirm)."""

    path: str
    generation: int
    is_settled: bool
    event: str = ""


FAILURE_REASONS = ("disk_full", "io_error", "overloaded", "draining", "not_found", "behind")

Request = Prepare | Accept | Read
Reply = State | Refusal | Failure
