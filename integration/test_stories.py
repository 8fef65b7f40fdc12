"""What nodes say of the archive: honest stories are accepted, and a lie is refused for the one condition it breaks.

The stories are written by hand (stories.py). Corrupted, they are part of what test_corruptions.py judges.
"""

import json
import tempfile
from pathlib import Path

from checker import tlc
from checker.verify import Options, verify
from checker.weaken import Corpus
from checker.weakenings import weakenings
from impl.tests import schema
from integration.judging import MANIFEST, write
from integration.stories import honest_stories
from integration.tiering_forgeries import tiering_forgeries
from tracegen.guide.coverage import OF_THE_ARCHIVE, WITH_AN_ARCHIVE, said
from tracegen.watch import events, register

TIMEOUT_S = 300.0


def test_honest_stories_are_accepted_by_the_spec_and_by_the_check_in_the_loop(tmp_path: Path) -> None:
    run = write(tmp_path / "run", [(story.path, story.told()) for story in honest_stories()])
    verdict = verify(run, Options())
    assert (verdict.status, verdict.reasons, [refusal.text for refusal in verdict.refused]) == ("accepted", [], [])
    with_an_archive = {said(branch) for branch in WITH_AN_ARCHIVE}
    assert [branch for branch in verdict.never_taken if branch.partition(" ")[0] in OF_THE_ARCHIVE] == []
    assert with_an_archive.isdisjoint(verdict.never_taken)
    assert register.check(run / "traces") == []


def test_honest_stories_are_valid_by_the_schema_of_traces(tmp_path: Path) -> None:
    run = write(tmp_path / "run", [(story.path, story.told()) for story in honest_stories()])
    lines = [line for file in (run / "traces").glob("*.ndjson") for line in file.read_text().splitlines()]
    assert [fault for line in lines for fault in schema.faults(json.loads(line))][:10] == []


def test_each_forged_story_is_refused_for_one_condition_only(tmp_path: Path) -> None:
    forged = tiering_forgeries()
    run = write(tmp_path / "run", [(each.name, each.behaviour) for each in forged])
    every = weakenings(MANIFEST)
    against = [one for each in forged for one in every if (one.operator, one.part) == (each.operator, each.part)]
    assert len(against) == len(forged)
    with tempfile.TemporaryDirectory(dir=tmp_path) as scratch:
        corpus = Corpus(tlc.locate(), MANIFEST, run, Path(scratch), TIMEOUT_S)
        assert not corpus.accepted
        noticed = corpus.judge(against)
    wrong = [
        f"{each.name}: {says or 'nothing'}"
        for each, says in zip(forged, noticed, strict=True)
        if not says.startswith(f"accepts {each.name!r}")
    ]
    assert wrong == []


def test_each_forged_story_is_refused_at_its_end_by_the_check_in_the_loop(tmp_path: Path) -> None:
    forged = tiering_forgeries()
    run = write(tmp_path / "run", [(each.name, each.behaviour) for each in forged])
    refused = {violation.key: violation.event for violation in register.judge(events.load(run / "traces"))}
    assert refused == {each.name: each.behaviour.entries[-1].id for each in forged}
