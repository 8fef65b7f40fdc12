"""What happened in a small run, told line by line: who did what when, what they were told, and what is wrong with it.

These are the comments at the top of a shrunk scenario's file. Pure: the run's own records in, lines out.
"""

from collections.abc import Sequence
from typing import Final

from tracegen.history import Operation
from tracegen.nemesis.inject import Injection
from tracegen.watch.findings import Finding

LAST_LOOK: Final = "final-"
FINDINGS_TOLD: Final = 4
_BROKEN: Final = {
    "kill": "is killed",
    "pause": "stands still",
    "restart": "is asked to end and started again",
    "partition": "is cut off from the others",
    "one_way": "hears or is heard no more",
    "flap": "is cut off from the others again and again",
    "delay": "has slow links",
    "drop": "loses its connections again and again",
    "power_cut": "loses its power",
    "disk_lost": "is killed and loses its disk",
    "disk_full": "has a full disk",
    "disk_error": "has a disk that fails",
    "slow_disk": "has a slow disk",
    "bit_rot": "has a bit of its disk turned",
    "clock_jump": "has its clock jump",
    "clock_skew": "has a clock that goes wrong",
    "mangle": "has links that lose, double and reorder",
    "half_open": "has connections that are half open",
}
_HOW: Final = {False: "", True: " as parts"}
_ASKED: Final = {
    "none": "",
    "absent": " if nothing is there",
    "exists": " if something is there",
    "generation_is": " if its generation is still what was last seen",
    "etag_is": " if it is still what was last seen",
    "etag_is_not": " if it is no more what was last seen",
}


def tell(history: Sequence[Operation], injections: Sequence[Injection], load_from_us: int, prefix: str) -> list[str]:
    """Operations and faults in their order; the last look is one line, as everyone is asked for everything."""
    told = [(each.invoke_us, _operation(each, prefix)) for each in history if not each.client.startswith(LAST_LOOK)]
    told += [(each.start_us, _fault(each)) for each in injections]
    lines = [f"{(at_us - load_from_us) / 1e6:7.3f} s  {what}" for at_us, what in sorted(told)]
    return [*lines, "    then     every node is asked for everything"]


def verdict(findings: Sequence[Finding]) -> list[str]:
    """What is wrong, by each check that says so."""
    lines = [f"{finding.by}: {finding.text}" for finding in findings[:FINDINGS_TOLD]]
    more = len(findings) - FINDINGS_TOLD
    return [*lines, f"(and {more} findings more)"] if more > 0 else lines


def _operation(operation: Operation, prefix: str) -> str:
    again = f", then {', then '.join(operation.tried[1:])}" if len(operation.tried) > 1 else ""
    node = (operation.tried[0] if operation.tried else operation.node) + again
    return f"{operation.client}/{operation.op} asks {node} to {_wanted(operation, prefix)}: {_answer(operation)}"


def _wanted(operation: Operation, prefix: str) -> str:
    key = operation.path.removeprefix(prefix)
    if operation.kind == "list":
        return f"list everything, {operation.page} at a time"
    if operation.kind == "list_versions":
        return f"list every version, {operation.page} at a time"
    if operation.kind == "get":
        span = f" bytes {operation.span[0]} to {operation.span[1]}" if operation.span else ""
        return f"get {key}{_version(operation.of_version)}{span}{_ASKED[operation.condition]}"
    size = f" ({operation.size_bytes} bytes{_HOW[bool(operation.parts)]})" if operation.kind == "put" else ""
    if operation.kind == "copy":
        size = f" from {(operation.source or '').removeprefix(prefix)}"
    size += _version(operation.of_version)
    first = (operation.write_id or "").rpartition("-")[2]
    once_more = f" once more, as its write {first}" if first and first != str(operation.op) else ""
    return f"{operation.kind} {key}{size}{_ASKED[operation.condition]}{once_more}"


def _version(version: int | None) -> str:
    return "" if version is None else f" (version {version or 'null'})"


def _answer(operation: Operation) -> str:
    if operation.outcome == "unknown":
        return "it never learns what came of it"
    if operation.outcome == "failed":
        return f"refused, {operation.status}" if operation.status else "no answer, and nothing done"
    for listed, what in ((operation.paths, "paths"), (operation.listed, "paths"), (operation.versions, "versions")):
        if listed is not None:
            return f"{len(listed)} {what}"
    match operation.status:
        case 404 if not operation.generation:
            return "there is nothing"
        case 404:
            return f"it is not there, generation {operation.generation}"
        case 405:
            return f"it is a delete marker, generation {operation.generation}"
        case 410:
            return f"it is deleted, generation {operation.generation}"
        case 304 | 412 | 416:
            return f"no, {operation.status}"
    return f"generation {operation.generation}"


def _fault(injection: Injection) -> str:
    lasted_s = (injection.end_us - injection.start_us) / 1e6
    names = ", ".join(injection.nodes)
    return f"{names} {_BROKEN[injection.nemesis]}, for {lasted_s:.2f} s"
