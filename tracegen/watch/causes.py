"""The rules on what a message must be caused by, and that it arrives as it was sent: those of spec/register.toml."""

from operator import attrgetter
from typing import Any, Final

from tracegen.watch import events
from tracegen.watch.events import Files

_PAIRS: Final[dict[tuple[type, type], tuple[tuple[str, ...], tuple[str, ...]]]] = {
    (events.Promise, events.Prepare): (("ballot",), ("ballot",)),
    (events.Propose, events.Promise): (("ballot",), ("ballot",)),
    (events.Propose, events.Accept): (("ballot",), ("next",)),
    (events.Propose, events.Claim): (("ballot",), ("next",)),
    (events.Accept, events.Propose): (("ballot", "next", "generation", "etag", "deleted", "versions"),) * 2,
    (events.Accept, events.Claim): (("ballot", "next", "generation", "etag", "deleted", "versions"),) * 2,
    (events.Adopt, events.Report): (
        ("read", "ballot", "generation"),
        ("read", "was_accepted", "was_generation"),
    ),
    (events.Refuse, events.Prepare): (("ballot",), ("ballot",)),
    (events.Refuse, events.Propose): (("ballot",), ("ballot",)),
    (events.Refuse, events.Claim): (("ballot",), ("ballot",)),
    (events.Acknowledge, events.Accept): (("ballot", "generation"),) * 2,
    (events.Acknowledge, events.Claim): (("ballot", "generation"),) * 2,
    (events.Collect, events.Report): (("read",), ("read",)),
    (events.Meet, events.Lose): (("of",), ("node",)),
    (events.Gather, events.Meet): (("node",), ("of",)),
    (events.Tell, events.Gather): (("read",), ("read",)),
    (events.Back, events.Tell): (("read",), ("read",)),
    (events.Rejoin, events.Promise): (("ballot",), ("ballot",)),
    (events.Read, events.Report): (("read", "accepted", "generation"), ("read", "was_accepted", "was_generation")),
    (events.Look, events.Read): (("accepted", "generation"),) * 2,
    (events.Look, events.Acknowledge): (("accepted", "generation"), ("ballot", "generation")),
    (events.Look, events.Ship): (("found_generation",), ("generation",)),
    (events.Ship, events.Look): (
        ("generation", "deleted", "found_present", "found_generation", "condition_etag"),
        ("generation", "deleted", "found_present", "found_generation", "found_etag"),
    ),
    (events.Shipped, events.Ship): (("generation",),) * 2,
    (events.Confirm, events.Shipped): (("generation",),) * 2,
    (events.Confirm, events.Look): ((), ()),
    (events.Confirm, events.Confirm): (("generation", "is_settled"),) * 2,
    (events.Confirm, events.Settle): (("generation",),) * 2,
    (events.Settle, events.Look): ((), ()),
    (events.Doubt, events.Look): ((), ()),
    (events.Answer, events.Acknowledge): (("generation",),) * 2,
    (events.Answer, events.Shipped): ((), ()),
    (events.Answer, events.Look): ((), ()),
}
"""Which kind may be caused by which, and the fields that one message must have in both alike."""


def _nothing(event: Any) -> tuple[()]:
    return ()


EVERYWHERE: Final = ""
"""The path of an event of all paths: no path is empty."""

_GETTERS: Final = {
    kinds: (attrgetter(*own), attrgetter(*other)) if own else (_nothing, _nothing)
    for kinds, (own, other) in _PAIRS.items()
}
_ONE_CAUSE: Final = frozenset(
    (
        *(events.Promise, events.Accept, events.Adopt, events.Refuse, events.Meet, events.Tell),
        *(events.Ship, events.Shipped, events.Confirm, events.Settle, events.Doubt),
    )
)
_PARTS: Final[dict[type, tuple[tuple[frozenset[type], str], ...]]] = {
    events.Look: (
        (frozenset((events.Read, events.Acknowledge)), ""),
        (frozenset((events.Ship,)), "found_generation"),
    ),
    events.Answer: ((frozenset((events.Acknowledge,)), ""), (frozenset((events.Shipped, events.Look)), "")),
}
"""One cause for each of these; if a field is named, only where it says something."""

_OF_ANY_NODE: Final = frozenset(
    ((events.Look, events.Ship), (events.Confirm, events.Confirm), (events.Confirm, events.Settle))
)
"""What is done with the archive is caused by what the same node did, but for these."""

_OF_THE_ARCHIVE: Final = frozenset(
    (events.Look, events.Ship, events.Shipped, events.Confirm, events.Settle, events.Doubt, events.Answer)
)
_CAUSE_EACH_COUNTED: Final = frozenset(
    (events.Propose, events.Acknowledge, events.Read, events.Collect, events.Gather, events.Back, events.Rejoin)
)


class Causes:
    """The rules on what a message must be caused by, and that it arrives as it was sent."""

    def __init__(self, path: str, files: Files) -> None:
        self._path = path
        self._files = files
        self._named: set[str] = set()

    def broken(self, event: Any, kind: type) -> str:
        named = event.cause
        if not named:
            wants = len(event.counted) if kind in _CAUSE_EACH_COUNTED else int(kind in _ONE_CAUSE or kind in _PARTS)
            return f"causes: it has none, of {wants}" if wants else ""
        causes = []
        for cause in named:
            name, _, seq = cause.rpartition(".")
            causes.append(self._files[name][int(seq) - 1])
        if kind in _ONE_CAUSE:
            if len(causes) != 1:
                return f"causes: it has {len(causes)}, of 1"
        elif kind in _PARTS:
            if not _has_parts(event, kind, causes):
                return "causes: one for each of its parts"
        elif kind not in _CAUSE_EACH_COUNTED:
            return "causes: it may have none"
        elif len(causes) != len(event.counted) or {cause.node for cause in causes} != set(event.counted):
            return "causes: one on each node that is counted"
        for cause in causes:
            getters = _GETTERS.get((kind, type(cause)))
            if getters is None or cause.path not in (self._path, EVERYWHERE):
                return f"causes: {cause.id}, {type(cause).__name__}, cannot be a cause of it"
            if kind in _OF_THE_ARCHIVE and cause.node != event.node and (kind, type(cause)) not in _OF_ANY_NODE:
                return f"causes: {cause.id} is of another node"
            if getters[0](event) != getters[1](cause):
                return f"carries: {cause.id} says something else"
        if kind is events.Read or kind is events.Collect:
            if not self._named.isdisjoint(named):
                return f"causes: a {kind.__name__} before it has named one of them"
            self._named.update(named)
        elif kind is events.Refuse and event.step != ("prepare" if type(causes[0]) is events.Prepare else "accept"):
            return f"carries: {causes[0].id} is no request to {event.step}"
        elif kind is events.Confirm:
            if event.by != _BY[type(causes[0])]:
                return f"carries: it is not by {event.by}"
            if type(causes[0]) is events.Settle and not event.is_settled:
                return f"carries: {causes[0].id} is settled"
        return ""


def _has_parts(event: Any, kind: type, causes: list[Any]) -> bool:
    left = [type(cause) for cause in causes]
    for kinds, field in _PARTS[kind]:
        if field and not getattr(event, field):
            continue
        found = [each for each in left if each in kinds]
        if len(found) != 1:
            return False
        left.remove(found[0])
    return not left


_BY: Final[dict[type, str]] = {
    events.Shipped: "ship",
    events.Look: "look",
    events.Confirm: "told",
    events.Settle: "told",
}

_OPENED: Final = frozenset(
    (
        *(events.Promise, events.Claim, events.Accept, events.Adopt, events.Collect, events.Refuse, events.Report),
        *(events.Look, events.Confirm, events.Settle, events.Doubt, events.Evict, events.Rejoin),
    )
)


class Begins:
    """A process that came back says what it read from disk before all else that an acceptor says, and says it once."""

    def __init__(self) -> None:
        self._open: set[tuple[str, int]] = set()

    def broken(self, event: Any, kind: type) -> str:
        process = (event.node, event.incarnation)
        if kind is events.Restart:
            if event.incarnation == 1 or process in self._open:
                return "begins: a Restart that is not the first word of a later incarnation"
        elif kind not in _OPENED:
            return ""
        elif event.incarnation > 1 and process not in self._open:
            return "begins: no Restart before it"
        self._open.add(process)
        return ""
