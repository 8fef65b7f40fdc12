"""`tracegen mutants --backend sim`: how soon each deliberate bug is found, and the honest server beside them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console
from rich.table import Table

from tracegen.checking import ACCEPTED, REFUSED, UNCHECKED
from tracegen.errors import HarnessError
from tracegen.progress import Progress

if TYPE_CHECKING:
    from tracegen.swarm.hunt import Hunt

SOON_SEEDS: Final = 20
"""Half of the mutants should be found within so many seeds."""
HONEST: Final = "honest"


def hunt_mutants(only: Sequence[str], seeds: Sequence[int], jobs: int, runs: Path, as_json: bool) -> int:
    """Hunt these mutants, or all and the honest server with the same seeds; the exit code. Raises HarnessError."""
    # here, as this brings the server's code with it, which a user of real processes does not need
    from tracegen.backend.sim.mutants import MUTANTS
    from tracegen.swarm.hunt import hunt_all
    from tracegen.swarm.pool import try_seeds

    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    names = tuple(MUTANTS)
    for name in only:
        if name not in MUTANTS:
            raise HarnessError(f"no mutant is called {name!r}; there are: {', '.join(names)}")
    hunts: list[Hunt] = []
    with Progress("mutants") as progress:
        for done in hunt_all(only or names, seeds, runs, jobs):
            hunts.append(done)
            progress.say(f"{len(hunts)} of {len(only or names)}, {done.mutant} last")
            if done.seed is None:
                console.print(f"{done.mutant} ESCAPED {done.tried} seeds: nobody missed that {done.breaks}")
        progress.label = HONEST
        accused = []
        honest = () if only else seeds
        for tried, outcome in enumerate(try_seeds(honest, (), runs / HONEST, jobs), start=1):
            progress.say(f"{tried} of {len(seeds)} seeds, nothing found")
            if outcome.found:
                accused.append(outcome)
                console.print(f"{HONEST}, seed {outcome.seed}: {outcome.found[0]}; kept in {outcome.kept}")
    hunts.sort(key=lambda each: names.index(each.mutant))
    crashes = [f"{each.mutant}, {crash}" for each in hunts for crash in each.crashes]
    crashes += [f"{HONEST}, seed {outcome.seed}: {outcome.found[0]}" for outcome in accused if outcome.is_crash]
    if as_json:
        told = {"mutants": hunts, "honest": {"seeds": len(honest), "accused": accused}}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    console.print(_table(hunts))
    found = [each for each in hunts if each.seed is not None]
    soon = sum(each.tried <= SOON_SEEDS for each in found)
    console.print(f"{len(found)} of {len(hunts)} mutants found within {len(seeds)} seeds, {soon} within {SOON_SEEDS}")
    console.print("(event: which of its object's trace is refused first; events: of all runs until then)")
    if honest:
        console.print(f"honest server: {len(honest) - len(accused)} of {len(honest)} seeds without a finding")
    for crash in crashes:
        console.print(f"the harness itself crashed: {crash}")
    if len(found) < len(hunts) or any(not outcome.is_crash for outcome in accused):
        return REFUSED
    return UNCHECKED if crashes else ACCEPTED


def _table(hunts: Sequence["Hunt"]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("mutant", "found by"):
        table.add_column(title)
    for title in ("event", "events", "seeds", "seconds"):
        table.add_column(title, justify="right")
    for each in hunts:
        by = ", ".join(each.by) if each.seed is not None else "NOBODY"
        at = str(each.first_refused or "")
        table.add_row(each.mutant, by, at, f"{each.events:,}", str(each.tried), f"{each.seconds:.1f}")
    return table
