"""`checker model`: the bounded models of a spec and its broken twins, as a table for people or JSON for machines."""

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from checker import tlc
from checker.errors import CannotCheck
from checker.model import ModelResult, Report, Suite, TwinResult, check, read_suite

SPECS = Path(__file__).resolve().parents[1] / "spec"
BEHAVIOUR_STATES = 12  # how many of a counterexample's last states are printed


def model_command(
    deep: Annotated[bool, typer.Option("--deep", help="Check the deep models too: minutes.")] = False,
    spec: Annotated[str, typer.Option(help="Which spec: as in tla/ and twins/.")] = "register",
    specs: Annotated[Path, typer.Option(help="The directory with tla/ and twins/.", show_default="spec")] = SPECS,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Check only the model or twin of this name (repeatable).")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="TLC's workers.", show_default="one a core")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for each, at most.")] = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    tlc_jar: Annotated[Path | None, typer.Option("--tlc-jar", help="The tla2tools.jar to use.")] = None,
) -> None:
    """Check every bounded model of a spec, and have TLC refute every broken twin.

    Example: checker model --deep

    Exit codes: 0 all is as it should be; 1 a model or a twin is wrong; 2 could not check.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    try:
        report = _check(
            console, read_suite(spec, specs), only, deep, workers or os.cpu_count() or 1, timeout_s, tlc_jar
        )
    except CannotCheck as error:
        typer.echo(f"could not check: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _summarize(console, report)
    raise typer.Exit(report.exit_code)


def _check(
    console: Console,
    suite: Suite,
    only: list[str] | None,
    deep: bool,
    workers: int,
    timeout_s: float,
    tlc_jar: Path | None,
) -> Report:
    models = [model for model in suite.models if (model.name in only if only else deep or not model.is_deep)]
    twins = [twin for twin in suite.twins if not only or twin.name in only]
    if not models and not twins:
        names = ", ".join([*(model.name for model in suite.models), *(twin.name for twin in suite.twins)])
        raise CannotCheck(f"--only {' '.join(only or [])}: there is no such model or twin; there are {names}")
    tool = tlc.locate(tlc_jar)
    names_in_order = [*(f"model {model.name}" for model in models), *(f"twin {twin.name}" for twin in twins)]
    width = max(len(name) for name in names_in_order)
    console.print(f"{'':{width}}  {'states':>10}  {'seconds':>7}")
    with console.status(f"{names_in_order[0]} …") as status:
        left = iter(names_in_order[1:])

        def seen(result: ModelResult | TwinResult) -> None:
            console.print(_line(result, width), markup=False)
            status.update(f"{next(left, 'done')} …")

        return check(tool, suite, models, twins, workers=workers, timeout_s=timeout_s, seen=seen)


def _line(result: ModelResult | TwinResult, width: int) -> str:
    if isinstance(result, ModelResult):
        name, well = f"model {result.model}", "ok"
    else:
        name, well = f"twin {result.twin}", f"refuted by {result.breaks} in {result.model}"
    says = "could not check" if result.cannot is not None else "FAULT" if result.fault is not None else well
    return f"{name:{width}}  {result.distinct_states:>10,}  {result.seconds:>7.1f}  {says}"


def _summarize(console: Console, report: Report) -> None:
    for model in report.models:
        if trouble := model.cannot or model.fault:
            console.print(f"\nmodel {model.model} ({model.says}): {trouble}", markup=False)
            for state in model.behaviour[-BEHAVIOUR_STATES:]:
                console.print(state, markup=False)
    for twin in report.twins:
        if trouble := twin.cannot or twin.fault:
            console.print(f"\ntwin {twin.twin}: {trouble}", markup=False)
    for check_name in report.unbroken:
        console.print(f"\n{check_name}: no twin breaks it, so that it holds is no evidence: add one", markup=False)
    results: list[ModelResult | TwinResult] = [*report.models, *report.twins]
    faults = sum(result.fault is not None or result.cannot is not None for result in results) + len(report.unbroken)
    states = sum(model.distinct_states for model in report.models)
    verdict = "all is as it should be" if not faults else f"{faults} of these are not as they should be"
    console.print(
        f"\n{len(report.models)} models with {states:,} states, {len(report.twins)} broken twins: {verdict}",
        markup=False,
    )
