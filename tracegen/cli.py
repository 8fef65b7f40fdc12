"""The commands of `tracegen`: break a cluster on purpose, and write down what happened, for `checker` to judge."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tracegen import mutants as trials
from tracegen import scenario as scenarios
from tracegen import summary
from tracegen.backend.choice import carry_out_on, check_backend
from tracegen.backend.docker.command import clean_command
from tracegen.behaviours import behaviours_command
from tracegen.checking import ACCEPTED, REFUSED, UNCHECKED, Checked, verify
from tracegen.errors import HarnessError
from tracegen.mutants import Trial
from tracegen.nemesis.inject import Injection
from tracegen.places import RunPlaces, new_run
from tracegen.progress import Progress
from tracegen.report import RunReport
from tracegen.scenario import Scenario
from tracegen.schedule import plan
from tracegen.seeds import parse_seeds
from tracegen.shrink.command import shrink_command
from tracegen.soak.command import rejudge_command, replay_command, soak_command
from tracegen.swarm.command import sim_command
from tracegen.swarm.hunt_command import hunt_mutants

RUNS: Final = Path("runs")

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)

Seed = Annotated[int | None, typer.Option(min=0, help="Instead of the scenario's own.", show_default="the scenario's")]
Backend = Annotated[
    str,
    typer.Option(help="Where nodes run: process (on this machine), docker (containers), sim (virtual time)."),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the nodes' disks in the run directory.")]
Runs = Annotated[Path, typer.Option("--runs", help="Where run directories are made.")]


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's name (see `tracegen list`), or a file of one.")],
    backend: Backend = "process",
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.", show_default="runs/SCENARIO-SEED")] = None,
    keep: Keep = False,
    mutant: Annotated[
        list[str] | None, typer.Option("--mutant", help="Break this rule of the server on purpose (repeatable).")
    ] = None,
) -> None:
    """Run one scenario and write its run directory.

    \b
    Example: tracegen run kill-one --seed 7 --out runs/kill-7
             checker verify runs/kill-7

    \b
    Exit codes: 0 the run is evidence; 1 it is, but something went wrong beside the protocol (a node ended by itself);
    2 it is not evidence, or could not be made.
    """
    with _no_stack_trace():
        for name in mutant or ():
            _check_mutant(name, _all_mutants())
        found = scenarios.find(scenario)
        check_backend(backend, found)
        used_seed = found.seed if seed is None else seed
        places = _places(out) if out else new_run(RUNS, f"{found.name}-{used_seed}")
        report = asyncio.run(_run(backend, found, used_seed, places, keep, mutant or []))
        _print(summary.of_run(report, _injections(places)) + summary.of_time(report, None, places))
        raise typer.Exit(_exit_code(report))


@app.command("list")
def list_scenarios() -> None:
    """List the scenarios that come with the harness.

    Example: tracegen list

    Exit code: 0.
    """
    with _no_stack_trace():
        found = [scenarios.find(name) for name in scenarios.names()]
    width = max(len(scenario.name) for scenario in found)
    for group, members in groupby(found, key=lambda scenario: scenario.group):
        typer.echo(f"{group}")
        for scenario in members:
            typer.echo(f"  {scenario.name:{width}}  {scenario.says}")
    typer.echo("\ntracegen describe NAME says more; tracegen run NAME runs it")


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="A scenario's name, or a file of one.")],
    seed: Seed = None,
) -> None:
    """Say what a scenario does, and what a seed makes of its faults.

    Example: tracegen describe kill-one --seed 7

    Exit codes: 0; 2 there is no such scenario, or its file has faults (all of them are listed).
    """
    with _no_stack_trace():
        scenario = scenarios.find(name)
        used_seed = scenario.seed if seed is None else seed
        _print(_description(scenario, used_seed))


@app.command()
def demo(
    backend: Backend = "process",
    seed: Seed = None,
    runs: Runs = RUNS,
    keep: Keep = False,
) -> None:
    """Break a three-node cluster on purpose, and have TLC judge what happened.

    Example: tracegen demo

    \b
    Exit codes: 0 accepted; 1 refused, or a node misbehaved beside the protocol; 2 could not be run or checked.
    """
    with _no_stack_trace():
        scenario = scenarios.find("demo")
        check_backend(backend, scenario)
        used_seed = scenario.seed if seed is None else seed
        places = new_run(runs, f"demo-{used_seed}")
        report, checked = asyncio.run(_demo(backend, scenario, used_seed, places, keep))
        _print(
            summary.of_run(report, _injections(places))
            + summary.of_check(checked)
            + summary.of_time(report, checked, places)
        )
        raise typer.Exit(max(checked.exit_code, 1 if report.problems else 0))


@app.command()
def mutants(
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of the honest runs: 7, or 1..50.", show_default="1..8, none with --only; 1..200 with sim"
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this mutant (repeatable).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    backend: Backend = "process",
    runs: Runs = RUNS / "mutants",
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes; with --backend sim.")] = os.cpu_count() or 1,
) -> None:
    """Measure the harness: each deliberate bug of the server must be caught, and the honest server never accused.

    Each mutant runs in a scenario of its own (with a few seeds, until it is caught). Then the honest server runs once
    a seed, the same scenarios taking turns.

    With --backend sim there are more mutants, and none has a scenario of its own: each seed draws one, and mutants and
    the honest server get the same seeds (1..200 unless told otherwise).

    \b
    Example: tracegen mutants --seeds 1..50
             tracegen mutants --backend sim --seeds 1..200

    \b
    Exit codes: 0 all caught, none accused; 1 a mutant escaped or the honest server was accused;
    2 some run could not be judged.
    """
    with _no_stack_trace():
        check_backend(backend)
        if backend == "sim":
            raise typer.Exit(hunt_mutants(only or (), parse_seeds(seeds or "1..200"), jobs, runs, as_json))
        for name in only or ():
            _check_mutant(name)
        chosen = parse_seeds(seeds or ("" if only else "1..8"))
        outcome = asyncio.run(_measure(backend, only or list(trials.MUTANTS), chosen, runs, as_json))
        if as_json:
            sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
        raise typer.Exit(_mutants_exit_code(outcome))


app.command("behaviours")(behaviours_command)
app.command("clean")(clean_command)
app.command("rejudge")(rejudge_command)
app.command("replay")(replay_command)
app.command("shrink")(shrink_command)
app.command("sim")(sim_command)
app.command("soak")(soak_command)


def main() -> None:
    """The entry point of the command `tracegen`."""
    app(prog_name="tracegen")


# -- what the commands do


async def _run(
    backend: str, scenario: Scenario, seed: int, places: RunPlaces, keep: bool, mutants: list[str]
) -> RunReport:
    with Progress(scenario.name) as progress:
        return await carry_out_on(backend, scenario, seed, places, mutants=mutants, keep=keep, say=progress.say)


async def _demo(
    backend: str, scenario: Scenario, seed: int, places: RunPlaces, keep: bool
) -> tuple[RunReport, Checked]:
    report = await _run(backend, scenario, seed, places, keep, [])
    with Progress("demo") as progress:
        checking = asyncio.create_task(verify(places))
        start_s = time.monotonic()
        while not checking.done():
            progress.say(f"TLC replays the trace through the spec, {time.monotonic() - start_s:.0f} s")
            await asyncio.wait([checking], timeout=0.5)
        return report, await checking


async def _measure(backend: str, names: list[str], seeds: tuple[int, ...], runs: Path, quiet: bool) -> list[Trial]:
    console = Console(stderr=quiet, highlight=False, markup=False, soft_wrap=True)
    outcome = []
    with Progress() as progress:
        for name in names:
            progress.label = f"mutant {name}"
            outcome.append(await trials.hunt(name, backend, runs, progress.say))
            console.print(_trial_line(outcome[-1]))
        if seeds:
            progress.label = "honest"
            async for trial in trials.honest(seeds, backend, runs, progress.say):
                outcome.append(trial)
                progress.label = f"honest, {len(outcome) - len(names)} runs so far"
                if not trial.is_well:
                    console.print(_trial_line(trial))
    _print_table(console, outcome)
    return outcome


# -- what they print, and say with their exit code


def _print(lines: list[str]) -> None:
    typer.echo("\n".join(lines))


def _description(scenario: Scenario, seed: int) -> list[str]:
    shape, load = scenario.cluster, scenario.workload
    pace = f"{load.rate_per_s:g} operations a second" if load.loop == "open" else f"{load.think_ms:g} ms between two"
    total = sum(load.mix.values())
    mix = ", ".join(f"{kind} {100 * weight / total:.0f}%" for kind, weight in load.mix.items() if weight)
    lines = [
        f"{scenario.name} ({scenario.group}): {scenario.says}",
        f"  cluster   {shape.nodes} nodes, {shape.factor} replicas, {shape.min_write_replicas} acknowledge a write",
        f"  load      {scenario.duration_s:g} s, {load.clients_per_node} clients at each node, {pace}",
        f"  mix       {mix}",
        f"  keys      {load.keys}; {load.hot_keys} of them get {load.hot_share:.0%} of the operations",
    ]
    archive = scenario.archive
    if archive.is_there:
        rules = "".join(f"; {rule.prefix}...: {rule.mode}" for rule in archive.rules)
        evicts = f"; nodes keep about {archive.evict_above_bytes:,} bytes" if archive.evict_above_bytes else ""
        lines.append(f"  archive   {archive.kind}, {archive.mode}{rules}{evicts}")
    for fault in plan(scenario, seed):
        hit = ", ".join(fault.nodes) or "the coordinator of the hottest key"
        when = ", in the middle of a write" if fault.spec.when == "mid_write" else ""
        lines.append(f"  {fault.start_s:5.1f} s   {fault.spec.nemesis} {hit} for {fault.spec.for_s:g} s{when}")
    lines.append(f"  (times are those of seed {seed}; the file is {scenario.path.name})")
    return lines


def _trial_line(trial: Trial) -> str:
    name = trial.mutant or f"honest, {trial.scenario}"
    if trial.is_well:
        says = f"caught by the {trial.caught_by}" if trial.mutant else "accepted"
    elif trial.result == "unchecked":
        says = f"NO VERDICT: {trial.why}"
    else:
        says = f"ESCAPED with {trials.SEEDS_TRIED} seeds" if trial.mutant else f"ACCUSED by the {trial.caught_by}"
    return f"{name}, seed {trial.seed}: {says} ({trial.events:,} events, {trial.seconds:.1f} s) {trial.run}"


def _print_table(console: Console, outcome: list[Trial]) -> None:
    broken = [trial for trial in outcome if trial.mutant]
    unbroken = [trial for trial in outcome if not trial.mutant]
    table = Table(box=None, pad_edge=False)
    for title in ("mutant", "caught by"):
        table.add_column(title)
    for title in ("at event", "of events", "seed", "seconds"):
        table.add_column(title, justify="right")
    for trial in broken:
        caught = trial.caught_by if trial.is_well else {"accepted": "ESCAPED"}.get(trial.result, "NO VERDICT")
        first = str(trial.first_refused) if trial.first_refused else ""
        table.add_row(trial.mutant, caught, first, f"{trial.events:,}", str(trial.seed), f"{trial.seconds:.1f}")
    console.print(table)
    console.print(f"{sum(trial.is_well for trial in broken)} of {len(broken)} mutants caught")
    console.print("(at event: how far into its object's trace the first refusal is; of events: of the whole run)")
    if unbroken:
        accepted = sum(trial.is_well for trial in unbroken)
        events = sum(trial.events for trial in unbroken)
        console.print(f"honest server: {accepted} of {len(unbroken)} runs accepted, {events:,} events")


def _mutants_exit_code(outcome: list[Trial]) -> int:
    if any(not trial.is_well and trial.result != "unchecked" for trial in outcome):
        return REFUSED
    return ACCEPTED if all(trial.is_well for trial in outcome) else UNCHECKED


def _exit_code(report: RunReport) -> int:
    if not report.adequate:
        return UNCHECKED
    return REFUSED if report.problems else ACCEPTED


# -- what they are given


@contextmanager
def _no_stack_trace() -> Iterator[None]:
    """A user's mistake is a line, not a stack trace."""
    try:
        yield
    except HarnessError as error:
        typer.echo(f"tracegen: {error}", err=True)
        raise typer.Exit(UNCHECKED) from None


def _places(out: Path) -> RunPlaces:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"--out {out}: there is something already; name a directory that does not exist")
    return RunPlaces(out)


def _injections(places: RunPlaces) -> list[Injection]:
    return [msgspec.json.decode(line, type=Injection) for line in places.faults.read_bytes().splitlines()]


def _check_mutant(name: str, known: Sequence[str] = trials.MUTANTS) -> None:
    if name not in known:
        raise HarnessError(f"no mutant is called {name!r}; there are: {', '.join(known)}")


def _all_mutants() -> tuple[str, ...]:
    """Those with a scenario of their own first."""
    from tracegen.backend.sim.bugs import MUTANTS  # brings the server's code, which few commands need

    return tuple(dict.fromkeys((*trials.MUTANTS, *MUTANTS)))
