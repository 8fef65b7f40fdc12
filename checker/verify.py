"""Judges one run, from its directory to a verdict: load, order, split, replay, history, explain.

The rooms do the work; here is only what follows what, and what counts as which status. A refused trace or a fault in
the clients' histories makes a run refused, whatever else was wrong; else anything that kept the checker from knowing
makes it unchecked, an inadequate run too: one that never did what its scenario demands shows nothing.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from checker import manifest as manifests
from checker import tlc
from checker.coverage import never_taken
from checker.errors import CannotCheck
from checker.load import load
from checker.manifest import Manifest
from checker.order import linear_extension
from checker.replay import Replay, Replayed
from checker.split import by_key
from checker.verdict import HistoryFault, Refusal, Verdict

REAL_TIME: Final = (
    "the order of events is causal, from the traces; real time between clients is judged on their histories alone"
)


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge: None is the default of each. `order_seed` draws a random linear extension of the causal order.

    `cluster` is the address of a Dask scheduler whose workers run TLC, instead of this machine.
    """

    manifest: Path | None = None
    tlc_jar: Path | None = None
    jvms: int | None = None
    timeout_s: float | None = None
    order_seed: int | None = None
    cluster: str | None = None


class RunFile(msgspec.Struct, frozen=True):
    """What the checker reads of a run's run.json; a run that was made by hand may have none."""

    id: str = ""
    adequate: bool = True
    inadequate: list[str] = []


class Stages:
    """Seconds of each stage, as they pass; `say` is told the name of each as it begins."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._say(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + round(time.monotonic() - began, 3)


def verify(run_dir: Path, options: Options, say: Callable[[str], None] = lambda stage: None) -> Verdict:
    """The verdict on a run; never raises CannotCheck, but says it in the verdict."""
    began = time.monotonic()
    verdict = Verdict(
        status="unchecked",
        run=run_dir.resolve().name,
        spec="",
        events=0,
        traces=0,
        refused=[],
        history=[],
        distinct_states=0,
        expected_states=0,
        canary=False,
        collision="",
        coverage={},
        never_taken=[],
        stages={},
        notes=[],
        reasons=[],
    )
    stages = Stages(say)
    try:
        with _replayer(options) as (tool, jvms):
            _verify(run_dir, options, verdict, stages, tool, jvms)
    except CannotCheck as error:
        verdict.reasons.append(str(error))
    if verdict.refused or verdict.history:
        verdict.status = "refused"
    elif not verdict.reasons:
        verdict.status = "accepted"
    verdict.stages = {**stages.seconds, "total": round(time.monotonic() - began, 3)}
    return verdict


@contextmanager
def _replayer(options: Options) -> Iterator[tuple[tlc.Replayer, int]]:
    """Who runs TLC, and how many at a time."""
    if options.cluster is None:
        yield tlc.locate(options.tlc_jar), options.jvms or os.cpu_count() or 1
        return
    if options.tlc_jar is not None:
        raise CannotCheck(
            "--tlc-jar is a file of this machine, and on a cluster each worker has a TLC of its own: the file that its "
            f"${tlc.JAR_VARIABLE} names, or the one that pip installed there; leave one of the two options out"
        )
    from checker.cluster_tlc import ClusterTlc
    from checker.dask_cluster import connect

    with connect(options.cluster) as cluster:
        yield ClusterTlc(cluster), options.jvms or cluster.threads


def _verify(run_dir: Path, options: Options, verdict: Verdict, stages: Stages, tool: tlc.Replayer, jvms: int) -> None:
    manifest = manifests.read(options.manifest or manifests.find())
    verdict.spec = manifest.name
    run = _run_file(run_dir)
    verdict.run = run.id or verdict.run
    if not run.adequate:
        verdict.reasons.extend(f"the run is inadequate: {reason}" for reason in run.inadequate or ["it says no more"])
    with stages.stage("load"):
        traces = load(run_dir, manifest)
        verdict.notes.extend(traces.notes)
    with stages.stage("order"):
        behaviours = by_key(traces, linear_extension(traces, options.order_seed))
    verdict.events = sum(map(len, behaviours))
    verdict.traces = len(behaviours)
    if verdict.events == 0:
        raise CannotCheck(f"{run_dir}: the traces have no event of {manifest.name}, so there is nothing to check")
    with Replay(manifest, traces, tool, jvms=jvms, timeout_s=options.timeout_s) as replay:
        with stages.stage("pack"):
            replay.start(behaviours)
        with stages.stage("history"):
            verdict.history.extend(_history(run_dir, manifest, verdict))
        with stages.stage("replay"):
            replayed = replay.finish()
        _take(verdict, replay, replayed)
        with stages.stage("explain"):
            verdict.refused.extend(_refusals(replay, replayed, verdict.notes))


def _run_file(run_dir: Path) -> RunFile:
    path = run_dir / "run.json"
    if not path.is_file():
        return RunFile()
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunFile)
    except msgspec.DecodeError as error:
        raise CannotCheck(f"{path}: {error}") from error


def _history(run_dir: Path, manifest: Manifest, verdict: Verdict) -> list[HistoryFault]:
    if manifest.history is None:
        verdict.notes.append("the manifest names no check of clients' histories, so none was made")
        return []
    from checker import history

    verdict.notes.append(REAL_TIME)
    return history.check(run_dir)


def _take(verdict: Verdict, replay: Replay, replayed: Replayed) -> None:
    verdict.distinct_states = replayed.distinct
    verdict.expected_states = replayed.expected
    verdict.canary = replayed.canary
    verdict.collision = replayed.collision
    verdict.coverage = replay.coverage.table()
    verdict.never_taken = never_taken(verdict.coverage)
    verdict.notes.extend(replayed.notes)
    verdict.reasons.extend(replayed.troubles)


def _refusals(replay: Replay, replayed: Replayed, notes: list[str]) -> list[Refusal]:
    """One for each key that TLC or a rule on causes refused, at the earlier of both events."""
    names = replay.traces.keys
    keys = sorted(replayed.refused.keys() | replay.cause_faults.keys(), key=names.__getitem__)
    if not keys:
        return []
    from checker.explain import EXPLAINED_MAX, Found, explain

    if len(keys) > EXPLAINED_MAX:
        notes.append(
            f"{len(keys)} traces were refused; the first {EXPLAINED_MAX} are explained in full, the others briefly"
        )
    refused = []
    for key in keys:
        fault, place = replay.cause_faults.get(key), replayed.refused.get(key)
        if fault is not None and place is not None:
            if fault.position > place:
                fault = None
            elif fault.position < place:
                place = None
        refused.append(Found(key, place, fault))
    return explain(replay, refused)
