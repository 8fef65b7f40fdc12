"""Run one node: get its configuration, wire the rooms below, run until told to stop.

Exit codes: 0 stopped cleanly (or initialised), 1 the node failed while it ran, 2 it cannot start as asked (bad
configuration, port in use, unknown node, locked data directory): each such fault is a line on standard error.
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, NoReturn

import msgspec
import structlog

from impl import command_line
from impl import logging as logs
from impl.api.archive import ArchiveApi
from impl.api.http.edge import Edge, HttpLimits, refusal_in_json
from impl.api.http.listener import Listener, listen
from impl.api.http.routes import HotRoutes, none_hot
from impl.api.http.tornado_seam import TornadoSeam
from impl.api.internal import InternalApi
from impl.api.membership import MembershipApi
from impl.api.metrics import HttpMetrics, ProcessMetrics, metrics_route
from impl.api.native import NativeApi
from impl.api.s3 import credentials
from impl.api.s3.api import S3Api
from impl.cluster.door import TARGET
from impl.cluster.registry.agreement import Agreed, agree, registry_of
from impl.cluster.registry.embedded import Wanted
from impl.cluster.registry.file import EveryDisk
from impl.cluster.secret import Secret
from impl.config import NodeSettings, S3Settings, Settings, read_tree, settings_of
from impl.doors import RealClock
from impl.errors import AmberioError, ConfigError
from impl.node.importer import no_bucket
from impl.node.opening import Doors, initialise
from impl.node.running import Running
from impl.node.start import start_node
from impl.protocol.placement import Site
from impl.protocol.rules import broken
from impl.receiving import receive
from impl.sharing import Shared, share
from impl.tls import server_context


class Start(msgspec.Struct, frozen=True):
    """A node that is to run: as which one, of which cluster, and what it tells those that join."""

    settings: Settings
    me: NodeSettings
    agreed: Agreed
    shared: Shared


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = command_line.parse(arguments)
    try:
        if options.command in ("drain", "undrain"):
            from impl.draining import drain  # who only starts a node need not load an HTTP client

            return drain(options)
        start = _join(options) if options.command == "join" else _start(options)
        if options.command == "start" and options.init:
            if start.agreed.notice:
                print(f"amberio: {start.agreed.notice}", file=sys.stderr)
            initialise(start.settings, start.agreed.cluster, start.me.node_id, may_migrate=not options.no_migrate)
            what = "initialised" if start.agreed.is_fresh else "was initialised before"
            print(f"{start.me.node_id}: cluster {start.agreed.cluster.cluster_id} {what}")
            return 0
        return run(serve(start, not options.no_direct_path, not options.no_migrate))
    except AmberioError as error:
        print(f"amberio: {error}".replace("\n", "\namberio: "), file=sys.stderr)
        return 2


def _start(options: argparse.Namespace) -> Start:
    """A node whose configuration is a file."""
    tree = read_tree(options.config)
    settings = settings_of(tree, os.environ, options.config.name, options.config)
    me = settings.node(options.node)
    _refuse_mutants(settings, options.config.name, options.allow_mutants)
    agreed = agree(EveryDisk([disk.path for disk in me.disks]), registry_of(settings.registry), _wanted(settings))
    return Start(settings, me, agreed, share(agreed.cluster, tree))


def _join(options: argparse.Namespace) -> Start:
    """A node that another one tells its configuration."""
    from impl import joining  # as above

    secret = joining.secret_of(os.environ, options.secret_file)
    joined = joining.join(options.url, options.node, options.data, secret, os.environ, options.wait)
    settings = joined.settings
    me = settings.node(options.node)
    _refuse_mutants(settings, joined.source, options.allow_mutants)
    seed = joining.SeedRegistry(options.url, joined.shared.record)
    agreed = agree(EveryDisk([disk.path for disk in me.disks]), seed, _wanted(settings))
    if options.data:
        joining.keep(joined, me.disks[0].path)
    if joined.notice:
        agreed = msgspec.structs.replace(agreed, notice=joined.notice)
    return Start(settings, me, agreed, joined.shared)


def _refuse_mutants(settings: Settings, source: str, are_allowed: bool) -> None:
    if settings.mutants and not are_allowed:
        raise ConfigError(
            f"{source}: mutants is {', '.join(settings.mutants)}: these break the node on purpose; "
            "remove them, or start with --allow-mutants in a test"
        )


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it can be had (measured: a third less time in the loop), else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def serve(start: Start, direct: bool = True, may_migrate: bool = True) -> int:
    """Run the node until SIGTERM or SIGINT, then drain. Raises AmberioError if it cannot start; 1 if its disk fails."""
    settings, me, cluster = start.settings, start.me, start.agreed.cluster
    log = logs.set_up(settings.logging, me.node_id)
    if start.agreed.notice:
        log.warning("registry", text=start.agreed.notice)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    keys = _load_keys(settings.s3, log)
    tls = server_context(settings.tls) if settings.tls is not None and me.tls_bind_addr is not None else None
    doors = Doors(receive=partial(receive, settings, me, cluster, start.shared))
    node = await _unless(stopped, start_node(settings, cluster, me.node_id, log, doors, may_migrate))
    if node is None:
        return 0
    try:
        api = NativeApi(node.node, broken(settings.mutants))
        s3 = S3Api(node.node, settings.s3, keys, RealClock(), broken(settings.mutants))
        listener = await _listen(start, node, api, s3, direct)
        if tls is not None and me.tls_bind_addr is not None:
            await listener.add_tls(me.tls_bind_addr.host, me.tls_bind_addr.port, tls)
        node.start_importing(s3.adopt_bucket if settings.s3.enabled else no_bucket)
        gc.freeze()  # what is here now stays: no collection need look at it again
        log.info("serving", address=str(me.bind_addr), cluster_id=cluster.cluster_id, incarnation=node.node.incarnation)
        await _either(stopped, node.failed)
        api.draining = node.liveness.draining = True
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


async def _unless(stopped: asyncio.Event, starting: Coroutine[Any, Any, Running]) -> Running | None:
    """The node once it is started, which may take until others are; None if it is to stop before."""
    started, stop = asyncio.ensure_future(starting), asyncio.ensure_future(stopped.wait())
    await asyncio.wait((started, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not started.done():
        started.cancel()
        await asyncio.wait((started,))
    return None if started.cancelled() else started.result()


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for waiter in waiting:
        waiter.cancel()


async def _listen(
    start: Start,
    node: Running,
    api: NativeApi,
    s3: S3Api,
    direct: bool,
) -> Listener:
    settings, me, cluster = start.settings, start.me, start.agreed.cluster
    limits = msgspec.convert(msgspec.structs.asdict(settings.limits), HttpLimits)
    clock = RealClock()
    metrics = HttpMetrics(settings.logging.access_every)
    secret = Secret(settings.auth.cluster_secret)
    internal = InternalApi(node.replica, node.healer, secret, clock, cluster.wanted.total_slots)
    membership = MembershipApi(
        me.node_id, cluster.node_ids, start.shared, node.liveness, lambda: edge.in_flight, secret, clock
    )
    routes = (*api.routes(), *internal.routes(), *membership.routes())
    routes += (metrics_route((metrics, ProcessMetrics(), *node.collectors)),)
    if node.tiering is not None:
        routes += ArchiveApi(node.node, node.tiering).routes()
    if settings.s3.enabled:
        routes += s3.routes()
    edge = Edge(
        hot=HotRoutes(routes) if direct else none_hot,
        tornado=TornadoSeam(routes),
        observer=metrics,
        clock=clock,
        limits=limits,
        before_bytes=node.flush,
        upgrades={TARGET: node.rpc},
        request_id_prefix=f"{me.node_id}-{node.node.incarnation}-",
        refusal=s3.refusal_at_the_edge if settings.s3.enabled else refusal_in_json,
    )
    metrics.watch(edge)
    return await listen(edge, me.bind_addr.host, me.bind_addr.port)


def _wanted(settings: Settings) -> Wanted:
    return Wanted(
        namespace=settings.registry.namespace,
        sites=tuple(Site(node.node_id, node.rack, sum(disk.weight for disk in node.disks)) for node in settings.nodes),
        factor=settings.replication.factor,
        min_write_replicas=settings.replication.min_write_replicas,
        total_slots=settings.replication.total_slots,
    )


def leave(code: int) -> NoReturn:
    """End this process with the exit code, without waiting for threads that wait for an archive which is silent."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
