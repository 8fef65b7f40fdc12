"""The model that coordinators are held to: one list of writes that only grows, and what each client was told of it.

It counts votes by itself, from what acceptors took, and knows neither ballots' order of arrival, nor leases, nor reads.
"""

from typing import Literal

import msgspec

from impl.model import NO_BALLOT, NULL_VERSION, RECENT_WRITES_MAX, Applied, Ballot, Head
from impl.protocol.change import Change, Result
from impl.protocol.events import Outcome


class Operation(msgspec.Struct, eq=False):
    """One request of a client to one coordinator. `known_generation`: the highest that anyone was told before."""

    change: Change
    known_generation: int
    sent_at_generation: int | None = None
    highest: Ballot = NO_BALLOT


class Decided:
    """What is chosen; `writes` has, for each generation, the write that made it.

    `told_generation` is the highest that any client was told, `in_doubt` how many were told that nobody knows.
    """

    def __init__(self, write_quorum: int) -> None:
        self.write_quorum = write_quorum
        self.writes: dict[int, Applied] = {}
        self.told_generation = 0
        self.in_doubt = 0
        self._proposed: dict[Ballot, Head | None] = {}
        self._votes: dict[Ballot, set[str]] = {}
        self._chosen: dict[Ballot, Head | None] = {}
        self._asked_twice: set[str] = set()
        self._asked: dict[str, Change] = {}
        self._impossible: set[str] = set()
        self._ruled_out: set[Ballot] = set()

    # -- what happens

    def begin(self, change: Change) -> Operation:
        """A client asks."""
        if change.write_id is not None:
            if change.write_id in self._asked:
                self._asked_twice.add(change.write_id)
            self._asked[change.write_id] = change
            self._impossible.discard(change.write_id)
        return Operation(change, self.told_generation)

    def propose(self, ballot: Ballot, head: Head | None) -> None:
        """A coordinator asks acceptors to accept."""
        assert ballot not in self._proposed, f"{ballot} proposes twice"
        self._proposed[ballot] = head
        for below, chosen in self._chosen.items():
            if below < ballot:
                _assert_goes_on_from(chosen, head)

    def accept(self, acceptor: str, ballot: Ballot) -> None:
        """An acceptor has accepted what was proposed at this ballot."""
        assert ballot not in self._ruled_out, "what nobody can have taken was taken"
        voters = self._votes.setdefault(ballot, set())
        voters.add(acceptor)
        if len(voters) < self.write_quorum or ballot in self._chosen:
            return
        head = self._chosen[ballot] = self._proposed[ballot]
        self._learn(head)
        for above, proposed in self._proposed.items():
            if above > ballot:
                _assert_goes_on_from(head, proposed)

    def rule_out(self, ballot: Ballot) -> None:
        """A coordinator is certain that no acceptor has accepted its proposal, and none ever will."""
        assert ballot not in self._votes, "what nobody can have taken was taken"
        self._ruled_out.add(ballot)

    def acknowledge(self, operation: Operation, ballot: Ballot, result: Result, outcome: Outcome) -> None:
        """A coordinator tells its client the outcome."""
        assert ballot in self._chosen, "what is acknowledged is chosen"
        change, head, applied = operation.change, result.head, result.applied
        generation = head.generation if head else 0
        assert generation >= operation.known_generation, "nobody goes back in time"
        self.told_generation = max(self.told_generation, generation)
        if outcome in ("applied", "replayed"):
            assert applied is not None and applied.write_id == change.write_id
            assert self.writes[applied.generation] == applied, "a write stays what its client was told"
            if outcome == "applied":
                # of a write id that came to two coordinators, neither can tell whose attempt it was
                assert applied.generation > operation.known_generation or change.write_id in self._asked_twice
                before = self._past(applied.generation - 1)
                assert before.satisfies(change), "a write obeys its precondition"
                assert change.makes or change.version in before.versions, "a delete removes something"
                assert applied.deleted == (change.operation in ("mark", "delete"))
                assert applied.deleted or applied.etag == change.etag
            return
        assert change.write_id not in self._recent(generation), "a write that was made before is told so"
        now = self._past(generation)
        if outcome == "refused":
            assert not now.satisfies(change)
        else:
            assert change.operation == "read" or (not change.makes and change.version not in now.versions)

    def fail(self, operation: Operation, outcome: Literal["failed", "unknown"]) -> None:
        """A coordinator gives up; `failed`: it says that certainly nothing was written."""
        write_id = operation.change.write_id
        self.in_doubt += outcome == "unknown"
        if outcome == "failed" and write_id is not None and write_id not in self._asked_twice:
            assert write_id not in {applied.write_id for applied in self.writes.values()}
            self._impossible.add(write_id)

    def read(self, known_generation: int, ballot: Ballot, head: Head | None) -> None:
        """A coordinator answers a read with this head, that a quorum reported."""
        assert self._chosen.get(ballot) == head and (ballot == NO_BALLOT) <= (head is None), "what is read is chosen"
        generation = head.generation if head else 0
        assert generation >= known_generation, "nobody goes back in time"
        self.told_generation = max(self.told_generation, generation)

    # -- what follows from it

    def _learn(self, head: Head | None) -> None:
        """The last writes of a chosen head are those at the end of the list, or lengthen it."""
        if head is None:
            assert not self.told_generation
            return
        first = head.generation - len(head.recent) + 1
        assert len(head.recent) == min(head.generation, RECENT_WRITES_MAX), "a head remembers its last writes"
        for generation, applied in enumerate(head.recent, first):
            assert applied.generation == generation, "generations follow each other"
            assert self.writes.setdefault(generation, applied) == applied, "a generation is made by one write"
            assert applied.write_id not in self._impossible, "what was called failed has happened"
        versions = {version.id: (version.marker, version.etag) for version in head.versions}
        assert list(versions.items()) == list(self._past(head.generation).versions.items())
        self._assert_applied_once(first)

    def _assert_applied_once(self, since: int) -> None:
        for generation, applied in self.writes.items():
            if generation < since:
                continue
            assert applied.write_id not in self._recent(generation - 1), "a write id takes effect once"
            if applied.write_id not in self._asked_twice:
                everywhere = [other.generation for other in self.writes.values() if other.write_id == applied.write_id]
                assert everywhere == [generation], "an operation takes effect once, however often it is tried"

    def _past(self, generation: int) -> "_Past":
        """What the writes up to this generation came to."""
        past = _Past()
        for at in range(1, generation + 1):
            past.take(self._asked[self.writes[at].write_id])
        return past

    def _recent(self, generation: int) -> set[str | None]:
        """The ids of the writes that made this generation and those before it, as many as a head remembers."""
        recent = range(generation - RECENT_WRITES_MAX + 1, generation + 1)
        return {applied.write_id for at in recent if (applied := self.writes.get(at))}


def _assert_goes_on_from(chosen: Head | None, proposed: Head | None) -> None:
    """Above a chosen ballot nothing else can be proposed than what has its head in it."""
    if chosen is None:
        return
    assert proposed is not None and proposed.generation >= chosen.generation, "a chosen write is forgotten"
    remembered = {applied.generation: applied for applied in proposed.recent}
    last = chosen.recent[-1]
    assert remembered.get(last.generation, last) == last, "a chosen write is replaced"


class _Past:
    """What some writes, one after the other, came to: of each version is it a marker, and its etag; oldest first."""

    def __init__(self) -> None:
        self.generation = 0
        self.versions: dict[int, tuple[bool, str | None]] = {}

    def take(self, change: Change) -> None:
        """One more write has taken effect."""
        self.generation += 1
        if not change.makes:
            assert change.version in self.versions, "a delete removes something"
            del self.versions[change.version]
            return
        version_id = self.generation if change.versioned else NULL_VERSION
        self.versions.pop(version_id, None)
        self.versions[version_id] = (change.operation == "mark", change.etag)

    def satisfies(self, change: Change) -> bool:
        """Is the precondition true of what the change is about?"""
        nothing = (True, None)
        newest = list(self.versions.values())[-1] if self.versions else nothing
        is_marker, etag = newest if change.makes else self.versions.get(change.version, nothing)
        return {
            "none": True,
            "absent": is_marker,
            "exists": not is_marker,
            "etag_is": not is_marker and etag == change.condition.etag,
            "etag_is_not": is_marker or etag != change.condition.etag,
            "generation_is": self.generation == change.condition.generation,
        }[change.condition.kind]
