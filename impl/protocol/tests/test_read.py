"""What a quorum read makes of the reports that reach it."""

from impl.model import Ballot, ReplicaSet
from impl.protocol.messages import State
from impl.protocol.proposer import ReadTally

GROUP = ReplicaSet(("n1", "n2", "n3"), 2)
STATE = State(Ballot(2, "n1"), Ballot(1, "n1"), None)


def test_a_report_that_comes_after_the_decision_does_not_change_it() -> None:
    tally = ReadTally(GROUP)
    assert tally.add("n1", STATE) is None
    assert tally.add("n2", STATE) == "quorum"
    assert tally.decided is not None
    decided, agreeing = tally.decided
    # the answer is being made from these while the last report is still on its way
    for _ in agreeing:
        tally.add("n3", STATE)
    assert (decided, list(agreeing)) == (STATE.accepted, ["n1", "n2"])
    assert tally.decided == (decided, agreeing)


def test_replicas_that_report_different_ballots_decide_nothing() -> None:
    tally = ReadTally(GROUP)
    for round_, node in enumerate(GROUP.nodes, start=1):
        verdict = tally.add(node, State(Ballot(9, "n1"), Ballot(round_, node), None))
    assert verdict == "impossible" and tally.decided is None
