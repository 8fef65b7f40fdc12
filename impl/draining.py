"""`drain` and `undrain`: ask a node that runs to want no new work, and wait until it has finished what it had."""

import argparse
import os
import sys
import time
from typing import Final

import msgspec

from impl.api.membership import DRAIN, DrainAnswer, DrainRequest
from impl.asking import ask
from impl.cluster.secret import Secret
from impl.config import load
from impl.doors import RealClock
from impl.errors import ConfigError

LOOK_S: Final = 0.2


def drain(options: argparse.Namespace) -> int:
    """Do as the command line says; the exit code. Raises AmberioError."""
    settings = load(options.config, os.environ)
    address = settings.node(options.node).advertise_addr
    secret, clock = Secret(settings.auth.cluster_secret), RealClock()
    wanted = options.command == "drain"

    def told(method: str, body: bytes = b"") -> DrainAnswer:
        try:
            return msgspec.json.decode(ask(address, method, DRAIN, secret, clock, body), type=DrainAnswer)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{address} answered what cannot be read: {error}; check its version") from None

    found = told("GET")
    if found.node_id != options.node:
        raise ConfigError(f"{address} is node {found.node_id}, not {options.node}; check its advertise_addr")
    answer = told("POST", msgspec.json.encode(DrainRequest(wanted)))
    end_s = clock.monotonic_s() + options.wait
    while wanted and answer.requests and clock.monotonic_s() < end_s:
        if sys.stderr.isatty():
            print(f"{answer.node_id}: {answer.requests} requests under way ", end="\r", file=sys.stderr)
        time.sleep(LOOK_S)
        answer = told("GET")
    print(msgspec.json.encode(answer).decode() if options.json else _summary(answer))
    return 1 if wanted and answer.requests else 0


def _summary(answer: DrainAnswer) -> str:
    if not answer.draining:
        return f"{answer.node_id}: gets work again"
    if answer.requests:
        return f"{answer.node_id}: drains, and {answer.requests} requests are still under way; ask again, or stop it"
    return f"{answer.node_id}: drains, and nothing is under way; it can be stopped, or undrained"
