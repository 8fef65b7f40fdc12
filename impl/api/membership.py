"""What makes a node a member, under /internal/v1: the configuration for those who join, and draining (A6, R2, O3).

For whoever knows the cluster's secret, and proved to them in turn: an answer carries a proof over its own body.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from impl.api import arguments
from impl.api.http.exchange import Answer, Handler, Operation, Request, json_answer
from impl.api.http.routes import Route
from impl.api.internal import PREFIX, guarded
from impl.cluster.secret import PROOF, TIME, Secret
from impl.errors import InvalidArgument

CLUSTER: Final = PREFIX + "/cluster"
DRAIN: Final = PREFIX + "/drain"


log = structlog.get_logger(__name__)


class Clock(Protocol):
    """The part of the clock door that this room needs."""

    def now_ms(self) -> int: ...


class Drainable(Protocol):
    """What a drain is about: the node's own word on whether it wants new work."""

    draining: bool


class DrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    draining: bool


class DrainAnswer(msgspec.Struct, frozen=True):
    """`requests` are under way on the node now, besides this one."""

    node_id: str
    draining: bool
    requests: int


class MembershipApi:
    """`shared` is what is told to a node that joins (impl/sharing.py), and `node_ids` are those that may.

    `drainable` is this node; `in_flight` how many requests it answers now, of which the one that asks is one.
    """

    def __init__(
        self,
        node_id: str,
        node_ids: Sequence[str],
        shared: msgspec.Struct,
        drainable: Drainable,
        in_flight: Callable[[], int],
        secret: Secret,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._node_ids = node_ids
        self._shared = shared
        self._drainable = drainable
        self._in_flight = in_flight
        self._secret = secret
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """Where each operation is served."""
        drain = {"GET": self._operation("drain_look", self.look), "POST": self._operation("drain", self.drain)}
        return (*self.routes_of_joining(), Route(DRAIN, drain))

    def routes_of_joining(self) -> tuple[Route, ...]:
        """What a node that joins may need before this one serves anybody."""
        return (Route(CLUSTER, {"GET": self._operation("cluster", self.cluster)}),)

    def _operation(self, name: str, handle: Handler) -> Operation:
        return Operation(f"internal_{name}", guarded(handle, self._secret, self._clock))

    async def cluster(self, request: Request) -> Answer:
        """The cluster's record and configuration, for one of its nodes."""
        node_id = arguments.query_arguments(request.query).get("node", "")
        if node_id not in self._node_ids:
            raise InvalidArgument(
                f"there is no node {node_id[:40]!r} in this cluster; its nodes are {', '.join(self._node_ids)}, for "
                "good since it was initialised"
            )
        return self._proved(request, json_answer(200, self._shared))

    async def look(self, request: Request) -> Answer:
        """Does this node drain, and what has it still to do?"""
        told = DrainAnswer(self._node_id, self._drainable.draining, max(0, self._in_flight() - 1))
        return self._proved(request, json_answer(200, told))

    async def drain(self, request: Request) -> Answer:
        """Have this node want no part in new work, or want it again; until it restarts.

        It still serves what is asked of it, and votes: nothing is moved, as placement is fixed. But it is not healthy
        for load balancers, others name it last (`slots/resolve`), and what one node does for a slot another one does.
        """
        assert isinstance(request.body, bytes)
        try:
            asked = msgspec.json.decode(request.body, type=DrainRequest)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f'the body is not {{"draining": true}} or false: {error}') from None
        if asked.draining != self._drainable.draining:
            log.info("drain" if asked.draining else "undrain")
        self._drainable.draining = asked.draining
        return await self.look(request)

    def _proved(self, request: Request, answer: Answer) -> Answer:
        assert isinstance(answer.body, bytes)
        asked = (request.headers[name].decode("latin-1") for name in (TIME, PROOF))
        proof = self._secret.proof("200", *asked, hashlib.sha256(answer.body).hexdigest())
        return msgspec.structs.replace(answer, headers=(*answer.headers, (PROOF.decode(), proof)))
