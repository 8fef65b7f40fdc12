"""What a run's traces reached, as a set of tuples: which action, on which branch, from which class of states. Pure.

Two runs with the same tuples did the same kinds of things. The classes are coarse on purpose: a register's past
matters in that something is promised or accepted, by whom, and whether something was ever written.
"""

from collections.abc import Callable
from typing import Any, Final

from tracegen.watch import events
from tracegen.watch.events import Event, Files, OfAllPaths

Reached = tuple[str, ...]
"""An action, the values of its branch fields in the order of spec/register.toml, and the class of the state before."""

NONE, OWN, OTHER = "none", "own", "other"


def reached_in(files: Files) -> frozenset[Reached]:
    """All tuples of a run."""
    return frozenset(
        reached(line) for lines in files.values() for line in lines if isinstance(line, Event | OfAllPaths)
    )


def reached(event: Event | OfAllPaths) -> Reached:
    kind = type(event)
    return kind.__name__, *_CLASSES[kind](event)


def _whose(ballot: Any, own: str) -> str:
    if ballot is None:
        return NONE
    return OWN if ballot[1] == own else OTHER


def _age(generation: int) -> str:
    return str(generation) if generation < 2 else "more"


def _found(event: Any, own: str) -> Reached:
    """The state that an acceptor found, as seen by the node that `own`s what is asked of it."""
    return _whose(event.was_promised, own), _whose(event.was_accepted, own), _age(event.was_generation)


def _owner(event: Any) -> str:
    return str(event.ballot[1]) if event.ballot else ""


def _said(value: bool) -> str:
    return "true" if value else "false"


def _compared(archived: int, generation: int) -> str:
    if archived == 0:
        return NONE
    return "older" if archived < generation else "same" if archived == generation else "newer"


def _following(event: Any) -> str:
    return "next" if event.next else "no next"


def _result(event: Any) -> Reached:
    versioned = "true" if event.versioned else "false"
    kept = "deleted" if event.deleted else "kept"
    return event.operation, event.condition, event.outcome, versioned, kept, _following(event)


_CLASSES: Final[dict[type, Callable[[Any], Reached]]] = {
    events.Restart: lambda event: (
        _whose(event.promised, event.node),
        _whose(event.accepted, event.node),
        _age(event.generation),
        "deleted" if event.deleted else "kept",
    ),
    events.Prepare: lambda event: ("first" if event.ballot and event.ballot[0] == 1 else "later",),
    events.Promise: lambda event: _found(event, _owner(event)),
    events.Claim: lambda event: (*_result(event), *_found(event, event.node)),
    events.Propose: lambda event: (*_result(event), _age(event.was_generation)),
    events.Accept: lambda event: (
        "deleted" if event.deleted else "kept",
        _following(event),
        *_found(event, _owner(event)),
    ),
    events.Adopt: lambda event: ("deleted" if event.deleted else "kept", *_found(event, _owner(event))),
    events.Collect: lambda event: (_said(event.was_settled), *_found(event, event.node)),
    events.Floor: lambda event: (_whose(event.ballot, event.node), _age(event.generation)),
    events.Lose: lambda event: (),
    events.Meet: lambda event: (),
    events.Gather: lambda event: (),
    events.Tell: lambda event: (),
    events.Back: lambda event: (),
    events.Rejoin: lambda event: (_whose(event.accepted, event.node), _age(event.generation)),
    events.Refuse: lambda event: (event.step, *_found(event, _owner(event))),
    events.Acknowledge: lambda event: (event.outcome, _age(event.generation)),
    events.Report: lambda event: _found(event, event.node),
    events.Read: lambda event: (
        _whose(event.accepted, event.node),
        _age(event.generation),
        "all" if len(event.counted) == len(event.replicas) else "some",
    ),
    events.Look: lambda event: (
        _said(event.deleted),
        _said(event.found_present),
        _compared(event.found_generation, event.generation),
    ),
    events.Ship: lambda event: (
        _said(event.deleted),
        _said(event.found_present),
        _age(event.found_generation),
    ),
    events.Shipped: lambda event: (_age(event.generation),),
    events.Confirm: lambda event: (event.by, _said(event.is_settled), _compared(event.was_archived, event.generation)),
    events.Settle: lambda event: (_age(event.generation),),
    events.Doubt: lambda event: (_said(event.was_settled),),
    events.Evict: lambda event: (_compared(event.was_archived, event.generation),),
    events.Answer: lambda event: (_age(event.generation),),
}
