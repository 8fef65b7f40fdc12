"""What a client writes down of a write that it sent twice: known only if no attempt can still change anything."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from tracegen.backend.face import Answer, Cluster
from tracegen.errors import Lost
from tracegen.history import Recorder, RunClock
from tracegen.operations import Listed
from tracegen.scenario import Workload
from tracegen.workload.client import Client, Shared
from tracegen.workload.mix import Script
from tracegen.workload.pace import Appointments

APPLIED = Answer(200, {}, b'{"generation":2}')
REPLAYED = Answer(200, {}, b'{"generation":2,"idempotent_replay":true}')
REFUSED = Answer(412, {}, b"")


class Told:
    """A cluster that answers requests with these answers, one after the other; None is no answer."""

    nodes = ("n1", "n2")

    def __init__(self, answers: Sequence[Answer | None]) -> None:
        self._answers = list(answers)

    def connection(self, node: str) -> "Told":
        return self

    async def request(self, *_: object) -> Answer:
        answer = self._answers.pop(0)
        if answer is None:
            raise Lost("no answer")
        return answer

    def close(self) -> None:
        return None


def written_down(kind: str, answers: Sequence[Answer | None], room: Path) -> tuple[str, int | None]:
    """The outcome and the generation that the history has."""

    async def story() -> None:
        recorder = Recorder(room / "history.ndjson", RunClock())
        shared = Shared(1, "x/", ("x/k",), Workload(), cast(Cluster, Told(answers)), recorder)
        operation = Listed(0.0, "c", "n1", kind, "k", then=("n2",))
        await Client("c", "n1", shared, Script([operation], "x/")).run(1 << 60, Appointments().pace)
        recorder.close()

    asyncio.run(story())
    (line,) = (room / "history.ndjson").read_text().splitlines()
    operation = json.loads(line)
    return operation["outcome"], operation["generation"]


@pytest.mark.parametrize(
    ("kind", "answers", "outcome"),
    [
        ("delete", [APPLIED], ("ok", 2)),
        ("delete", [None, REPLAYED], ("ok", 2)),
        ("delete", [None, APPLIED], ("unknown", None)),  # it may have found nothing, and is then not remembered
        ("delete", [None, REFUSED], ("unknown", None)),
        ("put", [None, APPLIED], ("ok", 2)),
        ("put", [None, REPLAYED], ("ok", 2)),
        ("put", [None, REFUSED], ("unknown", None)),
        ("put", [REFUSED], ("failed", None)),
        ("put", [None, None], ("unknown", None)),
    ],
)
def test_a_write_is_settled_only_by_an_answer_that_no_late_attempt_can_belie(
    kind: str, answers: list[Answer | None], outcome: tuple[str, int | None], tmp_path: Path
) -> None:
    assert written_down(kind, answers, tmp_path) == outcome
