"""Start one node: read the configuration, wire the rooms below, run until told to stop.

Exit codes: 0 stopped cleanly (or initialised), 1 the node failed while it ran, 2 it cannot start as asked (bad
configuration, port in use, unknown node, locked data directory): each such fault is a line on standard error.
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from impl import logging as logs
from impl.api.http.edge import Edge, HttpLimits, refusal_in_json
from impl.api.http.listener import Listener, listen
from impl.api.http.routes import HotRoutes, none_hot
from impl.api.http.tornado_seam import TornadoSeam
from impl.api.internal import InternalApi
from impl.api.metrics import HttpMetrics, ProcessMetrics, metrics_route
from impl.api.native import NativeApi
from impl.api.s3 import credentials
from impl.api.s3.api import S3Api
from impl.cluster.registry.agreement import Agreed, agree, registry_of
from impl.cluster.registry.embedded import Cluster, Wanted
from impl.cluster.registry.file import DirectoryFile
from impl.cluster.secret import Secret
from impl.config import NodeSettings, S3Settings, Settings, load
from impl.doors import RealClock
from impl.errors import AmberioError, ConfigError
from impl.node.start import Running, start_node
from impl.protocol.placement import Site
from impl.protocol.rules import broken
from impl.tls import server_context

EXAMPLE: Final = """
example:
  python -m impl.server --config config.yaml --node n1

where config.yaml (chmod 600) is, for a cluster of one:

  initial_cluster:
    nodes:
      - {node_id: n1, bind_addr: "127.0.0.1:8080", disks: [{path: ./data/n1}]}
  auth: {cluster_secret: "${AMBERIO_SECRET}"}

exit codes: 0 stopped or initialised, 1 failed while running, 2 cannot start as asked
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(options.config, os.environ)
        me = settings.node(options.node)
        if settings.mutants and not options.allow_mutants:
            raise ConfigError(
                f"{options.config.name}: mutants is {', '.join(settings.mutants)}: these break the node on purpose; "
                "remove them, or start with --allow-mutants in a test"
            )
        agreed = _agree(settings, me)
        if options.init:
            if agreed.notice:
                print(f"amberio: {agreed.notice}", file=sys.stderr)
            what = "initialised" if agreed.is_fresh else "was initialised before"
            print(f"{me.node_id}: cluster {agreed.cluster.cluster_id} {what}")
            return 0
        return run(serve(settings, agreed, me, not options.no_direct_path, not options.no_migrate))
    except AmberioError as error:
        print(f"amberio: {error}".replace("\n", "\namberio: "), file=sys.stderr)
        return 2


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it can be had (measured: a third less time in the loop), else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def serve(
    settings: Settings, agreed: Agreed, me: NodeSettings, direct: bool = True, may_migrate: bool = True
) -> int:
    """Run the node until SIGTERM or SIGINT, then drain. Raises AmberioError if it cannot start; 1 if its disk fails."""
    log = logs.set_up(settings.logging, me.node_id)
    if agreed.notice:
        log.warning("registry", text=agreed.notice)
    cluster = agreed.cluster
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    keys = _load_keys(settings.s3, log)
    tls = server_context(settings.tls) if settings.tls is not None and me.tls_bind_addr is not None else None
    node = await start_node(settings, cluster, me.node_id, log, may_migrate=may_migrate)
    try:
        api = NativeApi(node.node, broken(settings.mutants))
        s3 = S3Api(node.node, settings.s3, keys, RealClock(), broken(settings.mutants))
        listener = await _listen(settings, cluster, me, node, api, s3, direct)
        if tls is not None and me.tls_bind_addr is not None:
            await listener.add_tls(me.tls_bind_addr.host, me.tls_bind_addr.port, tls)
        gc.freeze()  # what is here now stays: no collection need look at it again
        log.info("serving", address=str(me.bind_addr), cluster_id=cluster.cluster_id, incarnation=node.node.incarnation)
        await _either(stopped, node.failed)
        api.draining = True
        log.info("draining", drain_s=settings.limits.drain_s)
        cut = await listener.drain(settings.limits.drain_s)
        if cut:
            log.warning("connections cut", count=cut)
    finally:
        await node.close()
    log.info("stopped")
    return 1 if node.failed.is_set() else 0


def _load_keys(settings: S3Settings, log: structlog.stdlib.BoundLogger) -> credentials.Credentials | None:
    if not settings.enabled or settings.credentials_file is None:
        return None
    keys = credentials.load(settings.credentials_file)
    for warning in keys.warnings:
        log.warning("credentials", text=warning)
    return keys


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for waiter in waiting:
        waiter.cancel()


async def _listen(
    settings: Settings,
    cluster: Cluster,
    me: NodeSettings,
    node: Running,
    api: NativeApi,
    s3: S3Api,
    direct: bool,
) -> Listener:
    limits = msgspec.convert(msgspec.structs.asdict(settings.limits), HttpLimits)
    clock = RealClock()
    metrics = HttpMetrics(settings.logging.access_every)
    internal = InternalApi(
        node.replica, node.healer, Secret(settings.auth.cluster_secret), clock, cluster.wanted.total_slots
    )
    routes = (*api.routes(), *internal.routes(), metrics_route((metrics, ProcessMetrics(), *node.collectors)))
    if settings.s3.enabled:
        routes += s3.routes()
    edge = Edge(
        hot=HotRoutes(routes) if direct else none_hot,
        tornado=TornadoSeam(routes),
        observer=metrics,
        clock=clock,
        limits=limits,
        before_bytes=node.flush,
        upgrades={"/internal/v1/rpc": node.rpc},
        request_id_prefix=f"{me.node_id}-{node.node.incarnation}-",
        refusal=s3.refusal_at_the_edge if settings.s3.enabled else refusal_in_json,
    )
    metrics.watch(edge)
    return await listen(edge, me.bind_addr.host, me.bind_addr.port)


def _agree(settings: Settings, me: NodeSettings) -> Agreed:
    wanted = Wanted(
        namespace=settings.registry.namespace,
        sites=tuple(Site(node.node_id, node.rack, sum(disk.weight for disk in node.disks)) for node in settings.nodes),
        factor=settings.replication.factor,
        min_write_replicas=settings.replication.min_write_replicas,
        total_slots=settings.replication.total_slots,
    )
    return agree(DirectoryFile(me.disks[0].path), registry_of(settings.registry), wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m impl.server",
        description="Run one node of an Amberio cluster until SIGTERM or SIGINT, then finish what was asked and exit.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the cluster's configuration (YAML)")
    parser.add_argument("--node", required=True, metavar="ID", help="which of initial_cluster.nodes this one is")
    parser.add_argument("--init", action="store_true", help="write the cluster's configuration to the disk, and exit")
    parser.add_argument(
        "--allow-mutants", action="store_true", help="honour `mutants`: bugs on purpose, for tests only"
    )
    parser.add_argument(
        "--no-migrate", action="store_true", help="refuse data of an older format instead of migrating it"
    )
    parser.add_argument("--no-direct-path", action="store_true", help="send every request through Tornado's handlers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
