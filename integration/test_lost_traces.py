"""What traces say of a lost disk is checked: a lie about any of it is refused, by TLC and by the watcher of the swarm.

Each lie is one change to the traces of a simulated run in which a node loses its disk and comes back.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checker.verdict import Verdict
from checker.verify import Options, verify
from integration.judging import OF_A_LOST_DISK
from tracegen import scenario as scenarios
from tracegen.backend.sim.session import simulate
from tracegen.places import RunPlaces
from tracegen.watch import register

SCENARIO = """
name = "lost"
group = "test"
says = "A disk is lost."
duration_s = 2.5
[workload]
keys = 40
think_ms = 60
mix = { put = 50, get = 50 }
sizes = [{ weight = 1, min_bytes = 1, max_bytes = 20 }]
[[faults]]
nemesis = "disk_lost"
target = "n2"
at_s = 0.8
for_s = 0.4
"""
Line = dict[str, Any]
Traces = dict[Path, list[Line]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lost")
    file = folder / "lost.toml"
    file.write_text(SCENARIO)
    places = RunPlaces(folder / "run")
    report = simulate(scenarios.find(str(file)), 1, places)
    assert not report.problems
    return places.root


def read(run: Path) -> Traces:
    files = sorted((run / "traces").glob("*.ndjson"))
    return {file: [json.loads(line) for line in file.read_text().splitlines()] for file in files}


def found(traces: Traces, kind: str) -> list[Line]:
    lines = [line for of_file in traces.values() for line in of_file if line["event"] == kind]
    assert lines, f"nothing to lie about: there is no {kind}"
    return lines


def told(run: Path, lie: Callable[[Traces], None], to: Path) -> Path:
    shutil.copytree(run, to)
    traces = read(to)
    lie(traces)
    for file, lines in traces.items():
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return to


def changed(kind: str, **fields: Any) -> Callable[[Traces], None]:
    def lie(traces: Traces) -> None:
        line = found(traces, kind)[-1]
        assert any(line[name] != value for name, value in fields.items())
        line |= fields

    return lie


def is_a_rejoin_of_something(line: Line) -> bool:
    return line["accepted"] is not None


def rejoin(change: Callable[[Line], None]) -> Callable[[Traces], None]:
    def lie(traces: Traces) -> None:
        change(next(line for line in found(traces, "Rejoin") if is_a_rejoin_of_something(line)))

    return lie


def caused_by_what_was_before(kind: str) -> Callable[[Traces], None]:
    def lie(traces: Traces) -> None:
        line = found(traces, kind)[-1]
        node, incarnation, seq = line["cause"][0].rsplit(".", 2)
        line["cause"][0] = f"{node}.{incarnation}.{int(seq) - 1}"

    return lie


def one_fewer(line: Line) -> None:
    """One of those who were counted was not."""
    gone = line["counted"].pop()
    line["cause"] = [cause for cause in line["cause"] if not cause.startswith(f"{gone}.")]


LIES: dict[str, tuple[Callable[[Traces], None], str]] = {
    "a loss of nothing": (changed("Lose", slots=[]), "causes"),
    "a meeting with another node": (changed("Meet", of="n1"), "carries"),
    "a meeting that nothing led to": (caused_by_what_was_before("Meet"), "causes"),
    "to gather when not all have met": (lambda traces: one_fewer(found(traces, "Gather")[0]), ""),
    "to gather for another question": (changed("Gather", read="another"), "carries"),
    "to tell another question": (changed("Tell", read="another"), "carries"),
    "to be back by what one has told": (lambda traces: one_fewer(found(traces, "Back")[0]), "EnoughOthers"),
    "to be back by another question": (changed("Back", read="another"), "carries"),
    "to rejoin on the promise of one": (rejoin(one_fewer), "EnoughOthers"),
    "to rejoin with nothing": (rejoin(lambda line: line.update(accepted=None)), "Rejoin_accepted"),
    "to rejoin at another generation": (
        rejoin(lambda line: line.update(generation=line["generation"] + 1)),
        "Rejoin_generation",
    ),
    "to rejoin with another body": (rejoin(lambda line: line.update(etag="0" * 32)), "Rejoin_"),
    "to rejoin as if it were deleted": (rejoin(lambda line: line.update(deleted=not line["deleted"])), "Rejoin_"),
    "to rejoin with other versions": (rejoin(lambda line: line.update(versions=[7])), "Rejoin_"),
    "to rejoin with another write": (rejoin(lambda line: line.update(write_id="never")), "Rejoin_write_id"),
    "to rejoin at another ballot": (rejoin(lambda line: line.update(ballot=[7_000_002, "n2"])), "carries"),
}
HARMLESS = {"to gather when not all have met"}
"""That the others have met is known by their own events; which of them the gathering names decides nothing."""


def said_of(verdict: Verdict) -> str:
    return " ".join(f"{refusal.rule} {refusal.text}" for refusal in verdict.refused)


def test_an_honest_run_with_a_lost_disk_is_accepted_and_has_all_there_is(honest: Path) -> None:
    verdict = verify(honest, Options())
    assert verdict.status == "accepted", said_of(verdict)
    assert register.check(honest / "traces") == []
    assert {line["event"] for lines in read(honest).values() for line in lines} >= OF_A_LOST_DISK


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_a_lost_disk_is_refused(name: str, honest: Path, tmp_path: Path) -> None:
    lie, why = LIES[name]
    run = told(honest, lie, tmp_path / "run")
    verdict = verify(run, Options())
    watched = register.check(run / "traces")
    if name in HARMLESS:
        assert (verdict.status, watched) == ("accepted", []), said_of(verdict)
        return
    assert verdict.status == "refused"
    assert why in said_of(verdict), said_of(verdict)
    assert watched and any(why in violation.rule or why in ("carries", "causes") for violation in watched), watched
