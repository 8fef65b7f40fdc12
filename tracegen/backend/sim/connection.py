"""A client's connection to a simulated node: its requests reach the node after a while, and so do the answers.

No HTTP is spoken: a request is handed to the operation that the server's routes name for it. What a client can know of
a failure is kept exactly: NotSent is raised only while the node was never asked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tracegen.backend.face import Answer
from tracegen.backend.sim.node import CUT, LATE, settle
from tracegen.errors import Lost, NotSent

if TYPE_CHECKING:
    from tracegen.backend.sim.cluster import SimCluster

STORED: Final = (200, 201)


class SimConnection:
    """See `face.Connection`."""

    def __init__(self, cluster: "SimCluster", node: str) -> None:
        self._cluster = cluster
        self._node = node

    async def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None, deadline_s: float
    ) -> Answer:
        """Raises NotSent when the node certainly never saw it, Lost when it may have."""
        cluster, name = self._cluster, self._node
        end_s = cluster.loop.time() + deadline_s
        node = cluster.sim_node(name)
        await cluster.loop.sleep(cluster.client_latency_s())
        if node.is_dark:
            await cluster.loop.sleep(max(0.0, end_s - cluster.loop.time()))
            raise NotSent(f"{name} does not answer: no connection within {deadline_s:g} s")
        if not node.is_serving:
            raise NotSent(f"{name} refuses connections")
        asked = node.ask(method, target, headers, body)
        late = cluster.loop.call_at(end_s, settle, asked, LATE)
        answered = await asked
        late.cancel()
        if method == "PUT" and body is not None and isinstance(answered, tuple) and answered[0].status in STORED:
            cluster.acknowledged(target, body)
        latency_s = cluster.client_latency_s()
        if answered is LATE or cluster.loop.time() + latency_s > end_s:
            raise Lost(f"{name} did not answer within {deadline_s:g} s")
        if answered is CUT or isinstance(answered, str):
            raise Lost(f"the connection to {name} broke")
        await cluster.loop.sleep(latency_s)
        answer, content = answered
        named = {name.lower().encode(): value.encode("latin-1") for name, value in answer.headers}
        return Answer(answer.status, named, content)

    def close(self) -> None:
        return None
