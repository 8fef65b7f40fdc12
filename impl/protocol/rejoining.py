"""What a node may conclude whose disk is empty, and how it takes over what the others have. Pure; spec: Rejoin.

What it had promised and accepted is gone, so it may vote for nothing before it has what those others have, on their
promise, that share a node with each quorum it was in. When it may ask them is `impl/node/rejoiner.py`.
"""

from collections.abc import Collection, Iterable, Mapping

from impl.model import Ballot, Register, ReplicaSet, vacant
from impl.protocol import events
from impl.protocol.acceptor import Step, known
from impl.protocol.messages import State
from impl.protocol.proposer import highest_accepted
from impl.protocol.rules import HONEST, Rules


def may_decide(groups: Iterable[ReplicaSet], node_id: str, answered: Collection[str]) -> bool:
    """May a node with an empty disk conclude from these answers which life it begins?

    Whoever counted a vote of it knows of the life in which it was given. So in every replica set that it is in, at
    least one of those who answered must be in any write quorum that it may have been part of: of the others there,
    as many as a read quorum has, or all.
    """
    for group in groups:
        others = [node for node in group.nodes if node != node_id]
        heard = sum(node in answered for node in others)
        if node_id in group.nodes and heard < min(group.read_quorum, len(others)):
            return False
    return True


def enough_others(group: ReplicaSet, rules: Rules = HONEST) -> int:
    """How many others a replica has to hear that lost its disk (spec: EnoughOthers).

    So many that they have one in common with each write quorum, and with each read quorum, that it was in.
    """
    return 1 if rules.rejoin_from_one else max(group.write_quorum, group.read_quorum)


def on_rejoin(
    register: Register, path: str, ballot: Ballot, states: Mapping[str, State], rules: Rules = HONEST
) -> Step:
    """Take over the highest head that others have accepted, who promised our ballot; once (spec: Rejoin)."""
    if register.promised:
        return Step(register, False, None)
    found = highest_accepted(states, rules)
    head = found.head if found.accepted else None
    generation = found.head.generation if found.head else 0
    rejoin = events.Rejoin(
        path=path,
        cause=tuple(state.event for state in states.values() if state.event),
        ballot=ballot,
        counted=tuple(states),
        accepted=known(found.accepted),
        generation=generation,
        etag=head.etag if head else None,
        deleted=head.deleted if head else False,
        versions=head.version_ids if head else (),
        write_id=head.last_write_id if head else None,
    )
    kept = head if found.accepted or not generation else vacant(generation)
    return Step(Register(ballot, found.accepted, kept, register.archived, register.is_settled), True, rejoin)
