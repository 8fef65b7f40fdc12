"""Every field of every kind of event, and how a trace may lie in it: what else it says, and what must come of that.

A table, as each field has its own way to be caught. Where the events before an event determine what it says, that one
is refused; where it is free to say so, the first that contradicts (`at`, the kind of that event; its field is `its`).
`rule` is empty where the replay refuses, and then `false` begins the text of the condition that is false. What would
leave an allowed behaviour is no corruption: `value` answers NOWHERE.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from integration.judging import MANIFEST, Behaviour, Entry

NOWHERE: Final = object()
FRESH_ETAG: Final = "0" * 32
FRESH_NAME: Final = "never-seen"
FRESH_ROUND: Final = 7_000_000
FRESH_VERSION: Final = 7_000
NODES: Final = ("n1", "n2", "n3")


@dataclass(frozen=True, slots=True)
class Site:
    """A place for a corruption: one event of a behaviour."""

    behaviour: Behaviour
    entry: Entry

    @property
    def said(self) -> dict[str, Any]:
        return self.entry.fields

    @property
    def before(self) -> list[Entry]:
        return self.behaviour.entries[: self.behaviour.entries.index(self.entry)]

    @property
    def effects(self) -> list[Entry]:
        return self.behaviour.effects(self.entry)

    def ballots(self) -> list[Any]:
        """The ballots that were heard of up to here, the last first."""
        found: list[Any] = []
        for entry in [*self.before, self.entry]:
            for name, domain in MANIFEST.kinds[entry.kind].fields.items():
                if domain == "ballot" and entry.fields[name] is not None and entry.fields[name] not in found:
                    found.append(entry.fields[name])
        return found[::-1]


Value = Callable[[Site], Any]
Where = Callable[[Site], bool]


@dataclass(frozen=True, slots=True)
class Alteration:
    """One way to alter one field of one kind of event."""

    kind: str
    field: str
    variant: str
    value: Value
    false: str = ""
    rule: str = ""
    at: str = ""
    its: str = ""

    def where(self, holds: Where) -> "Alteration":
        """The same, but only there."""
        value = self.value
        return Alteration(
            self.kind,
            self.field,
            self.variant,
            lambda site: value(site) if holds(site) else NOWHERE,
            self.false,
            self.rule,
            self.at,
            self.its,
        )


# -- where, and what else ----------------------------------------------------------------------------------------------


def is_group_known(site: Site) -> bool:
    """Did an event before say who the path's replicas are? The first one that says it cannot contradict."""
    return any("replicas" in entry.fields for entry in site.before)


def is_applied(site: Site) -> bool:
    return bool(site.said["outcome"] == "applied")


def is_applied_put(site: Site) -> bool:
    return is_applied(site) and bool(site.said["operation"] == "put")


def is_read(site: Site) -> bool:
    return bool(site.said["operation"] == "read")


def after_collect(site: Site) -> bool:
    """Has the node forgotten this very path before?"""
    entries = site.behaviour.entries
    before = entries[: entries.index(site.entry)]
    return any(entry.kind == "Collect" and entry.node == site.entry.node for entry in before)


def has_effect(*kinds: str) -> Where:
    return lambda site: any(effect.kind in kinds for effect in site.effects)


def said(**wanted: str) -> Where:
    return lambda site: all(site.said[name] == value for name, value in wanted.items())


def all_of(*each: Where) -> Where:
    return lambda site: all(holds(site) for holds in each)


def ways(domain: str, name: str) -> dict[str, Value]:
    """What else a field of this domain may say."""

    def where(holds: Callable[[Any], bool], value: Callable[[Any], Any]) -> Value:
        return lambda site: value(site.said[name]) if holds(site.said[name]) else NOWHERE

    def any_value(value: Any) -> bool:
        return True

    def is_there(value: Any) -> bool:
        return value is not None

    match MANIFEST.domains[domain].type:
        case "pair":
            return {
                "another ballot": lambda site: next((b for b in site.ballots() if b != site.said[name]), NOWHERE),
                "a fresh ballot": lambda site: [FRESH_ROUND, site.entry.node],
                "no ballot": where(is_there, lambda old: None),
            }
        case "int":
            return {
                "one more": where(any_value, lambda old: old + 1),
                "one less": where(lambda old: old > 0, lambda old: old - 1),
            }
        case "symbol":
            fresh = FRESH_ETAG if domain == "etag" else FRESH_NAME
            return {
                "another": where(is_there, lambda old: fresh),
                "one where there is none": where(lambda old: old is None, lambda old: fresh),
                "none": where(is_there if domain != "read" else lambda old: False, lambda old: None),
            }
        case "bool":
            return {"the opposite": where(any_value, lambda old: not old)}
        case "node":
            return {"another node": where(any_value, lambda old: next(node for node in NODES if node != old))}
        case "set":
            return {"one node less": where(any_value, lambda old: old[:-1])}
        case "list":
            return {
                "one more": where(any_value, lambda old: [*old, FRESH_VERSION]),
                "one less": where(bool, lambda old: old[:-1]),
                "another": where(bool, lambda old: [*old[:-1], FRESH_VERSION]),
            }
        case _:
            raise AssertionError(f"say each value of {domain} in the table")


# -- the table ---------------------------------------------------------------------------------------------------------


def stated(kind: str, *fields: str) -> list[Alteration]:
    """Fields that the events before determine; the condition that is false names them."""
    domains = MANIFEST.kinds[kind].fields
    return [
        Alteration(kind, name, variant, value, false=f"{kind}_{name}(e) = ")
        for name in fields
        for variant, value in ways(domains[name], name).items()
    ]


def carried(kind: str, *fields: str, at: str = "", its: str = "") -> list[Alteration]:
    """Fields that a message carries: they are in the event that sent it, and in the one that it causes (`at`)."""
    domains = MANIFEST.kinds[kind].fields
    return [
        Alteration(kind, name, variant, value, rule="carries", at=at, its=its or name)
        for name in fields
        for variant, value in ways(domains[name], name).items()
        # no event is about no ballot at all
        if (name, variant) != ("ballot", "no ballot")
    ]


def counted(kind: str) -> list[Alteration]:
    """Whom it counted: it has a cause of each."""
    return [
        Alteration(kind, "counted", "one node less", lambda site: site.said["counted"][:-1], rule="causes"),
        Alteration(kind, "counted", "nobody", lambda site: [], rule="causes"),
        Alteration(
            kind,
            "counted",
            "another node",
            lambda site: next(([node] for node in NODES if node not in site.said["counted"]), NOWHERE),
            rule="causes",
        ),
    ]


def group(kind: str) -> list[Alteration]:
    return [each.where(is_group_known) for each in stated(kind, "replicas", "preferred", "write_quorum")]


def found(kind: str) -> list[Alteration]:
    return stated(kind, "was_promised", "was_accepted", "was_generation")


def always(value: Any) -> Value:
    return lambda site: value


def plus(field: str, more: int) -> Value:
    return lambda site: site.said[field] + more


def instead(kind: str, field: str, value: Any, false: str = "", **where: str) -> Alteration:
    """One value where the event says these."""
    variant = f"{value} where " + " and ".join(f"{name} is {wanted}" for name, wanted in where.items())
    holds = said(**where)
    return Alteration(kind, field, variant, lambda site: value if holds(site) else NOWHERE, false)


def change(kind: str) -> list[Alteration]:
    """What a Claim or a Propose says of the operation that it carries out."""
    outcome = f"{kind}_outcome(e) = "
    put = {"operation": "put", "outcome": "applied"}
    return [
        # what was asked: it leads to what it says came of it
        instead(kind, "operation", "delete", **put),
        instead(kind, "operation", "read", f"({kind}_write_id(e) = NoWrite) = ", condition="none", **put),
        instead(kind, "operation", "put", operation="delete", outcome="unchanged"),
        instead(kind, "operation", "put", f"({kind}_write_id(e) = NoWrite) = ", operation="read"),
        instead(kind, "condition", "exists", outcome, condition="absent", **put),
        instead(kind, "condition", "etag_is", outcome, condition="none", **put),
        instead(kind, "condition", "none", outcome, condition="absent", outcome="refused"),
        instead(kind, "condition", "none", f"{kind}_condition_etag(e) = ", condition="etag_is", outcome="refused"),
        instead(kind, "condition", "exists", f"{kind}_condition(e) = ", operation="read"),
        instead(kind, "condition_etag", FRESH_ETAG, outcome, condition="etag_is", **put),
        # what is not used says nothing
        instead(kind, "condition_etag", FRESH_ETAG, f"{kind}_condition_etag(e) = ", condition="none"),
        instead(kind, "condition_etag", FRESH_ETAG, f"{kind}_condition_etag(e) = ", condition="absent"),
        instead(kind, "condition_generation", 7, f"{kind}_condition_generation(e) = ", condition="none"),
        instead(kind, "condition_generation", 7, f"{kind}_condition_generation(e) = ", condition="etag_is"),
        instead(kind, "write_id", FRESH_NAME, f"({kind}_write_id(e) = NoWrite) = ", operation="read"),
        instead(kind, "write_id", None, f"({kind}_write_id(e) = NoWrite) = ", operation="put"),
        instead(kind, "write_id", None, f"({kind}_write_id(e) = NoWrite) = ", operation="delete"),
        # who asked, which shows in the head that is accepted
        Alteration(kind, "write_id", "another", lambda site: FRESH_NAME, "Accept_write_id(e) = ", at="Accept").where(
            all_of(is_applied, has_effect("Accept"))
        ),
        # what came of it
        *(
            instead(kind, "outcome", new, outcome, outcome=old)
            for old in ("applied", "replayed", "refused", "unchanged")
            for new in ("applied", "replayed", "refused", "unchanged")
            if new != old
        ),
        *stated(kind, "generation", "deleted", "versions"),
        instead(kind, "versioned", True, f"{kind}_versioned(e) = ", operation="read"),
        instead(kind, "versioned", True, f"{kind}_versioned(e) = ", operation="delete"),
        instead(kind, "versioned", True, f"{kind}_versions(e) = ", **put),
        instead(kind, "version", FRESH_VERSION, f"{kind}_version(e) = ", operation="read"),
        instead(kind, "version", FRESH_VERSION, f"{kind}_version(e) = ", operation="put"),
        instead(kind, "version", FRESH_VERSION, outcome, operation="delete", outcome="applied"),
        *(each.where(lambda site: not is_applied_put(site)) for each in stated(kind, "etag")),
        # a put is free to have any etag
        *(each.where(all_of(is_applied_put, has_effect("Accept"))) for each in carried(kind, "etag", at="Accept")),
        *(
            each.where(all_of(has_effect("Accept"), lambda site: site.said["next"] is not None))
            for each in carried(kind, "next", at="Accept")
            if each.variant != "another ballot"  # a lower one: below
        ),
        Alteration(kind, "next", "its own ballot", lambda site: site.said["ballot"], "next = None"),
    ]


CLAIMING: Final = "Claiming(b) /\\ Owner(b) = c"


def of_another(site: Site) -> Any:
    """This event's ballot as if it were another node's."""
    return [site.said["ballot"][0], next(node for node in NODES if node != site.said["ballot"][1])]


def used_before(site: Site) -> Any:
    """One of its own that it began with: a Floor may be of another path, and its ballot one not used for this path."""
    began = [entry for entry in site.before if entry.kind == "Prepare" and entry.node == site.entry.node]
    return next((entry.fields["ballot"] for entry in began), NOWHERE)


IS_SEEN_BY_ITS_ETAG: Final = "found.present = (found.etag # 0)"
UNCONDITIONAL: Final = "condition = Unchanged(looked[n].found)"
KNOWN: Final = 'by # "told" => generation = knows[n]'
FIRST: Final = 'by # "told" => isSettled = (generation = 1)'

NOTHING_TO_SHIP: Final = "archived[n] = 0 => (generation = 0 \\/ ~isTiered)"

ALTERATIONS: Final[list[Alteration]] = [
    *stated("Restart", "promised", "accepted", "generation", "etag", "deleted", "versions", "archived", "settled"),
    *group("Prepare"),
    Alteration("Prepare", "ballot", "another node's", of_another, "Owner(b) = c"),
    Alteration("Prepare", "ballot", "a claim's", lambda site: [0, site.entry.node], "~Claiming(b)"),
    Alteration("Prepare", "ballot", "one used before", used_before, "b > used[c]"),
    *(
        Alteration(
            "Prepare",
            "ballot",
            "a fresh one",
            lambda site: [FRESH_ROUND, site.entry.node],
            rule="carries",
            at=kind,
            its="ballot",
        ).where(has_effect(kind))
        for kind in ("Promise",)
    ),
    *found("Promise"),
    *carried("Promise", "ballot"),
    *group("Claim"),
    *found("Claim"),
    *change("Claim"),
    Alteration("Claim", "ballot", "another node's", of_another, CLAIMING),
    Alteration("Claim", "ballot", "no claim's", lambda site: [FRESH_ROUND, site.entry.node], CLAIMING),
    *stated("Propose", "was_generation"),
    *change("Propose"),
    *counted("Propose"),
    *carried("Propose", "ballot"),
    *found("Accept"),
    *carried("Accept", "ballot", "next", "generation", "etag", "deleted", "versions"),
    *stated("Accept", "write_id"),
    *found("Adopt"),
    *carried("Adopt", "read", "ballot", "generation"),
    *stated("Adopt", "etag", "deleted", "versions", "write_id"),
    *found("Collect"),
    *stated("Collect", "was_archived", "was_settled"),
    Alteration("Collect", "is_tiered", "where nothing was shipped", lambda site: True, NOTHING_TO_SHIP).where(
        lambda site: site.said["was_archived"] == 0 and site.said["was_generation"] > 0
    ),
    *carried("Collect", "read"),
    *counted("Collect"),
    Alteration("Floor", "ballot", "below a promise", lambda site: [0, site.entry.node], false="b >= promised[r]").where(
        after_collect
    ),
    Alteration(
        "Floor", "generation", "fewer than there were", lambda site: 0, false="generation >= head[r].generation"
    ).where(after_collect),
    *found("Refuse"),
    *carried("Refuse", "ballot"),
    Alteration(
        "Refuse",
        "step",
        "the other",
        lambda site: {"accept": "prepare", "prepare": "accept"}[site.said["step"]],
        rule="carries",
    ),
    *carried("Acknowledge", "ballot", "generation"),
    *counted("Acknowledge"),
    *(
        instead("Acknowledge", "outcome", new, "Acknowledge_outcome(e) = ", outcome=old)
        for old in ("applied", "replayed", "refused", "unchanged")
        for new in ("applied", "replayed", "refused", "unchanged")
        if new != old
    ),
    *found("Report"),
    *(each.where(has_effect("Read")) for each in carried("Report", "read", at="Read")),
    *group("Read"),
    *counted("Read"),
    *carried("Read", "read", "accepted", "generation"),
    *carried("Look", "accepted", "generation"),
    *stated("Look", "deleted"),
    Alteration(
        "Look", "found_present", "the opposite", lambda site: not site.said["found_present"], IS_SEEN_BY_ITS_ETAG
    ),
    Alteration("Look", "found_etag", "none", lambda site: None, IS_SEEN_BY_ITS_ETAG),
    Alteration("Look", "found_etag", "one where there is none", lambda site: FRESH_ETAG, IS_SEEN_BY_ITS_ETAG).where(
        lambda site: not site.said["found_present"]
    ),
    # a stranger's object may have any etag
    *(
        each.where(all_of(lambda site: bool(site.said["found_present"]), has_effect("Ship")))
        for each in carried("Look", "found_etag", at="Ship", its="condition_etag")
        if each.variant == "another"
    ),
    *(each.where(lambda site: site.said["found_generation"] > 1) for each in carried("Look", "found_generation")),
    Alteration("Look", "found_generation", "one where it is a stranger's", lambda site: 1, rule="causes").where(
        lambda site: site.said["found_generation"] == 0
    ),
    Alteration("Look", "found_generation", "none", lambda site: 0, rule="causes"),
    *carried("Ship", "generation", "deleted", "found_present", "found_generation"),
    *(
        each.where(lambda site: site.said["found_present"])
        for each in carried("Ship", "condition_etag", its="found_etag")
    ),
    *stated("Ship", "etag"),
    *(instead("Ship", "condition", other, UNCONDITIONAL, condition="etag_is") for other in ("absent", "none")),
    *(instead("Ship", "condition", other, UNCONDITIONAL, condition="absent") for other in ("etag_is", "none")),
    *carried("Shipped", "generation"),
    *stated("Confirm", "was_archived", "was_settled"),
    *(each.where(lambda site: site.said["by"] != "look") for each in carried("Confirm", "generation")),
    *(
        Alteration("Confirm", "generation", f"by a look, {more:+}", plus("generation", more), KNOWN).where(
            said(by="look")
        )
        for more in (1, -1)
    ),
    *(
        Alteration("Confirm", "by", f"{new} where it is {old}", always(new), rule="carries").where(said(by=old))
        for old in ("ship", "look", "told")
        for new in ("ship", "look", "told")
        if new != old
    ),
    *(each.where(said(by="told")) for each in carried("Confirm", "is_settled")),
    *(
        Alteration(
            "Confirm", "is_settled", f"the opposite, by {by}", lambda site: not site.said["is_settled"], FIRST
        ).where(said(by=by))
        for by in ("ship", "look")
    ),
    *stated("Settle", "was_archived", "was_settled"),
    *(
        Alteration("Settle", "generation", f"{more:+}", plus("generation", more), "generation = archived[n]")
        for more in (1, -1)
    ),
    Alteration("Settle", "waited_ms", "too short", lambda site: site.said["request_life_ms"] - 1, "waited"),
    Alteration("Settle", "request_life_ms", "too long", lambda site: site.said["waited_ms"] + 1, "waited"),
    *stated("Doubt", "was_archived", "was_settled"),
    *stated("Evict", "was_archived", "was_settled", "was_generation", "generation"),
    *carried("Answer", "generation"),
]
