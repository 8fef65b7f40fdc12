"""When a replica may forget what is deleted, and what is left of it then. Pure; spec: Collect of spec/tla/Healing.tla.

No clock decides here: that a tombstone is old enough for people and their retries is asked elsewhere, and nothing rests
on it. What decides is that every replica was asked, and that none holds, or can yet accept, anything older; and, of a
path that goes to the archive, that its deletion is there for good (`tiering.py`).
"""

from collections.abc import Mapping

from impl.model import NO_BALLOT, VIRGIN, Ballot, Register, ReplicaSet, vacant
from impl.protocol import events
from impl.protocol.acceptor import Step, known
from impl.protocol.messages import State
from impl.protocol.rules import HONEST, Rules


def is_forgettable(register: Register, is_tiered: bool, rules: Rules = HONEST) -> bool:
    """Has it accepted that nothing is there: a tombstone, or what a read of a path that was never written left?

    And does the archive need nobody any more to tell it so? `is_tiered`: the path goes there.
    """
    is_nothing = register.head is None or not register.head.versions
    return bool(register.accepted) and is_nothing and _may_forget_record(register, is_tiered, rules)


def _may_forget_record(register: Register, is_tiered: bool, rules: Rules) -> bool:
    """Is the deletion in the archive for good, or was there never anything? (spec: ForgetRecord of Tiering)

    What is on record is forgotten with the tombstone, and nobody is left to ship the deletion again.
    """
    if not register.archived:
        return not register.generation or not is_tiered
    is_shipped = register.archived >= register.generation
    return is_shipped and (register.is_settled or rules.collect_unsettled_tombstone)


def may_collect(accepted: Ballot, group: ReplicaSet, states: Mapping[str, State], rules: Rules = HONEST) -> bool:
    """Has every replica told that it has accepted just this, or that it has nothing and accepts nothing older?"""
    asked = states if rules.collect_tombstone_early else group.nodes
    return all(
        node in states and (states[node].accepted == accepted or _accepts_nothing_older(states[node], accepted))
        for node in asked
    )


def may_have_accepted(register: Register) -> Ballot:
    """The highest ballot that may ever have been accepted here: what a refusal tells, so that it proves no more."""
    return register.promised if register.is_floor else register.accepted


def needs_no_tombstone(register: Register, found: State) -> bool:
    """Is what another replica has a tombstone that is forgotten here, or never needed? Else it comes back for ever."""
    is_tombstone = found.head is None or not found.head.versions
    return is_tombstone and _accepts_nothing_older(register, found.accepted)


def _accepts_nothing_older(state: State | Register, accepted: Ballot) -> bool:
    return not state.accepted and state.promised >= accepted


def on_collect(
    register: Register,
    path: str,
    read: str,
    accepted: Ballot,
    states: Mapping[str, State],
    is_tiered: bool,
    rules: Rules = HONEST,
) -> Step:
    """Forget what every replica told that it has, if it is still here (spec: Collect).

    The promise stays, and how far the generations went: the slot's floor keeps both, and the row goes.
    """
    if register.accepted != accepted or not is_forgettable(register, is_tiered, rules):
        return Step(register, False, None)
    collect = events.Collect(
        path=path,
        cause=tuple(state.event for state in states.values() if state.event),
        read=read,
        counted=tuple(states),
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
        was_archived=register.archived,
        was_settled=register.is_settled,
        is_tiered=is_tiered,
    )
    left = Register(register.promised, NO_BALLOT, vacant(register.generation))
    return Step(VIRGIN if rules.floor_not_kept else left, True, collect, forgets=True)
