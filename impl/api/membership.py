"""What makes a node a member, under /internal/v1: the configuration for those who join (features A6 and R2).

For whoever knows the cluster's secret, and proved to them in turn: an answer carries a proof over its own body.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from impl.api import arguments
from impl.api.http.exchange import Answer, Operation, Request, json_answer
from impl.api.http.routes import Route
from impl.api.internal import PREFIX, guarded
from impl.cluster.secret import PROOF, TIME, Secret
from impl.errors import InvalidArgument

CLUSTER: Final = PREFIX + "/cluster"


class Clock(Protocol):
    """The part of the clock door that this room needs."""

    def now_ms(self) -> int: ...


class MembershipApi:
    """`shared` is what is told to a node that joins (impl/sharing.py), and `node_ids` are those that may."""

    def __init__(self, node_ids: Sequence[str], shared: msgspec.Struct, secret: Secret, clock: Clock) -> None:
        self._node_ids = node_ids
        self._shared = shared
        self._secret = secret
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """Where each operation is served."""
        cluster = Operation("internal_cluster", guarded(self.cluster, self._secret, self._clock))
        return (Route(CLUSTER, {"GET": cluster}),)

    async def cluster(self, request: Request) -> Answer:
        """The cluster's record and configuration, for one of its nodes."""
        node_id = arguments.query_arguments(request.query).get("node", "")
        if node_id not in self._node_ids:
            raise InvalidArgument(
                f"there is no node {node_id[:40]!r} in this cluster; its nodes are {', '.join(self._node_ids)}, for "
                "good since it was initialised"
            )
        return self._proved(request, json_answer(200, self._shared))

    def _proved(self, request: Request, answer: Answer) -> Answer:
        assert isinstance(answer.body, bytes)
        asked = (request.headers[name].decode("latin-1") for name in (TIME, PROOF))
        proof = self._secret.proof("200", *asked, hashlib.sha256(answer.body).hexdigest())
        return msgspec.structs.replace(answer, headers=(*answer.headers, (PROOF.decode(), proof)))
