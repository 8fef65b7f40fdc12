"""When a replica may forget what is deleted, and what is left of it then. Pure; spec: Collect of spec/tla/Healing.tla.

No clock decides here: that a tombstone is old enough for people and their retries is asked elsewhere, and nothing rests
on it. What decides is that every replica was asked, and that none holds, or can yet accept, anything older.
"""

from collections.abc import Mapping

from impl.model import NO_BALLOT, VIRGIN, Ballot, Register, ReplicaSet, vacant
from impl.protocol import events
from impl.protocol.acceptor import Step, known
from impl.protocol.messages import State
from impl.protocol.rules import HONEST, Rules


def is_forgettable(register: Register) -> bool:
    """Has it accepted that nothing is there: a tombstone, or what a read of a path that was never written left?

    What is on record of the archive would be forgotten, too, and with it that what it holds is older.
    """
    is_nothing = register.head is None or not register.head.versions
    return bool(register.accepted) and is_nothing and not register.archived


def may_collect(accepted: Ballot, group: ReplicaSet, states: Mapping[str, State], rules: Rules = HONEST) -> bool:
    """Has every replica told that it has accepted just this, or that it has nothing and accepts nothing older?"""
    asked = states if rules.collect_tombstone_early else group.nodes
    return all(
        node in states and (states[node].accepted == accepted or _accepts_nothing_older(states[node], accepted))
        for node in asked
    )


def may_have_accepted(register: Register) -> Ballot:
    """The highest ballot that may ever have been accepted here: what a refusal tells, so that it proves no more."""
    return register.promised if not register.accepted and register.head is not None else register.accepted


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
    rules: Rules = HONEST,
) -> Step:
    """Forget what every replica told that it has, if it is still here (spec: Collect).

    The promise stays, and how far the generations went: the slot's floor keeps both, and the row goes.
    """
    if register.accepted != accepted or not is_forgettable(register):
        return Step(register, False, None)
    collect = events.Collect(
        path=path,
        cause=tuple(state.event for state in states.values() if state.event),
        read=read,
        counted=tuple(states),
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
    )
    left = Register(register.promised, NO_BALLOT, vacant(register.generation))
    return Step(VIRGIN if rules.floor_not_kept else left, True, collect, forgets=True)
