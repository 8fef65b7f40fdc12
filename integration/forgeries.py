"""Traces that lie in more than one place, each so that only one condition of the spec stands against it.

The corpus (corruptions.py) changes one thing in an event; most such lies break several conditions at once, or only the
first of several. Where every one-field lie about a condition is refused by another one too, nobody would notice if
that condition were gone. So here is a trace for it, that is right in all else and ends with the event that is wrong;
`checker weaken` must accept it as soon as the condition is weakened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from integration.alterations import FRESH_ROUND, NODES
from integration.corruptions import ACCEPTOR
from integration.judging import Behaviour, Entry

STRANGER: Final = "n4"
"""A node of the cluster that is none of the path's replicas."""

CLUSTER: Final = (*NODES, STRANGER)
BETWEEN: Final = 0.25


@dataclass(frozen=True, slots=True)
class Forgery:
    """A behaviour whose last event breaks one condition: `part` of the operator, as `checker weaken` names both."""

    name: str
    operator: str
    part: str
    behaviour: Behaviour


Make = Callable[[Behaviour, Entry], Entry | None]
"""Changes a behaviour around one of its events, and answers with the event that is wrong then."""


def forgeries(sources: Sequence[Behaviour]) -> list[Forgery]:
    """One of each kind, of the shortest behaviour that has room for it. Fails if there is none."""
    return [_forged(sources, *forgery) for forgery in _FORGERIES]


def _forged(sources: Sequence[Behaviour], name: str, operator: str, part: str, kind: str, make: Make) -> Forgery:
    for source in sorted(sources, key=len):
        for number in source.of(kind):
            behaviour = source.copy()
            wrong = make(behaviour, behaviour.entries[number])
            if wrong is not None:
                behaviour.sort()
                behaviour.cut(behaviour.entries.index(wrong) + 1)
                return Forgery(name, operator, part, behaviour)
    raise AssertionError(f"no behaviour has room for a forgery: {name}")


def _inserted(behaviour: Behaviour, place: float, like: Entry, kind: str, fields: dict[str, Any]) -> Entry:
    entry = Entry(place, like.node, like.incarnation, kind, fields, list(like.causes))
    behaviour.entries.append(entry)
    return entry


def _other(node: str) -> str:
    return next(other for other in NODES if other != node)


# -- acceptors that are none -------------------------------------------------------------------------------------------


def of_a_stranger(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """What a replica did before all else, done by a node that is no replica."""
    if entry.fields["was_promised"] is not None or entry.fields["was_accepted"] is not None:
        return None
    before = behaviour.entries[: behaviour.entries.index(entry)]
    named = next((earlier for earlier in before if "replicas" in earlier.fields), None)
    if named is None:
        return None  # nobody has said yet who the replicas are
    entry.causes = [*entry.causes, named]
    entry.node, entry.incarnation = STRANGER, 1
    return entry


def for_no_ballot(behaviour: Behaviour, entry: Entry) -> Entry:
    """A refusal of one who is no replica and has promised nothing, which only no ballot does not exceed."""
    entry.node, entry.incarnation = STRANGER, 1
    entry.fields |= {"step": "prepare", "ballot": None}
    entry.fields |= {"was_promised": None, "was_accepted": None, "was_generation": 0}
    return entry


def below_its_promise(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """What was accepted once, accepted again by an acceptor that has promised more since, and says so."""
    following = next((other for other in behaviour.later(entry) if _promised(other) > entry.fields["ballot"]), None)
    if following is None:
        return None
    fields = {**entry.fields, **_found(following)}
    return _inserted(behaviour, following.place - BETWEEN, entry, "Accept", fields)


def of_what_is_not_promised(behaviour: Behaviour, entry: Entry) -> Entry:
    """A refusal to promise a ballot that is above all that was promised."""
    entry.fields |= {"step": "prepare", "ballot": [FRESH_ROUND, entry.fields["ballot"][1]]}
    return entry


def to_accept_what_is_promised(behaviour: Behaviour, entry: Entry) -> Entry:
    """A refusal to accept at the very ballot that was promised."""
    entry.fields |= {"step": "accept", "ballot": entry.fields["was_promised"]}
    return entry


def _promised(entry: Entry) -> Any:
    return entry.fields.get("was_promised") or []


def _found(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry.fields.items() if name.startswith("was_")}


# -- claims ------------------------------------------------------------------------------------------------------------


def of_a_read_that_asks_for_absence(behaviour: Behaviour, entry: Entry) -> Entry:
    entry.fields |= {
        "operation": "read",
        "write_id": None,
        "etag": None,
        "deleted": False,
        "versions": [],
        "generation": 0,
    }
    entry.fields |= {"outcome": "unchanged", "condition": "absent", "condition_etag": None, "condition_generation": 0}
    return entry


def not_lowest(behaviour: Behaviour, entry: Entry) -> Entry:
    entry.fields |= {"ballot": [1, entry.node], "next": None}
    return entry


def promising_what_is_anothers(behaviour: Behaviour, entry: Entry) -> Entry:
    entry.fields["next"] = [FRESH_ROUND, _other(entry.node)]
    return entry


def again(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """A claim once more, which says truly that it is not the first thing that this acceptor did."""
    following = next((other for other in behaviour.later(entry) if other.kind in ACCEPTOR), None)
    if following is None or following.kind == "Restart":
        return None
    fields = {**entry.fields, **_found(following), "next": None}
    return _inserted(behaviour, following.place - BETWEEN, entry, "Claim", fields)


def by_another_replica(behaviour: Behaviour, entry: Entry) -> Entry:
    """A claim before all else, of a replica that is not the preferred one, of the lowest ballot that it has."""
    claim = _inserted(behaviour, behaviour.entries[0].place - 1, entry, "Claim", dict(entry.fields))
    claim.node = _other(entry.node)
    claim.fields |= {"ballot": [0, claim.node], "next": None}
    return claim


# -- proposals ---------------------------------------------------------------------------------------------------------


def twice(behaviour: Behaviour, entry: Entry) -> Entry:
    """A proposal that keeps no ballot for later, and another one at the same ballot."""
    entry.fields["next"] = None
    return _inserted(behaviour, entry.place + BETWEEN, entry, "Propose", dict(entry.fields))


def at_no_ballot(behaviour: Behaviour, entry: Entry) -> Entry:
    """A proposal before anyone was asked for a promise: nobody has promised anything, and that is what it counts."""
    named = ("replicas", "preferred", "write_quorum", "was_promised", "was_accepted")
    fields = {name: value for name, value in entry.fields.items() if name not in named}
    fields |= {"ballot": None, "next": None, "counted": list(NODES), "was_generation": 0}
    return _inserted(behaviour, behaviour.entries[0].place - 1, entry, "Propose", fields)


def of_promises_before_a_restart(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """A proposal that counts what was promised to a process that has died since."""
    found = _acceptor(behaviour, entry)
    if found is None:
        return None
    restart = _inserted(behaviour, entry.place - BETWEEN, entry, "Restart", found)
    restart.causes = []
    return entry


def _acceptor(behaviour: Behaviour, until: Entry) -> dict[str, Any] | None:
    """What a restart would read from disk on this event's node, right before it. None if that is not simple to say."""
    state: dict[str, Any] = {
        "promised": None,
        "accepted": None,
        "generation": 0,
        "etag": None,
        "deleted": False,
        "versions": [],
        "archived": 0,
        "settled": False,
    }
    for entry in behaviour.entries[: behaviour.entries.index(until)]:
        if entry.node == until.node and entry.kind in ("Collect", "Floor"):
            return None
        if entry.node != until.node or entry.kind not in ("Promise", "Accept", "Adopt", "Claim"):
            continue
        said = entry.fields
        state["promised"] = said["ballot"] if said.get("next") is None else said["next"]
        if entry.kind != "Promise":
            if said["generation"] and not said["deleted"] and said["etag"] is None:
                return None
            state |= {name: said[name] for name in ("generation", "etag", "deleted", "versions")}
            state["accepted"] = said["ballot"]
    return state


# -- answers -----------------------------------------------------------------------------------------------------------


def by_who_only_found_it(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """An acknowledgement of what another coordinator proposed, by one whom a quorum told that they accepted it."""
    found = {tuple(cause.fields.get("was_accepted") or ()) for cause in entry.causes if cause.kind == "Promise"}
    ballot = list(found.pop()) if len(found) == 1 else []
    if not ballot or ballot[1] == entry.node or any(cause.kind != "Promise" for cause in entry.causes):
        return None
    proposal = _proposal(behaviour, ballot)
    for acknowledged in [behaviour.entries[number] for number in behaviour.of("Acknowledge")]:
        if acknowledged.fields["ballot"] == ballot:
            behaviour.entries.remove(acknowledged)
    fields = {name: proposal.fields[name] for name in ("ballot", "generation", "outcome")}
    fields["counted"] = entry.fields["counted"]
    return _inserted(behaviour, entry.place - BETWEEN, entry, "Acknowledge", fields)


def of_what_was_not_reported(behaviour: Behaviour, entry: Entry) -> Entry | None:
    """A read that answers with another head that was proposed before it, and says its ballot and its generation."""
    before = behaviour.entries[: behaviour.entries.index(entry)]
    told = {tuple(cause.fields["was_accepted"] or ()) for cause in before if cause.kind == "Report"}
    for other in before:
        if other.kind in ("Propose", "Claim") and tuple(other.fields["ballot"]) not in told:
            entry.fields |= {"accepted": other.fields["ballot"], "generation": other.fields["generation"]}
            return entry
    return None


def _proposal(behaviour: Behaviour, ballot: Any) -> Entry:
    return next(
        entry for entry in behaviour.entries if entry.kind in ("Propose", "Claim") and entry.fields["ballot"] == ballot
    )


_FORGERIES: Final[list[tuple[str, str, str, str, Make]]] = [
    ("a promise of a stranger", "Promise", "MayVote(r)", "Promise", of_a_stranger),
    ("an acceptance of a stranger", "Accept", "MayVote(r)", "Accept", of_a_stranger),
    ("a report of a stranger", "Report", "MayVote(r)", "Report", of_a_stranger),
    ("an acceptance below the promise", "Accept", "b >= promised[r]", "Accept", below_its_promise),
    ("a refusal of a stranger, for no ballot", "Refuse", "MayVote(r)", "Refuse", for_no_ballot),
    ("a refusal of what is not promised", "Refuse", "b <= promised[r]", "Refuse", of_what_is_not_promised),
    (
        "a refusal to accept what is promised",
        "Refuse",
        'step = "accept" => b < promised[r]',
        "Refuse",
        to_accept_what_is_promised,
    ),
    ("a claim by another replica", "Claim", "c = group.preferred", "Claim", by_another_replica),
    (
        "an acknowledgement by one who only found it",
        "Acknowledge",
        "Owner(b) = c",
        "Propose",
        by_who_only_found_it,
    ),
    (
        "a read of what was not reported",
        "Read",
        "\\A r \\in counted : b \\in ReportedTo(q, r)",
        "Read",
        of_what_was_not_reported,
    ),
    (
        "a claim of a read that asks for absence",
        "ReplayClaim",
        "Claim_condition(e) = Plain(ClaimChange(e)).condition",
        "Claim",
        of_a_read_that_asks_for_absence,
    ),
    ("a claim of a ballot that is not the lowest", "Claim", "Claiming(b)", "Claim", not_lowest),
    ("a claim that promises another's ballot", "Claim", "Owner(next) = c", "Claim", promising_what_is_anothers),
    ("a second claim", "Claim", "promised[c] = None", "Claim", again),
    ("a proposal that promises another's ballot", "Propose", "Owner(next) = c", "Propose", promising_what_is_anothers),
    ("a second proposal at one ballot", "Propose", "b \\notin DOMAIN proposed", "Propose", twice),
    ("a proposal at no ballot", "Propose", "b # None", "Claim", at_no_ballot),
    (
        "a proposal that counts promises from before a restart",
        "Restart",
        "reply' = [reply EXCEPT ![n] = [r \\in Node |-> NoReply]]",
        "Propose",
        of_promises_before_a_restart,
    ),
]
