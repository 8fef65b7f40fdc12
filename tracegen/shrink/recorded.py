"""What a run did, as a scenario that says it outright: every operation of its clients, every fault with its target.

Read from the run directory, so that a run of any backend can be told again. The reads of the last look are left out:
every run has its own. The writes after them, which only see whether the cluster lives, are operations like the others.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from tracegen import scenario as scenarios
from tracegen.errors import HarnessError
from tracegen.history import Operation
from tracegen.nemesis.inject import Injection
from tracegen.operations import CONDITION_OF, LISTS, RETRIES_MAX, Listed
from tracegen.places import RunPlaces
from tracegen.report import RunReport
from tracegen.scenario import FaultSpec, Scenario, Workload
from tracegen.schedule import PlannedFault, plan
from tracegen.workload.alive import CLIENTS

LAST_LOOK: Final = "final-"


def report_of(places: RunPlaces) -> RunReport:
    """What the run says of itself. Raises HarnessError if this is no run directory."""
    try:
        return msgspec.json.decode(places.run.read_bytes(), type=RunReport)
    except (OSError, msgspec.MsgspecError) as error:
        raise HarnessError(f"{places.root} is not the directory of a run: {error}") from error


def recorded(places: RunPlaces) -> Scenario:
    """The run as a list of operations and faults. Raises HarnessError if its directory lacks something."""
    report = report_of(places)
    scenario = scenarios.load(places.scenario)
    history, injections = places.history.read_bytes(), places.faults.read_bytes()
    operations = msgspec.json.Decoder(Operation).decode_lines(history)
    struck = {each.name: each for each in msgspec.json.Decoder(Injection).decode_lines(injections)}
    faults = tuple(_fault(planned, struck.get(planned.name)) for planned in plan(scenario, report.seed))
    listed = list_operations(operations, scenario, report.load_from_us)
    return replace(
        scenario,
        name=f"{scenario.name}-{report.seed}",
        group="recorded",
        duration_s=max((scenario.duration_s, *(each.at_s for each in listed), *(fault.ends_s for fault in faults))),
        workload=Workload(
            api=scenario.workload.api, versioning=scenario.workload.versioning, deadline_s=scenario.workload.deadline_s
        ),
        faults=faults,
        operations=listed,
        prefix=scenario.key_prefix,
    )


def list_operations(history: Sequence[Operation], scenario: Scenario, load_from_us: int) -> tuple[Listed, ...]:
    """The clients' operations by time; a list has its numbers go up for each client, as a client does one at a time."""
    ordered = sorted(history, key=lambda operation: (operation.invoke_us, operation.client, operation.op))
    prefix = scenario.key_prefix
    return tuple(
        Listed(
            at_s=max(0.0, (operation.invoke_us - load_from_us) / 1e6),
            client=_client(operation),
            node=operation.tried[0] if operation.tried else operation.node,
            kind=_kind(operation),
            key="" if operation.kind in LISTS else operation.path.removeprefix(prefix),
            op=operation.op,
            size_bytes=(operation.size_bytes or 0) if operation.kind == "put" and not _replays(operation) else 0,
            then=operation.tried[1 : RETRIES_MAX + 1],
            again=_replays(operation),
            span=operation.span or (0, 0),
            page=operation.page or 1000,
            made_by=operation.made_by or "",
            source=(operation.source or "").removeprefix(prefix),
        )
        for operation in ordered
        if _client(operation)
    )


def _client(operation: Operation) -> str:
    """Who asks, in the list; nobody for the reads of the last look."""
    if operation.client.startswith(CLIENTS):
        return operation.client.removeprefix(LAST_LOOK)
    return "" if operation.client.startswith(LAST_LOOK) else operation.client


def _replays(operation: Operation) -> int:
    """The number of the put that it sends once more; 0 if it is a write of its own."""
    if operation.write_id is None:
        return 0
    first = int(operation.write_id.rpartition("-")[2])
    return 0 if first == operation.op else first


def _kind(operation: Operation) -> str:
    if operation.kind == "get" and operation.span is not None:
        return "get_range"
    if _replays(operation):
        return "put_replay"
    asked = {condition: f"_if_{name}" for name, condition in CONDITION_OF.items()}
    word: str = "delete" if operation.kind == "mark" else "multipart" if operation.parts else operation.kind
    if operation.of_version is not None:
        word += "_version"
    return word + asked.get(operation.condition, "")


def _fault(planned: PlannedFault, injection: Injection | None) -> FaultSpec:
    """The fault with the target that it had, at the time that the seed drew for it."""
    hit = planned.nodes or (injection.nodes if injection else ())
    target = "+".join(hit) if hit and planned.spec.target != "all" else planned.spec.target
    return replace(planned.spec, at_s=planned.start_s, jitter_s=0.0, times=1, every_s=0.0, target=target)
