"""The checker cannot be lied to: of hundreds of real traces with one event corrupted, each is refused where it must be.

A run of real processes and one of the simulator, with kills, are taken apart and corrupted (corruptions.py). All the
corrupted traces are judged together, as one run, through the front door of the checker.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from checker.load import load
from checker.order import linear_extension
from checker.tla_source import comparison, for_all
from checker.verdict import Refusal, Verdict
from checker.verify import Options, verify
from integration.corruptions import (
    ANY,
    ELSEWHERE,
    HARMLESS_TWICE,
    HARMLESS_WITHOUT,
    Corruption,
    corpus,
    harmless,
    of_dependent_neighbours_swapped,
)
from integration.judging import (
    MANIFEST,
    OF_A_LOST_DISK,
    SCENARIO,
    WITH_KILLS,
    Behaviour,
    behaviours,
    run_of_processes,
    run_of_simulator,
    write,
)
from integration.stories import honest_stories

CORRUPTIONS_MIN = 200
# a lost disk is about all paths of a run, and these corruptions are of one each: test_lost_traces.py lies about it
OF_ONE_PATH = {kind: about for kind, about in MANIFEST.kinds.items() if kind not in OF_A_LOST_DISK}
ALL_CARRIED = {"Shipped", "Answer"}  # their causes say all that they say; test_stories.py has lies about the rest


@dataclass(frozen=True)
class Judged:
    """The corpus with what the checker said of each, and the beginning of its path's name."""

    corruptions: list[Corruption]
    harmless: list[tuple[str, Behaviour]]
    verdict: Verdict
    refused: dict[str, list[Refusal]]
    rank: dict[str, int]

    def first_at(self, corruption: Corruption) -> str:
        """The event that must be refused: of those that contradict, the first in the order of the replay."""
        return min((entry.id for entry in corruption.at), key=self.rank.__getitem__)

    def refusals(self) -> Iterator[tuple[Corruption, Refusal]]:
        """Each corruption with its refusal; one that was not refused as it must be is another test's."""
        for number, corruption in enumerate(self.corruptions):
            for refusal in self.refused.get(f"{number:03}", ()):
                if refusal.event == self.first_at(corruption):
                    yield corruption, refusal


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Behaviour]:
    folder = tmp_path_factory.mktemp("runs")
    processes = run_of_processes(folder / "processes", SCENARIO)
    simulated = run_of_simulator(folder / "simulated", WITH_KILLS)
    stories = [story.told() for story in honest_stories()]
    return [*behaviours(processes), *behaviours(simulated, later=1), *stories]


@pytest.fixture(scope="module")
def judged(sources: list[Behaviour], tmp_path_factory: pytest.TempPathFactory) -> Judged:
    corruptions, beside = corpus(sources), harmless(sources)
    copies = [(f"{number:03} {each.name}", each.behaviour) for number, each in enumerate(corruptions)]
    copies += [(f"harmless {number} {why}", behaviour) for number, (why, behaviour) in enumerate(beside)]
    run = write(tmp_path_factory.mktemp("corpus") / "run", copies)
    verdict = verify(run, Options())
    traces = load(run, MANIFEST)
    rank = {traces.id(index): place for place, index in enumerate(linear_extension(traces))}
    refused: dict[str, list[Refusal]] = {}
    for refusal in verdict.refused:
        refused.setdefault(refusal.key[: len("000")], []).append(refusal)
    return Judged(corruptions, beside, verdict, refused, rank)


def test_the_corpus_has_every_field_of_every_event_and_every_event_dropped_doubled_and_swapped(judged: Judged) -> None:
    assert len(judged.corruptions) >= CORRUPTIONS_MIN
    made = {(each.kind, each.field) for each in judged.corruptions}
    fields = {(kind, field) for kind, about in OF_ONE_PATH.items() for field in (*about.fields, "cause", "path")}
    assert fields - made == set()
    lost = {(kind, "dropped") for kind in OF_ONE_PATH.keys() - HARMLESS_WITHOUT}
    twice = {(kind, "doubled") for kind in OF_ONE_PATH.keys() - HARMLESS_TWICE}
    early = {(kind, "swapped") for kind in ("Promise", "Accept", "Refuse", "Report")}
    assert (lost | twice | early) - made == set(), "see the harmless ones for what is not here"


def test_every_corruption_is_refused_at_the_event_that_contradicts_it(judged: Judged) -> None:
    assert judged.verdict.reasons == []
    wrong = []
    for number, corruption in enumerate(judged.corruptions):
        refused = judged.refused.get(f"{number:03}", [])
        if judged.first_at(corruption) not in [refusal.event for refusal in refused]:
            where = ", ".join(f"{refusal.action} {refusal.event}" for refusal in refused) or "nowhere"
            wrong.append(f"{corruption.name}: must be refused at {judged.first_at(corruption)}, was refused {where}")
    assert not wrong, "\n".join(wrong)


def test_every_corruption_breaks_the_rule_that_it_must_break(judged: Judged) -> None:
    wrong = [
        f"{corruption.name}: by {refusal.rule or 'the replay'}, not by {corruption.rule or 'the replay'}"
        for corruption, refusal in judged.refusals()
        if corruption.rule not in (ANY, refusal.rule)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_refusal_by_the_replay_names_the_false_condition_with_both_sides(judged: Judged) -> None:
    wrong, told = [], Counter[str]()
    for corruption, refusal in judged.refusals():
        false = [conjunct for conjunct in refusal.conjuncts if conjunct.holds is False]
        if refusal.rule == "" and not false:
            wrong.append(f"{corruption.name}: no false condition is named")
        for conjunct in false:
            compares = comparison(conjunct.text) is not None or for_all(conjunct.text) is not None
            if compares and not (conjunct.left and conjunct.right and "-> FALSE  " + conjunct.text in refusal.text):
                wrong.append(f"{corruption.name}: {conjunct.text} without its sides")
        if corruption.false:
            expected = [conjunct for conjunct in false if conjunct.text.startswith(corruption.false)]
            sides = [(conjunct.left, conjunct.right) for conjunct in expected]
            if not expected:
                wrong.append(f"{corruption.name}: {corruption.false} is not among {[each.text for each in false]}")
            elif corruption.left is not None and (corruption.left, corruption.right) not in sides:
                wrong.append(f"{corruption.name}: the sides must be {corruption.left}, {corruption.right}; are {sides}")
            told[corruption.kind] += 1
    assert not wrong, "\n".join(wrong)
    assert told.keys() == OF_ONE_PATH.keys() - ALL_CARRIED


def test_every_refusal_by_a_rule_on_messages_says_what_was_sent_and_what_arrived(judged: Judged) -> None:
    wrong, told = [], Counter[str]()
    for corruption, refusal in judged.refusals():
        for words in corruption.says:
            told[refusal.rule] += 1
            if words not in refusal.text:
                wrong.append(f"{corruption.name}: does not say {words!r}: {refusal.text.splitlines()[0]}")
    assert not wrong, "\n".join(wrong)
    assert told["causes"] and told["carries"]


def test_every_refusal_names_the_causes_of_the_refused_event(judged: Judged) -> None:
    wrong, named = [], 0
    for corruption, refusal in judged.refusals():
        [refused] = [entry for entry in corruption.at if entry.id == refusal.event]
        path = {id(entry) for entry in corruption.behaviour.entries if ELSEWHERE not in entry.fields.values()}
        causes = {cause.id for cause in refused.causes if id(cause) in path and id(refused) in path}
        named += bool(causes)
        if not causes <= set(refusal.causes):
            wrong.append(f"{corruption.name}: {causes - set(refusal.causes)} led to {refusal.event}")
    assert not wrong, "\n".join(wrong)
    assert named >= CORRUPTIONS_MIN // 2


def test_nothing_that_leaves_an_allowed_behaviour_is_refused(judged: Judged) -> None:
    assert [refusal.text for refusal in judged.refused.get("har", ())] == []
    assert {why for why, _ in judged.harmless} >= {
        "as it was",
        *(f"{kind} dropped" for kind in HARMLESS_WITHOUT),
        *(f"{kind} doubled" for kind in HARMLESS_TWICE),
    }
    # beside the corrupted paths, only those to which one of their events was moved are refused
    numbers = [refusal.key[:3] for refusal in judged.verdict.refused if ELSEWHERE not in refusal.key]
    assert len(numbers) == len(set(numbers)) <= len(judged.corruptions)


@pytest.mark.parametrize("kind", sorted(OF_ONE_PATH))
def test_the_hole_of_a_lost_line_cannot_be_checked(kind: str, sources: list[Behaviour], tmp_path: Path) -> None:
    source = next(source for source in sources if source.of(kind))
    behaviour = source.copy()
    run = write(tmp_path / "run", [("path", behaviour)])
    entry = behaviour.entries[behaviour.of(kind)[0]]
    file = run / "traces" / f"{entry.node}.{entry.incarnation}.ndjson"
    lines = file.read_text().splitlines(keepends=True)
    lost = int(entry.id.rpartition(".")[2])
    assert json.loads(lines[lost - 1])["event"] == kind
    file.write_text("".join(lines[: lost - 1] + lines[lost:]))
    verdict = verify(run, Options())
    assert (verdict.status, verdict.exit_code) == ("unchecked", 2)
    [reason] = verdict.reasons
    assert f"{file}:{lost}: seq is {lost + 1}, but {lost} is next: the trace has a hole" in reason


def test_an_event_before_its_own_cause_cannot_be_checked(sources: list[Behaviour], tmp_path: Path) -> None:
    behaviour, effect, cause = of_dependent_neighbours_swapped(sources)
    run = write(tmp_path / "run", [("path", behaviour)])
    verdict = verify(run, Options())
    assert verdict.status == "unchecked"
    [reason] = verdict.reasons
    assert "the causes contradict the nodes' own order" in reason
    assert {cause.id, effect.id} <= set(re.findall(r"\bn\d+\.\d+\.\d+\b", reason))
    shutil.rmtree(run)
