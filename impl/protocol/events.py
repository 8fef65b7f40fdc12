"""The trace events of the register protocol: one struct a kind, named as the actions of spec/tla/Register.tla.

Pure values; `impl/trace.py` adds node, incarnation, seq and time. Each says the state found before the step (`was_*`),
so a lie about the past is a contradiction. A ballot is None where the register had none.
"""

from typing import Literal

import msgspec

from impl.model import Ballot

Operation = Literal["put", "mark", "delete", "amend", "read"]
Outcome = Literal["applied", "replayed", "refused", "unchanged"]


class Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    path: str
    cause: tuple[str, ...] = ()


class Restart(Event, frozen=True, tag="Restart", kw_only=True):
    """The register as read from disk when an incarnation after the first touches it for the first time."""

    promised: Ballot | None
    accepted: Ballot | None
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]


class Prepare(Event, frozen=True, tag="Prepare", kw_only=True):
    ballot: Ballot
    replicas: tuple[str, ...]
    preferred: str
    write_quorum: int


class Found(Event, frozen=True, kw_only=True):
    """What an acceptor's event found: the common part of all of them."""

    was_promised: Ballot | None
    was_accepted: Ballot | None
    was_generation: int


class Promise(Found, frozen=True, tag="Promise", kw_only=True):
    ballot: Ballot


class Accept(Found, frozen=True, tag="Accept", kw_only=True):
    ballot: Ballot
    next: Ballot | None
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    write_id: str | None


class Adopt(Found, frozen=True, tag="Adopt", kw_only=True):
    """A replica that was away takes over what another one has accepted, at `ballot`, as it was told for `read`."""

    read: str
    ballot: Ballot
    generation: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    write_id: str | None


class Refuse(Found, frozen=True, tag="Refuse", kw_only=True):
    step: Literal["prepare", "accept"]
    ballot: Ballot


class Report(Found, frozen=True, tag="Report", kw_only=True):
    read: str


class Change(Event, frozen=True, kw_only=True):
    """What a proposal does to the head it found: the common part of Propose and Claim."""

    ballot: Ballot
    next: Ballot | None
    operation: Operation
    condition: str
    condition_etag: str | None
    condition_generation: int
    write_id: str | None
    versioned: bool
    version: int
    etag: str | None
    deleted: bool
    versions: tuple[int, ...]
    generation: int
    outcome: Outcome
    was_generation: int


class Propose(Change, frozen=True, tag="Propose", kw_only=True):
    counted: tuple[str, ...]


class Claim(Change, frozen=True, tag="Claim", kw_only=True):
    """The preferred replica's first proposal, accepted by itself in the same step."""

    replicas: tuple[str, ...]
    preferred: str
    write_quorum: int
    was_promised: Ballot | None
    was_accepted: Ballot | None


class Acknowledge(Event, frozen=True, tag="Acknowledge", kw_only=True):
    ballot: Ballot
    counted: tuple[str, ...]
    generation: int
    outcome: Outcome


class ReadQuorum(Event, frozen=True, tag="Read", kw_only=True):
    read: str
    replicas: tuple[str, ...]
    preferred: str
    write_quorum: int
    counted: tuple[str, ...]
    accepted: Ballot | None
    generation: int


TraceEvent = Restart | Prepare | Promise | Accept | Adopt | Refuse | Report | Propose | Claim | Acknowledge | ReadQuorum
"""Every kind that names a path."""
