"""`checker weaken`: weaken the spec by one condition after the other, and see whether anything notices."""

import os
import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from checker import manifest as manifests
from checker import tlc
from checker.errors import CannotCheck
from checker.manifest import Manifest
from checker.model import find_models
from checker.weaken import Corpus, Judged, Judges, ModelJudge, Report, read_survivors, report
from checker.weakenings import Weakening, weakenings


def weaken_command(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, with honest traces and corrupted ones.")],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Whose spec to weaken.", show_default="the one in spec/")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only weakenings with this text in their name (repeatable).")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="What to draw the sample from.")] = 0,
    each: Annotated[
        bool, typer.Option("--each", help="Ask the models too about what the corpus has noticed: takes longer.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="TLCs at a time.", show_default="one a core")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for each TLC, at most.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    tlc_jar: Annotated[Path | None, typer.Option("--tlc-jar", help="The tla2tools.jar to use.")] = None,
) -> None:
    """Weaken each condition of each action of the spec in turn. The runs or the bounded models must notice.

    Example: checker weaken runs/corpus --only Accept

    Exit codes: 0 all that survives is explained; 1 it is not; 2 could not check.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    try:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weaken-")))
            spec = _snapshot(manifests.read(manifest or manifests.find()), scratch / "modules")
            every = weakenings(spec)
            chosen = _chosen(every, only, sample, seed)
            tool = tlc.locate(tlc_jar)
            with console.status("the corpus, as the spec is …") as status:
                corpora = []
                for number, run in enumerate(runs):
                    folder = scratch / str(number)
                    folder.mkdir()
                    corpora.append(Corpus(tool, spec, run, folder, timeout_s))
                    _say_corpus(console, run, corpora[-1])
                has_models = any(spec.modules.glob("*MC.*.cfg"))
                models = [
                    model for model in (find_models(spec.name, spec.modules) if has_models else []) if not model.is_deep
                ]
                judges = Judges(corpora, ModelJudge(tool, models, timeout_s), each, jobs or os.cpu_count() or 1)
                left = iter(range(len(chosen), -1, -1))

                def seen(one: Judged) -> None:
                    console.print(_line(one), markup=False)
                    status.update(f"{next(left) - 1} weakenings left …")

                status.update(f"{len(chosen)} weakenings in the corpus …")
                judged = judges.judge(chosen, seen)
        survivors = read_survivors(spec.path.parent / "twins" / "survivors.toml")
        result = report(judged, chosen, survivors, whole=len(chosen) == len(every))
    except CannotCheck as error:
        typer.echo(f"could not check: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        _summarize(console, result)
    raise typer.Exit(result.exit_code)


def _snapshot(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with a copy of its modules: a minute-long run must not see them change."""
    shutil.copytree(manifest.modules, folder)
    return replace(manifest, modules=folder)


def _chosen(every: list[Weakening], only: list[str] | None, sample: int | None, seed: int) -> list[Weakening]:
    chosen = [one for one in every if not only or any(text in one.name for text in only)]
    if not chosen:
        raise CannotCheck(f"--only {' '.join(only or [])}: no weakening has that in its name; `--only :` lists all")
    if sample is not None and sample < len(chosen):
        chosen = random.Random(seed).sample(chosen, sample)
    return chosen


def _say_corpus(console: Console, run: Path, corpus: Corpus) -> None:
    console.print(
        f"{run}: {len(corpus.names)} traces with {corpus.events:,} events; the spec accepts {len(corpus.accepted)}",
        markup=False,
    )


def _line(one: Judged) -> str:
    noticed = [f"the corpus {one.corpus}"] if one.corpus else []
    noticed += [f"the model {one.models}"] if one.models else []
    return f"{'killed  ' if one.killed else 'SURVIVES'}  {one.name}\n              {'; '.join(noticed) or 'nothing'}"


def _summarize(console: Console, result: Report) -> None:
    for fault in result.faults:
        console.print(f"\n{fault}", markup=False)
    by_corpus, by_models = (sum(bool(says) for says in column) for column in zip(*_columns(result), strict=True))
    console.print(
        f"\n{len(result.judged)} weakenings: {result.killed} noticed ({by_corpus} by the corpus, {by_models} by the "
        f"models), {len(result.judged) - result.killed} survive; "
        + ("each of them is explained" if not result.faults else f"{len(result.faults)} faults"),
        markup=False,
    )


def _columns(result: Report) -> list[tuple[str, str]]:
    return [(one.corpus, one.models) for one in result.judged]
