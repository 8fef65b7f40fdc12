"""Which nodes live, as one of them sees it (feature R3)."""

from impl.cluster.liveness import Liveness
from impl.cluster.peers import PeerStatus

SEEN = {"n2": PeerStatus("healthy", 1), "n3": PeerStatus("suspect", 1), "n4": PeerStatus("down", None)}


def test_a_node_that_drains_is_not_the_first_live_one() -> None:
    liveness = Liveness("n1", lambda: SEEN)
    assert liveness.first_live(("n4", "n1", "n2")) == "n1"
    liveness.draining = True
    assert liveness.first_live(("n4", "n1", "n2")) == "n2"


def test_only_healthy_nodes_of_the_cluster_live() -> None:
    liveness = Liveness("n1", lambda: SEEN)
    assert [node for node in ("n1", "n2", "n3", "n4", "n9") if liveness.is_alive(node)] == ["n1", "n2"]
    assert liveness.first_live(("n4", "n9")) is None
