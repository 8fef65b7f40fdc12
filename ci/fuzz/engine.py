"""Feeds a target with so many inputs: guided by coverage where atheris is installed, else by chance.

An input that takes longer than SLOWEST_S counts as a hang, and fails as a crash does.
"""

import importlib.util
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final, NoReturn

import msgspec

from ci.fuzz.mutate import INPUT_BYTES_MAX, inputs

SLOWEST_S: Final = 5
"""Generous: the machine may be busy. A parser that is linear needs a thousandth of it for the largest input."""
_DONE: Final = re.compile(r"Done (\d+) runs in")
_COVERED: Final = re.compile(r"cov: (\d+)")


class Hang(Exception):
    """An input took too long."""


class Fed(msgspec.Struct, frozen=True):
    """What came of a target: how many inputs in what time, and how many of them were understood (None: not counted).

    `edges` is how many branches of our code they took, where atheris counts them. `crash` is what was raised, and the
    input that did it; None for the parser that we want.
    """

    inputs: int
    seconds: float
    understood: int | None = None
    edges: int | None = None
    crash: str | None = None


def by_chance(read: Callable[[bytes], bool], seeds: tuple[bytes, ...], count: int, seed: int) -> Fed:
    """Feed `count` inputs, the same for the same seed."""
    began_s = time.monotonic()
    understood = 0
    earlier = signal.signal(signal.SIGALRM, _hang)
    try:
        for number, fuzzed in enumerate(inputs(seeds, Random(seed))):
            if number == count:
                break
            signal.setitimer(signal.ITIMER_REAL, SLOWEST_S)
            try:
                understood += read(fuzzed)
            except Exception as error:
                return Fed(number + 1, time.monotonic() - began_s, understood, crash=f"{error!r} for {fuzzed!r}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    return Fed(count, time.monotonic() - began_s, understood)


def _hang(*_: object) -> NoReturn:
    raise Hang(f"it took more than {SLOWEST_S} s")


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def by_coverage(target: str, seeds: tuple[bytes, ...], count: int, seed: int) -> Fed:
    """Feed `count` inputs in a process of its own, as libFuzzer ends the one that it is in."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory) / "corpus"
        corpus.mkdir()
        for at, fuzzed in enumerate(seeds):
            (corpus / str(at)).write_bytes(fuzzed)
        options = [f"-runs={count}", f"-seed={seed}", f"-timeout={SLOWEST_S}", f"-max_len={INPUT_BYTES_MAX}"]
        command = [sys.executable, "-m", "ci.fuzz.guided", target, str(corpus), *options]
        ended = subprocess.run([*command, f"-artifact_prefix={directory}/"], capture_output=True, text=True)
        said = ended.stdout + ended.stderr
        done, covered = _DONE.search(said), _COVERED.findall(said)
        seconds = time.monotonic() - began_s
        edges = int(covered[-1]) if covered else None
        if ended.returncode == 0 and done:
            return Fed(int(done[1]), seconds, edges=edges)
        inputs_that_failed = [path.read_bytes() for path in Path(directory).iterdir() if path.is_file()]
        return Fed(0, seconds, edges=edges, crash=f"{inputs_that_failed}: {said[-3000:]}")
