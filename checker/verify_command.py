"""`checker verify`: judge one run; a summary for people, JSON and JUnit for machines, an exit code for both."""

import sys
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from checker.coverage import ALL
from checker.report import write as write_report
from checker.verdict import Verdict
from checker.verify import Options, verify

LISTED_MAX = 50  # refusals and faults that the summary lists; verdict.json has all


def verify_command(
    run: Annotated[Path, typer.Argument(help="The run directory: traces/*.ndjson, run.json, history.ndjson.")],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="What to judge by.", show_default="the one in spec/")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where verdict.json and the report go.", show_default="the run's")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON and nothing else.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write a JUnit XML file too.")] = None,
    tlc_jar: Annotated[Path | None, typer.Option("--tlc-jar", help="The tla2tools.jar to use.")] = None,
    seed_order: Annotated[
        int | None, typer.Option("--seed-order", help="Replay a random linear extension of the causal order.")
    ] = None,
    jvms: Annotated[int | None, typer.Option(min=1, help="JVMs at a time.", show_default="one a core")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Have TLC run on the Dask cluster of this scheduler: tcp://10.0.0.5:8786."
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for each TLC, at most.")] = 900.0,
) -> None:
    """Judge a run: is what really happened a behaviour of the spec, and were clients told the truth?

    With --cluster, the partitions of a big trace go to a Dask cluster: `dask
    scheduler`, and `dask worker ADDRESS` on each machine, all with this same
    Amberio and `distributed` installed. Each thread of a worker runs one JVM, of
    a gigabyte or more. What a worker had that dies, another does again; the
    verdict is the same.

    \b
    Example: checker verify runs/latest
             checker verify runs/big --cluster tcp://10.0.0.5:8786

    Exit codes: 0 accepted; 1 refused; 2 could not check (bad input, an inadequate run, no Java, no time).
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    options = Options(manifest, tlc_jar, jvms, timeout_s, seed_order, cluster)
    with console.status("") as status:
        verdict = verify(run, options, lambda stage: status.update(f"{stage} …"))
    _write(verdict, run, out, junit)
    if as_json:
        sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")
    else:
        _summarize(console, verdict)
    raise typer.Exit(verdict.exit_code)


def _write(verdict: Verdict, run: Path, out: Path | None, junit: Path | None) -> None:
    folder = out or run
    if out is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        (folder / "verdict.json").write_bytes(msgspec.json.format(msgspec.json.encode(verdict), indent=1))
        write_report(verdict, run, folder / "report.html")
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_bytes(junit_xml(verdict))


def junit_xml(verdict: Verdict) -> bytes:
    """One test case for the run's replay and one for its history; each refusal or fault is a failure's text."""
    suite = ElementTree.Element("testsuite", name=f"checker verify {verdict.run}", tests="2")
    suite.set("time", str(verdict.stages.get("total", 0.0)))
    parts = {
        "replay": [refusal.text for refusal in verdict.refused],
        "history": [f"{fault.key}: {fault.rule}: {fault.text}" for fault in verdict.history],
    }
    for name, lines in parts.items():
        case = ElementTree.SubElement(suite, "testcase", classname=f"{verdict.spec}.{verdict.run}", name=name)
        if lines:
            ElementTree.SubElement(case, "failure", message=f"{len(lines)} refused").text = "\n\n".join(lines)
        elif verdict.reasons:
            ElementTree.SubElement(case, "error", message="could not check").text = "\n".join(verdict.reasons)
    suite.set("failures", str(sum(bool(lines) for lines in parts.values())))
    suite.set("errors", str(sum(not lines and bool(verdict.reasons) for lines in parts.values())))
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text


def _summarize(console: Console, verdict: Verdict) -> None:
    for refusal in verdict.refused[:LISTED_MAX]:
        console.print(refusal.text + "\n", markup=False)
    for fault in verdict.history[:LISTED_MAX]:
        console.print(f"{fault.key}: {fault.rule}: {fault.text}\n", markup=False)
    if len(verdict.refused) > LISTED_MAX or len(verdict.history) > LISTED_MAX:
        console.print(f"(and more: the first {LISTED_MAX} of each are listed here, verdict.json has all)\n")
    for reason in verdict.reasons:
        console.print(f"could not check: {reason}", markup=False)
    for note in verdict.notes:
        console.print(f"note: {note}", markup=False)
    if verdict.coverage:
        console.print(_coverage(verdict))
    if verdict.expected_states:
        _say_counts(console, verdict)
    counts = f"{len(verdict.refused)} traces refused, {len(verdict.history)} faults in the clients' histories"
    says = {
        "accepted": f"accepted: what happened is a behaviour of {verdict.spec}",
        "refused": f"REFUSED: {counts}",
        "unchecked": "COULD NOT CHECK",
    }
    style = {"accepted": "green", "refused": "red", "unchecked": "yellow"}
    console.print(f"{verdict.run}: {says[verdict.status]}", style=style[verdict.status], markup=False)


def _say_counts(console: Console, verdict: Verdict) -> None:
    seconds = "  ".join(f"{name} {seconds:.1f}" for name, seconds in verdict.stages.items())
    console.print(
        f"{verdict.events:,} events in {verdict.traces:,} traces; {verdict.distinct_states:,} distinct states of "
        f"{verdict.expected_states:,} expected; canary {'refused' if verdict.canary else 'NOT REFUSED'}; "
        f"chance of a collision {verdict.collision or 'unknown'}\nseconds: {seconds}",
        markup=False,
    )


def _coverage(verdict: Verdict) -> Table:
    table = Table("action", "accepted", "never taken", box=None, pad_edge=False)
    for action, branches in verdict.coverage.items():
        missing = [branch for branch, count in branches.items() if count == 0 and branch != ALL]
        table.add_row(action, f"{branches[ALL]:,}", "  ".join(missing) if branches[ALL] else "all of it")
    return table
