"""The report is one file that needs nothing else, says the verdict first, and never lets a trace write its HTML."""

import json
import re
from pathlib import Path

import pytest

from checker import report
from checker.tests.conftest import LockRun
from checker.verdict import Conjunct, HistoryFault, Refusal, Verdict

HOSTILE = '<script>alert("door")</script>'


def verdict_of(**changed: object) -> Verdict:
    fields: dict[str, object] = {
        "status": "accepted",
        "run": "a-run",
        "spec": "lock",
        "events": 7,
        "traces": 1,
        "refused": [],
        "history": [],
        "distinct_states": 8,
        "expected_states": 8,
        "canary": True,
        "collision": "0.0",
        "coverage": {"Take": {"all": 2, "mode=patient": 2}},
        "never_taken": ["Take mode=greedy"],
        "stages": {"load": 0.1, "total": 0.2},
        "notes": [],
        "reasons": [],
    }
    return Verdict(**(fields | changed))  # type: ignore[arg-type]  # each has the type of its field


def refusal_of(key: str, event: str, file: str) -> Refusal:
    return Refusal(
        key=key,
        event=event,
        file=file,
        line=3,
        position=2,
        action="Take",
        text="no action of the spec allows it",
        conjuncts=[Conjunct("fence > last", False, "5", "15", "Take(n = a)"), Conjunct("free", True)],
        causes=[event],
    )


@pytest.fixture
def run(tmp_path: Path) -> LockRun:
    run = LockRun(tmp_path)
    run.turns(3)
    run.write()
    (run.path / "run.json").write_text(
        json.dumps({"schema": 1, "id": "a-run", "nodes": ["a", "b"], "scenario": HOSTILE, "duration_s": 1.0})
    )
    return run


def written(run: LockRun, verdict: Verdict) -> str:
    out = run.path / "report.html"
    report.write(verdict, run.path, out)
    return out.read_text(encoding="utf-8")


def test_a_report_fetches_nothing(run: LockRun) -> None:
    page = written(run, verdict_of())
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']*|url\(|@import|<link""", page) == []


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (verdict_of(), "Accepted"),
        (verdict_of(status="refused", refused=[refusal_of("door", "a.1.2", "a.1.ndjson")]), "Refused"),
        (verdict_of(status="unchecked", reasons=["there is no Java"]), "Could not check"),
    ],
)
def test_the_first_word_is_the_verdict(run: LockRun, verdict: Verdict, word: str) -> None:
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", written(run, verdict), re.S)
    assert heading is not None and word.lower() in heading[1].lower()


def test_why_a_run_is_unchecked_is_said(run: LockRun) -> None:
    assert "there is no Java" in written(run, verdict_of(status="unchecked", reasons=["there is no Java"]))


def test_a_refusal_shows_the_false_condition_with_both_sides_and_the_event(run: LockRun) -> None:
    refused = [refusal_of("door", "a.1.2", "a.1.ndjson")]
    page = written(run, verdict_of(status="refused", refused=refused))
    row = next(row for row in re.findall(r"<tr.*?</tr>", page, re.S) if "fence &gt; last" in row)
    assert all(f">{value}<" in re.sub(r"\s+", "", row) for value in ("5", "15"))
    assert "a.1.2" in page and "a.1.ndjson:3" in page


def test_a_fault_of_the_history_is_told(run: LockRun) -> None:
    fault = HistoryFault(key="door", rule="freshness", text="a read went back in time", operations=[])
    assert "a read went back in time" in written(run, verdict_of(status="refused", history=[fault]))


def test_no_text_of_a_run_becomes_markup(run: LockRun) -> None:
    refused = [refusal_of(HOSTILE, "a.1.2", HOSTILE)]
    page = written(run, verdict_of(status="refused", run=HOSTILE, refused=refused, notes=[HOSTILE]))
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_a_report_is_written_even_where_the_run_has_nothing(tmp_path: Path) -> None:
    report.write(verdict_of(status="unchecked", reasons=["no traces"]), tmp_path, tmp_path / "report.html")
    assert "no traces" in (tmp_path / "report.html").read_text()


def test_a_report_of_very_many_refusals_stays_readable(run: LockRun) -> None:
    refused = [refusal_of(f"door-{number}", "a.1.2", "a.1.ndjson") for number in range(500)]
    assert len(written(run, verdict_of(status="refused", refused=refused))) < 1_000_000
