"""What a node that comes back without its disk may conclude, and when. Pure."""

from collections.abc import Collection, Iterable

from impl.model import ReplicaSet


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
