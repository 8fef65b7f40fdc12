"""Small traces of what nodes do with the archive, written by hand: honest ones, for tests to take apart.

A `Story` is one path's behaviour, told event by event. It fills in what an event must say of the past, so that a test
says only what it is about; whatever it is told to say instead, it says, and so it can lie. What the events are is in
spec/tla/Tiering.tla; the register's part is as short as it can be: n1 claims, and proposes again without a prepare.
"""

from dataclasses import dataclass
from typing import Any, Final

from integration.judging import LATER, Behaviour, Entry

NODES: Final = ("n1", "n2", "n3")
AFTER_RESTART: Final = 50
"""The incarnations after a restart, from here on: none of a real run that the stories are put together with. What comes
before is in the beginning of all, what comes after in the end, so that their causes and the nodes' own order agree."""
WRITE_QUORUM: Final = 2
LIFE_MS: Final = 1_000_000
A: Final = "a" * 32
B: Final = "b" * 32
STRANGERS: Final = "c" * 32


@dataclass(slots=True)
class Node:
    """What one node has on its disk, and what it is about."""

    promised: Any = None
    accepted: Any = None
    generation: int = 0
    etag: str | None = None
    deleted: bool = False
    versions: tuple[int, ...] = ()
    archived: int = 0
    settled: bool = False
    incarnation: int = 1
    head: dict[str, Any] | None = None
    """Of its last look: the head that was read, and the object that was found."""


class Story:
    """One path. Every method adds events, and answers with the last one, to be a cause of others."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.nodes = {name: Node() for name in NODES}
        self._generation = 0
        self._round = 0
        self._reads = 0
        self._restarts = 0
        self._is_forgotten = False
        self._chosen: Any = None
        self._head: dict[str, Any] = {"generation": 0, "etag": None, "deleted": False, "versions": []}

    def told(self) -> Behaviour:
        return Behaviour(self.path, self.entries)

    def say(self, node: str, kind: str, *causes: Entry, **fields: Any) -> Entry:
        """Any event."""
        place = len(self.entries) + (100 * self._restarts * LATER if self._restarts else -LATER)
        entry = Entry(place, node, self.nodes[node].incarnation, kind, fields, list(causes))
        self.entries.append(entry)
        return entry

    # -- the register --------------------------------------------------------------------------------------------------

    def write(self, etag: str | None, *, versioned: bool = False, on: tuple[str, ...] = NODES) -> Entry:
        """n1 writes an object of this etag, or deletes it (None); these replicas accept; its acknowledgement."""
        is_put = etag is not None
        versions = list(self._head["versions"]) if versioned else []
        if is_put:
            versions.append(self._generation + 1 if versioned else 0)
        self._generation += 1
        head = {"generation": self._generation, "etag": etag, "deleted": not is_put, "versions": versions}
        return self._agree("put" if is_put else "delete", "applied", head, versioned, on)

    def read_of_nothing(self) -> Entry:
        """n1 has a quorum agree on that there is no head."""
        return self._agree("read", "unchanged", dict(self._head), False, NODES)

    def _agree(self, operation: str, outcome: str, head: dict[str, Any], versioned: bool, on: tuple[str, ...]) -> Entry:
        if self._is_forgotten:
            self._prepare()
        ballot, following = [self._round, "n1"], [self._round + 1, "n1"]
        change: dict[str, Any] = {
            "ballot": ballot,
            "next": following,
            "operation": operation,
            "condition": "none",
            "condition_etag": None,
            "condition_generation": 0,
            "write_id": None if operation == "read" else f"w{self._round}",
            "versioned": versioned,
            "version": 0,
            "outcome": outcome,
            **head,
        }
        write_id = change["write_id"]
        if self._round == 0:
            proposal = self.say("n1", "Claim", **change, **_group(), **self._was("n1"))
            self._accepted("n1", ballot, following, head)
            accepts = [proposal]
        else:
            counted = self._accepts[:WRITE_QUORUM]
            names = [cause.node for cause in counted]
            was = self._head["generation"]
            proposal = self.say("n1", "Propose", *counted, **change, counted=names, was_generation=was)
            accepts = []
        for node in on:
            if self._round or node != "n1":
                said = {"ballot": ballot, "next": following, **head, "write_id": write_id}
                accepts.append(self.say(node, "Accept", proposal, **said, **self._was(node)))
                self._accepted(node, ballot, following, head)
        self._round += 1
        self._accepts, self._chosen, self._head = accepts, ballot, head
        names = [accept.node for accept in accepts]
        generation = head["generation"]
        return self.say(
            "n1", "Acknowledge", *accepts, ballot=ballot, counted=names, generation=generation, outcome=outcome
        )

    def _prepare(self) -> None:
        """After a restart, what was promised to the coordinator is gone."""
        self._round += 1
        self._is_forgotten = False
        ballot = [self._round, "n1"]
        prepare = self.say("n1", "Prepare", ballot=ballot, **_group())
        self._accepts = []
        for node in NODES[:WRITE_QUORUM]:
            self._accepts.append(self.say(node, "Promise", prepare, ballot=ballot, **self._was(node)))
            self.nodes[node].promised = ballot

    def read(self, node: str) -> Entry:
        """A quorum read; it meets the newest head."""
        self._reads += 1
        name = f"r{self._reads}"
        reports = [
            self.say(replica, "Report", read=name, **self._was(replica))
            for replica, at in self.nodes.items()
            if at.accepted == self._chosen
        ][:WRITE_QUORUM]
        counted = [report.node for report in reports]
        generation = self._head["generation"]
        said = {"read": name, "counted": counted, "accepted": self._chosen, "generation": generation}
        return self.say(node, "Read", *reports, **said, **_group())

    def collect(self, node: str, **instead: Any) -> Entry:
        """It asks all, and forgets what is deleted; what it was told need not be true any more."""
        self._reads += 1
        name = f"r{self._reads}"
        reports = [self.say(replica, "Report", read=name, **self._was(replica)) for replica in NODES]
        said = {"read": name, "counted": list(NODES), "is_tiered": True, **self._was(node), **self._record(node)}
        at = self.nodes[node]
        at.accepted, at.generation, at.etag, at.deleted, at.versions = None, 0, None, False, ()
        at.archived, at.settled = 0, False
        return self.say(node, "Collect", *reports, **{**said, **instead})

    def _was(self, node: str) -> dict[str, Any]:
        at = self.nodes[node]
        return {"was_promised": at.promised, "was_accepted": at.accepted, "was_generation": at.generation}

    def _accepted(self, node: str, ballot: Any, following: Any, head: dict[str, Any]) -> None:
        at = self.nodes[node]
        at.promised, at.accepted = following, ballot
        at.generation, at.etag, at.deleted = head["generation"], head["etag"], head["deleted"]
        at.versions = tuple(head["versions"])

    def restart(self) -> Entry:
        """All processes die, and the next ones say what they read from disk."""
        self._restarts += 1
        self._is_forgotten = True
        first, *_ = [self._restart(node) for node in NODES]
        return first

    def _restart(self, node: str) -> Entry:
        at = self.nodes[node]
        at.incarnation = AFTER_RESTART + self._restarts
        at.head = None
        return self.say(
            node,
            "Restart",
            promised=at.promised,
            accepted=at.accepted,
            generation=at.generation,
            etag=at.etag,
            deleted=at.deleted,
            versions=list(at.versions),
            archived=at.archived,
            settled=at.settled,
        )

    # -- the archive ---------------------------------------------------------------------------------------------------

    def look(self, node: str, head: Entry, found: Entry | str | None = None, **instead: Any) -> Entry:
        """With the newest head, as this read or acknowledgement knows it; it finds what that Ship wrote, an object of
        a stranger's with this etag, or nothing.
        """
        said = {"accepted": self._chosen, "generation": self._head["generation"], "deleted": self._head["deleted"]}
        causes = [head]
        if isinstance(found, Entry):
            causes.append(found)
            said |= {"found_present": True, "found_generation": found.fields["generation"]}
            said["found_etag"] = found.fields["etag"]
        else:
            said |= {"found_present": found is not None, "found_generation": 0, "found_etag": found}
        said |= instead
        self.nodes[node].head = {**said, "etag": self._head["etag"]}
        return self.say(node, "Look", *causes, **said)

    def ship(self, node: str, look: Entry, **instead: Any) -> Entry:
        """What that look was about, to take the place of what it found."""
        seen = self.nodes[node].head or {}
        said = {name: seen.get(name) for name in ("generation", "deleted", "etag", "found_present", "found_generation")}
        said["condition"] = "etag_is" if said["found_present"] else "absent"
        said["condition_etag"] = seen.get("found_etag")
        return self.say(node, "Ship", look, **{**said, **instead})

    def request(self, node: str, head: Entry, found: Entry | str | None = None) -> Entry:
        """Look, and send; the Ship."""
        return self.ship(node, self.look(node, head, found))

    def shipped(self, ship: Entry, **instead: Any) -> Entry:
        return self.say(ship.node, "Shipped", ship, **{"generation": ship.fields["generation"], **instead})

    def confirm(self, node: str, why: Entry, **instead: Any) -> Entry:
        """By an answer, by a look, or because another node told so: whichever the cause is."""
        by = {"Shipped": "ship", "Look": "look"}.get(why.kind, "told")
        generation = why.fields["generation"]
        settled = why.kind == "Settle" or (why.fields["is_settled"] if why.kind == "Confirm" else generation == 1)
        said = {"generation": generation, "by": by, "is_settled": settled, **self._record(node), **instead}
        at = self.nodes[node]
        at.archived, at.settled = said["generation"], said["is_settled"]
        return self.say(node, "Confirm", why, **said)

    def settle(self, node: str, look: Entry, **instead: Any) -> Entry:
        said = {"generation": self.nodes[node].archived, "waited_ms": LIFE_MS, "request_life_ms": LIFE_MS}
        said |= {**self._record(node), **instead}
        self.nodes[node].settled = True
        return self.say(node, "Settle", look, **said)

    def doubt(self, node: str, look: Entry) -> Entry:
        record = self._record(node)
        self.nodes[node].archived, self.nodes[node].settled = 0, False
        return self.say(node, "Doubt", look, **record)

    def evict(self, node: str, **instead: Any) -> Entry:
        generation = self.nodes[node].generation
        said = {"generation": generation, "was_generation": generation, **self._record(node), **instead}
        return self.say(node, "Evict", **said)

    def answer(self, acknowledge: Entry, known: Entry, **instead: Any) -> Entry:
        said = {"generation": acknowledge.fields["generation"], **instead}
        return self.say(acknowledge.node, "Answer", acknowledge, known, **said)

    def archive(self, head: Entry, found: Entry | str | None = None, node: str = "n1") -> tuple[Entry, Entry]:
        """Look, send, hear that it is done, put it on record; the Ship and the Confirm."""
        ship = self.request(node, head, found)
        return ship, self.confirm(node, self.shipped(ship))

    def _record(self, node: str) -> dict[str, Any]:
        at = self.nodes[node]
        return {"was_archived": at.archived, "was_settled": at.settled}


def _group() -> dict[str, Any]:
    return {"replicas": list(NODES), "preferred": "n1", "write_quorum": WRITE_QUORUM}


# -- the honest ones ---------------------------------------------------------------------------------------------------


def honest_stories() -> list[Story]:
    """What may happen to a path that goes to the archive."""
    return [tell(Story(tell.__name__.replace("_", " "))) for tell in _HONEST]


def written_told_and_evicted(story: Story) -> Story:
    """The first generation is settled at once, the second after a while; one hears of it late."""
    first = story.write(A)
    ship, confirm = story.archive(first)
    shipped = confirm.causes[0]
    story.answer(first, shipped)
    story.confirm("n2", confirm)
    story.confirm("n3", confirm)
    for node in NODES:
        story.evict(node)
    second = story.write(B)
    ship, confirm = story.archive(second, ship)
    story.answer(second, confirm.causes[0])
    story.confirm("n2", confirm)
    settle = story.settle("n1", story.look("n1", story.read("n1"), ship))
    story.confirm("n2", settle)
    told = story.confirm("n3", settle)
    story.evict("n3")
    story.evict("n1")
    story.restart()
    assert told.fields["is_settled"]
    return story


def deleted_in_the_end(story: Story) -> Story:
    ship, _ = story.archive(story.write(A))
    deleted = story.write(None)
    _, confirm = story.archive(deleted, ship)
    story.answer(deleted, confirm.causes[0])
    settle = story.settle("n1", story.look("n1", story.read("n1")))
    story.confirm("n3", settle)
    story.restart()
    return story


def deleted_and_forgotten(story: Story) -> Story:
    """Each forgets when it knows that the deletion is there for good; what is written then begins a new record."""
    ship, _ = story.archive(story.write(A))
    _, confirm = story.archive(story.write(None), ship)
    story.confirm("n2", confirm)
    settle = story.settle("n1", story.look("n1", story.read("n1")))
    story.collect("n1")
    story.confirm("n2", settle)
    story.confirm("n3", settle)
    story.collect("n3")
    story.collect("n2")
    ship, confirm = story.archive(story.write(A))
    for node in ("n2", "n3"):
        story.confirm(node, confirm)
    story.settle("n1", story.look("n1", story.read("n1"), ship))
    story.evict("n1")
    story.restart()
    return story


def deleted_and_forgotten_where_there_is_no_archive(story: Story) -> Story:
    story.write(A)
    story.write(None)
    for node in NODES:
        story.collect(node, is_tiered=False)
    return story


def answer_lost(story: Story) -> Story:
    """Who gets no answer looks again; another one that looks finds out, too."""
    first = story.write(A)
    ship = story.request("n1", first)
    look = story.look("n1", story.read("n1"), ship)
    story.answer(first, look)
    story.confirm("n1", look)
    story.confirm("n2", story.look("n2", story.read("n2"), ship))
    story.evict("n2")
    return story


def same_bytes_again(story: Story) -> Story:
    """A, B, A: the late B hits. Nothing was evicted, so the last A is shipped again."""
    first, _ = story.archive(story.write(A))
    second = story.write(B)
    late = story.request("n2", story.read("n2"), first)
    third, confirm = story.archive(story.write(A), first)
    story.confirm("n3", confirm)
    look = story.look("n1", story.read("n1"), late)
    story.doubt("n1", look)
    again = story.ship("n1", look)
    story.confirm("n1", story.shipped(again))
    story.settle("n1", story.look("n1", story.read("n1"), again))
    story.evict("n1")
    story.settle("n3", story.look("n3", story.read("n3"), again))
    assert second.fields["generation"] == 2 and third.fields["generation"] == 3
    return story


def taken_away_from_outside(story: Story) -> Story:
    """What was settled is deleted by somebody else: then it is shipped again. What a stranger put there is replaced."""
    first = story.write(A)
    story.archive(first, STRANGERS)
    look = story.look("n1", story.read("n1"))
    story.doubt("n1", look)
    ship = story.ship("n1", look)
    story.restart()
    look = story.look("n1", story.read("n1"), ship)
    story.confirm("n1", look)
    story.write(B)
    story.request("n1", story.read("n1"), ship)
    story.restart()
    return story


def a_stranger_replaces_what_is_deleted(story: Story) -> Story:
    ship, _ = story.archive(story.write(A))
    deleted = story.write(None)
    look = story.look("n1", deleted, STRANGERS)
    sent = story.ship("n1", look)
    story.confirm("n1", story.shipped(sent))
    look = story.look("n1", story.read("n1"), ship)
    story.doubt("n1", look)
    story.ship("n1", look)
    story.confirm("n1", story.look("n1", story.read("n1")))
    return story


_HONEST: Final = (
    written_told_and_evicted,
    deleted_in_the_end,
    deleted_and_forgotten,
    deleted_and_forgotten_where_there_is_no_archive,
    answer_lost,
    same_bytes_again,
    taken_away_from_outside,
    a_stranger_replaces_what_is_deleted,
)
