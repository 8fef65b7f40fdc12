"""What can be typed after `python -m impl.server`, and its help. What each command does is in server.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PROGRAM: Final = "python -m impl.server"
JOIN_WAIT_S: Final = 30.0
DRAIN_WAIT_S: Final = 30.0
AS_WRITTEN: Final = argparse.RawDescriptionHelpFormatter

CODES: Final = "exit codes: 0 stopped, initialised or done, 1 failed while running, 2 cannot do as asked"
EXAMPLE: Final = f"""
examples:
  {PROGRAM} --config config.yaml --node n1           # the same as start --conf config.yaml --node n1
  {PROGRAM} join cluster://10.0.0.1:8080 --node n2   # n2 gets the configuration from a node that runs

where config.yaml (chmod 600) is, for a cluster of one:

  initial_cluster:
    nodes:
      - {{node_id: n1, bind_addr: "127.0.0.1:8080", disks: [{{path: ./data/n1}}]}}
  auth: {{cluster_secret: "${{AMBERIO_SECRET}}"}}

{CODES}
"""
START: Final = f"""
A node whose disk is empty asks the others whether it is new, or has lost another one that they know of. So the nodes of
a new cluster serve once all that share slots have been started; until then /_/api/v1/healthz says whom a node waits
for. Where they cannot start together, say of each disk once that it is new, with --init. Never say so of a disk that
replaces another: its node would vote for what it has forgotten.

examples:
  {PROGRAM} start --conf config.yaml --node n1
  {PROGRAM} start --conf config.yaml --node n1 --init   # this disk is new: nobody need be asked

{CODES}
"""
JOIN: Final = f"""
The node must be one of the cluster's: which nodes there are is fixed when the cluster is initialised. It needs the
cluster's secret, from the environment (AMBERIO_SECRET) or from a file, and no file of configuration: a node that runs
tells it. Secrets are not told: the node says which variables it misses. Files that the configuration names (keys of S3,
TLS) must be on this machine. With --data, what was told is kept there, and a later start needs nobody to tell it.

examples:
  AMBERIO_SECRET=... {PROGRAM} join cluster://10.0.0.1:8080 --node n2
  {PROGRAM} join cluster://10.0.0.1:8080,10.0.0.3:8080 --node n2 --data /srv/amberio --secret-file secret

{CODES}
"""
DRAIN: Final = f"""
A node that drains finishes what it has to do and gets no new work: /_/api/v1/healthz answers 503, so that load
balancers leave; other nodes name it last for its slots, and what one node does for a slot, another one does. It still
serves whoever asks it, and votes as a replica until it is stopped: which node holds what is fixed, so nothing is moved,
and while it is stopped its slots have one replica less. It drains until `undrain`, or until it starts again.

examples:
  {PROGRAM} drain --conf config.yaml --node n1      # waits until nothing is under way
  {PROGRAM} undrain --conf config.yaml --node n1

exit codes: 0 done, 1 requests are still under way after --wait, 2 cannot do as asked
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; `command` is start, join, drain or undrain. Exits with 2 if they cannot be understood."""
    about = "Run one node of an Amberio cluster until SIGTERM or SIGINT, then finish what was asked and exit."
    parser = argparse.ArgumentParser(PROGRAM, description=about, epilog=EXAMPLE, formatter_class=AS_WRITTEN)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _start(commands)
    _join(commands)
    _drain(commands, "drain", "have a node get no new work")
    _drain(commands, "undrain", "have a node that drains get work again")
    _options_of_start(parser)
    options = parser.parse_args(arguments)
    if options.command is None:
        options.command = "start"
        if options.config is None or options.node is None:
            parser.error("give --config and --node, or a command; see --help")
    return options


def _start(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "Run a node with a configuration."
    parser = commands.add_parser(
        "start", help="run a node", description=about, epilog=START, formatter_class=AS_WRITTEN
    )
    _options_of_start(parser, required=True)


def _join(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "Run a node of a cluster with the configuration that another of its nodes tells."
    parser = commands.add_parser(
        "join", help="run a node without a configuration", description=about, epilog=JOIN, formatter_class=AS_WRITTEN
    )
    parser.add_argument("url", metavar="cluster://HOST:PORT", help="a node that runs; or several, with commas")
    parser.add_argument("--node", required=True, metavar="ID", help="which of the cluster's nodes this one is")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DIR",
        help="where to keep data, instead of where the configuration says; once for each of the node's disks",
    )
    parser.add_argument("--secret-file", type=Path, metavar="FILE", help="holds the cluster's secret (chmod 600)")
    parser.add_argument(
        "--wait",
        type=float,
        default=JOIN_WAIT_S,
        metavar="SECONDS",
        help=f"how long to ask while nobody answers (default {JOIN_WAIT_S:g})",
    )
    _options_of_running(parser)


def _drain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str) -> None:
    parser = commands.add_parser(
        name, help=about, description=f"{about.capitalize()}.", epilog=DRAIN, formatter_class=AS_WRITTEN
    )
    parser.add_argument("--config", "--conf", type=Path, required=True, metavar="FILE", help="as for start")
    parser.add_argument("--node", required=True, metavar="ID", help="which node; it must run")
    parser.add_argument(
        "--wait",
        type=float,
        default=DRAIN_WAIT_S,
        metavar="SECONDS",
        help=f"how long drain waits for what is under way (default {DRAIN_WAIT_S:g})",
    )
    parser.add_argument("--json", action="store_true", help="print the node's answer as JSON")


def _options_of_start(parser: argparse.ArgumentParser, required: bool = False) -> None:
    parser.add_argument(
        "--config", "--conf", type=Path, required=required, metavar="FILE", help="the cluster's configuration (YAML)"
    )
    parser.add_argument("--node", required=required, metavar="ID", help="which of initial_cluster.nodes this one is")
    parser.add_argument(
        "--init", action="store_true", help="agree on the cluster's configuration, say that the disks are new, and exit"
    )
    _options_of_running(parser)


def _options_of_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-mutants", action="store_true", help="honour `mutants`: bugs on purpose, for tests only"
    )
    parser.add_argument(
        "--no-migrate", action="store_true", help="refuse data of an older format instead of migrating it"
    )
    parser.add_argument("--no-direct-path", action="store_true", help="send every request through Tornado's handlers")
