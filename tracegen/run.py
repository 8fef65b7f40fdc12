"""One run: start a cluster, load it while it is broken on purpose, heal it, look at everything once more, stop it.

What comes out is a run directory (`places.py`); whether it is evidence at all is said in run.json (`report.py`), and
what it is evidence of is for the checker.
"""

import asyncio
import dataclasses
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from tracegen.archive.audit import audit
from tracegen.backend.face import Cluster
from tracegen.errors import HarnessError
from tracegen.history import Recorder, RunClock
from tracegen.nemesis.inject import Injection, coordinator_of, inject
from tracegen.operations import Listed
from tracegen.places import RunPlaces
from tracegen.report import OPERATIONS_MIN, OVERLAPPING_MIN, Evidence, RunReport, reasons_against
from tracegen.scenario import Scenario
from tracegen.schedule import PlannedFault, plan
from tracegen.workload.alive import await_answers, write_everywhere
from tracegen.workload.api import api_of
from tracegen.workload.client import Client, Shared
from tracegen.workload.final import read_everything
from tracegen.workload.mix import Script
from tracegen.workload.pace import Appointments, Arrivals, Pace, think
from tracegen.writing import to_toml

TICK_S: Final = 0.5
_MAY_SAY: Final = {"disk_error": ("the disk failed", "<Code>InternalError</Code>")}
LOAD_GRACE_S: Final = 60.0  # for the operations that run when the load is over; clients bound them themselves
FOREVER_US: Final = 1 << 62

Say = Callable[[str], None]
"""Told what the run is at, again and again; for a progress line."""


async def carry_out(
    scenario: Scenario,
    seed: int,
    cluster: Cluster,
    places: RunPlaces,
    *,
    backend: str = "process",
    mutants: Sequence[str] = (),
    say: Say = lambda _: None,
    clock: RunClock | None = None,
    under_way: Callable[[], list[str]] | None = None,
) -> RunReport:
    """Make the run and write its directory. Raises HarnessError when it cannot be made; the cluster is ended anyway.

    With `under_way` (the requests that nodes work on) the cluster must be alive in time when all is healed.
    """
    places.make()
    recorder = Recorder(places.history, clock or RunClock())
    run = _Run(scenario, seed, cluster, recorder, say)
    try:
        try:
            await run.start()
            await run.load_and_break()
            await run.look_at_everything(under_way)
        finally:
            await run.stop()
    finally:
        recorder.close()
    report = run.report(places, backend, mutants)
    encode = msgspec.json.encode
    places.scenario.write_text(to_toml(dataclasses.replace(scenario, seed=seed)), encoding="utf-8")
    places.faults.write_bytes(b"".join(encode(injection) + b"\n" for injection in run.injections))
    places.run.write_bytes(msgspec.json.format(encode(report), indent=2) + b"\n")
    return report


class _Run:
    """The stages of a run, and what is known of it so far."""

    def __init__(self, scenario: Scenario, seed: int, cluster: Cluster, recorder: Recorder, say: Say) -> None:
        self._scenario = scenario
        self._seed = seed
        self._cluster = cluster
        self._recorder = recorder
        self._say = say
        self._shared = Shared(
            seed, scenario.key_prefix, scenario.keys, scenario.workload, cluster, recorder, api_of(scenario)
        )
        self._problems: list[str] = []
        self._seconds: dict[str, float] = {}
        self._striking: dict[str, str] = {}
        self._load_from_us = 0
        self.injections: list[Injection] = []

    async def start(self) -> None:
        with self._stage("start"):
            self._say(f"starting {len(self._cluster.nodes)} nodes")
            await self._cluster.start()
            await self._shared.api.begin(self._cluster)

    async def load_and_break(self) -> None:
        """Load the cluster while faults come and go; returns when both are over and every fault is healed."""
        with self._stage("load"):
            self._load_from_us = self._recorder.clock.now_us()
            ticking = asyncio.create_task(self._tell())
            try:
                async with asyncio.TaskGroup() as tasks:
                    strikes = [tasks.create_task(self._strike(fault)) for fault in plan(self._scenario, self._seed)]
                    tasks.create_task(self._load())
            except* HarnessError as group:
                raise group.exceptions[0] from None
            finally:
                ticking.cancel()
        # only now is every operation recorded that ran during a fault
        self.injections = [self._with_overlap(strike.result()) for strike in strikes]
        self._problems += self._cluster.unexpected_deaths()

    async def look_at_everything(self, under_way: Callable[[], list[str]] | None) -> None:
        with self._stage("final reads"):
            self._say("reading everything from every node")
            if under_way is not None:
                self._problems += await await_answers(under_way)
            self._problems += await read_everything(self._shared)
            if under_way is not None:
                self._problems += await write_everywhere(self._shared)
            if self._cluster.archive is not None:
                self._say("comparing the archive with what clients may read")
                self._problems += await audit(self._shared, self._scenario, self._recorder.recorded())

    async def stop(self) -> None:
        with self._stage("stop"):
            self._say("stopping the nodes")
            self._problems += await self._cluster.stop()

    def report(self, places: RunPlaces, backend: str, mutants: Sequence[str]) -> RunReport:
        recorder, scenario, nodes = self._recorder, self._scenario, self._cluster.nodes
        outcomes = {name: recorder.outcomes[name] for name in ("ok", "failed", "unknown")}
        evidence = Evidence(
            injections=tuple(self.injections),
            outcomes=outcomes,
            writes_acknowledged=recorder.writes_acknowledged,
            traced_nodes=frozenset(file.name.split(".")[0] for file in places.traces.glob("*.ndjson")),
            nodes=nodes,
            operations_min=1 if scenario.operations else OPERATIONS_MIN,
            overlapping_min=1 if scenario.operations or backend == "sim" else OVERLAPPING_MIN,
        )
        inadequate = reasons_against(evidence)
        strange = [
            f"an answer that the API does not know, {times} times: {line}"
            for line, times in self._shared.unexpected.items()
            if not any(says in line for says in self._may_say())
        ]
        return RunReport(
            id=places.root.name,
            scenario=scenario.name,
            says=scenario.says,
            seed=self._seed,
            backend=backend,
            started_ms=recorder.clock.epoch_ms_at_zero_us,
            epoch_ms_at_zero_us=recorder.clock.epoch_ms_at_zero_us,
            duration_s=scenario.duration_s,
            nodes=nodes,
            replication={
                "factor": scenario.cluster.factor,
                "min_write_replicas": scenario.cluster.min_write_replicas,
            },
            mutants=tuple(mutants),
            adequate=not inadequate,
            inadequate=inadequate,
            problems=self._problems + strange,
            operations={"total": recorder.operations, **outcomes},
            kinds=dict(recorder.kinds),
            stages=self._seconds,
            load_from_us=self._load_from_us,
            versions=self._cluster.versions(),
        )

    def _may_say(self) -> list[str]:
        """What nodes may say, beyond the API, as they are broken so."""
        return [says for fault in self._scenario.faults for says in _MAY_SAY.get(fault.nemesis, ())]

    async def _load(self) -> None:
        duration_s = self._scenario.duration_s
        try:
            async with asyncio.timeout(duration_s + LOAD_GRACE_S), asyncio.TaskGroup() as tasks:
                if self._scenario.operations:
                    self._follow_the_list(tasks)
                else:
                    self._draw_the_load(tasks)
        except TimeoutError:
            raise HarnessError(
                f"clients still wait {LOAD_GRACE_S:g} s after the load's end; use a shorter deadline_s"
            ) from None

    def _draw_the_load(self, tasks: asyncio.TaskGroup) -> None:
        load, duration_s = self._scenario.workload, self._scenario.duration_s
        homes = [(f"{node}-{at}", node) for node in self._cluster.nodes for at in range(load.clients_per_node)]
        until_us = self._recorder.clock.now_us() + int(duration_s * 1e6)
        pace: Pace = think
        if load.loop == "open":
            arrivals = Arrivals(load.rate_per_s, random.Random(f"{self._seed}/arrivals"))
            pace = arrivals.pace
            tasks.create_task(arrivals.run(duration_s, len(homes)))
        for name, home in homes:
            tasks.create_task(Client(name, home, self._shared).run(until_us, pace))

    def _follow_the_list(self, tasks: asyncio.TaskGroup) -> None:
        listed: defaultdict[str, list[Listed]] = defaultdict(list)
        for operation in self._scenario.operations:
            listed[operation.client].append(operation)
        pace = Appointments().pace
        for name, own in listed.items():
            script = Script(own, self._shared.prefix)
            tasks.create_task(Client(name, own[0].node, self._shared, script).run(FOREVER_US, pace))

    async def _strike(self, fault: PlannedFault) -> Injection:
        hottest = self._shared.keys[0]
        injection, problem = await inject(
            fault,
            self._cluster,
            self._recorder,
            lambda: coordinator_of(hottest, self._cluster),
            lambda told: self._striking.update({fault.name: told}),
        )
        self._striking.pop(fault.name, None)
        if problem is not None:
            self._problems.append(problem)
        return injection

    async def _tell(self) -> None:
        clock = asyncio.get_running_loop().time
        start_s = clock()
        duration_s = self._scenario.duration_s
        while True:
            passed_s = min(clock() - start_s, duration_s)
            faults = f"; {', '.join(self._striking.values())}" if self._striking else ""
            self._say(f"load {passed_s:.0f} of {duration_s:g} s, {self._recorder.operations} operations{faults}")
            await asyncio.sleep(TICK_S)

    def _with_overlap(self, injection: Injection) -> Injection:
        overlapping = self._recorder.overlapping(injection.start_us, injection.end_us) if injection.bit else 0
        return msgspec.structs.replace(injection, overlapping=overlapping)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start_s = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = round(time.monotonic() - start_s, 3)
