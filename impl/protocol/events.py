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
    archived: int
    settled: bool


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


class Collect(Found, frozen=True, tag="Collect", kw_only=True):
    """A replica forgets what is deleted, as those in `counted`, which are all, told `read` what they have.

    And with it what was on record of the archive. `is_tiered`: the path goes there.
    """

    read: str
    counted: tuple[str, ...]
    was_archived: int
    was_settled: bool
    is_tiered: bool


class Floor(Event, frozen=True, tag="Floor", kw_only=True):
    """Of this path there is nothing here, and so what was forgotten in its slot says what is promised."""

    ballot: Ballot
    generation: int


class OfAllPaths(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    """What is about all paths at once, or about all in these slots; `slots` is None for all there are."""

    cause: tuple[str, ...] = ()
    slots: tuple[int, ...] | None
    total_slots: int


class Lose(OfAllPaths, frozen=True, tag="Lose", kw_only=True):
    """This node begins another life on an empty disk."""


class Meet(OfAllPaths, frozen=True, tag="Meet", kw_only=True):
    """Another node, `of`, lost its disk, and this one drops what it was told by it before."""

    of: str


class Gather(OfAllPaths, frozen=True, tag="Gather", kw_only=True):
    """As all others, `counted`, have met this node, it asks them what they have."""

    read: str
    counted: tuple[str, ...]


class Tell(OfAllPaths, frozen=True, tag="Tell", kw_only=True):
    """This node begins to tell one that gathers what it has."""

    read: str


class Back(OfAllPaths, frozen=True, tag="Back", kw_only=True):
    """This node votes again: of what it has not rejoined, those in `counted` have told it that they have nothing."""

    read: str
    counted: tuple[str, ...]


class Rejoin(Event, frozen=True, tag="Rejoin", kw_only=True):
    """A replica takes over, at `accepted`, what those in `counted` have, who promised it `ballot`."""

    ballot: Ballot
    counted: tuple[str, ...]
    accepted: Ballot | None
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


class Look(Event, frozen=True, tag="Look", kw_only=True):
    """A node that knows the head, chosen at `accepted`, asks what the archive holds; 0 for what others put there."""

    accepted: Ballot
    generation: int
    deleted: bool
    found_present: bool
    found_generation: int
    found_etag: str | None


class Ship(Event, frozen=True, tag="Ship", kw_only=True):
    """It sends the head there, to take the place of what it found: a put, or a delete if the head is deleted.

    `condition` is what the archive is asked to check: that the object has `condition_etag`, or that there is none.
    """

    generation: int
    deleted: bool
    etag: str | None
    found_present: bool
    found_generation: int
    condition: Literal["etag_is", "absent", "none"]
    condition_etag: str | None


class Shipped(Event, frozen=True, tag="Shipped", kw_only=True):
    """The archive answers that it did so."""

    generation: int


class Kept(Event, frozen=True, kw_only=True):
    """What a replica had on record of the archive: the common part of all that change it, or rely on it."""

    was_archived: int
    was_settled: bool


class Confirm(Kept, frozen=True, tag="Confirm", kw_only=True):
    """A replica puts on record what the archive holds, as it was answered, saw, or was told by another replica."""

    generation: int
    by: Literal["ship", "look", "told"]
    is_settled: bool


class Settle(Kept, frozen=True, tag="Settle", kw_only=True):
    """No request of an older generation is alive any more, and the archive still holds this one.

    `waited_ms` is for how long it has been on record when the archive was looked at, `request_life_ms` what that had
    to be.
    """

    generation: int
    waited_ms: int
    request_life_ms: int


class Doubt(Kept, frozen=True, tag="Doubt", kw_only=True):
    """The archive holds something else than is on record: it has to be shipped again."""


class Evict(Kept, frozen=True, tag="Evict", kw_only=True):
    """The parts of the current version go from this replica's disk."""

    generation: int
    was_generation: int


class Answer(Event, frozen=True, tag="Answer", kw_only=True):
    """The client of a write-through is answered: its generation, or a newer one, is in the archive."""

    generation: int


TraceEvent = (
    Restart
    | Prepare
    | Promise
    | Accept
    | Adopt
    | Collect
    | Floor
    | Lose
    | Meet
    | Gather
    | Tell
    | Back
    | Rejoin
    | Refuse
    | Report
    | Propose
    | Claim
    | Acknowledge
    | ReadQuorum
    | Look
    | Ship
    | Shipped
    | Confirm
    | Settle
    | Doubt
    | Evict
    | Answer
)
"""Every kind that names a path, or is about all of them."""
