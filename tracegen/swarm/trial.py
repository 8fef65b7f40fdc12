"""One seed: draw it, run it, look at what came of it, and keep the run directory only if somebody wants it.

Whatever goes wrong here is an outcome, not an exception: thousands of seeds must not end with one of them.
"""

import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tracegen.backend.sim.session import simulate
from tracegen.errors import HarnessError
from tracegen.nemesis.inject import Injection
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario
from tracegen.swarm.draw import draw
from tracegen.watch.findings import By, look
from tracegen.watch.reached import Reached

IN_MEMORY: Final = Path("/dev/shm")
TEXTS_MAX: Final = 20


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one seed. `found` are the findings, a line each; `by` who found them, `crash` if nobody could.

    `first_refused` is how soon an object's trace is refused: the number of its event, 0 if none is.

    `faults` and `bit` count the injections of each kind, and those of which a probe saw that they bit. `kept` is the
    run directory, if it was kept; `simulated_s` is the run's own time. `reached` is what its traces went through.
    """

    seed: int
    found: tuple[str, ...] = ()
    by: tuple[By, ...] = ()
    first_refused: int = 0
    is_crash: bool = False
    is_adequate: bool = False
    operations: int = 0
    unknown: int = 0
    events: int = 0
    faults: dict[str, int] = {}
    bit: dict[str, int] = {}
    simulated_s: float = 0.0
    seconds: float = 0.0
    kept: str = ""
    reached: frozenset[Reached] = frozenset()


def try_seed(
    seed: int, mutants: Sequence[str], keep: Path, *, is_wanted: bool = False, scenario: Scenario | None = None
) -> Outcome:
    """Run one seed: what it draws, or this scenario.

    Its run directory is `keep`/<seed> if something was found, or it is wanted and adequate.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="amberio-sim-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as room:
        places = RunPlaces(Path(room) / str(seed))
        outcome = _look_at(seed, scenario, mutants, places)
        kept = ""
        if (outcome.found and places.root.exists()) or (is_wanted and outcome.is_adequate):
            kept = str(keep / str(seed))
            shutil.rmtree(kept, ignore_errors=True)
            keep.mkdir(parents=True, exist_ok=True)
            shutil.move(places.root, kept)
    return msgspec.structs.replace(outcome, kept=kept, seconds=round(time.monotonic() - began_s, 3))


def _look_at(seed: int, scenario: Scenario | None, mutants: Sequence[str], places: RunPlaces) -> Outcome:
    try:
        report = simulate(scenario or draw(seed), seed, places, mutants=mutants)
        findings = look(places, report)
    except HarnessError as error:
        return Outcome(seed=seed, found=(str(error),), by=("run",))  # a cluster that cannot be run has a fault, too
    except Exception:
        return Outcome(seed=seed, found=(traceback.format_exc(),), is_crash=True)
    injections = [msgspec.json.decode(line, type=Injection) for line in places.faults.read_bytes().splitlines()]
    return Outcome(
        seed=seed,
        found=tuple(f"{finding.by}: {finding.text}" for finding in findings.found[:TEXTS_MAX]),
        by=findings.by,
        first_refused=findings.first_refused,
        is_adequate=report.adequate,
        operations=report.operations["total"],
        unknown=report.operations["unknown"],
        events=findings.events,
        faults=Counter(injection.nemesis for injection in injections),
        bit=Counter(injection.nemesis for injection in injections if injection.bit),
        reached=findings.reached,
        simulated_s=max((injection.end_us for injection in injections), default=0) / 1e6,
    )
