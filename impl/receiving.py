"""The HTTP face of a node that does not know yet which life it is in (impl/node/birth.py)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from impl.api.http.edge import Edge, HttpLimits
from impl.api.http.listener import listen
from impl.api.http.tornado_seam import TornadoSeam
from impl.api.membership import MembershipApi
from impl.api.metrics import HttpMetrics
from impl.api.unborn import nothing_but
from impl.cluster.door import TARGET
from impl.cluster.registry.embedded import Cluster
from impl.cluster.secret import Secret
from impl.config import NodeSettings, Settings
from impl.doors import RealClock
from impl.node.birth import Unborn
from impl.sharing import Shared


class _Idle:
    """It has nothing to drain."""

    draining = False


@asynccontextmanager
async def receive(
    settings: Settings, me: NodeSettings, cluster: Cluster, shared: Shared, unborn: Unborn
) -> AsyncIterator[None]:
    """While this lasts, other nodes reach an unborn one, and those that join are told the configuration; no more.

    Raises ConfigError if the node's port cannot be opened.
    """
    secret, clock = Secret(settings.auth.cluster_secret), RealClock()
    membership = MembershipApi(me.node_id, cluster.node_ids, shared, _Idle(), lambda: 0, secret, clock)
    edge = Edge(
        hot=nothing_but(membership.routes_of_joining(), lambda: unborn.why),
        tornado=TornadoSeam(()),
        observer=HttpMetrics(settings.logging.access_every),
        clock=clock,
        limits=msgspec.convert(msgspec.structs.asdict(settings.limits), HttpLimits),
        before_bytes=lambda: None,
        upgrades={TARGET: unborn.rpc},
        request_id_prefix=f"{me.node_id}-unborn-",
    )
    listener = await listen(edge, me.bind_addr.host, me.bind_addr.port)
    try:
        yield
    finally:
        await listener.drain(0)
