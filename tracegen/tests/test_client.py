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
from tracegen.workload.api import Api
from tracegen.workload.asked import Version
from tracegen.workload.client import Client, Shared
from tracegen.workload.mix import Script
from tracegen.workload.native import Native
from tracegen.workload.pace import Appointments
from tracegen.workload.s3 import S3

APPLIED = Answer(200, {}, b'{"generation":2}')
REPLAYED = Answer(200, {}, b'{"generation":2,"idempotent_replay":true}')
REFUSED = Answer(412, {}, b"")
GONE = Answer(204, {b"x-amberio-generation": b"2", b"x-amz-version-id": b"1"}, b"")
MADE = Answer(200, {b"x-amberio-generation": b"2", b"x-amz-version-id": b"2", b"etag": b'"e"'}, b"")
DOUBTED = Answer(503, {b"x-amberio-outcome": b"unknown"}, b"")
UNDONE = Answer(503, {b"x-amberio-outcome": b"failed"}, b"")
STARTED = Answer(200, {}, b'<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><UploadId>u</UploadId></R>')


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


def written_down(
    kind: str, answers: Sequence[Answer | None], room: Path, api: Api | None = None
) -> tuple[str, int | None]:
    """The outcome and the generation that the history has."""

    async def story() -> None:
        recorder = Recorder(room / "history.ndjson", RunClock())
        shared = Shared(1, "x/", ("x/k",), Workload(), cast(Cluster, Told(answers)), recorder, api or Native())
        shared.versions["x/k"].append(Version(1, "c/0"))
        operation = Listed(0.0, "c", "n1", kind, "k", then=("n2",), made_by="c/0")
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


@pytest.mark.parametrize(
    ("versioning", "kind", "answers", "outcome"),
    [
        ("enabled", "put", [None, MADE], ("ok", 2)),
        ("enabled", "put", [UNDONE, MADE], ("failed", None)),
        ("enabled", "put", [DOUBTED, REFUSED], ("unknown", None)),
        ("enabled", "delete", [None, GONE], ("ok", 2)),  # a marker, which the node remembers
        ("off", "delete", [None, GONE], ("unknown", None)),  # it may have found nothing, and is then not remembered
        ("enabled", "delete_version", [None, GONE], ("ok", 2)),  # it never comes back, so a late attempt finds nothing
        ("enabled", "tag", [None, MADE], ("unknown", None)),  # read, changed and written back: not sent again
        ("enabled", "multipart", [None], ("failed", None)),  # nothing of an upload shows before it is complete
        ("enabled", "multipart", [STARTED, None], ("failed", None)),
        ("enabled", "multipart", [STARTED, MADE, None, None], ("unknown", None)),
    ],
)
def test_a_write_by_s3_is_settled_only_by_an_answer_that_no_late_attempt_can_belie(
    versioning: str, kind: str, answers: list[Answer | None], outcome: tuple[str, int | None], tmp_path: Path
) -> None:
    assert written_down(kind, answers, tmp_path, S3("x", versioning)) == outcome
