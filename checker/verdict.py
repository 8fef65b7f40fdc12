"""What the checker says of a run. Only values, as they are written to verdict.json and shown by reports."""

from typing import Final, Literal

import msgspec

SCHEMA: Final = 1
Status = Literal["accepted", "refused", "unchecked"]
EXIT_CODES: Final[dict[Status, int]] = {"accepted": 0, "refused": 1, "unchecked": 2}


class Conjunct(msgspec.Struct, frozen=True):
    """One condition of the action that refused an event: its text in the spec, whether it holds, and both its sides.

    `holds` is None where TLC could not evaluate it; `left` and `right` are empty where it compares nothing.
    """

    text: str
    holds: bool | None
    left: str = ""
    right: str = ""
    of: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One key's behaviour that is none of the spec's: its first refused event, and why.

    `position` counts from 1 in the behaviour. The first few refusals are explained in full; the others have conjuncts
    as far as the first false one, and no state.
    `rule` is set where it was not TLC that refused, but a rule on causes and on what messages carry.
    """

    key: str
    event: str
    file: str
    line: int
    position: int
    action: str
    text: str
    rule: str = ""
    conjuncts: list[Conjunct] = []
    causes: list[str] = []
    state: dict[str, str] = {}
    enabled: list[str] = []


class HistoryFault(msgspec.Struct, frozen=True, kw_only=True):
    """What clients were told that no linearizable object could have told them."""

    key: str
    rule: str
    text: str
    operations: list[str] = []


class Verdict(msgspec.Struct, kw_only=True):
    """The verdict on one run. `reasons` says why a run is unchecked; `notes` is what else a reader should know.

    `distinct_states` is what TLC found, `expected_states` what it must find if every event was replayed exactly once.
    """

    status: Status
    run: str
    spec: str
    events: int
    traces: int
    refused: list[Refusal]
    history: list[HistoryFault]
    distinct_states: int
    expected_states: int
    canary: bool
    collision: str
    coverage: dict[str, dict[str, int]]
    never_taken: list[str]
    stages: dict[str, float]
    notes: list[str]
    reasons: list[str]
    schema: int = SCHEMA

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.status]
